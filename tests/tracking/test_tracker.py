"""What MLflow holds after a study, whatever happened on the way. Real SQLite stores."""

import json
import shutil
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from raysweep.study.journal.events import (
    Event,
    StudyExtended,
    TrialPaused,
    TrialRecovered,
    TrialReopened,
    TrialRetried,
)
from raysweep.study.journal.log import Tail
from raysweep.tracking import SweepFacts
from raysweep.tracking.runs import view_state
from raysweep.tracking.store import Store

from . import story
from .conftest import Shelf

# MLflow 3.17 uses an option that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture
def tracked(shelf: Shelf) -> Shelf:
    shelf.track(story.two_trials())
    return shelf


def test_each_trial_is_a_child_of_the_sweeps_run(tracked: Shelf) -> None:
    runs = tracked.runs()
    assert sorted(runs) == ["", "00000", "00001"]
    parent = runs[""].info.run_id
    assert {runs[trial].data.tags["mlflow.parentRunId"] for trial in ("00000", "00001")} == {parent}
    assert "mlflow.parentRunId" not in runs[""].data.tags
    assert runs["00001"].info.run_name == "00001 lr=.1 l=2"


def test_metrics_stand_at_the_steps_of_work(tracked: Shelf) -> None:
    assert tracked.history("00000", "val_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_what_trials_are_ranked_by_stays_at_step_0(tracked: Shelf) -> None:
    """The UI draws such a metric as bars, one a trial."""
    assert {step for step, _ in tracked.history("00001", "best_val_loss")} == {0}
    assert tracked.runs()["00001"].data.metrics["best_val_loss"] == 1.0
    assert tracked.runs()["00001"].data.metrics["last_val_loss"] == 1.0


def test_params_are_the_configuration_and_log10_of_what_is_log_scaled(tracked: Shelf) -> None:
    assert tracked.runs()["00001"].data.params == {
        "optimizer_config.lr": "0.1",
        "net_config.layers": "2",
        "log10_lr": "-1",
    }


def test_tags_say_what_ended_a_trial_and_where_it_comes_from(tracked: Shelf) -> None:
    tags = tracked.runs()["00001"].data.tags
    expected = {
        "kind": "trial",
        "study": "digits",
        "trial": "00001",
        "state": "stopped",
        "stop_reason": "rank 2 of 2 at rung 2; top 1 goes on",
        "source": "sampler",
        "mlflow.user": "ada",
        "mlflow.source.git.commit": "abc123",
        "data_fingerprint": "f00d",
        "versions": "ray 2.60.0",
    }
    assert tags.items() >= expected.items()


def test_the_sweeps_run_carries_settings_best_table_note_and_file(tracked: Shelf) -> None:
    parent = tracked.runs()[""]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["sampler"] == "optuna.samplers.TPESampler"
    assert parent.data.tags["best_trial"] == "00000"
    assert parent.data.metrics["best_val_loss"] == 1 / 3
    winner = tracked.runs()["00000"].info.run_id
    note = parent.data.tags["mlflow.note.content"]
    assert f"[00000](#/experiments/1/runs/{winner}?workflowType=machine_learning)" in note
    assert f"/runs/{parent.info.run_id}/artifacts/leaderboard.json?workflowType=machine_learning" in note
    assert note.splitlines()[1].startswith("Best: trial 00000, last val_loss **0.333333**")
    table = tracked.client.download_artifacts(parent.info.run_id, "leaderboard.json")
    assert [row[0] for row in json.loads(Path(table).read_text())["data"]] == ["00000", "00001"]
    sweep = tracked.client.download_artifacts(parent.info.run_id, "sweep.yaml")
    assert Path(sweep).read_text() == "study_name: digits\n"


def test_every_run_names_the_data_it_was_trained_on_once(tracked: Shelf) -> None:
    """MLflow's column Dataset, and its filter."""
    for run in tracked.runs().values():
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("load_digits", "f00d")
        assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("completed", "FINISHED"),
        ("stopped", "FINISHED"),  # a stopped trial did what it should: KILLED shows as a failure
        ("diverged", "FINISHED"),
        ("failed", "FAILED"),
        ("infeasible", "FAILED"),
    ],
)
def test_a_trials_outcome_has_its_status(shelf: Shelf, outcome: str, status: str) -> None:
    ending = story.ended("00000", outcome=outcome)
    shelf.track([story.begun(), *story.asked("00000"), story.reported("00000", 1), ending, story.closed()])
    run = shelf.runs()["00000"]
    assert (run.info.status, run.data.tags["state"]) == (status, outcome)


def test_a_failed_trials_traceback_is_an_artifact_and_its_last_line_a_tag(shelf: Shelf) -> None:
    error = "Traceback (most recent call last):\n  ...\nZeroDivisionError: division by zero\n"
    ending = story.ended("00000", outcome="failed", reason="user code raised", error=error)
    shelf.track([story.begun(), *story.asked("00000"), ending, story.closed()])
    run = shelf.runs()["00000"]
    assert run.data.tags["error"] == "ZeroDivisionError: division by zero"
    kept = shelf.client.download_artifacts(run.info.run_id, "traceback.txt")
    assert Path(kept).read_text() == error


def test_a_second_run_after_out_of_memory_is_a_tag_with_its_traceback_kept(shelf: Shelf) -> None:
    again = TrialRetried(
        t=story.T0 + 2, trial="00000", resources={"gpu": 0.5}, reason="CUDA out of memory", error="Traceback"
    )
    shelf.track([story.begun(), *story.asked("00000"), again, story.ended("00000"), story.closed()])
    run = shelf.runs()["00000"]
    assert run.data.tags["retried"] == '{"gpu": 0.5}: CUDA out of memory'
    kept = shelf.client.download_artifacts(run.info.run_id, "out_of_memory.txt")
    assert (Path(kept).read_text(), run.info.status) == ("Traceback", "FINISHED")


def test_a_trial_that_continues_in_an_extended_study_keeps_its_run(shelf: Shelf) -> None:
    first = [story.begun(), *story.asked("00000"), story.reported("00000", 1), story.ended("00000")]
    t = story.T0 + 100
    shelf.track(
        [
            *first,
            story.closed(),
            StudyExtended(t=t, revision=1, changes={"run.epochs": [1, 2]}),
            TrialReopened(t=t, trial="00000", epoch=1, waits=False, reason="the study was given 2 epochs"),
            story.begun(t=101, attempt=2),
        ]
    )
    run = shelf.runs()["00000"]
    assert (run.info.status, run.data.tags["state"]) == ("RUNNING", "pending")
    assert shelf.runs()[""].data.tags["revision.1"] == '{"run.epochs": [1, 2]}'


def test_non_finite_values_survive_and_are_tagged(shelf: Shelf) -> None:
    """MLflow stores inf as the largest double, so that only the tag says what it was."""
    odd = {"val_loss": story.NAN, "grad_norm": story.INF}
    report = story.reported("00000", 2, story.NAN, metrics=odd)
    shelf.track([story.begun(), *story.asked("00000"), story.reported("00000", 1), report, story.closed()])
    (_, first), (_, second) = shelf.history("00000", "val_loss")
    assert first == 1.0
    assert second != second  # NaN
    run = shelf.runs()["00000"]
    assert run.data.metrics["grad_norm"] > 1e308
    assert run.data.tags["non_finite.val_loss"] == "nan at step 2"
    assert run.data.tags["non_finite.grad_norm"] == "inf at step 2"
    assert run.data.metrics["best_val_loss"] == 1.0


def test_a_maximised_metric_is_shown_in_the_users_direction(shelf: Shelf, facts: SweepFacts) -> None:
    facts = replace(facts, metric="acc", direction="maximize")
    reports = [
        story.reported("00000", n, -acc, metrics={"acc": acc}) for n, acc in ((1, 0.5), (2, 0.9), (3, 0.8))
    ]
    shelf.track([story.begun(), *story.asked("00000"), *reports, story.closed()], facts=facts)
    metrics = shelf.runs()["00000"].data.metrics
    assert (metrics["best_acc"], metrics["last_acc"]) == (0.9, 0.8)
    assert shelf.runs()[""].data.metrics["best_acc"] == 0.8  # by the objective, the last value


def test_the_experiment_keeps_the_view_that_the_link_opens(shelf: Shelf, facts: SweepFacts) -> None:
    tracker = shelf.track([story.begun(), *story.asked("00000"), story.closed()], facts=facts)
    key = tracker.link.partition("viewStateShareKey=")[2]
    assert key.startswith("raysweep")
    (experiment,) = (e for e in shelf.client.search_experiments() if e.name == facts.experiment)
    assert experiment.tags[f"mlflow.sharedViewState.{key}"] == view_state(facts)


def test_steps_never_go_back_through_an_exploit(shelf: Shelf) -> None:
    """An asynchronous copy may take the trial's epoch back, but its work continues."""
    reports = [
        *[story.reported("00001", work) for work in (1, 2, 3)],
        story.exploited("00001", "00000", 2, lr=0.02),
        story.reported("00001", 4, epoch=3, generation=1),
    ]
    shelf.track([story.begun(), *story.asked("00000"), *story.asked("00001"), *reports, story.closed()])
    assert [step for step, _ in shelf.history("00001", "val_loss")] == [1, 2, 3, 4]
    assert shelf.history("00001", "epoch") == [(4, 3.0)]


def test_an_exploit_is_logged_as_lineage_and_as_a_curve_of_its_parameters(shelf: Shelf) -> None:
    events: list[Event] = [story.begun(), *story.asked("00000"), *story.asked("00001", lr=0.01)]
    events += [story.reported("00001", 1), story.exploited("00001", "00000", 1, lr=0.1)]
    shelf.track([*events, story.reported("00001", 2, generation=1), story.closed()])
    assert shelf.history("00001", "optimizer_config.lr") == [(0, 0.01), (1, 0.1)]
    assert shelf.history("00001", "log10_lr") == [(0, -2.0), (1, -1.0)]
    tags = shelf.runs()["00001"].data.tags
    assert (tags["generation"], tags["lineage"]) == ("1", "00000 at epoch 1")
    assert tags["exploit_reason"] == "bottom 25 %"


def test_epochs_run_again_after_a_lost_worker_are_not_logged_twice(shelf: Shelf) -> None:
    events = [
        story.begun(),
        *story.asked("00000"),
        *[story.reported("00000", work) for work in (1, 2)],
        TrialRecovered(t=story.T0 + 5, trial="00000", error="worker died"),
        story.reported("00000", 2, t=story.T0 + 60, again=True),
        story.reported("00000", 3, t=story.T0 + 61),
    ]
    shelf.track([*events, story.closed()])
    assert [step for step, _ in shelf.history("00000", "val_loss")] == [1, 2, 3]
    assert shelf.runs()["00000"].data.tags["recovered"] == "worker died"


def interrupted() -> list[Any]:
    """An attempt that a signal ended, with one trial running and one paused."""
    return [
        story.begun(),
        *story.asked("00000"),
        *story.asked("00001"),
        story.reported("00000", 1),
        story.reported("00001", 1, decision="pause"),
        TrialPaused(t=story.T0 + 12, trial="00001", epoch=1, reason="waits at rung 1"),
    ]


def resumed() -> list[Any]:
    again = [story.begun(100, attempt=2), *[event for event in story.asked("00000", 101)[1:]]]
    late = story.T0 + 102
    return [
        *again,
        story.reported("00000", 2, t=late),
        story.ended("00000", 103),
        story.ended("00001", 104, "stopped", "paused at epoch 1; nothing is left to promote it"),
        story.closed(105, attempt=2),
    ]


def test_nothing_is_left_running_when_an_attempt_is_closed(shelf: Shelf) -> None:
    shelf.track([*interrupted(), story.closed(exit_code=130, reason="Ctrl-C")])
    runs = shelf.runs()
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["00001"].data.tags["state"] == "interrupted"
    assert runs["00001"].data.tags["stop_reason"] == "the sweep ended first: Ctrl-C"
    assert runs[""].data.tags["state"] == "interrupted"


@pytest.mark.parametrize(
    "ending", [[], [story.closed(exit_code=130, reason="Ctrl-C")]], ids=["killed", "closed"]
)
@pytest.mark.parametrize("cursor", ["kept", "lost", "damaged", "of a later version"])
def test_a_resumed_study_continues_in_the_same_runs(shelf: Shelf, ending: list[Any], cursor: str) -> None:
    past = [*interrupted(), *ending]
    shelf.track(past)
    before = {trial: run.info.run_id for trial, run in shelf.runs().items()}
    file = shelf.folder / "tracking.json"
    if cursor == "lost":
        file.unlink()
    elif cursor != "kept":
        file.write_text("{" if cursor == "damaged" else '{"version": 99}')
    shelf.track(resumed())
    runs = shelf.runs()
    assert {trial: run.info.run_id for trial, run in runs.items()} == before
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["00000"].data.tags["state"] == "completed"
    assert runs["00001"].data.tags["state"] == "stopped"
    assert shelf.history("00000", "val_loss") == [(1, 1.0), (2, 0.5)]
    assert shelf.history("00001", "val_loss") == [(1, 1.0)]


@pytest.mark.parametrize("kept", range(1, len(story.two_trials())))
def test_a_driver_killed_after_any_event_doubles_nothing(shelf: Shelf, kept: int) -> None:
    """The cursor may lag behind what was sent by any number of events."""
    events = story.two_trials()
    shelf.track(events[:kept])
    file = shelf.folder / "tracking.json"
    fields = json.loads(file.read_text())
    tail = Tail(shelf.folder / "journal")
    sums = [0, *[tail.position.sum for _ in tail.read()]]
    file.write_text(json.dumps(fields | {"sent": kept // 2, "last_sum": sums[kept // 2]}))
    shelf.track(events[kept:])
    assert [step for step, _ in shelf.history("00000", "val_loss")] == [1, 2, 3]
    assert [step for step, _ in shelf.history("00001", "lr")] == [1, 2]
    assert {run.info.status for run in shelf.runs().values()} == {"FINISHED"}


def test_what_was_sent_is_not_sent_again(tracked: Shelf) -> None:
    """A run deleted by its user is not brought back by the next start."""
    tracked.client.delete_run(tracked.runs()["00001"].info.run_id)
    tracked.track([])
    assert sorted(tracked.runs()) == ["", "00000"]


def test_a_store_made_anew_is_told_everything_again(tracked: Shelf, migrated: Path) -> None:
    uri = f"sqlite:///{Path('other.db').absolute()}"
    Path("other.db").write_bytes(migrated.read_bytes())
    tracked.uri = uri
    tracked.track([])
    assert tracked.history("00000", "val_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_events_after_an_end_lost_to_a_power_cut_are_all_sent(shelf: Shelf) -> None:
    """MLflow had 5 events; the journal kept 4 and continued: its fifth must not count as sent."""
    events = story.two_trials()
    shelf.track(events[:5])
    shutil.rmtree(shelf.folder / "journal")
    shelf.write(events[:4])
    shelf.track([story.begun(30, attempt=2), *events[4:]])
    assert shelf.runs()[""].data.tags["attempt"] == "2"
    assert shelf.history("00000", "val_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_of_two_runs_of_a_trial_the_empty_one_goes(shelf: Shelf) -> None:
    """The answer to a `create_run` was lost, and it was sent again."""
    events = story.two_trials()
    shelf.track(events[:6])
    run = shelf.runs()["00000"]
    shelf.client.create_run(run.info.experiment_id, tags=run.data.tags, start_time=run.info.start_time)
    shelf.track(events[6:])
    assert shelf.runs()["00000"].info.run_id == run.info.run_id


def test_a_second_study_of_the_same_name_has_runs_of_its_own(shelf: Shelf, tmp_path: Path) -> None:
    shelf.track(story.two_trials())
    shelf.folder = tmp_path / "again"
    shelf.folder.mkdir()
    later = [replace(event, t=event.t + 1000) for event in story.two_trials()]
    shelf.track(later)
    experiment = shelf.client.get_experiment_by_name("Project")
    assert len(shelf.client.search_runs([experiment.experiment_id])) == 6


def test_a_store_that_is_locked_for_a_while_gets_everything(shelf: Shelf) -> None:
    shelf.write(story.two_trials())
    other = sqlite3.connect("mlflow.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    unlock = threading.Timer(0.5, other.close)  # rolls back
    unlock.start()
    assert shelf.tracker().finish(60) == 0
    unlock.join()
    assert sorted(shelf.runs()) == ["", "00000", "00001"]


def test_sweeps_at_the_same_time_share_one_store(shelf: Shelf, tmp_path: Path) -> None:
    trackers, events = [], story.two_trials()
    for number in range(3):
        study = replace(shelf, folder=tmp_path / f"study-{number}")
        study.folder.mkdir()
        study.facts = replace(shelf.facts, study=study.folder.name)
        study.write(events)
        trackers.append(study.tracker())
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda tracker: tracker.finish(60), trackers)) == [0, 0, 0]
    experiment = shelf.client.get_experiment_by_name("Project")
    assert len(shelf.client.search_runs([experiment.experiment_id])) == 9


def test_a_store_that_cannot_be_used_costs_the_sweep_nothing(shelf: Shelf) -> None:
    """No such dialect, no such driver: the tracker says so at the end, and how much it holds."""
    shelf.write(story.two_trials())
    tracker = shelf.tracker(uri="nosuchstore://somewhere")
    assert tracker.finish(60) == len(story.two_trials())
    assert "nosuchstore" in tracker.trouble
    assert tracker.link == ""


def test_what_mlflow_refuses_is_counted_and_the_rest_is_sent(shelf: Shelf) -> None:
    tracker, events = shelf.tracker(), story.two_trials()
    shelf.write(events[:5])
    tracker.advance()
    assert tracker.unsent == 0
    shelf.client.delete_run(shelf.runs()["00001"].info.run_id)
    shelf.write(events[5:])
    assert tracker.finish(60) == 0
    assert tracker.refused >= 1
    assert tracker.trouble.startswith("refused: ")
    assert shelf.runs()["00000"].info.status == "FINISHED"


def test_artifacts_that_cannot_be_written_do_not_hold_up_the_numbers(shelf: Shelf) -> None:
    """The experiment was made through a server, and the store is now opened as a file."""
    shelf.client.create_experiment("Project", artifact_location="mlflow-artifacts:/1")
    tracker = shelf.track(story.two_trials())
    assert tracker.trouble.startswith("refused: artifact ")
    assert {run.info.status for run in shelf.runs().values()} == {"FINISHED"}
    assert shelf.history("00000", "val_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_folder_that_takes_no_cursor_does_not_stop_the_sending(shelf: Shelf) -> None:
    (shelf.folder / "tracking.tmp").mkdir()  # the draft cannot be written, even by root
    tracker = shelf.track(story.two_trials())
    assert "tracking.json" in tracker.trouble


def test_a_slow_store_is_waited_for_as_long_as_it_makes_progress(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times as long as it may take to do nothing."""
    write, left = Store.write, list[int]()

    def slowly(*args: Any, **options: Any) -> None:
        time.sleep(0.2)
        write(*args, **options)

    monkeypatch.setattr(Store, "write", slowly)
    shelf.write([story.begun(), *(event for number in range(15) for event in story.asked(f"{number:05d}"))])
    assert shelf.tracker(on_progress=left.append).finish(1.0) == 0
    assert left == [31] * 16


def test_a_store_too_slow_for_what_is_left_is_named_as_the_reason(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call answers, but all of them together take too long; the next tracker begins where this ended."""
    monkeypatch.setattr("raysweep.tracking.tracker.LONGEST_S", 0.0)
    monkeypatch.setattr("raysweep.tracking.tracker.CHUNK", 5)
    events = story.two_trials()
    shelf.write(events)
    tracker = shelf.tracker()
    assert tracker.finish(0.0) == len(events)
    assert tracker.trouble == f"{shelf.uri} is too slow for what is left"
    monkeypatch.undo()
    assert shelf.tracker().finish(60) == 0
    assert shelf.history("00000", "val_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_damaged_journal_is_sent_up_to_the_damage(shelf: Shelf) -> None:
    events = story.two_trials()
    shelf.write(events[:7])
    shelf.write(events[7:])
    segment = shelf.folder / "journal" / "000002.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"00001", b"00002", 1))
    tracker = shelf.tracker()
    assert tracker.finish(60) == 1
    assert tracker.trouble == f"{segment}:3: damaged line: its checksum does not match"
    assert json.loads((shelf.folder / "tracking.json").read_text())["sent"] == 8


def test_an_epoch_passes_five_modules_from_the_journal_to_the_store(shelf: Shelf) -> None:
    """docs/architecture.md lists the way; `records` is the fold that every reader of the journal has."""
    shelf.track([story.begun(), *story.asked("00000")])
    shelf.write([story.reported("00000", 1, 0.123456789)])
    tracker, modules = shelf.tracker(), set[str]()

    def note_module(frame: FrameType, kind: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if kind == "call" and module.startswith("raysweep."):
            names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
            if any("0.123456789" in repr(frame.f_locals[name]) for name in names if name != "self"):
                modules.add(module)

    sys.setprofile(note_module)
    try:
        tracker.advance()
    finally:
        sys.setprofile(None)
    assert shelf.history("00000", "val_loss") == [(1, 0.123456789)]
    assert modules == {
        "raysweep.study.journal.log",
        "raysweep.study.journal.records",
        "raysweep.tracking.projection",
        "raysweep.tracking.store",
        "raysweep.tracking.tracker",
    }
