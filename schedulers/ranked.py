"""An entry of a ranking: a loss and its trial."""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple


class Ranked(NamedTuple):
    """One trial's loss at one rung; equal losses rank in order of arrival, or by the trial's name."""

    loss: float
    trial: str


by_loss = attrgetter("loss")
"""Sort key with which equal losses keep their order of arrival."""
