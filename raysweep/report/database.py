"""A plain Optuna database, or the training template's, read as a subject; it is opened read-only."""

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
    """The subject in a file of Optuna's, SQLite or a journal.

    Args:
        path: the file.
        options: the template's optimize config, for the search space, the metric and the pruner; without
            it the ranges are those Optuna was told.
        name: the study's, where the file holds several.

    Raises:
        CannotReport: if the file holds no study, or several and `name` is none of them.
        SweepError: if the optimize config is not sound.
    """
    study = load_study(path, name)
    words = _words(options)
    trials = study.get_trials(deepcopy=False)
    parameters = words.pop("parameters") or _told(trials)
    metrics = _metrics(study, words.get("metric"))
    record = _record(trials, {_flat(key): key for key in parameters}, metrics)
    return Subject(
        name=study.study_name,
        record=record,
        metrics=metrics,
        parameters=parameters,
        epochs=_epochs(record) if len(metrics) == 1 else 0,
        scheduler=words["scheduler"] or _pruner(trials),
        rerun=launch_command("RUN.yaml", "--optimize-config", options) if options else SOME_SWEEP,
        groups={
            trial_id(trial.number): str(trial.user_attrs[key])
            for trial in trials
            for key in GROUPS
            if key in trial.user_attrs
        },
    )


def _metrics(study: Study, name: str | None) -> tuple[Metric, ...]:
    """What the study is judged by, under the names it was told; else `value`."""
    several = len(study.directions) > 1
    plain = [f"value_{place}" for place in range(len(study.directions))] if several else [name or "value"]
    told = study.metric_names or plain
    return tuple(
        Metric(name=each, direction="minimize" if way == StudyDirection.MINIMIZE else "maximize")
        for each, way in zip(told, study.directions, strict=True)
    )


def _epochs(record: StudyRecord) -> int:
    return max((point.epoch for each in record.trials.values() for point in each.curve), default=0)


def _words(options: Path | None) -> dict[str, Any]:
    """What the template's optimize config says that a report needs."""
    if options is None:
        return {"parameters": {}, "metric": None, "scheduler": None}
    document = read(options)
    translate(document)
    space = read_space(document)
    if space.problems:
        raise SweepError(space.problems)
    who = document.value.get("trial_scheduler")
    return {
        "parameters": space.parameters,
        "metric": document.value.get("metric"),
        "scheduler": Component.model_validate(who) if who else None,
    }


def _pruner(trials: Sequence[FrozenTrial]) -> Component:
    """Who stopped trials, of which Optuna's file keeps no name; FIFO where nobody did."""
    pruned = any(trial.state == TrialState.PRUNED for trial in trials)
    return Component(name="its pruner" if pruned else "schedulers.FIFO")


def _told(trials: list[FrozenTrial]) -> dict[str, Parameter]:
    """The search space as Optuna was told it, last."""
    known: dict[str, BaseDistribution] = {}
    for trial in trials:
        known |= trial.distributions
    return {name: Parameter(domain=_domain(distribution)) for name, distribution in known.items()}


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
    """What the template calls a searched key in Optuna: `optimizer_config_lr`."""
    return key.replace(".", "_")


def _record(
    trials: Sequence[FrozenTrial], names: Mapping[str, str], metrics: Sequence[Metric]
) -> StudyRecord:
    record = StudyRecord("last", wanted=len(trials))
    for trial in trials:
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        config = {names.get(_flat(key), key): value for key, value in trial.params.items()}
        name = trial_id(trial.number)
        mine = TrialRecord(trial.number, name, config, "sampler", began, first_config=dict(config))
        mine.started_at = began or None
        mine.ended_at = trial.datetime_complete.timestamp() if trial.datetime_complete else None
        mine.outcome = OUTCOMES.get(trial.state)
        mine.reason = str(trial.user_attrs.get("reason", ""))
        _learn(mine, trial, metrics)
        mine.status = mine.outcome or "running"
        record.trials[name] = mine
        record.epochs += mine.work
    record.begun_at = min((each.asked_at for each in record.trials.values() if each.asked_at), default=None)
    return record


def _learn(mine: TrialRecord, trial: FrozenTrial, metrics: Sequence[Metric]) -> None:
    """Take in the intermediate values; a completed trial is worth what it was told, whatever it reported.

    The template tells Optuna infinity where training came to NaN: that trial has diverged.
    """
    signs = [metric.sign for metric in metrics]
    steps = sorted(trial.intermediate_values.items())
    end = mine.ended_at or mine.asked_at
    first = 1 if steps and steps[0][0] == 0 else 0  # the template counts epochs from nought
    for place, (step, value) in enumerate(steps, start=1):
        t = mine.asked_at + (end - mine.asked_at) * place / len(steps)  # Optuna keeps no times of reports
        mine.curve.append(CurvePoint(step + first, place, signs[0] * value, {}, 0, t))
    finite = [(point.loss, point.epoch) for point in mine.curve if math.isfinite(point.loss)]
    if finite:
        mine.last_loss = finite[-1][0]
        mine.best_loss, mine.best_epoch = min(finite)
    if trial.state != TrialState.COMPLETE:
        return
    values = trial.values
    if not all(map(math.isfinite, values)):
        mine.outcome, mine.reason = "diverged", f"its value is {', '.join(map(str, values))}"
        return
    mine.last_loss = signs[0] * values[0]
    if len(metrics) > 1:  # of such a trial Optuna keeps no curve
        told = {metric.name: value for metric, value in zip(metrics, values, strict=True)}
        mine.curve = [CurvePoint(1, 1, mine.last_loss, told, 0, end)]
