"""Where a study's files lie: a folder of this disk, or object storage by its URI.

On object storage, checkpoints are put by the processes that make them, through Ray. The rest of a study is
small: it is written to the folder on the driver's disk and carried after (`raysweep.study.storage.sync`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from raysweep.study.storage.journal_files import MARK, list_segments
from raysweep.study.storage.layout import NotAStudy, StudyExists, StudyFolder
from raysweep.study.storage.lock import CannotWrite, StudyBusy
from raysweep.study.storage.object_store import (
    LEASE,
    PROBE,
    REFUSES,
    ObjectStore,
    name_in,
    uri_of,
    wrap_storage_errors,
)


def local_root(place: str | Path | None) -> Path:
    """The folder of this disk that studies kept at `place` are in, at least their small files.

    >>> local_root("s3://bucket/runs"), local_root("kept")
    (PosixPath('runs'), PosixPath('kept'))
    """
    return Path("runs") if uri_of(place) or not place else Path(place)


@contextmanager
def locate_checkpoint(place: str | Path) -> Iterator[Path]:
    """A checkpoint's folder on this disk for the length of a block, wherever it lies."""
    uri = uri_of(place)
    if not uri:
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as scratch:
        ObjectStore(uri).bring("", Path(scratch))
        yield Path(scratch)


def discard(place: str | Path) -> None:
    """Delete a checkpoint, wherever it lies; what refuses is left lying."""
    uri = uri_of(place)
    if not uri:
        shutil.rmtree(place, ignore_errors=True)
        return
    with suppress(*REFUSES):
        ObjectStore(uri).drop("")


def standing(folder: StudyFolder) -> Callable[[str], bool]:
    """Whether a checkpoint, by its path in the journal, is there; of object storage, as of now."""
    if not folder.far:
        return lambda checkpoint: (folder.path / checkpoint).exists()
    with wrap_storage_errors(folder.far):
        return ObjectStore(folder.far).folders().__contains__


def bring_checkpoint(folder: StudyFolder, checkpoint: str) -> Path:
    """A checkpoint, by its path in the journal, on this disk for good."""
    here = folder.path / checkpoint
    if folder.far and not here.exists():
        with wrap_storage_errors(folder.far):
            ObjectStore(folder.far).bring(checkpoint, here)
    return here


def download_study(uri: str, root: Path) -> StudyFolder:
    """The study at a URI, its small files in a folder of `root`: brought here unless they are here already.

    Raises:
        NotAStudy: if there is none.
        StudyExists: if `root` has another of this name, or what it has went on elsewhere and here too.
        CannotWrite: if the storage refuses.
    """
    here = StudyFolder(root.absolute() / name_in(uri), uri)
    with wrap_storage_errors(uri):
        depot = ObjectStore(uri)
        if depot.get(here.meta_file.name) is None:
            raise NotAStudy(f"{uri} holds no study (no {here.meta_file.name})")
        if here.meta_file.exists() and StudyFolder.open(here.path).far != uri:
            raise StudyExists(f"{here.path} holds another study; `--runs FOLDER` brings {uri} elsewhere")
        if not _is_behind(here, depot):
            return here
        # Marks first: a journal that goes on meanwhile has at least what its mark speaks of.
        for name in sorted(depot.sizes(), key=lambda name: PurePosixPath(name).name != MARK):
            if name != LEASE and not name.startswith(PROBE):
                (here.path / name).parent.mkdir(parents=True, exist_ok=True)
                (here.path / name).write_bytes(depot.get(name) or b"")
    return StudyFolder.open(here.path)


def check_newest(here: StudyFolder, depot: ObjectStore) -> None:
    """See that a study did not go on elsewhere since it was here.

    Raises:
        StudyExists: if it did.
    """
    if here.meta_file.exists() and _is_behind(here, depot):
        raise StudyExists(
            f"{depot.uri} went on elsewhere since it was in {here.path}: "
            f"`launch.py resume {depot.uri}` carries it on from there"
        )


def _is_behind(here: StudyFolder, depot: ObjectStore) -> bool:
    """Whether a journal of the storage, the study's or a stage's, goes on where the one here ends.

    Raises:
        StudyExists: if each has what the other lacks.
    """
    folder = here.journal_dir.name
    names = [name for name in depot.sizes() if PurePosixPath(name).match(f"{folder}/*.jsonl")]
    there = {name: depot.get(name) or b"" for name in names}
    files = here.path.rglob(f"{folder}/*.jsonl")
    mine = {path.relative_to(here.path).as_posix(): path.read_bytes() for path in files}
    lacks_here = lacks_there = False
    for name in there.keys() | mine.keys():
        a, b = mine.get(name, b""), there.get(name, b"")
        lacks_here = lacks_here or not a.startswith(b)
        lacks_there = lacks_there or not b.startswith(a)
    if lacks_here and lacks_there:
        raise StudyExists(
            f"{here.path} and {depot.uri} went on apart: move the one away whose last epochs may be lost"
        )
    return lacks_here or not here.meta_file.exists()


def check_new(uri: str) -> None:
    """See that no study has this URI yet.

    Raises:
        StudyExists: if one has.
        CannotWrite: if the storage refuses.
    """
    with wrap_storage_errors(uri):
        if ObjectStore(uri).get("study.json") is not None:
            raise StudyExists(
                f"{uri} already holds a study: carry it on with `launch.py resume {uri}`, "
                "or run under another name with `--name`"
            )


def replace_journal(folder: StudyFolder) -> None:
    """Have the storage of a study, if it has one, hold the journal that is here in the place of its own.

    Raises:
        StudyBusy: if a live driver elsewhere holds the study.
        CannotWrite: if the storage refuses.
    """
    if not folder.far:
        return
    with wrap_storage_errors(folder.far):
        depot, name = ObjectStore(folder.far), folder.journal_dir.name
        depot.check_free("")
        for old in depot.sizes(name):
            depot.drop(old)
        for segment in list_segments(folder.journal_dir):
            depot.put(f"{name}/{segment.name}", segment.read_bytes())
        depot.put(f"{name}/{MARK}", (folder.journal_dir / MARK).read_bytes())


def held_elsewhere(folder: StudyFolder) -> bool:
    """Whether a live driver, maybe of another machine, holds a study on object storage."""
    if not folder.far:
        return False
    try:
        ObjectStore(folder.far).check_free("")
    except StudyBusy:
        return True
    except (CannotWrite, *REFUSES):
        return False  # nobody can say
    return False
