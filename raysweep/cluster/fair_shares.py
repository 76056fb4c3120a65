"""Divides slots among studies that run side by side: by priority, at least one each if there are enough."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from raysweep.cluster.machine import how_often

TURN_S = 120.0
"""How long a study keeps a slot that cannot be divided before another gets it, seconds."""

Amounts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SlotClaim:
    """What one driver requests.

    Attributes:
        study: its name.
        user: who runs it.
        folder: of the study.
        priority: weight of its share, >= 1.
        cost: resources of one trial, such as {"CPU": 1, "GPU": 0.5}.
        total: the same of all machines, as far as its driver knows.
        fits: trials that fit on all machines if it has them alone, >= 1.
        wanted: trials that it could run in parallel now.
        busy: trials that it runs now, or is about to.
    """

    study: str
    user: str
    folder: str
    priority: int
    cost: Amounts
    total: Amounts = field(default_factory=dict)
    fits: int = 1
    wanted: int = 0
    busy: int = 0


@dataclass(frozen=True, slots=True)
class SlotGrant:
    """What a driver gets.

    Attributes:
        slots: trials that it may run in parallel now.
        share: its fair share; more than `slots` while trials of other studies still run on it.
        others: the other studies that use the machines or wait for them, and the slots that each holds.
    """

    slots: int
    share: int
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass
class LedgerEntry:
    """A claim in a ledger.

    Attributes:
        claim: as last renewed.
        began: when it was first made, seconds.
        seen: when it was last renewed.
        held: slots on which it runs trials, or may start them.
        share: its fair share.
        served_s: use so far: seconds times the fraction of all machines that it had.
    """

    claim: SlotClaim
    began: float
    seen: float
    held: int = 0
    share: int = 0
    served_s: float = 0.0


def divide_slots(entries: Mapping[str, LedgerEntry]) -> dict[str, int]:
    """The fair share of each claim, in slots.

    Each slot in turn goes to the claim with the smallest share of what it would have alone, divided by its
    priority: weighted dominant resource fairness (Ghodsi et al., NSDI 2011). Ties go to the claim that was
    served least, counted in turns, so that a slot for which two wait changes hands about every `TURN_S`.
    """
    claims = {name: entry.claim for name, entry in entries.items()}
    left = _total(claims.values())
    shares = dict.fromkeys(claims, 0)
    turn_s = TURN_S / max((claim.fits for claim in claims.values()), default=1)

    def order(name: str) -> tuple[float, int, int, float, str]:
        claim, entry = claims[name], entries[name]
        turns = int(entry.served_s / claim.priority / turn_s)
        return shares[name] / claim.fits / claim.priority, turns, -claim.priority, entry.began, name

    waiting = {name for name, claim in claims.items() if min(claim.wanted, claim.fits) > 0}
    while waiting:
        name = min(waiting, key=order)
        claim = claims[name]
        if how_many(claim.cost, left) < 1:
            waiting.discard(name)
            continue
        shares[name] += 1
        for kind, amount in claim.cost.items():
            left[kind] = left.get(kind, 0.0) - amount
        if shares[name] >= min(claim.wanted, claim.fits):
            waiting.discard(name)
    return shares


def how_many(cost: Amounts, left: Amounts) -> float:
    """How many trials of a cost fit into what is left; infinite for one that costs nothing.

    >>> how_many({"CPU": 1, "GPU": 0.5}, {"CPU": 8, "GPU": 1})
    2
    """
    fits = [how_often(amount, max(left.get(kind, 0.0), 0.0)) for kind, amount in cost.items() if amount > 0]
    return min(fits, default=math.inf)


class ShareLedger:
    """The claims of all drivers that share machines; independent of files, clocks and Ray.

    Args:
        entries: by the name of a driver.
        at: when they were last changed, seconds.
    """

    def __init__(self, entries: Mapping[str, LedgerEntry] | None = None, at: float = 0.0) -> None:
        self.entries = dict(entries or {})
        self.at = at

    def renew(self, name: str, claim: SlotClaim, now: float) -> SlotGrant:
        """Record a driver's claim; returns what it gets until its next one.

        A slot is granted once it is free: a driver over its share gives slots back when its trials end.

        Args:
            name: of the driver and its study.
            claim: the current one.
            now: wall-clock seconds.
        """
        self._serve(now)
        entry = self.entries.get(name)
        if entry is None:
            entry = self.entries[name] = LedgerEntry(claim, now, now, served_s=self._least_served(claim))
        entry.claim, entry.seen = claim, now
        for each, share in divide_slots(self.entries).items():
            self.entries[each].share = share
        others = {each: other for each, other in self.entries.items() if each != name}
        free = _total(other.claim for other in self.entries.values())
        for other in others.values():
            for kind, amount in other.claim.cost.items():
                free[kind] = free.get(kind, 0.0) - amount * other.held
        slots = int(min(entry.share, how_many(claim.cost, free)))
        entry.held = max(slots, claim.busy)
        return SlotGrant(slots, entry.share, _by_study(others))

    def release(self, name: str) -> None:
        """Remove a driver that has ended."""
        self.entries.pop(name, None)

    def expire(self, now: float, after_s: float) -> None:
        """Remove the claims that were not renewed for `after_s` seconds: their drivers are dead."""
        for name in [name for name, entry in self.entries.items() if now - entry.seen > after_s]:
            self.release(name)

    def _serve(self, now: float) -> None:
        """Add what each claim has used since the last change."""
        elapsed, self.at = max(now - self.at, 0.0) if self.at else 0.0, now
        for entry in self.entries.values():
            entry.served_s += elapsed * entry.held / entry.claim.fits

    def _least_served(self, claim: SlotClaim) -> float:
        """The use that a new claim starts with: that of the least served, so that it waits like others."""
        served = [entry.served_s / entry.claim.priority for entry in self.entries.values()]
        return min(served, default=0.0) * claim.priority

    def as_json(self) -> dict[str, Any]:
        """The ledger as plain data."""
        return {"at": self.at, "entries": {name: asdict(entry) for name, entry in self.entries.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ShareLedger:
        """The ledger from the data of `as_json`.

        Raises:
            KeyError, TypeError: if the data is invalid.
        """
        entries = {
            name: LedgerEntry(**{**entry, "claim": SlotClaim(**entry["claim"])})
            for name, entry in data["entries"].items()
        }
        return cls(entries, data["at"])


def _total(claims: Iterable[SlotClaim]) -> dict[str, float]:
    """The total of each resource: the largest that any driver sees, for others may not know a new node."""
    total: dict[str, float] = {}
    for claim in claims:
        for kind, amount in claim.total.items():
            total[kind] = max(total.get(kind, 0.0), amount)
    return total


def _by_study(entries: Mapping[str, LedgerEntry]) -> dict[str, int]:
    """Slots that each study with a share holds; two drivers may run studies of the same name."""
    held: dict[str, int] = {}
    for entry in entries.values():
        if not (entry.share or entry.held or entry.claim.wanted):
            continue
        held[entry.claim.study] = held.get(entry.claim.study, 0) + entry.held
    return held
