"""Racing: which candidates are dropped, when, and that the best one stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from schedulers import RacingRule, Report
from schedulers.racing import eliminated

QUICK = {"1": 0.10, "2": 0.11, "3": 0.09}


@pytest.mark.parametrize(
    ("losses", "out"),
    [
        ({"1": 0.50, "2": 0.52, "3": 0.50}, True),  # worse by 0.4, always
        ({"1": 0.50, "2": 0.52}, False),  # two differences are not enough
        ({"1": 0.12, "2": 0.10, "3": 0.13}, False),  # worse on average, by no more than the noise
        ({"1": 0.05, "2": 0.06, "3": 0.04}, False),  # better
        ({"1": 0.10, "2": 0.11, "3": 0.09}, False),  # equal to the last bit
        ({"1": 0.11, "2": 0.12, "3": 0.10}, True),  # worse by the same every time: no noise at all
        ({"4": 9.0, "5": 9.0, "6": 9.0}, False),  # other seeds: nothing can be paired
        ({"1": math.inf}, True),  # diverged where the other did not
        ({"4": math.inf}, False),  # where the other has not been yet
    ],
)
def test_a_candidate_is_out_once_a_paired_test_is_sure(losses: dict[str, Any], out: bool) -> None:
    assert ("slow" in eliminated({"quick": QUICK, "slow": losses}, rivals=1)) is out


def test_more_rivals_ask_for_more_certainty() -> None:
    """Bonferroni: with many candidates some look worse by chance."""
    results = {"quick": QUICK, "slow": {"1": 0.16, "2": 0.19, "3": 0.155}}
    assert eliminated(results, rivals=1)
    assert not eliminated(results, rivals=20)


def test_pairing_sees_what_the_plain_losses_hide() -> None:
    """Seeds differ far more than candidates; seed by seed the difference is clear."""
    seeds = {str(n): 10.0 * n for n in range(5)}
    worse = {seed: loss + 1 + 0.01 * int(seed) for seed, loss in seeds.items()}
    assert eliminated({"a": seeds, "b": worse}, rivals=1).keys() == {"b"}


def test_the_best_candidate_is_dropped_no_more_often_than_alpha() -> None:
    """Four candidates, one of them slightly better, 400 races of up to 10 seeds, tested after each."""
    rng, dropped = np.random.default_rng(0), 0
    for _ in range(400):
        losses = rng.normal([0.0, 0.05, 0.05, 0.05], 1.0, (10, 4))
        dropped += any(
            "0" in eliminated({str(c): dict(enumerate(losses[:n, c])) for c in range(4)}, rivals=3)  # type: ignore[arg-type]
            for n in range(3, 11)
        )
    assert dropped / 400 <= 0.05


def test_a_clear_loser_among_noisy_ones_is_dropped_soon() -> None:
    rng, rounds = np.random.default_rng(1), []
    for _ in range(50):
        losses = rng.normal([0.0, 0.2, 20.0], 1.0, (10, 3))
        rounds.append(
            next(
                n
                for n in range(3, 11)
                if "2" in eliminated({str(c): dict(enumerate(losses[:n, c])) for c in range(3)}, rivals=2)  # type: ignore[arg-type]
            )
        )
    assert np.mean(rounds) < 4.5


def play(rule: RacingRule, trial: str, candidate: str, seed: int, loss: float) -> Any:
    return rule.report(
        Report(trial, rule.max_resource, loss, {"trial.candidate": candidate, "trial.seed": seed})
    )


def test_the_running_trials_of_a_loser_stop_at_their_next_epoch() -> None:
    rule = RacingRule(max_resource=2)
    config = {"trial.candidate": "slow", "trial.seed": 4}
    rule.report(Report("late", 1, 0.6, config))
    for seed in (1, 2, 3):
        play(rule, f"q{seed}", "quick", seed, QUICK[str(seed)])
        play(rule, f"s{seed}", "slow", seed, 0.5 + 0.01 * seed)
    decision = rule.report(Report("late", 2, 0.5, config))
    assert (decision.ending, decision.reason[:13]) == ("stopped", "lost to quick")


def test_a_trial_that_another_hand_stopped_is_no_result() -> None:
    """Only whole trainings can be compared."""
    rule = RacingRule(max_resource=5)
    rule.report(Report("a", 1, 0.5, {"trial.candidate": "x", "trial.seed": 1}))
    rule.end("a", "stopped")
    assert rule.results == {}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"alpha": 0.0}, "alpha (0.0) must be between 0 and 1"), ({"min_blocks": 1}, "min_blocks (1) must be")],
)
def test_settings_that_mean_nothing_are_refused(kwargs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        RacingRule(max_resource=3, **kwargs)
