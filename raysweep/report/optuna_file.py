"""Opens an Optuna file, SQLite or a journal, without writing to it."""

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
    """The study in an Optuna file.

    Args:
        path: the file.
        name: of the study, if the file holds several.

    Raises:
        CannotReport: if the file holds no study, or several and `name` is not one of them.
    """
    if not path.is_file():
        raise CannotReport(f"{path}: no such file; give --db a file that Optuna wrote")
    with path.open("rb") as file:
        begins = file.read(len(SQLITE))
    with quiet():
        if begins == SQLITE:
            storage, names = _of_sqlite(path)
        elif begins.startswith(JOURNAL):
            storage, names = _of_journal(path)
        else:
            raise CannotReport(f"{path}: not an Optuna file: neither SQLite nor a journal")
        if not names:
            raise CannotReport(f"{path}: holds no study")
        if name is None and len(names) > 1:
            raise CannotReport(
                f"{path}: holds {len(names)} studies, name one before --db: {', '.join(names)}"
            )
        if name is not None and name not in names:
            raise CannotReport(f"{path}: holds no study {name!r}; it has {', '.join(names)}")
        return optuna.load_study(study_name=name or names[0], storage=storage)


def _of_sqlite(path: Path) -> tuple[BaseStorage, list[str]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as probe:
            names = [row[0] for row in probe.execute("SELECT study_name FROM studies ORDER BY study_id")]
    except sqlite3.Error as error:
        raise CannotReport(f"{path}: not an Optuna database ({error})") from None
    try:
        return RDBStorage(f"sqlite:///file:{path.absolute()}?mode=ro&uri=true"), names
    except (SQLAlchemyError, RuntimeError, ValueError) as error:  # from another version of Optuna
        first = str(error).strip().splitlines()[0]
        raise CannotReport(
            f"{path}: cannot be read by Optuna {optuna.__version__} ({first}); "
            f"`optuna storage upgrade --storage sqlite:///{path}` on a copy of it may help"
        ) from None


def _of_journal(path: Path) -> tuple[BaseStorage, list[str]]:
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError) as error:  # not JSON, or without the keys of Optuna's lines
        raise CannotReport(f"{path}: not an Optuna journal ({error!r})") from None
    return storage, [study.study_name for study in storage.get_all_studies()]
