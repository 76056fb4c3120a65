"""`tracking.json`: up to which event MLflow has the journal, so that a study keeps its runs across restarts.

The backlog itself is the journal. If this file is lost or old, that only costs work: runs are then
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
    """The content of `tracking.json`.

    Attributes:
        uri: of the store that was written to; to another store everything is sent.
        study_id: identity of the study.
        experiment_id: of MLflow's experiment.
        parent: run id of the sweep's run.
        runs: run id by trial id.
        sent: number of the journal's events, from the first, that MLflow has.
        last_sum: the journal's chained sum at the last of them, which differs in another history.
    """

    uri: str = ""
    study_id: str = ""
    experiment_id: str = ""
    parent: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    last_sum: int = 0

    def save(self, path: Path) -> None:
        """Write the file atomically.

        Raises:
            OSError: if it cannot be written.
        """
        write_json(path, "tracking", {"version": VERSION, **asdict(self)})


def load(path: Path) -> tuple[Cursor, str]:
    """The cursor, and the problem with its file ("" if there is none, or no file)."""
    try:
        fields = read_json(path, version=VERSION, kind="tracking", fix=BY_TAGS, newer=BY_TAGS)
        del fields["version"]
        return Cursor(**fields), ""
    except FileNotFoundError:
        return Cursor(), ""
    except Unreadable as error:
        return Cursor(), str(error)


def store_of(configured: str | None, environ: Mapping[str, str], here: Path, study: Path) -> str:
    """A study's store: from the sweep file or the environment, else the one used before, else in `here`.

    A study may be resumed, retrained or synced from any folder, and stays in one store. A local store that
    no longer exists, since the study came from another machine, is ignored.

    Args:
        configured: the sweep file's value.
        environ: the environment.
        here: the working directory.
        study: its folder; a retraining's is within that of its study.
    """
    given = configured or environ.get(URI)
    if not given or absolute(given, here) != given:  # a relative file belongs to the folder of its first use
        for folder in (study, study.parent):
            uri = load(folder / FILE)[0].uri
            path = sqlite_path(uri)
            same_name = not given or (path is not None and path.match(str(sqlite_path(given))))
            if same_name and (uri.startswith(SERVER) or (path is not None and path.is_file())):
                return uri
    return store_uri(configured, environ, here)
