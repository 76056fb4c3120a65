"""The files of a study. Deleting the folder deletes the study; a copy of the folder is the study elsewhere.

runs/<study>/
  study.json     format version, the validated sweep, its values before each `extend`, the command line
  sweep.yaml     the sweep file as the user wrote it
  code/          the user's modules when the study began (storage/code_snapshot.py)
  trials/ID/     a failed trial's traceback
  lock           names the process that writes to the study
  journal/       the source of truth; `launch.py repair` moves a damaged one to journal-damaged-N
  chosen.json    the choices for `budget` and `resources_per_trial: auto`, as text; the sweep has the values
  status.json    machine-readable status, computed from the journal
  best.yaml      the best trial as a run config for the full training
  retrain/       a study of its own: the best configurations over new seeds, and the model
  test_access.jsonl  each use of the test rows: command and time
  optuna.db      an export for optuna-dashboard; never read back
  warm_start.json  what was taken from earlier studies when this one began
  ray/attempt-N  Ray's own files and the checkpoints
  stages/NAME/   the stages of a staged sweep, each a folder like this one
"""

from __future__ import annotations

import errno
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from raysweep.config import Sweep
from raysweep.errors import RaysweepError
from raysweep.formatting import one_line
from raysweep.launch_command import Command, launch_command, typed_args
from raysweep.study.storage.files import RESTORE, Unreadable, read_json, write_json
from raysweep.study.storage.journal_files import make_journal
from raysweep.study.storage.secrets import hide_passwords
from raysweep.study.storage.trust import STUDY_VERSION as VERSION
from raysweep.study.storage.trust import is_trusted, mark_trusted

_URI_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]+://")


class StudyExists(RaysweepError):
    """The folder already holds a study, or another one than the command means."""


class StudyNameExists(StudyExists):
    """A new study cannot have this name; the message names `resume` and `--name`.

    Attributes:
        study: the one that exists, by its folder or URI.
    """

    def __init__(self, study: str | Path) -> None:
        self.study = study
        super().__init__(
            f"{study} already holds a study: continue it with "
            f"`{launch_command('resume', study)}`, or choose another name with `--name`"
        )


class NotAStudy(RaysweepError):
    """The folder holds no study, or one in another format version."""


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of one study, and the paths of its files.

    Attributes:
        path: the folder.
        storage_uri: where the study is kept on object storage; checkpoints are only there. "" if it is not.
    """

    path: Path
    storage_uri: str = ""

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        sweep: Sweep,
        source_text: str,
        storage_uri: str = "",
        arguments: Sequence[str] = (),
        *,
        file: Path | None = None,
        fill: Callable[[StudyFolder], None] | None = None,
    ) -> StudyFolder:
        """Create the study `root/name` atomically: in a temporary folder, which is then renamed.

        Args:
            root: the folder of the studies.
            name: the study's name.
            sweep: the validated sweep.
            source_text: the sweep file as the user wrote it.
            storage_uri: the study's URI, if it is kept on object storage.
            arguments: command-line arguments that name the sweep file and the changes to it.
            file: the sweep file, if there is one.
            fill: writes further files of a new study into the folder it is given, before the rename.

        Raises:
            StudyExists: if the study exists; nothing is changed.
            NotAStudy: if the name is no valid folder name, or the folder holds other files.
            OSError: if a file cannot be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise NotAStudy(f"study name {name!r}: use letters, digits, '.', '_' and '-', at most 100")
        folder = cls(root.absolute() / name, storage_uri)
        folder._check_free()
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root.absolute()) as beside:
            draft = cls(Path(beside) / name, storage_uri)
            make_journal(draft.journal_dir)
            draft.source_file.write_text(hide_passwords(source_text), encoding="utf-8")
            meta = {
                "version": VERSION,
                "id": secrets.token_hex(16),
                "study_name": name,
                "sweep": sweep.model_dump(mode="json"),
            }
            meta |= {"far": storage_uri} if storage_uri else {}
            meta |= {"file": str(file.absolute())} if file is not None else {}
            meta |= {"words": [hide_passwords(argument) for argument in arguments]} if arguments else {}
            write_json(draft.meta_file, "study", meta)
            if fill is not None:
                fill(draft)
            try:
                draft.path.rename(folder.path)  # replaces an empty folder
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    folder._check_free()  # another `run` created it first
                raise
        if not is_trusted(folder.path):
            mark_trusted(folder.path)
        return folder

    def _check_free(self) -> None:
        """Raise if a study cannot be created here."""
        if self.meta_file.exists():
            raise StudyNameExists(self.path)
        if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
            raise NotAStudy(
                f"{self.path} holds files that are no study's: move them away, or choose another name "
                "with `--name`"
            )

    def remove(self) -> None:
        """Delete the study; to other processes it disappears at once."""
        with tempfile.TemporaryDirectory(prefix=f".{self.name}-", dir=self.path.parent) as beside:
            self.path.rename(Path(beside) / self.name)

    @classmethod
    def open(cls, path: Path) -> StudyFolder:
        """Open the folder of an existing study.

        Raises:
            NotAStudy: if it holds no study that this version can read.
        """
        folder = cls(path.absolute())
        return cls(folder.path, folder._meta().get("far", ""))

    def sweep(self) -> Sweep:
        """The current sweep, with the study's own copy of the user's code first on its import paths."""
        sweep = self.stored_sweep()
        if not self.code_dir.exists():
            return sweep
        paths = (str(self.code_dir), *sweep.import_paths)
        return sweep.model_copy(update={"import_paths": tuple(dict.fromkeys(paths))})

    def stored_sweep(self) -> Sweep:
        """The current sweep as stored: as validated when the study was created or last revised.

        Raises:
            NotAStudy: if the file holds no sweep that is valid in this version.
        """
        try:
            return Sweep.model_validate(self._meta()["sweep"])
        except KeyError:
            raise NotAStudy(f"{self.meta_file}: holds no sweep; {RESTORE}") from None
        except ValueError as error:  # pydantic's
            message = one_line(error, 300)
            raise NotAStudy(f"{self.meta_file}: its sweep is not valid in this version: {message}") from None

    def source_text(self) -> str:
        """The sweep file as the user wrote it; "" if it cannot be read."""
        try:
            return self.source_file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def edited_file(self) -> Path | None:
        """The sweep file, if it was edited since the study began; None if it was not, or is gone."""
        file = Path(self._meta().get("file", ""))
        try:
            current = hide_passwords(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return file if current != self.source_text() else None

    def command(self) -> Command | None:
        """The line that ran this sweep; None if it is not known."""
        words = self._meta().get("words")
        return launch_command(*typed_args(words)) if words else None

    def revisions(self) -> list[dict[str, Any]]:
        """The revisions, oldest first: the time `t`, the `changes`, and the `sweep` before them."""
        revisions: list[dict[str, Any]] = self._meta().get("revisions", [])
        return revisions

    def revise(self, sweep: Sweep, changes: Mapping[str, Any], t: float) -> None:
        """Replace the sweep atomically; the old one is kept among the revisions.

        Args:
            sweep: the new sweep.
            changes: new value by key, as in the journal.
            t: unix seconds.
        """
        meta = self._meta()
        revision = {"t": t, "changes": dict(changes), "sweep": meta["sweep"]}
        meta["sweep"] = sweep.model_dump(mode="json")
        meta["revisions"] = [*meta.get("revisions", []), revision]
        write_json(self.meta_file, "study", meta)

    def stage(self, name: str) -> StudyFolder:
        """The folder of a stage of a staged sweep."""
        return self.inner("stages", name)

    def inner(self, *names: str) -> StudyFolder:
        """The folder of a study within this one."""
        uri = below(self.storage_uri, *names) if self.storage_uri else ""
        return StudyFolder(self.path.joinpath(*names), uri)

    def stages(self) -> list[StudyFolder]:
        """The folders of the stages that have begun; empty for a sweep without stages."""
        folders = [self.stage(stage.name) for stage in self.stored_sweep().stages]
        return [folder for folder in folders if folder.meta_file.exists()]

    def _meta(self) -> dict[str, Any]:
        try:
            return read_json(self.meta_file, version=VERSION, kind="study")
        except FileNotFoundError:
            raise NotAStudy(f"{self.path} holds no study (no {self.meta_file.name})") from None
        except Unreadable as error:
            raise NotAStudy(str(error)) from None

    @property
    def name(self) -> str:
        """The study's name, which is its folder's."""
        return self.path.name

    @property
    def meta_file(self) -> Path:
        """The file with format version and sweep."""
        return self.path / "study.json"

    @property
    def source_file(self) -> Path:
        """The sweep file as the user wrote it."""
        return self.path / "sweep.yaml"

    @property
    def code_dir(self) -> Path:
        """The copy of the user's modules."""
        return self.path / "code"

    @property
    def journal_dir(self) -> Path:
        """The journal's segments."""
        return self.path / "journal"

    @property
    def chosen_file(self) -> Path:
        """The choices made before the study began."""
        return self.path / "chosen.json"

    @property
    def status_file(self) -> Path:
        """The machine-readable status."""
        return self.path / "status.json"

    @property
    def best_file(self) -> Path:
        """The best trial as a run config."""
        return self.path / "best.yaml"

    @property
    def optuna_file(self) -> Path:
        """The study as an Optuna database, for other tools to open."""
        return self.path / "optuna.db"

    @property
    def lock_file(self) -> Path:
        """The lock that names the process that writes to the study."""
        return self.path / "lock"

    @property
    def ray_dir(self) -> str:
        """Ray's own files, one folder per attempt; a URI if the study is on object storage."""
        return self.locate("ray")

    def locate(self, checkpoint: str) -> str:
        """The path or URI of a checkpoint, given its path in the journal."""
        return below(self.storage_uri, checkpoint) if self.storage_uri else str(self.path / checkpoint)

    def relative(self, checkpoint: str) -> str:
        """The path of a checkpoint in the journal, given its path in Ray."""
        root = _URI_SCHEME.sub("", self.storage_uri).partition("?")[0] or str(self.path)
        return str(PurePosixPath(checkpoint).relative_to(root))


def below(uri: str, *names: str) -> str:
    """Append names to the path of a URI, in front of its query (`?endpoint_override=...`).

    >>> below("s3://b/runs?region=x", "a", "ray")
    's3://b/runs/a/ray?region=x'
    """
    path, mark, query = uri.partition("?")
    return "/".join([path.rstrip("/"), *names]) + mark + query
