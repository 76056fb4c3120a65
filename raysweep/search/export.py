"""The study as others can open it: optuna-dashboard, plain Optuna, a team's database.

The live study is in memory, a fold of the journal; what is written here is never read back.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.distributions import distribution_to_json
from optuna.study import Study
from optuna.trial import FrozenTrial
from sqlalchemy import URL, Connection, MetaData, select
from sqlalchemy.exc import SQLAlchemyError

from raysweep.search.samplers import quiet

Signs = Mapping[str, int]
"""Metric -> +1 where it is minimised, -1 where it is maximised; the objective first."""

MARK = "raysweep"
"""User attribute of the studies that were written here, and may be replaced."""


class OptunaExport(Protocol):
    """What can be exported; `raysweep.search.optuna_searcher.OptunaSearcher` is one."""

    def export(self, path: Path, signs: Signs | None = None) -> None:
        """Into a file."""

    def export_to(self, url: str, signs: Signs | None = None) -> None:
        """Into a storage."""


class CannotExport(Exception):
    """A storage refused the study; one line that says why."""


def export(study: Study, url: str, signs: Signs | None = None) -> None:
    """Write a study into an Optuna storage, in the place of what an earlier export left there.

    Args:
        study: in memory; its values are losses.
        url: of a storage, as Optuna takes it.
        signs: what the user means by them; None: losses, without a name.

    Raises:
        CannotExport: if there is no such storage, or a study of that name that is not ours.
    """
    with quiet():
        try:
            storage = optuna.storages.RDBStorage(url)
        except (SQLAlchemyError, ImportError, OSError, RuntimeError, ValueError) as error:
            raise CannotExport(f"{shown(url)}: {_one_line(error)}") from error
        try:
            _write(study, storage, url, signs)
        except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
            raise CannotExport(f"{shown(url)}: {_one_line(error)}") from error
        finally:
            storage.remove_session()
            storage.engine.dispose()


def export_file(study: Study, path: Path, signs: Signs | None = None) -> None:
    """Write a study as an SQLite file, whole or not at all; see `export`.

    Raises:
        CannotExport: if the disk refuses.
    """
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        unfinished.unlink(missing_ok=True)
        url = URL.create("sqlite", database=str(unfinished)).render_as_string(hide_password=False)
        export(study, url, signs)
        unfinished.replace(path)
    except OSError as error:
        raise CannotExport(f"{path}: {error.strerror}") from error


def shown(url: str) -> str:
    """A storage's address without its password.

    >>> shown("postgresql://me:secret@db/optuna")
    'postgresql://me:***@db/optuna'
    """
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}:***@{tail}" if at and ":" in user else url


def _write(study: Study, storage: optuna.storages.RDBStorage, url: str, signs: Signs | None) -> None:
    for known in optuna.get_all_study_summaries(storage, include_best_trial=False):
        if known.study_name == study.study_name:
            if MARK not in known.user_attrs:
                raise CannotExport(
                    f"{shown(url)}: holds a study {study.study_name!r} of somebody else's; rename yours"
                )
            optuna.delete_study(study_name=study.study_name, storage=storage)
    ways = [1] * len(study.directions) if signs is None else list(signs.values())
    target = optuna.create_study(
        study_name=study.study_name,
        storage=storage,
        directions=["minimize" if sign > 0 else "maximize" for sign in ways],
    )
    if signs is not None:
        target.set_metric_names(list(signs))
    target.set_user_attr(MARK, f"exported {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC")
    study_id = storage.get_study_id_from_name(study.study_name)
    with storage.engine.begin() as connection:
        _insert(connection, study_id, study.get_trials(deepcopy=False), ways)


def _insert(
    connection: Connection, study_id: int, trials: Sequence[FrozenTrial], ways: Sequence[int]
) -> None:
    """Write all trials at once. Optuna's own way, a transaction for each, takes a hundred times as long.

    The tables are those of Optuna 5; a test opens what is written with plain Optuna.
    """
    tables = MetaData()
    tables.reflect(connection)
    heads = [
        {
            "number": trial.number,
            "study_id": study_id,
            "state": trial.state.name,
            "datetime_start": trial.datetime_start,
            "datetime_complete": trial.datetime_complete,
        }
        for trial in trials
    ]
    if not heads:
        return
    known = tables.tables["trials"]
    connection.execute(known.insert(), heads)
    of_study = select(known.c.number, known.c.trial_id).where(known.c.study_id == study_id)
    ids = {number: trial_id for number, trial_id in connection.execute(of_study)}
    for name, rows in _details(trials, ids, ways).items():
        if rows:
            connection.execute(tables.tables[name].insert(), rows)


def _details(
    trials: Sequence[FrozenTrial], ids: Mapping[int, int], ways: Sequence[int]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of the tables beside `trials`, by table."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for trial in trials:
        own = {"trial_id": ids[trial.number]}
        for name, value in trial.params.items():
            domain = trial.distributions[name]
            inner, text = domain.to_internal_repr(value), distribution_to_json(domain)
            rows["trial_params"].append(
                {**own, "param_name": name, "param_value": inner, "distribution_json": text}
            )
        for place, loss in enumerate(trial.values or ()):  # finite: a fold tells no others
            value = {"value": ways[place] * loss, "value_type": "FINITE"}
            rows["trial_values"].append({**own, "objective": place, **value})
        for step, loss in trial.intermediate_values.items():
            rows["trial_intermediate_values"].append(
                {
                    **own,
                    "step": step,
                    "intermediate_value": ways[0] * loss,
                    "intermediate_value_type": "FINITE",
                }
            )
        for table, attrs in (
            ("trial_user_attributes", trial.user_attrs),
            ("trial_system_attributes", trial.system_attrs),
        ):
            rows[table] += [{**own, "key": key, "value_json": json.dumps(attrs[key])} for key in attrs]
    return rows


def _one_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def write_exports(
    fold: OptunaExport, wanted: str | None, path: Path, signs: Signs | None = None
) -> tuple[str, ...]:
    """Write a study where the sweep file wants it; sentences on what could not be written.

    Args:
        fold: knows the study.
        wanted: `optuna_storage` of the sweep file: a URL, `off`, or None for the file alone.
        path: of the file in the study's folder.
        signs: see `export`.
    """
    if wanted == "off":
        return ()
    notes = []
    try:
        fold.export(path, signs)
        if wanted:
            fold.export_to(wanted, signs)
    except CannotExport as error:
        notes.append(f"the study was not exported for Optuna: {error}")
    return tuple(notes)
