"""What an audit found, read off a study's record."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.study.journal.events import Event
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.results.stop_audit import audit
from schedulers.asha import ASHARule
from schedulers.reason import ReasonCode
from schedulers.stop_audit import AuditedRule
from tests.builders import epoch_reported, small_sweep, trial_created, trial_ended
from tests.study.slot import Slot

R = 6
SWEEP = small_sweep(trials=12, epochs=R)
Trial = tuple[str, int, int, float | None]  # outcome, epochs run, epoch of its audit (0: none), loss


def record_of(trials: list[Trial]) -> StudyRecord:
    """The record of a study whose trials ended so."""
    events: list[Event] = []
    for number, (outcome, epochs, at, loss) in enumerate(trials):
        trial = f"{number:05d}"
        events.append(trial_created(trial))
        for epoch in range(1, epochs + 1):
            code = ReasonCode.AUDITED if epoch == at else ReasonCode.RULE
            events.append(epoch_reported(trial, epoch, loss, reason="rung 1", code=code))
        events.append(trial_ended(trial, outcome))
    return fold(events)


KEPT: Trial = ("completed", R, 0, 0.5)


@pytest.mark.parametrize(
    ("trials", "judged", "false_stops", "regret"),
    [
        ([KEPT, ("completed", R, 2, 0.7)], 1, (), 0.0),  # rightly stopped
        ([KEPT, ("completed", R, 2, 0.25)], 1, ("00001",), 0.25),  # the rule would have lost the best
        ([KEPT, ("completed", R, 2, 0.4), ("completed", R, 1, 0.25)], 2, ("00002", "00001"), 0.25),
        ([KEPT, ("diverged", 4, 2, None)], 1, (), 0.0),  # nothing would have come of it
        ([KEPT, ("failed", 4, 2, 0.1)], 0, (), None),  # its end is not known
        ([("completed", R, 2, 0.25)], 0, (), None),  # nothing to compare it with
        ([KEPT, ("stopped", 2, 0, 0.1)], 0, (), None),  # not audited
    ],
)
def test_a_stop_was_false_if_the_trial_beat_the_best_that_was_let_finish(
    trials: list[Trial], judged: int, false_stops: tuple[str, ...], regret: float | None
) -> None:
    result = audit(record_of(trials), R)
    assert (result.judged, result.false_stops, result.regret) == (judged, false_stops, regret)


@pytest.mark.parametrize(
    ("losses", "ok", "message"),
    [
        ([], None, ""),
        ([0.7], True, "nothing was lost among them"),
        (
            [0.7, 0.498],
            True,
            "trial 2 beats the best finished trial by 0.002 (0.4%), too little to matter",
        ),
        (
            [0.4],
            False,
            "trial 1 beats the best finished trial by 0.1 (25%), so the best was lost",
        ),
        (
            [0.0],
            False,
            "trial 1 beats the best finished trial by 0.5, so the best was lost",
        ),
    ],
)
def test_an_audit_says_whether_what_finished_is_as_good(
    losses: list[float], ok: bool | None, message: str
) -> None:
    """The rule let a trial finish at 0.5; the audited ended at these losses."""
    result = audit(record_of([KEPT, *[("completed", R, 2, loss) for loss in losses]]), R)
    assert (result.ok, result.loss_sentence) == (ok, message)


def test_epochs_saved_are_the_stoppeds_and_epochs_spent_the_auditeds() -> None:
    result = audit(
        record_of([KEPT, ("stopped", 2, 0, 1.0), ("stopped", 1, 0, 1.0), ("completed", R, 2, 1.0)]), R
    )
    assert (result.stopped, result.audited) == (2, 1)
    assert (result.epochs_saved, result.epochs_spent) == (4 + 5, 4)


def test_the_rate_comes_with_what_it_may_be_at_most() -> None:
    result = audit(record_of([KEPT, *[("completed", R, 2, 0.7)] * 9, ("completed", R, 2, 0.1)]), R)
    assert result.false_stop_rate == 0.1
    assert result.at_most == pytest.approx(0.348, abs=0.001)
    assert audit(record_of([KEPT]), R).false_stop_rate is None


def test_audited_trials_end_as_completed_and_the_searcher_is_told(
    tmp_path: Path,
) -> None:
    rule = AuditedRule(ASHARule(max_resource=R, reduction_factor=2), audit_fraction=0.5)
    slot = Slot(tmp_path, SWEEP, rule)
    for _ in slot.run():
        pass
    record = fold(read_events(tmp_path / "journal"))
    audited = {name for name, trial in record.trials.items() if trial.audited is not None}
    assert audited == set(rule.audited) != set()
    for name in audited:
        assert slot.searcher.told[name] == record.trials[name].outcome in ("completed", "diverged")
    assert audit(record, R).audited == len(audited)
