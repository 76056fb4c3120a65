"""The ledgers of shares, and what happens when drivers or ledgers are lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raysweep.cluster.cluster_ledger import GONE_S, LedgerActor
from raysweep.cluster.fair_shares import SlotClaim, SlotGrant
from raysweep.cluster.machine_ledger import MachineLedger
from raysweep.cluster.shared_slots import Capacity, SharedSlots
from raysweep.study.execution.slot_follower import SlotCount, SlotNeed
from tests.cluster.test_fair_shares import claim

HERE = MachineLedger.own_name


@pytest.fixture
def ledger(tmp_path: Path) -> MachineLedger:
    return MachineLedger(tmp_path)


def test_two_drivers_find_each_other_in_the_file(ledger: MachineLedger, tmp_path: Path) -> None:
    assert ledger.renew(HERE(Path("/runs/a")), claim(4)).slots == 4
    second = MachineLedger(tmp_path).renew(HERE(Path("/runs/b")), claim(4, study="b"))
    assert second == SlotGrant(0, 2, {"a": 4})
    assert [entry.claim.study for entry in ledger.entries()] == ["a", "b"]


def test_a_driver_that_died_holds_nothing(ledger: MachineLedger) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ledger.renew(f"{ended.pid}:12345:/runs/a", claim(4))
    assert ledger.entries() == []
    assert ledger.renew(HERE(Path("/runs/b")), claim(4, study="b")) == SlotGrant(4, 4)


def test_another_process_of_a_dead_drivers_number_is_not_the_driver(ledger: MachineLedger) -> None:
    ledger.renew(f"{os.getpid()}:1:/runs/a", claim(4))
    assert ledger.entries() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": 0, "entries": {"x": {}}}', "null"])
def test_a_file_that_is_damaged_is_begun_anew(ledger: MachineLedger, tmp_path: Path, text: str) -> None:
    ledger.renew(HERE(Path("/runs/a")), claim(4))
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert ledger.entries() == []
    assert ledger.renew(HERE(Path("/runs/a")), claim(4)).slots == 4


def test_sweeps_that_are_given_other_gpus_do_not_share(
    ledger: MachineLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.renew(HERE(Path("/runs/a")), claim(4))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert MachineLedger(tmp_path).renew(HERE(Path("/runs/b")), claim(4)).slots == 4


def test_a_new_actor_knows_all_once_each_driver_has_renewed_its_claim() -> None:
    """The node of the first actor was lost while trials run."""
    now = [0.0]
    plain = {"a": claim(4, busy=2), "b": claim(4, study="b", busy=2)}

    def renew(actor: LedgerActor, name: str) -> SlotGrant:
        each: SlotClaim = plain[name]
        fields = {key: getattr(each, key) for key in SlotClaim.__slots__}
        return SlotGrant(**actor.renew(name, fields))

    first, second = LedgerActor(lambda: now[0]), LedgerActor(lambda: now[0])
    for name in ("a", "b", "a"):
        before = renew(first, name)
    for name in ("a", "b", "a"):
        now[0] += 5.0
        after = renew(second, name)
    assert before == after == SlotGrant(2, 2, {"b": 2})
    now[0] += GONE_S + 1
    assert second.as_json()["entries"] == {}


def shared(ledger: MachineLedger, study: str, limit: int | None = None) -> SharedSlots:
    own = SlotClaim(study, "ada", f"/runs/{study}", 1, {"CPU": 1.0})
    return SharedSlots(ledger, HERE(Path(f"/runs/{study}")), own, lambda: Capacity(4, {"CPU": 4.0}), limit)


def test_a_study_learns_how_many_slots_it_has_and_why(ledger: MachineLedger) -> None:
    first, second = shared(ledger, "a"), shared(ledger, "b", limit=1)
    assert first.count(SlotNeed(0, 9)) == SlotCount(4)
    assert second.count(SlotNeed(0, 9)) == SlotCount(
        0, shared=True, reason="queued: shares the machines with a (4)"
    )
    assert first.count(SlotNeed(4, 9)) == SlotCount(
        3, shared=True, reason="runs 3 of 4 trials at once: shares the machines with b (0)"
    )
    first.count(SlotNeed(3, 9))
    assert second.count(SlotNeed(0, 9)).slots == 1, "what its limit lets it want"
    second.close()
    assert first.count(SlotNeed(3, 9)) == SlotCount(4, reason="no other sweep runs here any more")
    assert first.count(SlotNeed(4, 9)) == SlotCount(4)
