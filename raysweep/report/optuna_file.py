"""A file that Optuna wrote, SQLite or a journal, opened without being written to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from raysweep.report.errors import CannotReport
from raysweep.search.samplers import quiet

SQLITE = b"SQLite format 3\x00"
JOURNAL = (b'{"op_code"', b'{"worker_id"')  # how a journal's first line begins


def load_study(path: Path, name: str | None = None) -> optuna.Study:
    """The study in a file of Optuna's.

    Args:
        path: the file.
        name: the study's, where the file holds several.

    Raises:
        CannotReport: if the file holds no study, or several and `name` is none of them.
    """
    if not path.is_file():
        raise CannotReport(f"{path}: no such file; give --db a file that Optuna wrote")
    with path.open("rb") as file:
        begins = file.read(len(SQLITE))
    with quiet():
        if begins == SQLITE:
            storage, found = _of_sqlite(path)
        elif begins.startswith(JOURNAL):
            storage, found = _of_journal(path)
        else:
            raise CannotReport(f"{path}: no database of Optuna's: neither SQLite nor a journal")
        if not found:
            raise CannotReport(f"{path}: holds no study")
        if name is None and len(found) > 1:
            raise CannotReport(
                f"{path}: holds {len(found)} studies, name one before --db: {', '.join(found)}"
            )
        if name is not None and name not in found:
            raise CannotReport(f"{path}: holds no study {name!r}; it has {', '.join(found)}")
        return optuna.load_study(study_name=name or found[0], storage=storage)


def _of_sqlite(path: Path) -> tuple[BaseStorage, list[str]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as probe:
            found = [row[0] for row in probe.execute("SELECT study_name FROM studies ORDER BY study_id")]
    except sqlite3.Error as error:
        raise CannotReport(f"{path}: no database of Optuna's ({error})") from None
    try:
        return RDBStorage(f"sqlite:///file:{path.absolute()}?mode=ro&uri=true"), found
    except (SQLAlchemyError, RuntimeError, ValueError) as error:  # of another version of Optuna
        first = str(error).strip().splitlines()[0]
        raise CannotReport(
            f"{path}: cannot be read by Optuna {optuna.__version__} ({first}); "
            f"`optuna storage upgrade --storage sqlite:///{path}` on a copy of it may help"
        ) from None


def _of_journal(path: Path) -> tuple[BaseStorage, list[str]]:
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError) as error:  # what is no JSON, or lacks what Optuna's lines have
        raise CannotReport(f"{path}: no journal of Optuna's ({error!r})") from None
    return storage, [study.study_name for study in storage.get_all_studies()]
