"""The door to the locked test set: opened once, and whoever opens it again is told.

A test score means what it says only while nothing was chosen by it. So every opening is written down
before it happens, in the study's folder, and a second one says when the first one was.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

FILE = "test_access.jsonl"


@dataclass(frozen=True, slots=True)
class TestSetAccess:
    """One look at the test rows.

    Attributes:
        t: wall-clock second.
        by: the command.
        why: what was scored.
    """

    __test__: ClassVar[bool] = False  # no test, whatever pytest makes of the name

    t: float
    by: str
    why: str


def list_test_set_accesses(folder: Path) -> list[TestSetAccess]:
    """All there have been in a study, oldest first; a line that cannot be read counts as one."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [_read(line) for line in lines if line.strip()]


def record_test_set_access(
    folder: Path, *, by: str, why: str, clock: Callable[[], float]
) -> list[TestSetAccess]:
    """Write an opening down; the caller may look at the test rows after this returns.

    Returns:
        The openings there were before: [] for the first.

    Raises:
        OSError: if it cannot be written down; then there is no look.
    """
    before = list_test_set_accesses(folder)
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(TestSetAccess(clock(), by, why))) + "\n")
        file.flush()
    return before


def _read(line: str) -> TestSetAccess:
    try:
        return TestSetAccess(**json.loads(line))
    except (ValueError, TypeError):
        return TestSetAccess(0.0, "unknown", line[:100])
