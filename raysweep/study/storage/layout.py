"""Where everything of a study lies on disk. Deleting the folder deletes the study; copying it moves it.

runs/<study>/
  study.json     format version, the sweep as validated and before each `extend`, and the line that ran it
  sweep.yaml     the sweep file as the user wrote it
  code/          the user's modules as they were when the study began (storage/code_snapshot.py)
  trials/ID/     a failed trial's traceback
  lock           who writes to the study now
  journal/       the one truth; journal-damaged-N what `launch.py repair` put aside
  chosen.json    what `budget` and `resources_per_trial: auto` came to, in words; the sweep has it in figures
  status.json    for machines to read; a fold of the journal
  best.yaml      the best trial as a run config for the full training
  retrain/       a study of its own: the best configurations over fresh seeds, and the model
  test_access.jsonl  who looked at the test rows, and when
  optuna.db      an export for optuna-dashboard; never read back
  warm_start.json  what was taken of earlier studies when this one began
  ray/attempt-N  Ray's own files and the checkpoints
  stages/NAME/   a staged sweep's stages, each such a folder
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
    """The folder already holds a study; the message names `resume` and `--name`."""


class NotAStudy(RaysweepError):
    """The folder holds no study, or one of another format version."""


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of one study, and the names of what is in it.

    Attributes:
        path: the folder.
        far: URI under which the study is kept on object storage, its checkpoints there only; or "".
    """

    path: Path
    far: str = ""

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        sweep: Sweep,
        source_text: str,
        far: str = "",
        words: Sequence[str] = (),
        *,
        file: Path | None = None,
        fill: Callable[[StudyFolder], None] | None = None,
    ) -> StudyFolder:
        """Make `root/name`, whole or not at all: it is made beside and renamed.

        Args:
            root: the folder it goes to.
            name: of the study.
            sweep: what is wanted.
            source_text: as the user wrote it.
            far: the study's URI, if it is kept on object storage.
            words: of the command line, that name the sweep file and what was to differ from it.
            file: the sweep file, if there is one.
            fill: puts what else belongs to a new study into the folder it is given, before others see it.

        Raises:
            StudyExists: if there is one already; nothing is touched.
            NotAStudy: if the name cannot be a folder's, or is that of a folder with other files.
            OSError: if the disk refuses.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise NotAStudy(f"study name {name!r}: use letters, digits, '.', '_' and '-', at most 100")
        folder = cls(root.absolute() / name, far)
        folder._check_free()
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root.absolute()) as beside:
            draft = cls(Path(beside) / name, far)
            make_journal(draft.journal_dir)
            draft.source_file.write_text(hide_passwords(source_text), encoding="utf-8")
            known = {"version": VERSION, "id": secrets.token_hex(16), "study_name": name}
            meta = {**known, "sweep": sweep.model_dump(mode="json")}
            meta |= {"far": far} if far else {}
            meta |= {"file": str(file.absolute())} if file is not None else {}
            meta |= {"words": [hide_passwords(word) for word in words]} if words else {}
            write_json(draft.meta_file, "study", meta)
            if fill is not None:
                fill(draft)
            try:
                draft.path.rename(folder.path)  # over nothing, or over an empty folder
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    folder._check_free()  # another `run` was faster
                raise
        if not is_trusted(folder.path):
            mark_trusted(folder.path)
        return folder

    def _check_free(self) -> None:
        """See that a study can be made here."""
        if self.meta_file.exists():
            raise StudyExists(
                f"{self.path} already holds a study: carry it on with "
                f"`{launch_command('resume', self.path)}`, or run under another name with `--name`"
            )
        if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
            raise NotAStudy(
                f"{self.path} holds other files than a study's: move them away, or run under another name "
                "with `--name`"
            )

    def remove(self) -> None:
        """Delete the study, at once in the eyes of others."""
        with tempfile.TemporaryDirectory(prefix=f".{self.name}-", dir=self.path.parent) as beside:
            self.path.rename(Path(beside) / self.name)

    @classmethod
    def open(cls, path: Path) -> StudyFolder:
        """A folder that holds a study of a format this code reads.

        Raises:
            NotAStudy: with what is wrong.
        """
        folder = cls(path.absolute())
        return cls(folder.path, folder._meta().get("far", ""))

    def sweep(self) -> Sweep:
        """What is wanted now, its code the study's own copy."""
        sweep = self.wanted()
        if not self.code_dir.exists():
            return sweep
        paths = (str(self.code_dir), *sweep.import_paths)
        return sweep.model_copy(update={"import_paths": tuple(dict.fromkeys(paths))})

    def wanted(self) -> Sweep:
        """The sweep as it was validated when the study was made, or last revised.

        Raises:
            NotAStudy: if what stands there is no sweep to this version of the program.
        """
        try:
            return Sweep.model_validate(self._meta()["sweep"])
        except KeyError:
            raise NotAStudy(f"{self.meta_file}: it holds no sweep; {RESTORE}") from None
        except ValueError as error:  # pydantic's
            what = one_line(error, 300)
            raise NotAStudy(f"{self.meta_file}: its sweep is none to this version: {what}") from None

    def source_text(self) -> str:
        """The sweep file as the user wrote it; "" if that cannot be read any more."""
        try:
            return self.source_file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def edited_file(self) -> Path | None:
        """The sweep file, if it is no longer as it was when the study began; None if it is, or is gone."""
        file = Path(self._meta().get("file", ""))
        try:
            now = hide_passwords(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return file if now != self.source_text() else None

    def command(self) -> Command | None:
        """The line that ran this sweep; None where nobody said."""
        words = self._meta().get("words")
        return launch_command(*typed_args(words)) if words else None

    def revisions(self) -> list[dict[str, Any]]:
        """What was revised, oldest first: `t`, the `changes`, and the `sweep` as it was before."""
        found: list[dict[str, Any]] = self._meta().get("revisions", [])
        return found

    def revise(self, sweep: Sweep, changes: Mapping[str, Any], t: float) -> None:
        """Want another sweep from now on, all at once; what was wanted before is kept.

        Args:
            sweep: the new one.
            changes: what differs, for the journal.
            t: unix seconds.
        """
        meta = self._meta()
        before = {"t": t, "changes": dict(changes), "sweep": meta["sweep"]}
        new = sweep.model_dump(mode="json")
        meta |= {"sweep": new, "revisions": [*meta.get("revisions", []), before]}
        write_json(self.meta_file, "study", meta)

    def stage(self, name: str) -> StudyFolder:
        """The folder of a stage of a staged sweep."""
        return self.inner("stages", name)

    def inner(self, *names: str) -> StudyFolder:
        """The folder of a study within this one."""
        return StudyFolder(self.path.joinpath(*names), below(self.far, *names) if self.far else "")

    def stages(self) -> list[StudyFolder]:
        """The studies of a staged sweep's stages that have begun; none of any other sweep."""
        folders = [self.stage(stage.name) for stage in self.wanted().stages]
        return [folder for folder in folders if folder.meta_file.exists()]

    def _meta(self) -> dict[str, Any]:
        try:
            return read_json(self.meta_file, version=VERSION, what="study")
        except FileNotFoundError:
            raise NotAStudy(f"{self.path} holds no study (no {self.meta_file.name})") from None
        except Unreadable as error:
            raise NotAStudy(str(error)) from None

    @property
    def name(self) -> str:
        """The study's name, as its folder's."""
        return self.path.name

    @property
    def meta_file(self) -> Path:
        """Format version and sweep."""
        return self.path / "study.json"

    @property
    def source_file(self) -> Path:
        """The sweep file as the user wrote it."""
        return self.path / "sweep.yaml"

    @property
    def code_dir(self) -> Path:
        """The user's modules as they were."""
        return self.path / "code"

    @property
    def journal_dir(self) -> Path:
        """The journal's segments."""
        return self.path / "journal"

    @property
    def chosen_file(self) -> Path:
        """What was chosen before the study began."""
        return self.path / "chosen.json"

    @property
    def status_file(self) -> Path:
        """The fold that machines read."""
        return self.path / "status.json"

    @property
    def best_file(self) -> Path:
        """The best trial as a run config."""
        return self.path / "best.yaml"

    @property
    def optuna_file(self) -> Path:
        """The study as Optuna's, for others to open."""
        return self.path / "optuna.db"

    @property
    def lock_file(self) -> Path:
        """Who writes to the study now."""
        return self.path / "lock"

    @property
    def ray_dir(self) -> str:
        """Ray's own files, one folder an attempt; a URI where the study has one."""
        return self.locate("ray")

    def locate(self, checkpoint: str) -> str:
        """A checkpoint's path as the journal has it -> where it lies now, a path or a URI."""
        return below(self.far, checkpoint) if self.far else str(self.path / checkpoint)

    def relative(self, checkpoint: str) -> str:
        """A checkpoint's place as Ray has it -> its path for the journal."""
        home = _URI_SCHEME.sub("", self.far).partition("?")[0] if self.far else str(self.path)
        return str(PurePosixPath(checkpoint).relative_to(home))


def below(uri: str, *names: str) -> str:
    """What lies below a URI, whose query (`?endpoint_override=...`) stays behind.

    >>> below("s3://b/runs?region=x", "a", "ray")
    's3://b/runs/a/ray?region=x'
    """
    place, mark, query = uri.partition("?")
    return "/".join([place.rstrip("/"), *names]) + mark + query
