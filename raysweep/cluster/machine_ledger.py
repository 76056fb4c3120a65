"""The ledger of a user's sweeps on this machine: a file, locked while it is read and written."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raysweep.cluster.fair_shares import LedgerEntry, ShareLedger, SlotClaim, SlotGrant
from raysweep.study.storage.process_tag import driver_tag, parse_driver_tag, process_start_ticks
from raysweep.study.storage.trust import state_folder


class MachineLedger:
    """Claims of live drivers; each is named after its process (`own_name`) and removed once that is dead.

    Sweeps share if they may use the same cores and GPUs; those that taskset, Slurm or CUDA_VISIBLE_DEVICES
    separate do not.

    Args:
        folder: where ledgers are kept; the user's state folder if None.
        clock: wall-clock seconds.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._path = (folder or state_folder() / "shares") / f"{socket.gethostname()}-{_devices()}.json"
        self._clock = clock

    @staticmethod
    def own_name(folder: Path) -> str:
        """The name of this process as the driver of the study in a folder."""
        return driver_tag(folder)

    def renew(self, name: str, claim: SlotClaim) -> SlotGrant:
        """See `ShareLedger.renew`.

        Raises:
            OSError: if the file cannot be written, or locked.
        """
        with self._opened() as ledger:
            return ledger.renew(name, claim, self._clock())

    def release(self, name: str) -> None:
        """See `ShareLedger.release`.

        Raises:
            OSError: if the file cannot be written, or locked.
        """
        with self._opened() as ledger:
            ledger.release(name)

    def entries(self) -> list[LedgerEntry]:
        """The claims and slots of live drivers, oldest first; none without a ledger."""
        with contextlib.suppress(OSError), self._path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return sorted(_parse(file.read()).entries.values(), key=lambda entry: entry.began)
        return []

    @contextmanager
    def _opened(self) -> Iterator[ShareLedger]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            ledger = _parse(file.read())
            yield ledger
            file.seek(0)
            file.truncate()
            file.write(json.dumps(ledger.as_json()))


def _parse(text: str) -> ShareLedger:
    """The ledger with its live drivers; an empty one if the text is invalid, which their next claims fill."""
    try:
        ledger = ShareLedger.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ShareLedger()
    for name in [name for name in ledger.entries if not _is_alive(name)]:
        ledger.release(name)
    return ledger


def _is_alive(name: str) -> bool:
    driver = parse_driver_tag(name)
    if driver is None:
        return False
    pid, began, _ = driver
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # ended, or now another user's process
        return False
    return process_start_ticks(pid) == began


def _devices() -> str:
    """A short name for the cores and GPUs that this process may use."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    return hashlib.sha256(f"{cores} {gpus}".encode()).hexdigest()[:12]
