"""Reads an Optuna file, or the training template's database, as a subject, without writing to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raysweep.config import Component, Metric, Parameter, SweepError
from raysweep.config.document import read
from raysweep.config.search_space import read_space
from raysweep.config.template import translate
from raysweep.launch_command import launch_command
from raysweep.report.errors import CannotReport
from raysweep.report.optuna_file import load_study
from raysweep.report.subject import SOME_SWEEP, Subject
from raysweep.study.journal.records import CurvePoint, StudyRecord, TrialRecord
from schedulers.space import Categorical, Domain, Float, Int
from schedulers.trial_id import trial_id

OUTCOMES = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}
GROUPS = ("group_name", "group")  # user attributes in which templates keep a trial's name


def of_database(path: Path, options: Path | None, name: str | None = None) -> Subject:
    """The subject in an Optuna file, SQLite or a journal.

    Args:
        path: the file.
        options: the template's optimize config, for the search space, the metric and the pruner; without it
            the ranges are those in Optuna's trials.
        name: of the study, if the file holds several.

    Raises:
        CannotReport: if the file holds no study, or several and `name` is not one of them.
        SweepError: if the optimize config is not valid.
    """
    study = load_study(path, name)
    config = _config_fields(options)
    trials = study.get_trials(deepcopy=False)
    parameters = config["parameters"] or _space_of(trials)
    metrics = _metrics(study, config["metric"])
    record = _record(trials, {_flat(key): key for key in parameters}, metrics)
    return Subject(
        name=study.study_name,
        record=record,
        metrics=metrics,
        parameters=parameters,
        epochs=_epochs(record) if len(metrics) == 1 else 0,
        scheduler=config["scheduler"] or _pruner(trials),
        rerun=launch_command("RUN.yaml", "--optimize-config", options) if options else SOME_SWEEP,
        groups={
            trial_id(trial.number): str(trial.user_attrs[key])
            for trial in trials
            for key in GROUPS
            if key in trial.user_attrs
        },
    )


def _metrics(study: Study, name: str | None) -> tuple[Metric, ...]:
    """The study's metrics, by its own names for them, or `value`."""
    several = len(study.directions) > 1
    plain = [f"value_{index}" for index in range(len(study.directions))] if several else [name or "value"]
    return tuple(
        Metric(name=each, direction="minimize" if direction == StudyDirection.MINIMIZE else "maximize")
        for each, direction in zip(study.metric_names or plain, study.directions, strict=True)
    )


def _epochs(record: StudyRecord) -> int:
    return max((point.epoch for each in record.trials.values() for point in each.curve), default=0)


def _config_fields(options: Path | None) -> dict[str, Any]:
    """The fields of the template's optimize config that a report needs."""
    if options is None:
        return {"parameters": {}, "metric": None, "scheduler": None}
    document = read(options)
    translate(document)
    space = read_space(document)
    if space.problems:
        raise SweepError(space.problems)
    scheduler = document.value.get("trial_scheduler")
    return {
        "parameters": space.parameters,
        "metric": document.value.get("metric"),
        "scheduler": Component.model_validate(scheduler) if scheduler else None,
    }


def _pruner(trials: Sequence[FrozenTrial]) -> Component:
    """A name for the study's pruner, which Optuna's file does not hold; FIFO if it pruned no trial."""
    pruned = any(trial.state == TrialState.PRUNED for trial in trials)
    return Component(name="its pruner" if pruned else "schedulers.FIFO")


def _space_of(trials: list[FrozenTrial]) -> dict[str, Parameter]:
    """The search space of Optuna's trials; of a parameter, the last trial's range."""
    latest: dict[str, BaseDistribution] = {}
    for trial in trials:
        latest |= trial.distributions
    return {name: Parameter(domain=_domain(distribution)) for name, distribution in latest.items()}


def _domain(distribution: BaseDistribution) -> Domain:
    match distribution:
        case FloatDistribution():
            return Float(distribution.low, distribution.high, distribution.log, distribution.step)
        case IntDistribution():
            return Int(distribution.low, distribution.high, distribution.log, distribution.step)
        case CategoricalDistribution():
            return Categorical(tuple(distribution.choices))
    raise CannotReport(f"a parameter of kind {type(distribution).__name__} cannot be read")


def _flat(key: str) -> str:
    """The template's name for a searched key in Optuna: `optimizer_config_lr`."""
    return key.replace(".", "_")


def _record(
    trials: Sequence[FrozenTrial], names: Mapping[str, str], metrics: Sequence[Metric]
) -> StudyRecord:
    record = StudyRecord("last", wanted=len(trials))
    for trial in trials:
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        config = {names.get(_flat(key), key): value for key, value in trial.params.items()}
        name = trial_id(trial.number)
        ours = TrialRecord(trial.number, name, config, "sampler", began, first_config=dict(config))
        ours.started_at = began or None
        ours.ended_at = trial.datetime_complete.timestamp() if trial.datetime_complete else None
        ours.outcome = OUTCOMES.get(trial.state)
        ours.reason = str(trial.user_attrs.get("reason", ""))
        _add_values(ours, trial, metrics)
        ours.status = ours.outcome or "running"
        record.trials[name] = ours
        record.epochs += ours.work
    record.begun_at = min((each.asked_at for each in record.trials.values() if each.asked_at), default=None)
    return record


def _add_values(ours: TrialRecord, trial: FrozenTrial, metrics: Sequence[Metric]) -> None:
    """Add the intermediate values as a curve; a completed trial is worth its value, whatever it reported.

    The template reports infinity to Optuna for a training that ended in NaN: that trial has diverged.
    """
    signs = [metric.sign for metric in metrics]
    steps = sorted(trial.intermediate_values.items())
    end = ours.ended_at or ours.asked_at
    first = 1 if steps and steps[0][0] == 0 else 0  # the template counts epochs from 0
    for count, (step, value) in enumerate(steps, start=1):
        t = ours.asked_at + (end - ours.asked_at) * count / len(steps)  # Optuna keeps no times of reports
        ours.curve.append(CurvePoint(step + first, count, signs[0] * value, {}, 0, t))
    finite = [(point.loss, point.epoch) for point in ours.curve if math.isfinite(point.loss)]
    if finite:
        ours.last_loss = finite[-1][0]
        ours.best_loss, ours.best_epoch = min(finite)
    if trial.state != TrialState.COMPLETE:
        return
    values = trial.values
    if not all(map(math.isfinite, values)):
        ours.outcome, ours.reason = "diverged", f"its value is {', '.join(map(str, values))}"
        return
    ours.last_loss = signs[0] * values[0]
    if len(metrics) > 1:  # Optuna keeps no curve of such a trial
        by_name = {metric.name: value for metric, value in zip(metrics, values, strict=True)}
        ours.curve = [CurvePoint(1, 1, ours.last_loss, by_name, 0, end)]
