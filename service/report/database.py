"""A plain Optuna database, or the training template's, read as a subject; it is opened read-only."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from schedulers.space import Categorical, Domain, Float, Int
from service.report.errors import CannotReport
from service.report.subject import Subject
from service.search.samplers import quiet
from service.spec import Component, Metric, Parameter, SweepError
from service.spec.document import read
from service.spec.space import read_space
from service.spec.template import translate
from service.study.record import Point, StudyRecord, TrialRecord, trial_id

OUTCOMES = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}
GROUPS = ("group_name", "group")  # user attributes in which templates keep a trial's name


def of_database(path: Path, options: Path | None, name: str | None = None) -> Subject:
    """The subject in an SQLite file of Optuna's.

    Args:
        path: the file.
        options: the template's optimize config, for the search space, the metric and the pruner; without
            it the ranges are those Optuna was told.
        name: the study's, where the file holds several.

    Raises:
        CannotReport: if the file holds no study, or several and `name` is none of them.
        SweepError: if the optimize config is not sound.
    """
    study = _study(path, name)
    words = _words(options)
    trials = study.get_trials(deepcopy=False)
    parameters = words.pop("parameters") or _told(trials)
    direction = "minimize" if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else "maximize"
    names = {_flat(key): key for key in parameters}
    record = _record(trials, names, 1 if direction == "minimize" else -1)
    return Subject(
        name=study.study_name,
        record=record,
        metrics=(Metric(name=words.get("metric") or "value", direction=direction),),
        parameters=parameters,
        epochs=max((point.epoch for each in record.trials.values() for point in each.curve), default=0),
        scheduler=words["scheduler"],
        groups={
            trial_id(trial.number): str(trial.user_attrs[key])
            for trial in trials
            for key in GROUPS
            if key in trial.user_attrs
        },
    )


def _study(path: Path, name: str | None) -> optuna.Study:
    if not path.is_file():
        raise CannotReport(f"{path}: no such file; give --db an SQLite file that Optuna wrote")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as probe:
            found = [row[0] for row in probe.execute("SELECT study_name FROM studies ORDER BY study_id")]
    except sqlite3.Error as error:
        raise CannotReport(f"{path}: no database of Optuna's ({error})") from None
    if not found:
        raise CannotReport(f"{path}: holds no study")
    if name is None and len(found) > 1:
        raise CannotReport(f"{path}: holds {len(found)} studies ({', '.join(found)}); name one of them")
    if name is not None and name not in found:
        raise CannotReport(f"{path}: holds no study {name!r}; it has {', '.join(found)}")
    url = f"sqlite:///file:{path.absolute()}?mode=ro&uri=true"
    with quiet():
        try:
            return optuna.load_study(study_name=name or found[0], storage=url)
        except (SQLAlchemyError, RuntimeError, ValueError) as error:  # of another version of Optuna
            first = str(error).strip().splitlines()[0]
            raise CannotReport(
                f"{path}: cannot be read by Optuna {optuna.__version__} ({first}); "
                f"`optuna storage upgrade --storage sqlite:///{path}` on a copy of it may help"
            ) from None


def _words(options: Path | None) -> dict[str, Any]:
    """What the template's optimize config says that a report needs."""
    if options is None:
        return {"parameters": {}, "metric": None, "scheduler": Component(name="pruner")}
    document = read(options)
    translate(document)
    space = read_space(document)
    if space.problems:
        raise SweepError(space.problems)
    who = document.value.get("trial_scheduler") or {"name": "schedulers.FIFO"}
    return {
        "parameters": space.parameters,
        "metric": document.value.get("metric"),
        "scheduler": Component.model_validate(who),
    }


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


def _record(trials: list[FrozenTrial], names: Mapping[str, str], sign: int) -> StudyRecord:
    record = StudyRecord("last", wanted=len(trials))
    for trial in trials:
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        config = {names.get(_flat(key), key): value for key, value in trial.params.items()}
        name = trial_id(trial.number)
        mine = TrialRecord(trial.number, name, config, "sampler", began, first_config=dict(config))
        mine.started_at = began or None
        mine.ended_at = trial.datetime_complete.timestamp() if trial.datetime_complete else None
        mine.outcome = OUTCOMES.get(trial.state)
        mine.status = mine.outcome or "running"
        mine.reason = str(trial.user_attrs.get("reason", ""))
        _learn(mine, trial, sign, began)
        record.trials[name] = mine
        record.epochs += mine.work
    record.begun_at = min((each.asked_at for each in record.trials.values() if each.asked_at), default=None)
    return record


def _learn(mine: TrialRecord, trial: FrozenTrial, sign: int, began: float) -> None:
    """Take in the intermediate values; a completed trial is worth what it was told, whatever it reported."""
    steps = sorted(trial.intermediate_values.items())
    end = mine.ended_at or began
    first = 1 if steps and steps[0][0] == 0 else 0  # the template counts epochs from nought
    for place, (step, value) in enumerate(steps, start=1):
        t = began + (end - began) * place / len(steps)  # Optuna keeps no times of reports
        mine.curve.append(Point(step + first, place, sign * value, {}, 0, t))
    finite = [(point.loss, point.epoch) for point in mine.curve if math.isfinite(point.loss)]
    if finite:
        mine.last_loss = finite[-1][0]
        mine.best_loss, mine.best_epoch = min(finite)
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        mine.last_loss = sign * trial.value
