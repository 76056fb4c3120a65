"""Object storage: a study's folder by its URI (`s3://bucket/runs/STUDY`), on any file system of pyarrow.

Also the lock between machines that share only the storage (`claim`, `check_free`).
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

RAY = "ray"  # name of the folders with Ray's files, at any depth of a study
LEASE = "lease.json"
PROBE = ".probe-"
LEASE_S = 60.0  # a claim not renewed for longer has expired
REFUSES = (OSError, ValueError, NotImplementedError)
"""What pyarrow raises if a storage refuses an operation, or a URI names none."""
_URI = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])")


def uri_of(location: str | Path | None) -> str:
    """The URI in a user's setting for a folder; "" if it is a path.

    >>> uri_of("s3://bucket/runs"), uri_of(Path("s3://bucket/runs")), uri_of("runs")
    ('s3://bucket/runs', 's3://bucket/runs', '')
    >>> uri_of("file:///data/runs")
    'file:///data/runs'
    """
    text = str(location or "")  # a Path keeps one slash of several
    slashes = "///" if text.startswith("file:") else "//"
    return _URI.sub(rf"\1:{slashes}", text, count=1).rstrip("/") if _URI.match(text) else ""


def name_in(uri: str) -> str:
    """The last part of a URI's path, which is the name of a study.

    >>> name_in("s3://b/runs/a?region=x")
    'a'
    """
    return uri.partition("?")[0].rstrip("/").rpartition("/")[2]


class ObjectStore:
    """A study's folder on object storage.

    Raises:
        CannotWrite: if the URI names no storage.
    """

    def __init__(self, uri: str) -> None:
        from pyarrow.fs import FileSystem

        self.uri = uri
        with wrap_storage_errors(uri):
            self.fs, self.base = FileSystem.from_uri(uri)

    def put(self, name: str, data: bytes) -> None:
        """Write a file atomically."""
        if self.fs.type_name == "local":  # object storage has no folders to make
            self.fs.create_dir(str(PurePosixPath(self.base, name).parent))
        with self.fs.open_output_stream(f"{self.base}/{name}", compression=None) as stream:
            stream.write(data)

    def get(self, name: str) -> bytes | None:
        """Read a file; None if it does not exist."""
        from pyarrow.fs import FileType

        if self.fs.get_file_info(f"{self.base}/{name}").type != FileType.File:
            return None
        with self.fs.open_input_stream(f"{self.base}/{name}", compression=None) as stream:
            data: bytes = stream.read()
        return data

    def delete(self, name: str) -> None:
        """Delete a file or a folder, if it exists."""
        from pyarrow.fs import FileType

        path = f"{self.base}/{name}".rstrip("/")
        kind = self.fs.get_file_info(path).type
        if kind == FileType.Directory:
            self.fs.delete_dir(path)
        elif kind == FileType.File:
            self.fs.delete_file(path)

    def sizes(self, within: str = "") -> dict[str, int]:
        """Size in bytes by name of every file but Ray's."""
        from pyarrow.fs import FileSelector, FileType

        sizes: dict[str, int] = {}
        path = f"{self.base}/{within}".rstrip("/")
        for info in self.fs.get_file_info(FileSelector(path, allow_not_found=True)):
            name = f"{within}/{info.base_name}".lstrip("/")
            if info.type == FileType.File:
                sizes[name] = info.size
            elif info.base_name != RAY:
                sizes |= self.sizes(name)
        return sizes

    def folders(self) -> set[str]:
        """Ray's folders that hold a file, existing checkpoints among them."""
        from pyarrow.fs import FileSelector, FileType

        ours = FileSelector(f"{self.base}/{RAY}", recursive=True, allow_not_found=True)
        return {
            str(PurePosixPath(info.path).parent.relative_to(self.base))
            for info in self.fs.get_file_info(ours)
            if info.type == FileType.File
        }

    def download(self, name: str, to: Path) -> None:
        """Copy a folder to this disk."""
        from pyarrow.fs import LocalFileSystem, copy_files

        to.mkdir(parents=True, exist_ok=True)
        copy_files(f"{self.base}/{name}".rstrip("/"), str(to), self.fs, LocalFileSystem())

    def claim(self, claim_id: str) -> None:
        """Record that a live driver holds the study; must be renewed within `LEASE_S` seconds.

        Args:
            claim_id: tells the driver's claim from those of others.
        """
        lease = {"me": claim_id, "pid": os.getpid(), "host": socket.gethostname()}
        self.put(LEASE, json.dumps(lease).encode())

    def check_free(self, claim_id: str) -> None:
        """Raise if another driver holds the study.

        Ages are taken by the storage's clock, because the clocks of two machines differ.

        Raises:
            StudyBusy: if another driver holds the study.
            CannotWrite: if the claim cannot be read.
        """
        content = self.get(LEASE)
        try:
            lease: dict[str, Any] = json.loads(content) if content else {}
        except ValueError:
            raise CannotWrite(f"{self.uri}/{LEASE}: damaged; delete it if no driver runs the study") from None
        if not lease or lease["me"] == claim_id:
            return
        if lease["host"] == socket.gethostname() and not _is_alive(lease["pid"]):
            return
        probe = f"{PROBE}{uuid.uuid4().hex}"
        self.put(probe, b"")
        now, renewed = (
            info.mtime.timestamp()
            for info in self.fs.get_file_info([f"{self.base}/{name}" for name in (probe, LEASE)])
        )
        self.delete(probe)
        if now - renewed < LEASE_S:
            raise StudyBusy(
                f"{self.uri} is in use by process {lease['pid']} on {lease['host']}, last seen "
                f"{now - renewed:.0f} s ago; if that process is dead, the claim expires after {LEASE_S:g} s"
            )


@contextmanager
def wrap_storage_errors(uri: str) -> Iterator[None]:
    """Turn a storage's error in the block into a one-line `CannotWrite`."""
    try:
        yield
    except REFUSES as error:
        raise CannotWrite(f"storage: {uri}: {one_line(error, 300)}") from None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
