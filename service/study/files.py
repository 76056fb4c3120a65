"""Files that are read while they are written."""

from __future__ import annotations

from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Write a file all at once: whoever reads it has the old text or the new, never a part.

    Raises:
        OSError: if the disk refuses.
    """
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
