"""The ledger of a cluster's sweeps: a named actor on the running Ray that outlives the jobs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import ray

from raysweep.cluster.fair_shares import LedgerEntry, ShareLedger, SlotClaim, SlotGrant

NAME = "raysweep-share-ledger-1"  # the number changes with the messages between drivers and actor
NAMESPACE = "raysweep"
GONE_S = 60.0  # a driver that has not renewed its claim for so long is dead
ANSWERS_S = 10.0


class LedgerActor:
    """A `ShareLedger` that exchanges plain data, so that drivers may run code of another commit.

    Each driver renews its claim every few seconds: if the actor is lost with its node, Ray starts it
    elsewhere, and it soon has all claims again.

    Args:
        clock: wall-clock seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ShareLedger()
        self._clock = clock

    def renew(self, name: str, claim: Mapping[str, Any]) -> dict[str, Any]:
        """See `ShareLedger.renew`."""
        now = self._clock()
        self._ledger.expire(now, GONE_S)
        return asdict(self._ledger.renew(name, SlotClaim(**claim), now))

    def release(self, name: str) -> None:
        """See `ShareLedger.release`."""
        self._ledger.release(name)

    def as_json(self) -> dict[str, Any]:
        """See `ShareLedger.as_json`; without dead drivers."""
        self._ledger.expire(self._clock(), GONE_S)
        return self._ledger.as_json()


class ClusterLedger:
    """The ledger of the Ray that this process is connected to."""

    def renew(self, name: str, claim: SlotClaim) -> SlotGrant:
        """See `ShareLedger.renew`; the actor is started if there is none.

        Raises:
            RayError: if it does not answer.
        """
        actor = ray.remote(LedgerActor).options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
        )
        return SlotGrant(**ray.get(actor.remote().renew.remote(name, asdict(claim)), timeout=ANSWERS_S))

    def release(self, name: str) -> None:
        """See `ShareLedger.release`; does nothing without an actor.

        Raises:
            RayError: if it does not answer.
        """
        with contextlib.suppress(ValueError):
            ray.get(ray.get_actor(NAME, NAMESPACE).release.remote(name), timeout=ANSWERS_S)

    def entries(self) -> list[LedgerEntry]:
        """The claims and slots of live drivers, oldest first.

        Raises:
            RayError: if the actor does not answer.
        """
        with contextlib.suppress(ValueError):
            facts = ray.get(ray.get_actor(NAME, NAMESPACE).as_json.remote(), timeout=ANSWERS_S)
            return sorted(ShareLedger.from_json(facts).entries.values(), key=lambda entry: entry.began)
        return []
