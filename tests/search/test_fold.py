"""What is shown to samplers of failures, constraints, several metrics and duplicates."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from raysweep.config.constraint import Constraint
from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.optuna_space import OptunaSpace
from schedulers.space import Categorical, Float, Int
from schedulers.trial_id import trial_id as trial_name

S = "optuna.samplers."
LINE = OptunaSpace({"x": Float(0.0, 1.0)})
WIDE = OptunaSpace(
    {name: Float(0.0, 1.0) for name in "xabcdefg"}
)  # NSGA-II mutates one parameter of each trial
FOUR = OptunaSpace({"c": Categorical(("a", "b")), "n": Int(1, 2)})
SIZE = Constraint.model_validate("parameters <= 100")


def trials_after(sampler: str, *ends: tuple[str, float], **words: Any) -> list[FrozenTrial]:
    """What a sampler is shown of trials that ended so."""
    fold = OptunaSearcher(LINE, sampler=S + sampler, **words)
    for number, (outcome, loss) in enumerate(ends):
        fold.ask(number)
        fold.report(trial_name(number), 1, loss)
        fold.tell(
            trial_name(number), outcome, loss, metrics={"parameters": 50.0 + 100.0 * (outcome[0] == "i")}
        )
    with fold._storage_of_study.showing(fold._make_view):
        return list(fold.study.get_trials())


@pytest.mark.parametrize("outcome", ["diverged", "failed", "infeasible"])
@pytest.mark.parametrize(
    ("sampler", "state", "value"),
    [("TPESampler", TrialState.PRUNED, None), ("GPSampler", TrialState.COMPLETE, 0.7)],
)
def test_a_failure_is_shown_as_worse_than_all(
    sampler: str, state: TrialState, value: float | None, outcome: str
) -> None:
    """TPE ranks what was pruned before its first report last; the others know only complete trials."""
    shown = trials_after(sampler, ("completed", 0.7), ("completed", 0.2), (outcome, math.nan))[2]
    assert (shown.state, shown.value, shown.intermediate_values) == (state, value, {})


def test_to_ask_and_to_tell_sets_no_log_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time would empty the caches of all the process's loggers: it was a third of a driver's time."""
    fold, set_to = OptunaSearcher(LINE, sampler=S + "TPESampler"), []
    monkeypatch.setattr(logging.Logger, "setLevel", lambda *words: set_to.append(words))
    for number in range(3):
        fold.ask(number)
        fold.tell(trial_name(number), "completed", 0.5)
    assert set_to == []


def test_as_long_as_no_trial_has_a_value_failures_are_not_shown() -> None:
    assert [trial.state for trial in trials_after("GPSampler", ("failed", math.nan))] == [TrialState.FAIL]


def test_what_is_stored_stays_a_failure() -> None:
    fold = OptunaSearcher(LINE)
    fold.ask(0)
    fold.tell("00000", "diverged", math.nan, "train_loss nan")
    assert fold.study.trials[0].state is TrialState.FAIL
    assert fold.study.trials[0].user_attrs["reason"] == "train_loss nan"


def test_a_sampler_learns_where_trainings_diverge() -> None:
    """Told nothing of failures, a sampler that is drawn towards the edge asks beyond it again and again."""

    def diverged(learns: bool) -> int:
        space, count = OptunaSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}), 0
        for seed in range(3):
            fold = OptunaSearcher(space, seed=seed)
            for number in range(40):
                proposal = fold.ask(number)
                assert proposal is not None
                x, name = proposal.config["x"], trial_name(number)
                count += x > 0.6
                outcome = "completed" if x <= 0.6 else "diverged" if learns else "outside"
                fold.tell(name, outcome, 0.6 - x if x <= 0.6 else None)
        return count

    assert diverged(learns=True) < 0.8 * diverged(learns=False)


def test_constraints_are_told_by_how_much_they_hold_or_break() -> None:
    trials = trials_after("TPESampler", ("completed", 0.7), ("infeasible", math.nan), constraints=[SIZE])
    assert [trial.constraints for trial in trials] == [{str(SIZE): -0.5}, {str(SIZE): 0.5}]


def test_of_a_failure_no_constraint_is_known() -> None:
    """Samplers that model constraints insist on a value for each trial."""
    fold = OptunaSearcher(LINE, sampler=S + "GPSampler", constraints=[SIZE])
    for number, outcome in enumerate(("completed", "failed")):
        fold.ask(number)
        metrics = {"parameters": 50.0} if outcome == "completed" else None
        fold.tell(trial_name(number), outcome, 0.5, metrics=metrics)
    assert fold._make_view()[0][1].constraints == {str(SIZE): 0.0}


@pytest.mark.parametrize("sampler", ["TPESampler", "GPSampler", "NSGAIISampler"])
def test_a_sampler_that_takes_constraints_keeps_within_them(sampler: str) -> None:
    """The least loss lies beyond the bound, at 0.9, and the next least at 0.2."""
    kwargs = {"population_size": 6} if sampler == "NSGAIISampler" else {"n_startup_trials": 6}
    space = WIDE if sampler == "NSGAIISampler" else LINE
    fold = OptunaSearcher(space, sampler=S + sampler, sampler_kwargs=kwargs, constraints=[SIZE], seed=3)
    trials, late = (12, 6) if sampler == "GPSampler" else (40, 20)
    kept = []
    for number in range(trials):
        proposal = fold.ask(number)
        assert proposal is not None
        x = proposal.config["x"]
        kept.append(x <= 0.5)
        loss, outcome = min((x - 0.2) ** 2, (x - 0.9) ** 2 - 0.1), "completed" if kept[-1] else "infeasible"
        fold.tell(trial_name(number), outcome, loss, metrics={"parameters": 200 * x})
    assert np.mean(kept[-late:]) >= 0.75, kept


def test_of_several_metrics_each_is_minimised_in_its_own_direction() -> None:
    fold = OptunaSearcher(LINE, others={"accuracy": -1, "parameters": 1})
    fold.ask(0)
    fold.report("00000", 1, 0.5)
    fold.tell("00000", "completed", 0.4, metrics={"accuracy": 0.9, "parameters": 50.0})
    assert fold.study.trials[0].values == [0.4, -0.9, 50.0]


def test_a_completed_trial_that_lacks_a_metric_counts_as_failed() -> None:
    fold = OptunaSearcher(LINE, others={"parameters": 1})
    fold.ask(0)
    fold.tell("00000", "completed", 0.4, metrics={})
    assert fold.study.trials[0].state is TrialState.FAIL


def test_nsga_ii_finds_both_ends_of_a_front() -> None:
    fold = OptunaSearcher(
        WIDE, sampler=S + "NSGAIISampler", sampler_kwargs={"population_size": 10}, others={"far": 1}, seed=1
    )
    front = []
    for number in range(60):
        proposal = fold.ask(number)
        assert proposal is not None
        x = proposal.config["x"]
        front.append(x)
        fold.tell(trial_name(number), "completed", (x - 0.2) ** 2, metrics={"far": (x - 0.4) ** 2})
    late = front[-20:]
    assert np.mean([0.15 <= x <= 0.45 for x in late]) > 0.5, late


def all_of(duplicates: Any, trials: int = 8, **words: Any) -> list[Any]:
    fold = OptunaSearcher(FOUR, sampler=S + "RandomSampler", duplicates=duplicates, seed=0, **words)
    asked: list[Any] = []
    while len(asked) < trials and None not in asked:
        asked.append(fold.ask(len(asked)))
        fold.tell(trial_name(len(asked) - 1), "completed", 0.5)
    return asked


def test_skipped_duplicates_leave_a_small_space_finished() -> None:
    asked = all_of("skip")
    assert len({tuple(answer.config.items()) for answer in asked[:4]}) == 4
    assert asked[4:] == [None]
    assert max(answer.draws for answer in asked[:4]) > 1


def test_replicates_run_under_seeds_of_their_own() -> None:
    asked = all_of("replicate", trials=12, seeds=(7, 11))
    seeds: dict[Any, list[Any]] = {}
    for answer in asked:
        config = {key: value for key, value in answer.config.items() if key != "trial.seed"}
        seeds.setdefault(tuple(config.items()), []).append(answer.config.get("trial.seed"))
    for each in seeds.values():
        assert each == [None, 11, 9, 10, 11, 12, 13][: len(each)]


def test_reused_results_name_the_trial_that_had_them_first() -> None:
    asked = all_of("reuse")
    for number, answer in enumerate(asked):
        twins = [n for n in range(number) if asked[n].config == answer.config]
        assert answer.same_as == (trial_name(twins[0]) if twins else "")


def test_a_result_that_is_not_there_yet_cannot_be_reused() -> None:
    fold = OptunaSearcher(FOUR, sampler=S + "RandomSampler", duplicates="reuse")
    asked = [fold.ask(number) for number in range(4)]
    assert len({tuple(answer.config.items()) for answer in asked if answer}) == 4


def test_allowed_duplicates_are_run_as_any_other() -> None:
    asked = all_of("allow")
    assert [(answer.draws, answer.same_as) for answer in asked] == [(1, "")] * 8


@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler", "NSGAIISampler"])
def test_in_a_wider_space_a_study_knows_its_trials_and_proposes_new_ones(sampler: str) -> None:
    """`extend`: Optuna itself refuses choices that change; a study rebuilt in the new space has one set."""
    narrow = OptunaSpace({"x": Float(0.0, 1.0), "c": Categorical(("a", "b"))})
    wide = OptunaSpace({"x": Float(0.0, 2.0), "c": Categorical(("a", "b", "new"))})
    asked = []
    fold = OptunaSearcher(narrow, sampler=S + sampler)
    for number in range(12):
        asked.append(proposed(fold, number))
        fold.tell(trial_name(number), "completed", asked[-1]["x"])
    again = OptunaSearcher(wide, sampler=S + sampler)
    for number, config in enumerate(asked):
        again.replay_asked(number, config, "sampler")
        again.tell(trial_name(number), "completed", config["x"])
    assert [(t.state, t.values) for t in again.study.trials] == [
        (t.state, t.values) for t in fold.study.trials
    ]
    more = []
    for number in range(12, 72):
        more.append(proposed(again, number))
        again.tell(trial_name(number), "completed", -more[-1]["x"])
    assert max(config["x"] for config in more) > 1.0
    assert {config["c"] for config in more} == {"a", "b", "new"}


def proposed(fold: OptunaSearcher, number: int) -> dict[str, Any]:
    proposal = fold.ask(number)
    assert proposal is not None
    return proposal.config
