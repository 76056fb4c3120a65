"""The audit: a few trials that a rule would stop run on, and all others are decided on as without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from schedulers import ASHARule, Continue, FIFORule, Pause, Report, Resume, Stop, SuccessiveHalvingRule
from schedulers.pfl import PFLRule
from schedulers.reason import ReasonCode
from schedulers.simulate import replay
from schedulers.stop_audit import AuditedRule, with_audit

R = 9


def stopping() -> ASHARule:
    return ASHARule(max_resource=R, reduction_factor=3)


def promotion() -> ASHARule:
    return ASHARule(max_resource=R, reduction_factor=3, variant="promotion")


def halving() -> SuccessiveHalvingRule:
    return SuccessiveHalvingRule(max_resource=R, reduction_factor=3, population_size=40)


def predictive() -> PFLRule:
    return PFLRule(max_resource=R, population_size=40)


def name(number: int) -> str:
    return f"{number:05d}"


CURVES = [[1.0 + 0.1 * ((7 * trial) % 40) - 0.01 * epoch for epoch in range(R)] for trial in range(40)]


@pytest.mark.parametrize("make", [stopping, promotion, halving, predictive])
def test_the_decisions_on_everybody_else_are_those_without_the_audit(make: Callable[..., Any]) -> None:
    """Trials that finish without the audit finish with it, too, and the audited ones in addition."""
    plain = replay(make(), CURVES)
    rule = AuditedRule(make(), audit_fraction=0.2)
    replayed = replay(rule, CURVES)
    let_on = {int(trial) for trial in rule.audited}
    assert 2 <= len(let_on) <= 14
    assert set(replayed.finished) == set(plain.finished) | let_on
    assert {trial: replayed.stopped[trial][0] for trial in replayed.stopped} == {
        trial: plain.stopped[trial][0] for trial in plain.stopped if trial not in let_on
    }
    assert replayed.epochs - plain.epochs == sum(R - epoch for epoch, _ in rule.audited.values())


def test_an_audited_trial_hears_why_it_would_have_been_stopped() -> None:
    rule = AuditedRule(stopping(), audit_fraction=1)
    rule.report(Report(name(0), 1, 0.1))
    why = "rung 1: loss 0.2 ranks 2 of 2, top 1 goes on"
    assert rule.report(Report(name(1), 1, 0.2)) == Continue(why, code=ReasonCode.AUDITED)
    assert [rule.report(Report(name(1), epoch, 0.2)) for epoch in range(2, R)] == [Continue()] * (R - 2)
    end = f"audit: finished all {R} epochs; would have been stopped at epoch 1: {why}"
    assert rule.report(Report(name(1), R, 0.2)) == Stop(end, "completed")
    assert rule.endings[name(1)] == "completed"
    assert rule.rule.endings[name(1)] == "stopped"


@pytest.mark.parametrize(
    ("loss", "fraction", "decision"),
    [
        (0.3, 0, Stop("rung 1: loss 0.3 ranks 2 of 2, top 1 goes on")),  # nobody is drawn
        (float("inf"), 1, Stop("loss is inf at epoch 1", "diverged")),  # no matter of an audit
        (0.1, 1, Continue("rung 1: loss 0.1 ranks 1 of 2, top 1 goes on")),  # nobody would stop it
    ],
)
def test_only_a_stop_is_audited(loss: float, fraction: int, decision: Any) -> None:
    rule = AuditedRule(stopping(), audit_fraction=fraction)
    rule.report(Report(name(0), 1, 0.2))
    assert rule.report(Report(name(1), 1, loss)) == decision
    assert rule.audited == {}


def test_an_audited_trial_that_diverges_ends_so() -> None:
    rule = AuditedRule(stopping(), audit_fraction=1)
    rule.report(Report(name(0), 1, 0.1))
    rule.report(Report(name(1), 1, 0.2))
    assert rule.report(Report(name(1), 2, None)) == Stop("loss is None at epoch 2", "diverged")


def test_who_was_ended_by_another_hand_is_not_audited() -> None:
    rule = AuditedRule(stopping(), audit_fraction=1)
    rule.report(Report(name(0), 2, 0.1))
    rule.end(name(0), "stopped")
    assert rule.report(Report(name(0), 1, 0.1)).ending == "stopped"


def test_the_lot_depends_on_the_seed_and_the_trial_alone() -> None:
    def drawn(seed: int, trials: Any) -> set[str]:
        rule = AuditedRule(stopping(), audit_fraction=0.3, audit_seed=seed)
        rule.report(Report("first", 1, 0.0))
        for trial in trials:
            rule.report(Report(name(trial), 1, 1.0))
        return set(rule.audited)

    assert drawn(1, range(100)) == drawn(1, reversed(range(100)))
    assert drawn(1, range(100)) != drawn(2, range(100))
    assert 15 <= len(drawn(1, range(100))) <= 45


def test_who_waits_for_ever_is_audited_once_that_is_certain() -> None:
    """Not while a new or running trial could still promote it."""
    rule = AuditedRule(promotion(), audit_fraction=1)
    for trial in range(3):
        rule.report(Report(name(trial), 1, 0.1 * (trial + 1)))
    waiting = [name(0), name(1), name(2)]
    rule.resumed(rule.resume(waiting))  # type: ignore[arg-type]  # one of three is promoted
    assert rule.resume(waiting[1:]) is None
    rule.no_more_trials(waiting)
    assert rule.resume(waiting[1:]) is None  # the first still runs
    rule.end(name(0), "completed")
    resume = rule.resume(waiting[1:])
    assert resume == Resume(name(1), "rung 1: ranks 2 of 3, top 1 promoted", code=ReasonCode.AUDITED)
    rule.resumed(resume)
    assert rule.resume([name(2)]).trial_id == name(2)  # the audited one runs, and is no matter of the rule


def test_a_loser_that_the_rule_calls_hopeless_is_audited_at_once() -> None:
    halved = SuccessiveHalvingRule(max_resource=R, reduction_factor=2, population_size=2)
    rule = AuditedRule(halved, audit_fraction=1)
    assert isinstance(rule.report(Report(name(0), 1, 0.2)), Pause)
    assert isinstance(rule.report(Report(name(1), 1, 0.1)), Continue)
    assert halved.next_unresumable([name(0)]) == name(0)
    assert rule.next_unresumable([name(0)]) is None
    assert rule.resume([name(0)]).code is ReasonCode.AUDITED


def test_an_audited_trial_that_gave_way_goes_on_after_the_rules_own() -> None:
    rule = AuditedRule(promotion(), audit_fraction=1)
    for trial in range(2):
        assert isinstance(rule.report(Report(name(trial), 1, 0.1 * (trial + 1))), Pause)
    rule.no_more_trials([name(0), name(1)])
    rule.resumed(rule.resume([name(0), name(1)]))  # type: ignore[arg-type]
    assert rule.resume([name(0)]) == Resume(name(0), "its turn again")
    before = rule.state()
    rule.resumed(Resume(name(0), "its turn again"))
    assert rule.state() == before


def test_state_saved_and_loaded_knows_the_audited() -> None:
    rule, fresh = (AuditedRule(stopping(), audit_fraction=1) for _ in range(2))
    for trial in range(3):
        rule.report(Report(name(trial), 1, 0.1 * trial))
    fresh.load(json.loads(json.dumps(rule.state())))
    assert fresh.state() == rule.state()
    assert fresh.report(Report(name(2), R, 0.2)) == rule.report(Report(name(2), R, 0.2))


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_that_is_no_share_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"audit_fraction \(.*\) must lie in \[0, 1\]"):
        with_audit(FIFORule(max_resource=R), fraction)


def test_without_a_fraction_the_rule_is_left_as_it_is() -> None:
    rule = stopping()
    assert with_audit(rule, 0.0) is rule


def test_scheduler_classes_take_the_fraction_and_the_rules_own_seed() -> None:
    import schedulers

    scheduler = schedulers.ASHA(max_resource=R, seed=7, audit_fraction=0.05)
    assert (scheduler.rule.audit_fraction, scheduler.rule.audit_seed) == (0.05, 7)  # type: ignore[attr-defined]
    assert schedulers.FIFO(max_resource=R, audit_fraction=0.05, audit_seed=3).rule.audit_seed == 3  # type: ignore[attr-defined]
