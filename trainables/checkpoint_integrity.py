"""Whether a checkpoint is as it was written. Told without torch: a driver asks too."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

STATE = "training.pt"
CHECKSUM = "training.pt.sha256"
DISK_REFUSES = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE") if hasattr(errno, name)
)
"""What a disk says that is full, read-only, broken or gone: no fault of the training's."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged or of another net; one line."""


class CorruptCheckpoint(CheckpointError):
    """A checkpoint is not what was written: an older one may be whole."""


def checksums(directory: str | Path, content: bytes | memoryview) -> str:
    """What `CHECKSUM` says: a line a file, as sha256sum writes it; the state first, then the loop's own.

    Args:
        directory: the checkpoint's; what else lies there is the user's loop's.
        content: the state's bytes.
    """
    folder = Path(directory)
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    sums = [(hashlib.sha256(content).hexdigest(), STATE)]
    sums += [
        (hashlib.sha256(path.read_bytes()).hexdigest(), str(path.relative_to(folder))) for path in others
    ]
    return "".join(f"{digest}  {name}\n" for digest, name in sums)


def read_verified(directory: str | Path) -> bytes:
    """The state's bytes as they were written.

    Raises:
        CorruptCheckpoint: if a file is missing or cut, or the bytes do not fit their checksum.
    """
    folder = Path(directory)
    try:
        content = (folder / STATE).read_bytes()
        lines = (folder / CHECKSUM).read_text("utf-8").splitlines() or [""]
        for digest, _, name in (line.partition("  ") for line in lines):
            path = folder / (name or STATE)
            found = hashlib.sha256(content if path == folder / STATE else path.read_bytes()).hexdigest()
            if digest != found:
                raise CorruptCheckpoint(
                    f"{folder}: the checkpoint is damaged: {path.name} does not fit its checksum"
                )
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptCheckpoint(f"{folder}: the checkpoint is damaged: cannot be read ({error})") from error
    return content


def is_intact(directory: str | Path) -> bool:
    """Whether `read_intact` can read it; costs a second a gigabyte."""
    try:
        read_verified(directory)
    except CorruptCheckpoint:
        return False
    return True
