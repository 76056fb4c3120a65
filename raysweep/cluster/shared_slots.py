"""Counts the slots of a study that shares its machines with other studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from raysweep.cluster.fair_shares import Amounts, SlotClaim, SlotGrant
from raysweep.cluster.machine import how_often
from raysweep.study.execution.slot_follower import SlotCount, SlotNeed


class LedgerClient(Protocol):
    """A ledger that several drivers share: `MachineLedger` or `ClusterLedger`."""

    def renew(self, name: str, claim: SlotClaim) -> SlotGrant:
        """See `ShareLedger.renew`."""

    def release(self, name: str) -> None:
        """See `ShareLedger.release`."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the machines can hold now.

    Attributes:
        slots: trials of the study that fit if it has the machines alone; >= 1.
        total: their resources, such as {"CPU": 8, "GPU": 2}.
    """

    slots: int
    total: Amounts


@dataclass
class SharedSlots:
    """Counts the slots of one study: its share of what the machines can hold.

    Attributes:
        ledger: shared by all drivers.
        name: of this driver and study in it.
        claim: of the study; its counts are filled in each time.
        measure: counts what the machines can hold; may block, may raise.
        limit: trials that the study runs in parallel at most; None for no limit.
    """

    ledger: LedgerClient
    name: str
    claim: SlotClaim
    measure: Callable[[], Capacity]
    limit: int | None = None
    _was_shared: bool = field(default=False, init=False)

    def count(self, need: SlotNeed) -> SlotCount:
        """Renew the claim; returns the slots it gets, and why."""
        capacity = self.measure()
        most = capacity.slots if self.limit is None else min(self.limit, capacity.slots)
        wanted = min(need.wanted, most)
        claim = replace(self.claim, fits=capacity.slots, wanted=wanted, busy=need.busy, total=capacity.total)
        grant = self.ledger.renew(self.name, claim)
        was_shared, self._was_shared = self._was_shared, bool(grant.others)
        if not grant.others:
            return SlotCount(most, reason="no other sweep runs here any more" if was_shared else "")
        return SlotCount(grant.slots, shared=True, reason=explain(grant, most))

    def close(self) -> None:
        """Release the claim."""
        self.ledger.release(self.name)


def explain(grant: SlotGrant, most: int) -> str:
    """Why a study has this many slots, for people.

    >>> explain(SlotGrant(1, 2, {"digits": 3}), 4)
    'runs 1 of 4 trials at once, soon 2: shares the machines with digits (3)'
    """
    others = ", ".join(f"{name} ({held})" for name, held in grant.others.items())
    shared = f"shares the machines with {others}"
    if not grant.slots:
        return f"queued: {shared}"
    soon = f", soon {grant.share}" if grant.share > grant.slots else ""
    return f"runs {grant.slots} of {most} trials at once{soon}: {shared}"


def trial_cost(cpu: float, gpu: float) -> dict[str, float]:
    """The resources that a trial takes; a GPU share is rounded up so that whole shares fill a GPU.

    >>> trial_cost(2, 0.4)
    {'CPU': 2, 'GPU': 0.5}
    """
    return {"CPU": cpu, "GPU": 1 / how_often(gpu, 1) if 0 < gpu < 1 else gpu}
