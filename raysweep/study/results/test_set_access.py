"""The record of who used the locked test set of a study, and when.

A test score is unbiased only while nothing was chosen by it. So every access is recorded in the study's
folder before it happens, and a later one is told of those before.
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
    """One access to the test rows.

    Attributes:
        t: unix seconds.
        by: the command.
        why: what was scored.
    """

    __test__: ClassVar[bool] = False  # pytest would take it for a test class

    t: float
    by: str
    why: str


def list_test_set_accesses(folder: Path) -> list[TestSetAccess]:
    """All accesses to a study's test rows, oldest first; a line that cannot be read counts as one."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [_read(line) for line in lines if line.strip()]


def record_test_set_access(
    folder: Path, *, by: str, why: str, clock: Callable[[], float]
) -> list[TestSetAccess]:
    """Record an access; the caller may read the test rows after this returns.

    Returns:
        The accesses before this one.

    Raises:
        OSError: if it cannot be recorded; the test rows must not be read then.
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
