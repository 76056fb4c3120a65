"""Files that are written atomically, and JSON files with a checksum that reveals damage."""

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
    """A file is damaged or in another format; the one-line message says what to do.

    Attributes:
        damaged: True if the file is damaged, False if it is in another format.
    """

    def __init__(self, path: Path, problem: str, fix: str, *, damaged: bool = True) -> None:
        super().__init__(f"{path}: {problem}; {fix}")
        self.damaged = damaged


def replace(path: Path, text: str) -> None:
    """Write a file atomically: a reader sees the old text or the new one, never a part.

    Raises:
        OSError: if the file cannot be written.
    """
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def write_json(path: Path, kind: str, fields: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, with a checksum as its last field.

    Args:
        path: the file.
        kind: of file, part of the checksum: `read_json` accepts no other.
        fields: the object.

    Raises:
        OSError: if the file cannot be written.
    """
    plain = json.loads(json.dumps(fields, default=str))
    replace(path, json.dumps({**plain, SUM: _sum(kind, plain)}, indent=1))


def read_json(
    path: Path, *, version: int, kind: str, fix: str = RESTORE, newer: str = OTHER_VERSION
) -> dict[str, Any]:
    """Read a JSON object written by `write_json`, without the checksum.

    Args:
        path: the file.
        version: required value of its field `version`.
        kind: of file, as given to `write_json`.
        fix: what to do if it is damaged.
        newer: what to do if it has another version.

    Raises:
        FileNotFoundError: if there is no such file.
        Unreadable: if it has another version, is damaged, or cannot be read.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(path, f"cannot be read ({str(error)[:100]})", fix) from None
    if not isinstance(fields, dict):
        raise Unreadable(path, "cannot be read (no JSON object)", fix)
    if "version" in fields and fields["version"] != version:
        problem = f"{kind} format {fields['version']}; this version of the program reads {version}"
        raise Unreadable(path, problem, newer, damaged=False)
    if fields.pop(SUM, None) != _sum(kind, fields):
        raise Unreadable(path, "damaged: its checksum does not match", fix)
    return fields


def _sum(kind: str, fields: Mapping[str, Any]) -> str:
    return f"{crc32(json.dumps([kind, fields]).encode()):08x}"
