"""The outcomes by which a trainable ends its own trial, in the key `outcome` of its last result."""

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

CODES = {
    "completed": ReasonCode.TRIAL,
    "diverged": ReasonCode.TRIAL,
    "failed": ReasonCode.TRIAL,
    "oom": ReasonCode.OUT_OF_MEMORY,
    "infeasible": ReasonCode.CONSTRAINT,
}
"""What an end by one of them is called."""

RANKS_NOWHERE = ("diverged", "failed", "infeasible")
"""Outcomes of trials that are compared with no other, whatever they reported."""


FAILURES = ("failed", "oom")
"""Those of a trial that went wrong, and might go on from another's weights."""


def outcome_of(result: Mapping[str, Any]) -> str | None:
    """The outcome in a result, if there is one; a foreign program's key of that name is none of ours."""
    outcome = result.get("outcome")
    return outcome if isinstance(outcome, str) and outcome in OUTCOMES else None
