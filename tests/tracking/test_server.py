"""A real `mlflow server` that is down at first, killed in the middle, and comes back."""

import pytest

from . import story
from .conftest import Server, Shelf

# MLflow 3.17 uses an option that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def test_a_server_that_comes_and_goes_has_everything_once_in_the_end(shelf: Shelf, server: Server) -> None:
    """Down at the start, up, killed in the middle, up again; then a resume that finds nothing to send."""
    events = story.two_trials()
    shelf.uri = server.uri
    shelf.write(events[:5])
    tracker = shelf.tracker()
    tracker.advance()
    assert "does not answer" in tracker.trouble
    assert tracker.unsent == 5
    server.up()
    tracker.advance()
    assert tracker.unsent == 0
    server.kill()
    odd = story.reported("00000", 4, story.INF, metrics={"val_loss": story.NAN, "grad_norm": story.INF})
    events = [*events[:-2], odd, *events[-2:]]
    shelf.write(events[5:])
    assert tracker.finish(5) == len(events) - 5  # a dead server is not waited for

    server.up()
    shelf.track([])
    runs = shelf.runs()
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    steps = [step for step, _ in shelf.history("00000", "lr")]
    assert steps == [1, 2, 3]
    value = dict(shelf.history("00000", "val_loss"))[4]
    assert value != value  # NaN survives the wire
    assert runs["00000"].data.metrics["grad_norm"] > 1e308
    assert runs["00000"].data.params["log10_lr"] == "-2"
    assert runs["00001"].data.tags["mlflow.parentRunId"] == runs[""].info.run_id
    assert runs[""].data.tags["mlflow.note.content"].startswith("**digits**: 2 trials")
