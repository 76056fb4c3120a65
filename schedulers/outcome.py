"""Outcomes by which a trainable ends its own trial: the key `outcome` of its last result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schedulers.reason import ReasonCode
from schedulers.rule import Ending

OUTCOMES: dict[str, Ending] = {
    "completed": "completed",
    "diverged": "diverged",
    "failed": "stopped",
    "oom": "stopped",
    "infeasible": "stopped",
}

OUTCOME_CODES = {
    "completed": ReasonCode.TRIAL,
    "diverged": ReasonCode.TRIAL,
    "failed": ReasonCode.TRIAL,
    "oom": ReasonCode.OUT_OF_MEMORY,
    "infeasible": ReasonCode.CONSTRAINT,
}
"""The reason code of a trial that ends itself with an outcome."""

RANKS_NOWHERE = ("diverged", "failed", "infeasible")
"""Outcomes of trials that are excluded from rankings, whatever they reported."""

FAILURES = ("failed", "oom")
"""Outcomes after which a trial might go on from another trial's weights."""


def outcome_of(result: Mapping[str, Any]) -> str | None:
    """The outcome in a result, or None; a user program's key `outcome` with any other value is ignored."""
    outcome = result.get("outcome")
    return outcome if isinstance(outcome, str) and outcome in OUTCOMES else None
