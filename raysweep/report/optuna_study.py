"""The record as an Optuna study in memory, for Optuna's importance and plots."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from raysweep.report.subject import Subject
from raysweep.search.samplers import quiet
from raysweep.study.journal.pareto import losses
from raysweep.study.journal.records import TrialRecord

STATES = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED, None: TrialState.RUNNING}


def as_study(
    subject: Subject,
    trials: Sequence[TrialRecord] | None = None,
    losses: Mapping[str, float] | None = None,
) -> optuna.Study:
    """A study by the objective, in the user's direction, with the learning curves as intermediate values.

    Trials outside the present search space (it may have been revised) are left out.

    Args:
        subject: the study.
        trials: those to include; all by default.
        losses: by trial; these trials count as completed with these losses, instead of their own ends.
    """
    with quiet():
        study = optuna.create_study(study_name=subject.name, direction=subject.metrics[0].direction)
        study.add_trials(_frozen(subject, subject.trials if trials is None else trials, losses))
    return study


def as_front_study(subject: Subject) -> optuna.Study:
    """A study by all metrics, with the completed trials that have them all."""
    signs = [metric.sign for metric in subject.metrics]
    trials = []
    for trial in subject.trials:
        by_metric = losses(trial, subject.metrics, subject.record.objective)
        if trial.outcome != "completed" or by_metric is None:
            continue
        for frozen in _frozen(subject, [trial]):
            frozen.values = [sign * loss for sign, loss in zip(signs, by_metric, strict=True)]
            trials.append(frozen)
    with quiet():
        study = optuna.create_study(
            study_name=subject.name, directions=[metric.direction for metric in subject.metrics]
        )
        study.add_trials(trials)
    return study


def fits(subject: Subject, trial: TrialRecord) -> bool:
    """Whether a trial lies in the present search space."""
    return subject.space.contains(subject.config(trial))


def _frozen(
    subject: Subject, trials: Sequence[TrialRecord], losses: Mapping[str, float] | None = None
) -> list[FrozenTrial]:
    frozen_trials = []
    for trial in trials:
        if not fits(subject, trial):
            continue
        drawn = FixedTrial(subject.space.encode(subject.config(trial)), number=trial.number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on a last bit beyond a bound of a log range
            subject.space.draw(drawn)
        value = subject.value(subject.loss(trial) if losses is None else losses.get(trial.trial))
        outcome = trial.outcome if losses is None else "completed"
        state = STATES.get(outcome, TrialState.FAIL)
        if state is TrialState.COMPLETE and value is None:
            state = TrialState.FAIL
        curve = {point.epoch: subject.sign * point.loss for point in trial.curve if point.loss == point.loss}
        frozen = optuna.create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            params=drawn.params,
            distributions=drawn.distributions,
            intermediate_values=curve,
            user_attrs={
                "trial": trial.trial,
                "outcome": trial.status,
                "reason": trial.reason,
            },
        )
        frozen.datetime_start, frozen.datetime_complete = _times(trial, state)
        frozen_trials.append(frozen)
    return frozen_trials


def _times(trial: TrialRecord, state: TrialState) -> tuple[datetime.datetime, datetime.datetime | None]:
    start = trial.started_at if trial.started_at is not None else trial.asked_at
    last = (
        trial.ended_at if trial.ended_at is not None else max(start, trial.curve[-1].t if trial.curve else 0)
    )
    end = datetime.datetime.fromtimestamp(last) if state.is_finished() else None
    return datetime.datetime.fromtimestamp(start), end
