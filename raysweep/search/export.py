"""Export of the study to an Optuna storage, for optuna-dashboard, plain Optuna, or a team's database.

The study itself is in memory, rebuilt from the journal; an export is never read back.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import URL, Connection, MetaData, Select, select
from sqlalchemy.exc import SQLAlchemyError

from raysweep.search.samplers import quiet

Signs = Mapping[str, int]
"""By metric, +1 if it is minimised, -1 if it is maximised; the objective first."""

MARK = "raysweep"
"""User attribute of the studies that we wrote, and may replace."""

DETAILS = (
    "trial_params",
    "trial_values",
    "trial_intermediate_values",
    "trial_user_attributes",
    "trial_system_attributes",
)
"""The tables with what a trial has beside its number, state and times."""


class CannotExport(Exception):
    """A storage refused the study; the message is one line."""


class StudyCopy:
    """A study's copy in an Optuna storage, under the study's name.

    Args:
        url: of the storage, as for Optuna.
        study: in memory; its values are losses.
        signs: names and signs of its metrics; None: values are written as losses, without a name.

    Raises:
        CannotExport: if there is no such storage, or a study of that name that is not ours; also from
            every method, if the storage refuses.
    """

    def __init__(self, url: str, study: Study, signs: Signs | None = None) -> None:
        self.url, self.signs = url, signs
        self._sign_list = [1] * len(study.directions) if signs is None else list(signs.values())
        with quiet():
            try:
                self._storage = optuna.storages.RDBStorage(url)
            except (SQLAlchemyError, ImportError, OSError, RuntimeError, ValueError) as error:
                raise CannotExport(f"{without_password(url)}: {_first_line(error)}") from error
            try:
                with self._refusals():
                    self._study_id = self._claim(study.study_name)
                    self._tables = MetaData()
                    self._tables.reflect(self._storage.engine)
            except CannotExport:
                self.close()
                raise

    def replace(self, trials: Sequence[FrozenTrial]) -> None:
        """Replace all trials of the copy by these."""
        head = self._tables.tables["trials"]
        mine = select(head.c.trial_id).where(head.c.study_id == self._study_id)
        with self._refusals(), self._storage.engine.begin() as connection:
            self._delete_details(connection, mine)
            connection.execute(head.delete().where(head.c.study_id == self._study_id))
            self._insert(connection, trials, {})

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Update these trials, and add new ones."""
        if not trials:
            return
        head = self._tables.tables["trials"]
        numbers = [trial.number for trial in trials]
        some = (head.c.study_id == self._study_id) & head.c.number.in_(numbers)
        with self._refusals(), self._storage.engine.begin() as connection:
            ids = {
                number: id_
                for number, id_ in connection.execute(select(head.c.number, head.c.trial_id).where(some))
            }
            self._delete_details(connection, select(head.c.trial_id).where(some))
            self._insert(connection, trials, ids)

    def close(self) -> None:
        """Close the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
            raise CannotExport(f"{without_password(self.url)}: {_first_line(error)}") from error

    def _claim(self, name: str) -> int:
        """The id of the study in the storage: of an earlier copy with the same metrics, else of a new one."""
        names = None if self.signs is None else list(self.signs)
        directions = [_direction(sign) for sign in self._sign_list]
        for summary in optuna.get_all_study_summaries(self._storage, include_best_trial=False):
            if summary.study_name != name:
                continue
            if MARK not in summary.user_attrs:
                raise CannotExport(
                    f"{without_password(self.url)}: has a study {name!r} that raysweep did not write; "
                    "rename yours"
                )
            earlier = optuna.load_study(study_name=name, storage=self._storage)
            if list(earlier.directions) != directions or earlier.metric_names != names:
                optuna.delete_study(study_name=name, storage=self._storage)
        copy = optuna.create_study(
            study_name=name, storage=self._storage, directions=directions, load_if_exists=True
        )
        if names is not None:
            copy.set_metric_names(names)
        copy.set_user_attr(MARK, f"exported {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC")
        return self._storage.get_study_id_from_name(name)

    def _delete_details(self, connection: Connection, ids: Select[tuple[int]]) -> None:
        for name in DETAILS:
            table = self._tables.tables[name]
            connection.execute(table.delete().where(table.c.trial_id.in_(ids)))

    def _insert(
        self, connection: Connection, trials: Sequence[FrozenTrial], existing: Mapping[int, int]
    ) -> None:
        """Write many trials at once; Optuna's own API, a transaction each, takes a hundred times as long.

        The tables are those of Optuna 5; a test opens the result with plain Optuna.

        Args:
            connection: in a transaction.
            trials: without details in the storage.
            existing: id by number of the trials that have a row.
        """
        head = self._tables.tables["trials"]
        new = [_head(trial) for trial in trials if trial.number not in existing]
        if new:
            connection.execute(head.insert(), [{**row, "study_id": self._study_id} for row in new])
        for trial in trials:
            if trial.number in existing:
                mine = head.c.trial_id == existing[trial.number]
                connection.execute(head.update().where(mine).values(_head(trial)))
        of_study = select(head.c.number, head.c.trial_id).where(head.c.study_id == self._study_id)
        ids = {number: id_ for number, id_ in connection.execute(of_study)}
        for name, rows in _details(trials, ids, self._sign_list).items():
            if rows:
                connection.execute(self._tables.tables[name].insert(), rows)


def export(study: Study, url: str, signs: Signs | None = None) -> None:
    """Write a study to an Optuna storage, replacing an earlier copy; see `StudyCopy`.

    Raises:
        CannotExport: if there is no such storage, or a study of that name that is not ours.
    """
    copy = StudyCopy(url, study, signs)
    try:
        copy.replace(study.get_trials(deepcopy=False))
    finally:
        copy.close()


def export_file(study: Study, path: Path, signs: Signs | None = None) -> None:
    """Write a study to an SQLite file atomically; see `export`.

    Raises:
        CannotExport: if the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        unfinished.unlink(missing_ok=True)
        url = URL.create("sqlite", database=str(unfinished)).render_as_string(hide_password=False)
        export(study, url, signs)
        unfinished.replace(path)
    except OSError as error:
        raise CannotExport(f"{path}: {error.strerror}") from error


def without_password(url: str) -> str:
    """A storage's address without its password.

    >>> without_password("postgresql://me:secret@db/optuna")
    'postgresql://me:***@db/optuna'
    """
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}:***@{tail}" if at and ":" in user else url


def _direction(sign: int) -> StudyDirection:
    return StudyDirection.MINIMIZE if sign > 0 else StudyDirection.MAXIMIZE


def _head(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's row in the table `trials`."""
    return {
        "number": trial.number,
        "state": trial.state.name,
        "datetime_start": trial.datetime_start,
        "datetime_complete": trial.datetime_complete,
    }


def _details(
    trials: Sequence[FrozenTrial], ids: Mapping[int, int], signs: Sequence[int]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of the `DETAILS` tables, by table."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for trial in trials:
        own = {"trial_id": ids[trial.number]}
        for name, value in trial.params.items():
            domain = trial.distributions[name]
            inner, text = domain.to_internal_repr(value), distribution_to_json(domain)
            rows["trial_params"].append(
                {**own, "param_name": name, "param_value": inner, "distribution_json": text}
            )
        for index, loss in enumerate(trial.values or ()):  # finite, see `OptunaSearcher.tell`
            value = {"value": signs[index] * loss, "value_type": "FINITE"}
            rows["trial_values"].append({**own, "objective": index, **value})
        for step, loss in trial.intermediate_values.items():
            rows["trial_intermediate_values"].append(
                {
                    **own,
                    "step": step,
                    "intermediate_value": signs[0] * loss,
                    "intermediate_value_type": "FINITE",
                }
            )
        for table, attrs in (
            ("trial_user_attributes", trial.user_attrs),
            ("trial_system_attributes", trial.system_attrs),
        ):
            rows[table] += [{**own, "key": key, "value_json": json.dumps(attrs[key])} for key in attrs]
    return rows


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
