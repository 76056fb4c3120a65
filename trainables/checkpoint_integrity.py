"""Verifies checkpoints by their checksums. Imports no torch, as the driver uses it, too."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

STATE = "training.pt"
CHECKSUM = "training.pt.sha256"
DISK_REFUSES = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE") if hasattr(errno, name)
)
"""Error numbers of a disk that is full, read-only, broken or gone."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged or of another net; the message is one line."""


class CorruptCheckpoint(CheckpointError):
    """A checkpoint is damaged; an older one may be intact."""


def checksums(directory: str | Path, content: bytes | memoryview) -> str:
    """The text of `CHECKSUM`: a line per file, as of sha256sum; the state first, then other files.

    Args:
        directory: folder of the checkpoint; files in its subfolders are those of a custom loop.
        content: the bytes of the state.
    """
    folder = Path(directory)
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    sums = [(hashlib.sha256(content).hexdigest(), STATE)]
    sums += [
        (hashlib.sha256(path.read_bytes()).hexdigest(), str(path.relative_to(folder))) for path in others
    ]
    return "".join(f"{digest}  {name}\n" for digest, name in sums)


def read_verified(directory: str | Path) -> bytes:
    """The bytes of the state, with all checksums verified.

    Raises:
        CorruptCheckpoint: if a file is missing or truncated, or does not match its checksum.
    """
    folder = Path(directory)
    try:
        content = (folder / STATE).read_bytes()
        lines = (folder / CHECKSUM).read_text("utf-8").splitlines() or [""]
        for digest, _, name in (line.partition("  ") for line in lines):
            path = folder / (name or STATE)
            data = content if path == folder / STATE else path.read_bytes()
            if digest != hashlib.sha256(data).hexdigest():
                raise CorruptCheckpoint(
                    f"{folder}: the checkpoint is damaged: {path.name} does not fit its checksum"
                )
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptCheckpoint(f"{folder}: the checkpoint is damaged: cannot be read ({error})") from error
    return content


def is_intact(directory: str | Path) -> bool:
    """Whether `read_verified` can read the checkpoint; takes a second per gigabyte."""
    try:
        read_verified(directory)
    except CorruptCheckpoint:
        return False
    return True
