"""Files that are read while they are written, and that tell when they are damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

SUM = "sum"
RESTORE = "restore it from a copy"
OTHER_VERSION = "use the version that wrote it"


class Unreadable(Exception):
    """A file that is damaged or of another format: one line that says which, and the way out.

    Attributes:
        damaged: whether it is of this format.
    """

    def __init__(self, path: Path, finding: str, way_out: str, *, damaged: bool = True) -> None:
        super().__init__(f"{path}: {finding}; {way_out}")
        self.damaged = damaged


def replace(path: Path, text: str) -> None:
    """Write a file all at once: whoever reads it has the old text or the new, never a part.

    Raises:
        OSError: if the disk refuses.
    """
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def write_json(path: Path, what: str, fields: Mapping[str, Any]) -> None:
    """Write a JSON object all at once, with a checksum as its last field.

    Args:
        path: the file.
        what: it is; `read_json` takes no other.
        fields: what it holds.

    Raises:
        OSError: if the disk refuses.
    """
    known = json.loads(json.dumps(fields, default=str))
    replace(path, json.dumps({**known, SUM: _sum(what, known)}, indent=1))


def read_json(
    path: Path, *, version: int, what: str, way_out: str = RESTORE, newer: str = OTHER_VERSION
) -> dict[str, Any]:
    """A JSON object as `write_json` wrote it, without the checksum.

    Args:
        path: the file.
        version: that its field `version` must have.
        what: it is, as it was written.
        way_out: what to do about a damaged one.
        newer: what to do about one of another version.

    Raises:
        FileNotFoundError: if there is none.
        Unreadable: if it is of another version, damaged, or cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(path, f"cannot be read ({str(error)[:100]})", way_out) from None
    if not isinstance(found, dict):
        raise Unreadable(path, "cannot be read (no JSON object)", way_out)
    if "version" in found and found["version"] != version:
        finding = f"{what} format {found['version']}; this version of the program reads {version}"
        raise Unreadable(path, finding, newer, damaged=False)
    if found.pop(SUM, None) != _sum(what, found):
        raise Unreadable(path, "damaged: it is not as it was written", way_out)
    return found


def _sum(what: str, fields: Mapping[str, Any]) -> str:
    return f"{crc32(json.dumps([what, fields]).encode()):08x}"
