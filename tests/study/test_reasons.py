"""A reason is for people: of any wording it changes nothing of what a study does, replays or counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from raysweep.study.journal.events import EpochReported
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.results.stop_audit import audit
from schedulers.rule import Continue, Decision, Pause, Report, Resume, Rule, Stop
from tests.builders import small_sweep
from tests.study.slot import Slot

SWEEP = small_sweep(trials=5, epochs=4)
REASONS = (
    "fine so far",
    "",
    "breaks the constraint latency <= 5: tolerated once",
    "not run: the same configuration as trial 0",
    "audit: would have been stopped: by my own audit",
    "the study ended: for this trial, that is",
    "time budget of my own used up",
    "it raised an error or its worker was lost",
    "lost its worker 3 times without a new epoch",
    "not fit to run: []",
    "the checkpoint is damaged",
)


class Talkative(Rule):
    """A rule made by the recipe of CONTRIBUTING.md: it decides by number, and says what it likes.

    Trials with an odd number stop at epoch 2, trial 2 is paused there and goes on, the others go on.
    """

    def __init__(self, *, reason: str, max_resource: int) -> None:
        super().__init__(max_resource=max_resource)
        self.words = reason
        self.losses: dict[str, list[float | None]] = {}

    def memory(self) -> tuple[str, ...]:
        return (*super().memory(), "losses")

    def judge(self, report: Report) -> Decision:
        self.losses.setdefault(report.trial_id, []).append(report.loss)
        if report.resource == 2 and int(report.trial_id) % 2:
            return Stop(self.words)
        if report.resource == 2 and int(report.trial_id) == 2:
            return Pause(self.words)
        return Continue(self.words)

    def resume(self, paused: Any) -> Resume | None:
        return Resume(paused[0], self.words) if paused else None


def run(folder: Path, reason: str) -> Slot:
    slot = Slot(folder, SWEEP, Talkative(reason=reason, max_resource=4))
    for _ in slot.run():
        pass
    return slot


def story(folder: Path) -> list[Any]:
    """What the journal says beside the sentences."""
    return [
        (
            type(event).__name__,
            getattr(event, "trial", ""),
            getattr(event, "epoch", 0),
            getattr(event, "decision", ""),
            getattr(event, "outcome", ""),
        )
        for event in read_events(folder / "journal")
    ]


@pytest.mark.parametrize("reason", REASONS)
def test_a_rule_is_rebuilt_whatever_its_reasons_say(tmp_path: Path, reason: str) -> None:
    slot = Slot(tmp_path / "lived", SWEEP, Talkative(reason=reason, max_resource=4))
    for _ in slot.run():
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "lived", tmp_path / "copy")
        again = Slot(tmp_path / "copy", SWEEP, Talkative(reason=reason, max_resource=4))
        assert again.rule.state() == slot.rule.state()
    assert {trial: len(losses) for trial, losses in again.rule.state()["losses"].items()} == {
        "00000": 3,  # its fourth loss is no number
        "00001": 2,
        "00002": 4,
        "00003": 2,
        "00004": 4,
    }


@pytest.mark.parametrize("reason", REASONS)
def test_a_study_goes_the_same_way_whatever_the_reasons_say(tmp_path: Path, reason: str) -> None:
    run(tmp_path / "plain", "plain")
    run(tmp_path / "other", reason)
    assert story(tmp_path / "other") == story(tmp_path / "plain")


@pytest.mark.parametrize("reason", REASONS)
def test_stops_and_audits_are_counted_whatever_the_reasons_say(tmp_path: Path, reason: str) -> None:
    run(tmp_path / "study", reason)
    record = fold(read_events(tmp_path / "study" / "journal"))
    result = audit(record, SWEEP.run.epochs)
    assert [trial.audited for trial in record.trials.values()] == [None] * 5
    assert sum(trial.stopped_by_rule for trial in record.trials.values()) == 2
    assert (result.stopped, result.audited, result.epochs_saved) == (2, 0, 4)
    assert {
        event.reason
        for event in read_events(tmp_path / "study" / "journal")
        if isinstance(event, EpochReported) and event.epoch < 4
    } == {reason}
