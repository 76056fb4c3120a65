"""Copies a study's small files from the driver's disk to object storage as they change.

The copy is at any time a study, some seconds old, that can be resumed: the journal is copied last, so no
other file is missing; a checkpoint is deleted only after the journal that no longer needs it is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from raysweep.formatting import one_line
from raysweep.study.storage.journal_files import MARK
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import check_newest
from raysweep.study.storage.object_store import LEASE, RAY, REFUSES, ObjectStore, uri_of, wrap_storage_errors

EVERY_S = 5.0
REST_FACTOR = 10  # a pause lasts at least this many times as long as the round before it
EXCLUDED = ("lock", "*.lock", "*.tmp", ".*")


class StorageSync:
    """Keeps a study's folder on object storage up to date with the one on this disk; a context manager.

    Args:
        folder: a study with a storage URI.

    Raises:
        StudyBusy: on entering, if a live driver elsewhere holds the study.
        StudyExists: on entering, if the storage is ahead of this disk.
        CannotWrite: on entering, if the storage refuses. Later errors are noted in `trouble` and retried.

    Attributes:
        trouble: why the last round failed, or "".
    """

    def __init__(self, folder: StudyFolder) -> None:
        self.folder, self.trouble = folder, ""
        with wrap_storage_errors(folder.storage_uri):
            self._store = ObjectStore(folder.storage_uri)
        self._claim_id = uuid.uuid4().hex
        self._sent: dict[str, tuple[int, int]] = {}
        self._unneeded: list[str] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-sync", daemon=True)

    def __enter__(self) -> StorageSync:
        with wrap_storage_errors(self.folder.storage_uri):
            self._store.check_free(self._claim_id)
            check_newest(self.folder, self._store)
            self._copy_changes()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._try_to_copy()
        with contextlib.suppress(*REFUSES):
            self._store.delete(LEASE)

    def discard(self, uri: str | Path) -> None:
        """Delete a checkpoint once the journal that no longer needs it is on the storage."""
        self._unneeded.append(uri_of(uri))

    def _run(self) -> None:
        took = 0.0
        while not self._closing.wait(max(EVERY_S, REST_FACTOR * took)):
            begun = time.monotonic()
            self._try_to_copy()
            took = time.monotonic() - begun

    def _try_to_copy(self) -> None:
        try:
            self._copy_changes()
            self.trouble = ""
        except REFUSES as error:
            self.trouble = f"{self.folder.storage_uri}: {one_line(error, 300)}"

    def _copy_changes(self) -> None:
        """Copy what has changed since the last round.

        A journal's mark is read before its segments and written after them, so it is never ahead of them.
        """
        unneeded = len(self._unneeded)
        self._store.claim(self._claim_id)
        present = sorted(self._files(), key=lambda name: ("journal" in name.split("/"), name))
        marks = [name for name in present if name.rpartition("/")[2] == MARK]
        read = {name: self._read_if_changed(name) for name in marks}
        for name in [name for name in present if name not in read] + marks:
            changed = read[name] if name in read else self._read_if_changed(name)
            if changed is not None:
                self._store.put(name, changed[0])
                self._sent[name] = changed[1]
        for name in self._sent.keys() - set(present):
            self._store.delete(name)
            del self._sent[name]
        for uri in self._unneeded[:unneeded]:
            ObjectStore(uri).delete("")
        del self._unneeded[:unneeded]

    def _read_if_changed(self, name: str) -> tuple[bytes, tuple[int, int]] | None:
        """A file's content, and its size and modification time; None if that version was sent already."""
        file = self.folder.path / name
        try:
            stat = file.stat()
            state = (stat.st_size, stat.st_mtime_ns)
            return None if self._sent.get(name) == state else (file.read_bytes(), state)
        except FileNotFoundError:
            return None  # being replaced: the next round copies it

    def _files(self) -> Iterator[str]:
        root = self.folder.path
        for path in root.rglob("*"):
            name = path.relative_to(root)
            excluded = any(fnmatch(name.name, pattern) for pattern in EXCLUDED)
            if not excluded and RAY not in name.parts[:-1] and path.is_file():
                yield name.as_posix()


@contextmanager
def synced_storage(folder: StudyFolder) -> Iterator[StorageSync | None]:
    """Copy what the block writes to the study to its object storage; yields None if it has none."""
    if not folder.storage_uri:
        yield None
        return
    with StorageSync(folder) as sync:
        yield sync
