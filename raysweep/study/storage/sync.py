"""Carries a study's small files from the driver's disk to object storage, as they change.

What lies there is at any time a study as it was some seconds ago, whole enough to be resumed: the journal is
carried last, so nothing else knows more than it does; and a checkpoint is deleted only after the journal
that does without it has arrived.
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
TIME_FOR_IT = 10  # so many times as long as carrying took it then rests
STAYS = ("lock", "*.lock", "*.tmp", ".*")  # of this machine


class StorageSync:
    """Keeps a study's folder on object storage like the one on this disk; use it as a context.

    Args:
        folder: the study, with a storage.

    Raises:
        StudyBusy: on entering, if a live driver elsewhere holds the study.
        StudyExists: on entering, if the storage has more of it than this disk.
        CannotWrite: on entering, if the storage refuses; later that is `trouble`, and tried again.

    Attributes:
        trouble: why the storage lacks something, or "".
    """

    def __init__(self, folder: StudyFolder) -> None:
        self.folder, self.trouble = folder, ""
        with wrap_storage_errors(folder.far):
            self._depot = ObjectStore(folder.far)
        self._me = uuid.uuid4().hex
        self._sent: dict[str, tuple[int, int]] = {}
        self._unneeded: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="courier", daemon=True)

    def __enter__(self) -> StorageSync:
        with wrap_storage_errors(self.folder.far):
            self._depot.check_free(self._me)
            check_newest(self.folder, self._depot)
            self._carry()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._try()
        with contextlib.suppress(*REFUSES):
            self._depot.drop(LEASE)

    def discard(self, place: str | Path) -> None:
        """Delete a checkpoint, by its URI, once the journal that does without it has arrived."""
        self._unneeded.append(uri_of(place))

    def _go(self) -> None:
        took = 0.0
        while not self._over.wait(max(EVERY_S, TIME_FOR_IT * took)):
            begun = time.monotonic()
            self._try()
            took = time.monotonic() - begun

    def _try(self) -> None:
        try:
            self._carry()
            self.trouble = ""
        except REFUSES as error:
            self.trouble = f"{self.folder.far}: {one_line(error, 300)}"

    def _carry(self) -> None:
        """One round; what has not changed stays.

        A journal's mark is read before its segments and put after them: it never says more than they do.
        """
        unneeded = len(self._unneeded)
        self._depot.claim(self._me)
        present = sorted(self._files(), key=lambda name: ("journal" in name.split("/"), name))
        marks = [name for name in present if name.rpartition("/")[2] == MARK]
        read = {name: self._read_if_changed(name) for name in marks}
        for name in [name for name in present if name not in read] + marks:
            changed = read[name] if name in read else self._read_if_changed(name)
            if changed is not None:
                self._depot.put(name, changed[0])
                self._sent[name] = changed[1]
        for name in self._sent.keys() - set(present):
            self._depot.drop(name)
            del self._sent[name]
        for place in self._unneeded[:unneeded]:
            ObjectStore(place).drop("")
        del self._unneeded[:unneeded]

    def _read_if_changed(self, name: str) -> tuple[bytes, tuple[int, int]] | None:
        """A file's content, with what tells this state of it from others; None if it was sent already."""
        file = self.folder.path / name
        try:
            stat = file.stat()
            state = (stat.st_size, stat.st_mtime_ns)
            return None if self._sent.get(name) == state else (file.read_bytes(), state)
        except FileNotFoundError:
            return None  # replaced in this moment: the next round has it

    def _files(self) -> Iterator[str]:
        root = self.folder.path
        for path in root.rglob("*"):
            name = path.relative_to(root)
            stays = any(fnmatch(name.name, pattern) for pattern in STAYS)
            if not stays and RAY not in name.parts[:-1] and path.is_file():
                yield name.as_posix()


@contextmanager
def synced_storage(folder: StudyFolder) -> Iterator[StorageSync | None]:
    """Carry what is written to the study in the block to its storage; None if it has no other."""
    if not folder.far:
        yield None
        return
    with StorageSync(folder) as courier:
        yield courier
