"""A staged sweep in MLflow: one run over the runs of its stages, found or made by each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raysweep.tracking import FinalState, ParentRun, TrackingProcess
from tests.tracking.conftest import Shelf
from tests.tracking.story import T0, two_trials

# MLflow 3.17 uses an option that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

PARENT_RUN = ParentRun(
    "whole", "abc", T0, {"stages": "explore, refine"}, "study_name: whole\n", {"stage": "explore"}
)


def stage(shelf: Shelf, name: str, **tags: str) -> Shelf:
    """The shelf of a stage's study, which has ended: a folder of its own, the same store."""
    folder = shelf.folder.parent / name
    folder.mkdir()
    facts = replace(shelf.facts, study=name, parent=replace(PARENT_RUN, tags={"stage": name, **tags}))
    study = replace(shelf, folder=folder, facts=facts)
    study.write(two_trials())
    return study


def track(shelf: Shelf, final_state: FinalState | None) -> None:
    tracker = shelf.tracker()
    assert tracker.finish(60, final_state) == 0, tracker.trouble


def all_runs(shelf: Shelf) -> dict[str, Any]:
    """Name -> run, of parent and stages."""
    experiment = shelf.client.get_experiment_by_name(shelf.facts.experiment)
    runs = shelf.client.search_runs([experiment.experiment_id])
    return {run.info.run_name: run for run in runs if run.data.tags["kind"] != "trial"}


def test_stages_stand_under_one_run_that_says_how_far_the_sweep_is(shelf: Shelf) -> None:
    track(stage(shelf, "explore"), FinalState(T0 + 1, {"state": "running"}, [("val_loss", 0.4, 0)]))
    last = FinalState(T0 + 2, {"state": "finished", "incumbent": "trial 1"}, [("val_loss", 0.3, 1)])
    track(stage(shelf, "refine"), last)
    runs = all_runs(shelf)
    assert sorted(runs) == ["explore", "refine", "whole"]
    whole = runs["whole"]
    assert {runs[name].data.tags["mlflow.parentRunId"] for name in ("explore", "refine")} == {
        whole.info.run_id
    }
    assert whole.data.params == {"stages": "explore, refine"}
    tags = {key: whole.data.tags[key] for key in ("kind", "stage", "state", "incumbent")}
    assert tags == {"kind": "staged", "stage": "refine", "state": "finished", "incumbent": "trial 1"}
    history = shelf.client.get_metric_history(whole.info.run_id, "best_val_loss")
    assert sorted((point.step, point.value) for point in history) == [(0, 0.4), (1, 0.3)]
    assert whole.info.status == "FINISHED"


def test_what_is_told_twice_stands_once(shelf: Shelf) -> None:
    """A stage that is carried on, or sent again by `sync`, finds the same run."""
    explore = stage(shelf, "explore")
    final_state = FinalState(T0 + 1, {"state": "running"}, [("val_loss", 0.4, 0)])
    track(explore, final_state)
    track(explore, final_state)
    assert sorted(all_runs(shelf)) == ["explore", "whole"]


def test_a_killed_driver_leaves_no_run_open(shelf: Shelf) -> None:
    explore = stage(shelf, "explore")
    tracking = TrackingProcess(explore.folder, explore.facts, uri=explore.uri)
    tracking.start()
    child = tracking._child
    assert child is not None
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()  # what the kernel does for a killed driver
    assert child.wait(60) == 0
    child.stdout.close()
    whole = all_runs(shelf)["whole"]
    assert (whole.info.status, whole.data.tags["state"]) == ("FINISHED", "interrupted")


def test_the_final_state_reaches_the_tracking_process(shelf: Shelf) -> None:
    explore = stage(shelf, "explore")
    tracking = TrackingProcess(explore.folder, explore.facts, uri=explore.uri)
    tracking.start()
    tracking.finish(final_state=FinalState(T0 + 1, {"incumbent": "trial 0: 'quoted', spaced"}))
    assert tracking.close() == 0, tracking.trouble
    assert all_runs(shelf)["whole"].data.tags["incumbent"] == "trial 0: 'quoted', spaced"


def test_a_store_that_is_away_is_owed_the_final_state_too(shelf: Shelf, tmp_path: Path) -> None:
    explore = stage(shelf, "explore")
    tracker = explore.tracker(uri="http://127.0.0.1:9")
    assert tracker.finish(5, FinalState(T0, {})) == len(two_trials()) + 1
