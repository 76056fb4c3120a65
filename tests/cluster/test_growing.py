"""A Ray whose nodes join during a sweep: none for trials at first, then two, one of which leaves again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from raysweep.cluster.attach import capacity_now
from raysweep.cluster.cluster_ledger import ClusterLedger
from raysweep.cluster.embedded import QUIET
from raysweep.cluster.fair_shares import SlotClaim
from raysweep.cluster.nodes import TrialShare
from raysweep.cluster.shared_slots import SharedSlots, trial_cost
from raysweep.study.execution import slot_follower
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.execution.tuner import run_tuner
from raysweep.study.journal.events import EpochReported, SlotsChanged
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.storage.layout import StudyFolder
from tests.builders import small_sweep
from tests.cluster.hosts import wait_until

CLONE = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.ray,
    pytest.mark.filterwarnings("default"),
    pytest.mark.timeout(240),
]


@pytest.fixture
def bare_head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without cores for trials, like KubeRay's."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.setenv("PYTHONPATH", str(CLONE))
    monkeypatch.setattr(slot_follower, "EVERY_S", 1.0)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_nodes_that_come_are_used_and_those_that_go_not_waited_for(
    bare_head: Cluster, tmp_path: Path
) -> None:
    run = {
        "data": "trainables.data.load_digits",
        "train": "tests.study.toy.train",
        "epochs": 12,
        "optimizer_config": {"lr": 0.1},
        "net_config": {"step_s": 0.3},
    }
    sampler = {"name": "optuna.samplers.RandomSampler"}
    sweep = small_sweep(14, run=run, import_paths=[str(CLONE)], sampler=sampler)
    folder = StudyFolder.create(tmp_path, "small", sweep, "")
    share = TrialShare(1.0, 0.0)
    plan = RunPlan(
        sweep,
        folder,
        capacity_now(share, None).slots,
        {"cpu": 1, "gpu": 0},
        slot_counter=SharedSlots(
            ClusterLedger(),
            "small",
            SlotClaim("small", "ada", str(folder.path), 1, trial_cost(1.0, 0.0)),
            lambda: capacity_now(share, None),
        ),
    )
    assert plan.slots == 1, "one trial waits for a node, whatever may come"

    def events() -> list[object]:
        return list(read_events(folder.journal_dir)) if folder.journal_dir.is_dir() else []

    def reported(at_least: int) -> bool:
        return sum(isinstance(event, EpochReported) for event in events()) >= at_least

    def processes() -> set[str]:
        return {event.worker for event in events() if isinstance(event, EpochReported)}

    stop = StopSignal()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_tuner, plan, stop=stop)
        try:
            bare_head.add_node(num_cpus=1)
            wait_until(lambda: reported(2))
            more = bare_head.add_node(num_cpus=2)
            wait_until(lambda: len(processes()) >= 2)
            bare_head.remove_node(more)
            assert running.result().exit_code == 0, events()[-3:]
        finally:
            stop.request("the test is over")
    changes = [event.slots for event in events() if isinstance(event, SlotsChanged)]
    assert changes == [3, 1]
    record = fold(read_events(folder.journal_dir))
    assert record.counts() == {"completed": 14}
