"""ASHA's rungs, ranks, promotions and brackets."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulers import ASHARule, Continue, Pause, Report, Stop
from schedulers.asha import rung_levels


def arrive(rule: ASHARule, losses: list[float], resource: int = 1) -> Any:
    """Trials 00000, 00001, ... report these losses at a resource, in this order."""
    return [rule.report(Report(f"{n:05d}", resource, loss)) for n, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("settings", "levels"),
    [
        ((1, 3, 27), [1, 3, 9]),
        ((1, 4, 100), [1, 4, 16, 64]),
        ((4, 4, 50), [4, 16]),
        ((10, 2, 10), []),
        ((1, 1.5, 6), [1, 2, 3, 5]),
    ],
)
def test_rungs_grow_by_eta_below_R(settings: Any, levels: Any) -> None:
    assert rung_levels(*settings) == levels


@pytest.mark.parametrize(
    ("earlier", "mine", "decision"),
    [
        ([], 0.5, Continue),  # the first to arrive has no rival
        ([0.4], 0.5, Stop),
        ([0.5], 0.4, Continue),
        ([0.5, 0.6], 0.4, Continue),
        ([0.1, 0.2, 0.4, 0.5, 0.6], 0.3, Stop),  # third of six, top two go on
        ([0.1, 0.3, 0.4, 0.5, 0.6], 0.2, Continue),
        ([0.5], 0.5, Stop),  # of equals the first goes on, else ties would let everybody through
    ],
)
def test_a_trial_survives_a_rung_in_the_top_fraction(earlier: Any, mine: float, decision: type[Any]) -> None:
    """With eta 3, max(n // 3, 1) of a rung go on, the newcomer counted."""
    rule = ASHARule(max_resource=9, reduction_factor=3)
    assert isinstance(arrive(rule, [*earlier, mine])[-1], decision)


def test_the_decision_says_rank_and_cut() -> None:
    rule = ASHARule(max_resource=27, reduction_factor=3, grace_period=9)
    decisions = arrive(rule, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.41], resource=9)
    assert decisions[-1] == Stop("rung 9: loss 0.41 ranks 5 of 7, top 2 go on")


def test_nothing_is_decided_between_rungs() -> None:
    rule = ASHARule(max_resource=9, reduction_factor=3)
    arrive(rule, [0.1])
    assert rule.report(Report("00000", 2, 0.9)) == Continue()


def test_sparse_reports_are_recorded_once_at_the_highest_rung_passed() -> None:
    """Reports every 10 epochs, rungs 1, 4, 16, 64: recorded at 10 in rung 4, at 20 in 16, at 30 nowhere."""
    rule = ASHARule(max_resource=100)
    for epoch in (10, 20, 30):
        rule.report(Report("00000", epoch, 1.0 / epoch))
    assert [[entry[0] for entry in rung] for rung in rule.rungs[0]] == [[], [0.1], [0.05], []]


def test_a_diverged_trial_counts_as_the_worst_of_its_next_rung() -> None:
    """Two sound trials and a diverged one make three: with eta 3 the best is promoted."""
    rule = ASHARule(max_resource=9, reduction_factor=3, variant="promotion")
    assert arrive(rule, [0.5, 0.6]) == [
        Pause("rung 1: loss 0.5 ranks 1 of 1, top 0 promoted; waits for its turn"),
        Pause("rung 1: loss 0.6 ranks 2 of 2, top 0 promoted; waits for its turn"),
    ]
    assert rule.resume(["00000", "00001"]) is None
    assert rule.report(Report("00002", 1, float("nan"))) == Stop("loss is nan at epoch 1", "diverged")
    assert rule.resume(["00000", "00001"]).trial_id == "00000"


def run_promotion(losses: list[float], eta: int = 3, max_resource: int = 9) -> tuple[Any, ...]:
    """One worker, Algorithm 2: promote if a trial is promotable, else start a new one."""
    rule = ASHARule(max_resource=max_resource, reduction_factor=eta, variant="promotion")
    names = [f"{n:05d}" for n in range(len(losses))]
    waiting: list[Any] = []
    epochs: dict[Any, Any] = dict.fromkeys(names, 0)
    log: list[Any] = []
    new = iter(names)
    while True:
        resume = rule.resume(waiting)
        if resume is not None:
            rule.resumed(resume)
            waiting.remove(resume.trial_id)
        trial = resume.trial_id if resume is not None else next(new, None)
        if trial is None:
            return rule, epochs, log
        log.append((trial, "promoted" if resume is not None else "new"))
        decision = Continue()
        while isinstance(decision, Continue):
            epochs[trial] += 1
            decision = rule.report(Report(trial, epochs[trial], losses[int(trial)]))  # type: ignore[assignment]
        if isinstance(decision, Pause):
            waiting.append(trial)


def test_algorithm_2_on_nine_configurations() -> None:
    """From r 1 to R 9 with eta 3: successive halving's 9, 3, 1; the others stay at their rungs."""
    rule, epochs, log = run_promotion([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert [len(rung) for rung in rule.rungs[0]] == [9, 3]
    assert Counter(epochs.values()) == {1: 6, 3: 2, 9: 1}
    assert epochs["00000"] == 9
    assert [trial for trial, how in log if how == "promoted"] == ["00000", "00001", "00002", "00000"]


def jobs(losses: list[float], eta: int = 3, max_resource: int = 9) -> str:
    """One worker's jobs under Algorithm 2, `configuration:epochs it is trained to`."""
    rule = ASHARule(max_resource=max_resource, reduction_factor=eta, variant="promotion")
    epochs: dict[Any, Any] = dict.fromkeys(range(1, len(losses) + 1), 0)
    waiting: list[Any] = []
    done: list[Any] = []
    new = iter(epochs)
    while True:
        resume = rule.resume([f"{n:05d}" for n in waiting])
        if resume is not None:
            rule.resumed(resume)
            waiting.remove(int(resume.trial_id))
        config = int(resume.trial_id) if resume is not None else next(new, None)
        if config is None:
            return " ".join(done)
        decision = Continue()
        while isinstance(decision, Continue):
            epochs[config] += 1
            decision = rule.report(Report(f"{config:05d}", epochs[config], losses[config - 1]))  # type: ignore[assignment]
            if epochs[config] in (*rule.levels[0], max_resource):
                done.append(f"{config}:{epochs[config]}")
        if isinstance(decision, Pause):
            waiting.append(config)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (
            [0.3, 0.6, 0.7, 0.65, 0.8, 0.2, 0.9, 0.1, 0.5],
            # 3 came: the top one, 1; 6 came: the top two, 6 and 1; 8 came: the top two, 8 and 6, and the
            # top one of 1, 6, 8 at epoch 3; 9 came: the top three were promoted all.
            "1:1 2:1 3:1 1:3 4:1 5:1 6:1 6:3 7:1 8:1 8:3 8:9 9:1",
        ),
        (
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],  # worsening: one more of the first every three
            "1:1 2:1 3:1 1:3 4:1 5:1 6:1 2:3 7:1 8:1 9:1 3:3 1:9",
        ),
    ],
)
def test_algorithm_2_job_by_job(losses: list[float], expected: str) -> None:
    """The bracket of the paper's figures: nine configurations, r 1, eta 3, R 9."""
    assert jobs(losses) == expected


def test_each_new_best_is_promoted_on_arrival() -> None:
    """Algorithm 2 is asynchronous: in improving order every arrival after the first two is a top third."""
    rule, _, _ = run_promotion([0.9, 0.8, 0.7, 0.6, 0.5])
    assert [entry[1] for entry in rule.rungs[0][1]] == ["00004", "00003", "00002"]


def test_the_highest_rung_is_promoted_first() -> None:
    rule = ASHARule(max_resource=9, reduction_factor=2, variant="promotion")
    for trial, epoch, loss in [("00000", 1, 0.5), ("00001", 1, 0.4), ("00002", 1, 0.9), ("00003", 1, 0.45)]:
        rule.report(Report(trial, epoch, loss))
    for trial, loss in [("00001", 0.4), ("00003", 0.3)]:
        rule.report(Report(trial, 2, loss))
    paused = ["00000", "00001", "00002"]
    rule.report(Report("00004", 1, 0.47))
    rule.report(Report("00005", 1, 0.99))  # six in rung 1: the third, 00004, became promotable too
    assert "rung 1:" in rule.resume([*paused, "00004"]).reason
    rule.report(Report("00004", 2, 0.9))
    rule.report(Report("00006", 2, 0.8))  # four in rung 2: 00001 is its second
    resume = rule.resume([*paused, "00004"])
    assert resume.trial_id == "00001"
    assert resume.reason == "promoted from rung 2: loss 0.4 ranks 2 of 4, top 2 promoted"


def test_a_trial_that_ends_while_it_waits_leaves_its_place() -> None:
    rule = ASHARule(max_resource=9, reduction_factor=2, variant="promotion")
    arrive(rule, [0.1, 0.2, 0.3])
    rule.end("00000", "failed")
    assert rule.resume(["00001", "00002"]) is None  # second of three: the top one was the one that failed
    rule.report(Report("00003", 1, 0.4))
    assert rule.resume(["00001", "00002", "00003"]).trial_id == "00001"


def test_a_trial_lost_while_it_paused_pauses_again() -> None:
    """Its worker died before the checkpoint was complete: run again, it must not run past its rung."""
    rule = ASHARule(max_resource=9, variant="promotion")
    arrive(rule, [0.1, 0.2])
    assert isinstance(rule.report(Report("00001", 1, 0.2)), Pause)


def test_a_trial_nobody_promoted_ends_with_its_rank() -> None:
    rule = ASHARule(max_resource=9, reduction_factor=3, variant="promotion")
    arrive(rule, [0.1, 0.2, 0.3, 0.4])
    assert rule.last_decision("00003") == Stop("rung 1: ranks 4 of 4, top 1 promoted")


@given(trial=st.integers(0, 10**6), seed=st.integers(0, 100))
def test_a_bracket_depends_on_seed_and_trial_alone(trial: int, seed: int) -> None:
    rule = ASHARule(max_resource=81, reduction_factor=3, brackets=3, seed=seed)
    other = ASHARule(max_resource=81, reduction_factor=3, brackets=3, seed=seed)
    other.report(Report("00042", 1, 0.5))
    assert rule.bracket(f"{trial:05d}") == other.bracket(f"abc_{trial:05d}")


def test_brackets_share_trials_as_hyperband_does() -> None:
    """Rungs 4, 3, 2 with eta 3: 81/5, 27/4 and 9/3 of 25.95."""
    rule = ASHARule(max_resource=81, reduction_factor=3, brackets=3)
    counts = Counter(rule.bracket(f"{n:05d}") for n in range(3000))
    for bracket, share in enumerate([16.2, 6.75, 3.0]):
        assert counts[bracket] / 3000 == pytest.approx(share / 25.95, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"grace_period": 30},
            "grace_period (30) must lie between 1 and the epochs (27), "
            "else no trial reaches a rung; lower it",
        ),
        *(
            (
                {"reduction_factor": eta},
                f"reduction_factor ({eta}) must be at least 1.1, and finite: "
                "the best 1/reduction_factor of a rung go on; 3 or 4 are usual",
            )
            for eta in (0, 1, 1.0000001, math.inf, math.nan)
        ),
        ({"brackets": 9}, "brackets (9) must lie between 1 and the number of rungs (3)"),
        ({"variant": "sideways"}, "variant is 'stopping' or 'promotion', not 'sideways'"),
        ({"objective": "worst"}, "objective is 'last' or 'best', not 'worst'"),
        ({"max_resource": 0}, "max_resource (0) must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_say_why(settings: Any, message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        ASHARule(**{"max_resource": 27, **settings})
    assert str(error.value) == message
