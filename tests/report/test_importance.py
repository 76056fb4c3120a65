"""Importance: what is said about it, and with how many trials."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from raysweep.report.importance import importance
from raysweep.report.optuna_study import as_study
from raysweep.search.samplers import quiet
from tests.report import stories


def known_study(trials: int = 40) -> Any:
    """The rate matters most, then the choice, then the depth."""
    with quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))

        def objective(trial: Any) -> float:
            lr = trial.suggest_float("lr", 1e-4, 1, log=True)
            layers = trial.suggest_int("layers", 1, 6)
            return (
                (math.log10(lr) + 2) ** 2
                + 0.1 * layers
                + {"a": 0, "b": 1, "c": 2}[trial.suggest_categorical("norm", ["a", "b", "c"])]
            )

        study.optimize(objective, n_trials=trials)
    return study


def test_ped_anova_is_plain_optunas() -> None:
    study = known_study()
    with quiet():
        plain = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    ours = {share.name: share.ped_anova for share in importance(study).shares}
    assert ours == pytest.approx({name: float(value) for name, value in plain.items()}, abs=1e-9)


def test_of_two_parameters_that_act_apart_none_is_explained_only_together() -> None:
    assert importance(known_study(60)).pairs[0].share < 0.1


def test_a_few_trials_are_too_few_to_say() -> None:
    few, enough = importance(known_study(8)), importance(known_study(40))
    assert few.caution.startswith("too few trials: 8 completed, at least 24 are needed for 3 parameters")
    assert "too few" not in enough.caution


@pytest.mark.parametrize("trials", [12, 40])
def test_intervals_hold_what_they_bound(trials: int) -> None:
    for share in importance(known_study(trials)).shares:
        assert 0 <= share.fanova_low <= share.fanova <= share.fanova_high <= 1
        assert 0 <= share.ped_anova_low <= share.ped_anova <= share.ped_anova_high <= 1


def test_a_study_without_a_spread_says_so(tmp_path: Path) -> None:
    events = [event for n in range(12) for event in stories.trial(n, 0.5, stories.config(n))]
    result = importance(as_study(stories.subject(tmp_path, events)))
    assert result.shares == ()
    assert result.caution == "all trials have the same result: nothing mattered"


def test_the_record_as_optuna_knows_it(tmp_path: Path) -> None:
    """States, values, parameters and curves are the journal's; stopped is PRUNED, diverged FAIL."""
    subject = stories.subject(tmp_path)
    trials = as_study(subject).get_trials()
    states = {"completed": "COMPLETE", "stopped": "PRUNED", "diverged": "FAIL", "failed": "FAIL"}
    for mine, theirs in zip(subject.trials, trials, strict=True):
        assert theirs.state.name == states[mine.outcome]  # type: ignore[index]
        assert theirs.params == mine.config
        assert theirs.intermediate_values == {point.epoch: point.loss for point in mine.curve}
        assert theirs.value == (mine.last_loss if mine.outcome == "completed" else None)
