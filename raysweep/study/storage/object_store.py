"""Object storage: a study's folder there, by its URI (`s3://bucket/runs/STUDY`).

Any file system that pyarrow knows by a URI will do. What holds for two machines that see nothing of each
other but the storage is here, too: who holds a study (`claim`, `check_free`).
"""

from __future__ import annotations

import json
import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from raysweep.formatting import one_line
from raysweep.study.storage.lock import CannotWrite, StudyBusy

RAY = "ray"  # Ray's part of a study, at any depth of its folder
LEASE = "lease.json"
PROBE = ".probe-"
LEASE_S = 60.0  # a holder not heard of for longer is dead
REFUSES = (OSError, ValueError, NotImplementedError)
"""What pyarrow raises where a storage refuses, or is none."""
_URI = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])")


def uri_of(place: str | Path | None) -> str:
    """The URI that a user gave for a folder; empty where it is a path.

    >>> uri_of("s3://bucket/runs"), uri_of(Path("s3://bucket/runs")), uri_of("runs")
    ('s3://bucket/runs', 's3://bucket/runs', '')
    """
    text = str(place or "")  # of two slashes, a Path keeps one
    return _URI.sub(r"\1://", text, count=1).rstrip("/") if _URI.match(text) else ""


def name_in(uri: str) -> str:
    """The last name in a URI: of a study's, its name.

    >>> name_in("s3://b/runs/a?region=x")
    'a'
    """
    return uri.partition("?")[0].rstrip("/").rpartition("/")[2]


class ObjectStore:
    """A study's folder on object storage.

    Raises:
        CannotWrite: if no storage is known by this URI.
    """

    def __init__(self, uri: str) -> None:
        from pyarrow.fs import FileSystem

        self.uri = uri
        with wrap_storage_errors(uri):
            self.fs, self.base = FileSystem.from_uri(uri)

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        if self.fs.type_name == "local":  # object storage has no folders to make
            self.fs.create_dir(str(PurePosixPath(self.base, name).parent))
        with self.fs.open_output_stream(f"{self.base}/{name}", compression=None) as stream:
            stream.write(data)

    def get(self, name: str) -> bytes | None:
        """Read a file; None if there is none."""
        from pyarrow.fs import FileType

        if self.fs.get_file_info(f"{self.base}/{name}").type != FileType.File:
            return None
        with self.fs.open_input_stream(f"{self.base}/{name}", compression=None) as stream:
            data: bytes = stream.read()
        return data

    def drop(self, name: str) -> None:
        """Delete a file, or a folder with all in it; nothing if it is gone."""
        from pyarrow.fs import FileType

        path = f"{self.base}/{name}".rstrip("/")
        kind = self.fs.get_file_info(path).type
        if kind == FileType.Directory:
            self.fs.delete_dir(path)
        elif kind == FileType.File:
            self.fs.delete_file(path)

    def sizes(self, within: str = "") -> dict[str, int]:
        """Every file but Ray's, and its size."""
        from pyarrow.fs import FileSelector, FileType

        found: dict[str, int] = {}
        place = f"{self.base}/{within}".rstrip("/")
        for info in self.fs.get_file_info(FileSelector(place, allow_not_found=True)):
            name = f"{within}/{info.base_name}".lstrip("/")
            if info.type == FileType.File:
                found[name] = info.size
            elif info.base_name != RAY:
                found |= self.sizes(name)
        return found

    def folders(self) -> set[str]:
        """Every folder of Ray's that holds a file: the checkpoints that stand are among them."""
        from pyarrow.fs import FileSelector, FileType

        ours = FileSelector(f"{self.base}/{RAY}", recursive=True, allow_not_found=True)
        return {
            str(PurePosixPath(info.path).parent.relative_to(self.base))
            for info in self.fs.get_file_info(ours)
            if info.type == FileType.File
        }

    def bring(self, name: str, to: Path) -> None:
        """Copy a folder here."""
        from pyarrow.fs import LocalFileSystem, copy_files

        to.mkdir(parents=True, exist_ok=True)
        copy_files(f"{self.base}/{name}".rstrip("/"), str(to), self.fs, LocalFileSystem())

    def claim(self, me: str) -> None:
        """Say that a live driver holds the study; to be said again and again.

        Args:
            me: the driver's own word, so that it knows its claim from others'.
        """
        who = {"me": me, "pid": os.getpid(), "host": socket.gethostname()}
        self.put(LEASE, json.dumps(who).encode())

    def check_free(self, me: str) -> None:
        """See that nobody else holds the study. By the storage's clock: those of two machines differ.

        Raises:
            StudyBusy: if somebody does.
        """
        held = self.get(LEASE)
        try:
            who: dict[str, Any] = json.loads(held) if held else {}
        except ValueError:
            raise CannotWrite(f"{self.uri}/{LEASE}: damaged; delete it if no driver runs the study") from None
        if not who or who["me"] == me or (who["host"] == socket.gethostname() and not _alive(who["pid"])):
            return
        probe = f"{PROBE}{uuid.uuid4().hex}"
        self.put(probe, b"")
        now, then = (
            info.mtime.timestamp()
            for info in self.fs.get_file_info([f"{self.base}/{name}" for name in (probe, LEASE)])
        )
        self.drop(probe)
        if now - then < LEASE_S:
            raise StudyBusy(
                f"{self.uri} is in use by process {who['pid']} on {who['host']}, heard of {now - then:.0f} s "
                f"ago; one that is dead lets go after {LEASE_S:g} s"
            )


@contextmanager
def wrap_storage_errors(uri: str) -> Iterator[None]:
    """Say in one line what a storage says."""
    try:
        yield
    except REFUSES as error:
        raise CannotWrite(f"storage: {uri}: {one_line(error, 300)}") from None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
