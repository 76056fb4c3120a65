"""Successive halving's counts, Hyperband's brackets, and that no trial waits in vain."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulers import Continue, HyperbandRule, Pause, Report, Stop, SuccessiveHalvingRule
from schedulers.hyperband import bracket_plans
from schedulers.simulate import replay


@pytest.mark.parametrize(
    ("R", "eta", "sizes", "counts"),
    [
        (81, 3, "algorithm", [81, 34, 15, 8, 5]),  # Algorithm 1, line 2
        (81, 3, "table", [81, 27, 9, 6, 5]),  # Table 1
        (27, 3, "algorithm", [27, 12, 6, 4]),
        (16, 4, "algorithm", [16, 6, 3]),
        (16, 4, "table", [16, 4, 3]),
    ],
)
def test_brackets_have_the_papers_sizes(R: int, eta: int, sizes: str, counts: list[int]) -> None:
    assert [plan.size for plan in bracket_plans(R, 1, eta, sizes)] == counts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("R", "grace", "eta", "levels"),
    [
        (81, 1, 3, [(1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ()]),  # Table 1
        (27, 3, 3, [(3, 9), (9,), ()]),
        (50, 1, 3, [(2, 6, 17), (6, 17), (17,), ()]),  # R is no power of eta: rounded
        (10, 1, 1.5, [(1, 2, 3, 4, 7), (2, 3, 4, 7), (3, 4, 7), (4, 7), (7,), ()]),
    ],
)
def test_bracket_s_begins_at_R_times_eta_to_the_minus_s(
    R: int, grace: int, eta: float, levels: list[Any]
) -> None:
    assert [plan.levels for plan in bracket_plans(R, grace, eta)] == levels


class Sweep:
    """Trials on a few workers, as the adapter runs them: winners first, then new ones."""

    def __init__(
        self,
        rule: Any,
        loss: Callable[..., Any],
        trials: int,
        *,
        workers: int = 1,
        fate: Any = None,
        closed: bool = True,
    ) -> None:
        self.rule, self.loss, self.fate, self.closed = rule, loss, fate or {}, closed
        self.names = [f"{number:05d}" for number in range(trials)]
        self.new = iter(self.names)
        self.running: list[Any] = []
        self.paused: list[Any] = []
        self.epochs: Counter[Any] = Counter()
        self.ends: dict[Any, Any] = {}
        while self.step(workers):
            pass

    def step(self, workers: int) -> bool:
        """Fill the workers, then train the longest waiting trial for an epoch; False when all have ended."""
        while (hopeless := self.rule.next_unresumable(self.paused)) is not None:
            self.over(hopeless, self.rule.last_decision(hopeless))
        while len(self.running) < workers and (trial := self.next()) is not None:
            self.running.append(trial)
        if not self.running:
            if self.closed:
                self.rule.no_more_trials(self.names)
            return bool(self.paused) and (
                self.rule.resume(self.paused) is not None
                or self.rule.next_unresumable(self.paused) is not None
            )
        self.train(self.running.pop(0))
        return True

    def next(self) -> str | None:
        resume = self.rule.resume(self.paused)
        if resume is None:
            return next(self.new, None)
        self.rule.resumed(resume)
        self.paused.remove(resume.trial_id)
        return resume.trial_id

    def train(self, trial: str) -> None:
        self.epochs[trial] += 1
        fate = self.fate.get((trial, self.epochs[trial]))
        if fate == "failed":
            self.rule.end(trial, "failed")
            self.ends[trial] = "failed"
            return
        loss = math.nan if fate == "nan" else self.loss(int(trial))
        decision = self.rule.report(Report(trial, self.epochs[trial], loss))
        if isinstance(decision, Stop):
            self.over(trial, decision)
        else:
            (self.paused if isinstance(decision, Pause) else self.running).append(trial)

    def over(self, trial: str, decision: Any) -> None:
        self.paused = [other for other in self.paused if other != trial]
        self.rule.end(trial, decision.ending)
        self.ends[trial] = decision.ending


@pytest.mark.parametrize("workers", [1, 4, 64])
def test_one_round_of_hyperband_trains_what_table_1_says(workers: int) -> None:
    """R = 27: brackets 27, 12, 6, 4; how long each trial trains does not depend on the workers."""
    sweep = Sweep(HyperbandRule(max_resource=27), lambda n: n, trials=49, workers=workers)
    assert [sweep.epochs[name] for name in sweep.names] == [
        *[27, 9, 9, *[3] * 6, *[1] * 18],  # 27 from epoch 1: 9 to 3, 3 to 9, 1 to 27
        *[27, 9, 9, 9, *[3] * 8],  # 12 from epoch 3: 4 to 9, 1 to 27
        *[27, 27, *[9] * 4],  # 6 from epoch 9: 2 to 27
        *[27] * 4,
    ]
    assert set(sweep.ends) == set(sweep.names)


def test_after_the_last_bracket_the_first_begins_anew() -> None:
    rule = HyperbandRule(max_resource=9)  # 9, 5, 3
    Sweep(rule, lambda n: n, trials=2 * 17 + 1)
    assert [bracket["members"] for bracket in rule.brackets] == [9, 5, 3, 9, 5, 3, 1]


def test_successive_halving_takes_as_many_as_leave_one_at_the_end() -> None:
    sweep = Sweep(SuccessiveHalvingRule(max_resource=8, reduction_factor=2), lambda n: n, trials=8)
    assert [sweep.epochs[name] for name in sweep.names] == [8, 4, 2, 2, 1, 1, 1, 1]


def test_a_bracket_of_the_whole_sweep_compares_everybody_with_everybody() -> None:
    rule = SuccessiveHalvingRule(max_resource=9, bracket_size=100, population_size=20)
    sweep = Sweep(rule, lambda n: -n, trials=20, closed=False)
    assert Counter(sweep.epochs.values()) == {1: 14, 3: 4, 9: 2}


def arrive(rule: SuccessiveHalvingRule, losses: Any, resource: int = 1) -> Any:
    return [rule.report(Report(f"{n:05d}", resource, loss)) for n, loss in enumerate(losses)]


def test_a_decision_says_bracket_rank_and_cut() -> None:
    rule = SuccessiveHalvingRule(max_resource=3)
    assert arrive(rule, [0.2, 0.1, 0.3]) == [
        Pause("bracket 1, rung 1: waits for the others, 1 of 3 are there"),
        Pause("bracket 1, rung 1: waits for the others, 2 of 3 are there"),
        Stop("bracket 1, rung 1: loss 0.3 ranks 3 of 3, top 1 goes on"),
    ]
    resume = rule.resume(["00000", "00001"])
    assert resume.trial_id == "00001"
    assert resume.reason == "bracket 1, rung 1: loss 0.1 ranks 1 of 3, top 1 goes on"
    assert rule.next_unresumable(["00000", "00001"]) == "00000"
    assert rule.last_decision("00000") == Stop("bracket 1, rung 1: loss 0.2 ranks 2 of 3, top 1 goes on")


def test_the_last_to_come_need_not_pause_if_it_is_among_the_best() -> None:
    rule = SuccessiveHalvingRule(max_resource=3)
    assert isinstance(arrive(rule, [0.2, 0.3, 0.1])[-1], Continue)


def test_of_equals_the_first_goes_on() -> None:
    rule = SuccessiveHalvingRule(max_resource=3)
    arrive(rule, [0.1, 0.1, 0.1])
    assert rule.resume(["00000", "00001"]).trial_id == "00000"


@pytest.mark.parametrize("population", [12, None])
def test_a_bracket_of_the_whole_sweep_keeps_the_best_half_at_each_rung(population: int | None) -> None:
    """12 trials, eta 2, rungs 2 and 4 of 8: 12, 6 and 3, whether or not their number is known beforehand."""
    rule = SuccessiveHalvingRule(
        max_resource=8, grace_period=2, reduction_factor=2, bracket_size="sweep", population_size=population
    )
    losses = np.random.default_rng(0).permutation(12) + 1.0
    outcome = replay(rule, np.repeat(losses[:, None], 8, axis=1).tolist(), workers=4)
    assert len(rule.brackets) == 1
    assert sorted(losses[list(outcome.finished)]) == [1, 2, 3]
    assert sorted(epochs for epochs, _ in outcome.stopped.values()) == 6 * [2] + 3 * [4]


@pytest.mark.parametrize(
    ("population", "message"),
    [
        (12, "bracket 1, rung 2: waits for the others, 1 of 12 are there"),
        (None, "bracket 1, rung 2: waits for the rest of the sweep, 1 is there"),
    ],
)
def test_a_trial_in_a_bracket_of_the_whole_sweep_says_what_it_waits_for(
    population: int | None, message: Any
) -> None:
    rule = SuccessiveHalvingRule(
        max_resource=8, grace_period=2, bracket_size="sweep", population_size=population
    )
    rule.report(Report("00000", 1, 0.5))
    assert rule.report(Report("00000", 2, 0.5)) == Pause(message)


FATES = [("00000", 1, "failed"), ("00001", 1, "nan"), ("00000", 2, "failed"), ("00000", 3, "nan")]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("trial", "epoch", "fate"), FATES)
def test_nobody_waits_for_who_failed_or_diverged(trial: str, epoch: int, fate: str, workers: int) -> None:
    """Before its first report, at its rung, between rungs: the bracket is decided without it."""
    rule = SuccessiveHalvingRule(max_resource=9, population_size=9)
    sweep = Sweep(rule, lambda n: n, trials=9, workers=workers, fate={(trial, epoch): fate}, closed=False)
    assert set(sweep.ends) == set(sweep.names)
    assert "completed" in sweep.ends.values()


def test_a_diverged_member_counts_as_the_worst() -> None:
    """One of three has diverged: only the better of the two others goes on."""
    rule = SuccessiveHalvingRule(max_resource=3)
    arrive(rule, [math.nan, 0.2, 0.1])
    assert rule.endings == {"00000": "diverged"}
    assert rule.next_unresumable(["00001"]) == "00001"


@pytest.mark.parametrize("closed", [True, False])
def test_a_population_that_ends_inside_a_bracket_decides_it_as_it_is(closed: bool) -> None:
    """Eleven trials for brackets of nine: known beforehand by the population's size, or when no more come."""
    population = None if closed else 11
    rule = SuccessiveHalvingRule(max_resource=9, population_size=population)
    sweep = Sweep(rule, lambda n: n, trials=11, closed=closed)
    assert sweep.epochs["00009"] == 9  # of a bracket of two, one goes on
    assert set(sweep.ends) == set(sweep.names)


def test_a_winner_that_ends_before_it_goes_on_keeps_nobody_waiting() -> None:
    rule = SuccessiveHalvingRule(max_resource=9, population_size=9)
    arrive(rule, range(9))
    rule.end("00000", "failed")
    for trial in ("00001", "00002"):
        rule.resumed(rule.resume([trial]))  # type: ignore[arg-type]
        rule.report(Report(trial, 3, 0.5))
    assert rule.resume(["00001"]).trial_id == "00001"


def test_a_trial_lost_while_it_waited_waits_again() -> None:
    """Its worker died before the checkpoint was complete: run again, it must not run past its rung."""
    rule = SuccessiveHalvingRule(max_resource=9)
    arrive(rule, [0.1, 0.2])
    assert isinstance(rule.report(Report("00001", 1, 0.2)), Pause)


def test_a_trial_resumed_before_its_rung_is_decided_takes_a_place() -> None:
    """The journal does not record that no more trials come; a rule folded from it must still decide alike."""
    lived, folded = (SuccessiveHalvingRule(max_resource=9) for _ in range(2))
    for rule in (lived, folded):
        arrive(rule, [0.1, 0.2, 0.3, 0.4])
    lived.no_more_trials([f"{n:05d}" for n in range(4)])
    folded.resumed(lived.resume(["00000", "00001", "00002", "00003"]))  # type: ignore[arg-type]
    assert folded.resume(["00001", "00002", "00003"]) is None
    folded.no_more_trials([f"{n:05d}" for n in range(4)])
    assert folded.resume(["00001", "00002", "00003"]) is None
    assert folded.next_unresumable(["00001"]) == "00001"


def test_sparse_reports_are_compared_at_the_highest_rung_passed() -> None:
    """With reports at 5 only and rungs 1 and 3, all nine meet at 3, and take the places of rung 1."""
    rule = SuccessiveHalvingRule(max_resource=9)
    arrive(rule, range(9), resource=5)
    assert rule.resume([f"{n:05d}" for n in range(8)]).trial_id == "00000"
    assert rule.next_unresumable(["00001"]) == "00001"


fates = st.dictionaries(
    st.tuples(st.integers(0, 30).map(lambda n: f"{n:05d}"), st.integers(1, 9)),
    st.sampled_from(["failed", "nan"]),
)


@given(
    trials=st.integers(1, 31),
    workers=st.integers(1, 40),
    fate=fates,
    is_known=st.booleans(),
    losses=st.lists(st.integers(0, 9), min_size=31, max_size=31),
)
def test_every_sweep_ends_whoever_fails_or_diverges_whenever(
    trials: int,
    workers: int,
    fate: Any,
    is_known: bool,
    losses: list[int],
) -> None:
    rule = HyperbandRule(max_resource=9, population_size=trials if is_known else None)
    sweep = Sweep(rule, losses.__getitem__, trials=trials, workers=workers, fate=fate, closed=not is_known)
    assert set(sweep.ends) == set(sweep.names)


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        (HyperbandRule, {"sizes": "paper"}, "sizes is 'algorithm' or 'table', not 'paper'"),
        (HyperbandRule, {"grace_period": 27}, "grace_period (27) leaves no rung below the epochs (27)"),
        (HyperbandRule, {"population_size": 0}, "population_size (0) must be at least 1"),
        (
            SuccessiveHalvingRule,
            {"bracket_size": 1},
            "bracket_size (1) must be at least 2: a single trial is compared with no other",
        ),
        (
            SuccessiveHalvingRule,
            {"bracket_size": "study"},
            "bracket_size is a number or 'sweep', not 'study'",
        ),
        (
            SuccessiveHalvingRule,
            {"reduction_factor": 1.01},
            "reduction_factor (1.01) must be at least 1.1, and finite: "
            "the best 1/reduction_factor of a rung go on; 3 or 4 are usual",
        ),
    ],
)
def test_settings_that_make_no_sense_say_why(rule: type[Any], settings: Any, message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        rule(**{"max_resource": 27, **settings})
    assert str(error.value) == message
