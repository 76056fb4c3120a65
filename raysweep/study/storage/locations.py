"""Where a study's files are: in a folder on this disk, or on object storage by its URI.

On object storage, the processes that make checkpoints upload them, through Ray. The rest of a study is
small: it is written to the folder on the driver's disk and copied from there (`raysweep.study.storage.sync`).
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from raysweep.study.storage.journal_files import MARK, list_segments
from raysweep.study.storage.layout import NotAStudy, StudyExists, StudyFolder, StudyNameExists
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


def local_root(location: str | Path | None) -> Path:
    """The folder on this disk for the studies at a location, at least for their small files.

    >>> local_root("s3://bucket/runs"), local_root("kept")
    (PosixPath('runs'), PosixPath('kept'))
    """
    return Path("runs") if uri_of(location) or not location else Path(location)


@contextmanager
def locate_checkpoint(location: str | Path) -> Iterator[Path]:
    """Yield a checkpoint's folder on this disk, downloaded for the length of the block if need be."""
    uri = uri_of(location)
    if not uri:
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as scratch:
        ObjectStore(uri).download("", Path(scratch))
        yield Path(scratch)


def discard(location: str | Path) -> None:
    """Delete a checkpoint, by path or URI; errors are ignored."""
    uri = uri_of(location)
    if not uri:
        shutil.rmtree(location, ignore_errors=True)
        return
    with suppress(*REFUSES):
        ObjectStore(uri).delete("")


def checkpoint_lookup(folder: StudyFolder) -> Callable[[str], bool]:
    """A function that says whether a checkpoint, by its path in the journal, exists.

    For object storage it answers from one listing, made now.
    """
    if not folder.storage_uri:
        return lambda checkpoint: (folder.path / checkpoint).exists()
    with wrap_storage_errors(folder.storage_uri):
        return ObjectStore(folder.storage_uri).folders().__contains__


def fetch_checkpoint(folder: StudyFolder, checkpoint: str) -> Path:
    """A checkpoint, by its path in the journal, in the study's folder on this disk."""
    path = folder.path / checkpoint
    if folder.storage_uri and not path.exists():
        with wrap_storage_errors(folder.storage_uri):
            ObjectStore(folder.storage_uri).download(checkpoint, path)
    return path


def download_study(uri: str, root: Path) -> StudyFolder:
    """The study at a URI, its small files in a folder of `root`, downloaded unless they are up to date.

    Raises:
        NotAStudy: if there is none.
        StudyExists: if `root` has another study of this name, or one that continued here and elsewhere.
        CannotWrite: if the storage refuses.
    """
    folder = StudyFolder(root.absolute() / name_in(uri), uri)
    with wrap_storage_errors(uri):
        store = ObjectStore(uri)
        if store.get(folder.meta_file.name) is None:
            raise NotAStudy(f"{uri} holds no study (no {folder.meta_file.name})")
        if folder.meta_file.exists() and StudyFolder.open(folder.path).storage_uri != uri:
            raise StudyExists(
                f"{folder.path} holds another study; `--runs FOLDER` downloads {uri} to another folder"
            )
        if not _is_behind(folder, store):
            return folder
        # Marks first: a journal that grows meanwhile has at least what its mark states.
        for name in sorted(store.sizes(), key=lambda name: PurePosixPath(name).name != MARK):
            if name != LEASE and not name.startswith(PROBE):
                (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
                (folder.path / name).write_bytes(store.get(name) or b"")
    return StudyFolder.open(folder.path)


def check_newest(folder: StudyFolder, store: ObjectStore) -> None:
    """Raise if a study continued elsewhere since it was on this disk.

    Raises:
        StudyExists: if it did.
    """
    if folder.meta_file.exists() and _is_behind(folder, store):
        raise StudyExists(
            f"{store.uri} continued elsewhere since it was in {folder.path}: "
            f"`launch.py resume {store.uri}` continues from there"
        )


def _is_behind(folder: StudyFolder, store: ObjectStore) -> bool:
    """Whether a journal on the storage, the study's or a stage's, continues the one on this disk.

    Raises:
        StudyExists: if each has events that the other lacks.
    """
    journal = folder.journal_dir.name
    names = [name for name in store.sizes() if PurePosixPath(name).match(f"{journal}/*.jsonl")]
    stored = {name: store.get(name) or b"" for name in names}
    files = folder.path.rglob(f"{journal}/*.jsonl")
    local = {path.relative_to(folder.path).as_posix(): path.read_bytes() for path in files}
    disk_lacks = store_lacks = False
    for name in stored.keys() | local.keys():
        here, there = local.get(name, b""), stored.get(name, b"")
        disk_lacks = disk_lacks or not here.startswith(there)
        store_lacks = store_lacks or not there.startswith(here)
    if disk_lacks and store_lacks:
        raise StudyExists(
            f"{folder.path} and {store.uri} have diverged: move away the one whose last epochs may be lost"
        )
    return disk_lacks or not folder.meta_file.exists()


def check_new(uri: str) -> None:
    """Raise if a study with this URI exists.

    Raises:
        StudyExists: if it does.
        CannotWrite: if the storage refuses.
    """
    with wrap_storage_errors(uri):
        if ObjectStore(uri).get("study.json") is not None:
            raise StudyNameExists(uri)


def check_writable(uri: str) -> None:
    """Raise if no file can be written at a URI.

    Raises:
        CannotWrite: if the URI names no storage, or the storage refuses.
    """
    with wrap_storage_errors(uri):
        store, probe = ObjectStore(uri), f"{PROBE}{uuid.uuid4().hex}"
        store.put(probe, b"")
        store.delete(probe)


def replace_journal(folder: StudyFolder) -> None:
    """Replace a study's journal on its object storage, if it has one, by the one on this disk.

    Raises:
        StudyBusy: if a live driver elsewhere holds the study.
        CannotWrite: if the storage refuses.
    """
    if not folder.storage_uri:
        return
    with wrap_storage_errors(folder.storage_uri):
        store, name = ObjectStore(folder.storage_uri), folder.journal_dir.name
        store.check_free("")
        for old in store.sizes(name):
            store.delete(old)
        for segment in list_segments(folder.journal_dir):
            store.put(f"{name}/{segment.name}", segment.read_bytes())
        store.put(f"{name}/{MARK}", (folder.journal_dir / MARK).read_bytes())


def is_held_elsewhere(folder: StudyFolder) -> bool:
    """Whether a live driver, on any machine, holds a study on object storage; False if it cannot be read."""
    if not folder.storage_uri:
        return False
    try:
        ObjectStore(folder.storage_uri).check_free("")
    except StudyBusy:
        return True
    except (CannotWrite, *REFUSES):
        return False
    return False
