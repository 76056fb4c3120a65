"""ASHA's stopping variant against Ray's own on random curves: they differ only by the cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from schedulers import ASHARule, Continue, Report
from schedulers.asha import _rank

TRIALS, R = 80, 27


def curves(seed: int) -> NDArray[Any]:
    """Dense, finite curves that cross occasionally: a level, a decay, and a random walk around both."""
    rng = np.random.default_rng(seed)
    level, decay = rng.lognormal(size=(2, TRIALS, 1))
    walk = 0.1 * rng.standard_normal((TRIALS, R)).cumsum(axis=1)
    return level + np.exp(-decay * np.arange(1, R + 1)) + walk


def both(seed: int, eta: int, grace: int) -> Iterator[Any]:
    """Every decision at a rung: (whether both agree, rank, number that go on by the rule's cut)."""
    rule = ASHARule(max_resource=R, reduction_factor=eta, grace_period=grace)
    theirs = ASHAScheduler(
        time_attr="epoch", metric="loss", mode="min", max_t=R, reduction_factor=eta, grace_period=grace
    )
    rng = np.random.default_rng(seed)
    table = curves(seed)
    trials = [SimpleNamespace(trial_id=f"{n:05d}") for n in range(TRIALS)]
    for trial in trials:
        theirs.on_trial_add(None, trial)
    new, epochs = list(range(TRIALS)), [0] * TRIALS
    running: list[Any] = []
    while running or new:
        while new and len(running) < 8:
            running.append(new.pop(0))
        n = running[int(rng.integers(len(running)))]  # whoever of eight workers is the next to report
        epochs[n] += 1
        loss = float(table[n, epochs[n] - 1])
        decision = rule.report(Report(trials[n].trial_id, epochs[n], loss))
        answer = theirs.on_trial_result(None, trials[n], {"epoch": epochs[n], "loss": loss})
        goes_on = isinstance(decision, Continue)
        if epochs[n] in rule.levels[0]:
            rung = rule.rungs[0][rule.levels[0].index(epochs[n])]
            agree = goes_on == (answer == TrialScheduler.CONTINUE)
            yield agree, _rank(rung, loss, trials[n].trial_id), max(int(len(rung) / eta + 1e-9), 1)
        if not goes_on:
            running.remove(n)


@pytest.mark.parametrize(("eta", "grace"), [(2, 1), (3, 1), (3, 3), (4, 1), (4, 4)])
def test_every_disagreement_lies_within_two_ranks_of_the_cut(
    eta: int, grace: int, record_property: Callable[..., Any]
) -> None:
    """Ray interpolates a percentile of the earlier trials; ours counts ranks, including the newcomer's."""
    decisions = [decision for seed in range(20) for decision in both(seed, eta, grace)]
    apart = [abs(rank - top) for agree, rank, top in decisions if not agree]
    agreement = 1 - len(apart) / len(decisions)
    record_property("agreement", agreement)
    print(f"eta {eta}, grace {grace}: {agreement:.1%} of {len(decisions)} decisions agree")
    assert max(apart) <= 2
    assert agreement > 0.9
