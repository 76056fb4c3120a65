"""`tracking.json`: how far MLflow has been told, so that a study keeps its runs across restarts.

The backlog itself is the journal. This file may be lost or old at no cost but work: runs are then
found by their tags, and what is sent twice is stored once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service.study.files import replace
from service.tracking.runs import store_uri

VERSION = 1
FILE = "tracking.json"
SQLITE = "sqlite:///"


@dataclass(slots=True)
class Cursor:
    """What stands in `tracking.json`.

    Attributes:
        uri: the store that was told; another one is told everything anew.
        study_id: the study it is about.
        experiment_id: MLflow's experiment.
        parent: run id of the sweep's run.
        runs: trial id -> run id.
        sent: events of the journal, from its first, that MLflow has.
    """

    uri: str = ""
    study_id: str = ""
    experiment_id: str = ""
    parent: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    sent: int = 0

    def save(self, path: Path) -> None:
        """Replace the file as a whole.

        Raises:
            OSError: if the disk refuses.
        """
        replace(path, json.dumps({"version": VERSION, **asdict(self)}))


def load(path: Path) -> tuple[Cursor, str]:
    """The cursor, and what was wrong with its file ("" if nothing was, or if there was none)."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        version = fields.pop("version")
        if version != VERSION:
            return Cursor(), f"{path}: format {version}, this program reads {VERSION}; runs are found by tags"
        return Cursor(**fields), ""
    except FileNotFoundError:
        return Cursor(), ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Cursor(), f"{path}: cannot be read ({error}); runs are found by their tags"


def store_of(configured: str | None, environ: Mapping[str, str], here: Path, study: Path) -> str:
    """A study's store: the sweep file's or the environment's word, else where it has been told, else here.

    A study is resumed, retrained or synced from any folder, and stays in one store. A local store that
    is not there any more, for the study came from another machine, is none.

    Args:
        configured: the sweep file's word.
        environ: the environment.
        here: the working directory.
        study: its folder; a retraining's is within that of its study.
    """
    if not configured and not environ.get("MLFLOW_TRACKING_URI"):
        for folder in (study, study.parent):
            uri = load(folder / FILE)[0].uri
            if uri.startswith(("http://", "https://")) or Path(uri.removeprefix(SQLITE)).is_file():
                return uri
    return store_uri(configured, environ, here)
