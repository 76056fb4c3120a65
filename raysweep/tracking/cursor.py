"""`tracking.json`: how far MLflow has the journal, so that a study keeps its runs across restarts.

The backlog itself is the journal. This file may be lost or old at no cost but work: runs are then
found by their tags, and what is sent twice is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from raysweep.study.storage.files import Unreadable, read_json, write_json
from raysweep.tracking.address import SERVER, URI, absolute, sqlite_path
from raysweep.tracking.runs import store_uri

VERSION = 1
FILE = "tracking.json"
BY_TAGS = "runs are found by their tags"


@dataclass(slots=True)
class Cursor:
    """What stands in `tracking.json`.

    Attributes:
        uri: the store that was written to; another one is sent everything.
        study_id: the study it is about.
        experiment_id: MLflow's experiment.
        parent: run id of the sweep's run.
        runs: trial id -> run id.
        sent: events of the journal, from its first, that MLflow has.
        last_sum: the journal's chained sum at the last of them, which tells it from another history's.
    """

    uri: str = ""
    study_id: str = ""
    experiment_id: str = ""
    parent: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    last_sum: int = 0

    def save(self, path: Path) -> None:
        """Replace the file as a whole.

        Raises:
            OSError: if the disk refuses.
        """
        write_json(path, "tracking", {"version": VERSION, **asdict(self)})


def load(path: Path) -> tuple[Cursor, str]:
    """The cursor, and what was wrong with its file ("" if nothing was, or if there was none)."""
    try:
        fields = read_json(path, version=VERSION, kind="tracking", fix=BY_TAGS, newer=BY_TAGS)
        del fields["version"]
        return Cursor(**fields), ""
    except FileNotFoundError:
        return Cursor(), ""
    except Unreadable as error:
        return Cursor(), str(error)


def store_of(configured: str | None, environ: Mapping[str, str], here: Path, study: Path) -> str:
    """A study's store: the sweep file's or the environment's value, else the one it was sent to, else here.

    A study is resumed, retrained or synced from any folder, and stays in one store. A local store that
    is not there any more, for the study came from another machine, is none.

    Args:
        configured: the sweep file's value.
        environ: the environment.
        here: the working directory.
        study: its folder; a retraining's is within that of its study.
    """
    word = configured or environ.get(URI)
    if not word or absolute(word, here) != word:  # a relative file: of the folder where it was first said
        for folder in (study, study.parent):
            uri = load(folder / FILE)[0].uri
            path = sqlite_path(uri)
            same_name = not word or (path is not None and path.match(str(sqlite_path(word))))
            if same_name and (uri.startswith(SERVER) or (path is not None and path.is_file())):
                return uri
    return store_uri(configured, environ, here)
