"""What a cluster can offer at most, from its file; and what fits on it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from raysweep.cluster import attach
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.machine import CannotPlace, Machine
from raysweep.cluster.nodes import (
    Nodes,
    TrialShare,
    available_nodes,
    declared_nodes,
    machines_of,
    read_cluster_file,
)

ROOT = Path(__file__).resolve().parents[2]
AWS = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
ONPREM = yaml.safe_load((ROOT / "clusters/onprem.yaml").read_text(encoding="utf-8"))


def asks(cpu: float = 1.0, gpu: float | None = None) -> Any:
    return SimpleNamespace(cpu=cpu, gpu=gpu, on_oom=None)


def test_the_aws_cluster_can_offer_eight_gpus_and_promises_its_head() -> None:
    nodes = available_nodes(AWS)
    assert nodes.machines == (Machine(0, 0), *[Machine(4, 1)] * 8)
    assert declared_nodes(AWS) == nodes.promised == 1


def test_machines_one_owns_are_known_only_once_they_are_up() -> None:
    assert available_nodes(ONPREM) is None
    assert declared_nodes(ONPREM) == 3


@pytest.mark.parametrize(
    ("cpu", "gpu", "slots"),
    [
        (1, 0.25, 32),  # four on each of eight GPUs, a core each
        (4, 0.25, 8),  # the cores bind
        (1, 0.3, 24),  # a share never spans two GPUs
        (1, None, 8),  # a whole GPU where there are any
        (1, 0, 32),
    ],
)
def test_trials_are_counted_node_by_node(cpu: int, gpu: float | None, slots: int) -> None:
    assert available_nodes(AWS).slots(asks(cpu, gpu)) == slots


@pytest.mark.parametrize(("cpu", "gpu"), [(8, 0), (1, 2), (5, 0.1)])
def test_what_no_single_node_can_hold_is_refused_though_the_sum_would(cpu: int, gpu: float) -> None:
    with pytest.raises(CannotPlace, match=r"the largest of 9 nodes .* offers 4 CPU and 1 GPU"):
        available_nodes(AWS).slots(asks(cpu, gpu))


def test_the_files_limit_binds() -> None:
    assert Nodes((Machine(8, 0), Machine(8, 0))).slots(asks(1, 0), limit=3) == 3


def test_dead_nodes_offer_nothing() -> None:
    ray = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 9.0}},
    ]
    assert list(machines_of(ray)) == [Machine(4, 1)]


@pytest.mark.parametrize("text", ["a: [", "- 1", "cluster_name: x"])
def test_an_invalid_cluster_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ClusterError, match=r"c\.yaml: not a cluster file") as raised:
        read_cluster_file(tmp_path / "c.yaml")
    assert "\n" not in str(raised.value)


BARE = Nodes((Machine(0, 0),), may_grow=True)
SMALL = Nodes((Machine(0, 0), Machine(4, 1)), may_grow=True)


@pytest.mark.parametrize(
    ("nodes", "cpu", "gpu", "limit", "slots"),
    [
        (BARE, 1, 0, 6, 6),  # nothing is up: the limit is what an autoscaler is asked for
        (BARE, 1, 1, 6, 6),
        (SMALL, 1, 0, 6, 6),
        (SMALL, 8, 2, 6, 6),  # larger nodes may come
        (SMALL, 1, 0, None, 4),  # number unknown: what is up
        (SMALL, 1, None, None, 1),  # a whole GPU where there are any
    ],
)
def test_if_unknown_nodes_may_join_the_limit_is_requested(
    nodes: Nodes, cpu: float, gpu: float | None, limit: int | None, slots: int
) -> None:
    assert nodes.slots(asks(cpu, gpu), limit) == slots


@pytest.mark.parametrize(
    ("nodes", "cpu", "gpu", "message"),
    [
        (
            BARE,
            1,
            None,
            "resources_per_trial.gpu: no node for trials is up yet, and it is unknown whether those that "
            "join have GPUs; set it to the GPUs of one trial, or to 0",
        ),
        (
            SMALL,
            8,
            0,
            "resources_per_trial: a trial asks for 8 CPU and 0 GPU, but none of the 2 nodes that are up has "
            "room for it; set max_concurrent_trials to the number of trials to request from the autoscaler",
        ),
    ],
)
def test_what_is_unknown_of_future_nodes_must_be_set_by_the_user(
    nodes: Nodes, cpu: float, gpu: float | None, message: str
) -> None:
    with pytest.raises(CannotPlace) as raised:
        nodes.slots(asks(cpu, gpu))
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("file", "up", "in_a_pod", "limit", "slots"),
    [
        (None, [(2, 0)], False, 8, 2),  # a Ray started by hand: no nodes will join
        (None, [(2, 0), (2, 0)], False, None, 4),  # another was joined to it
        (None, [(0, 0)], False, 8, 8),  # a head without cores waits for nodes
        (None, [(2, 0)], True, 8, 8),  # in a pod: KubeRay's autoscaler may bring more
        ("cluster.yaml", [(0, 0)], False, None, 8),  # all that its file allows
        ("cluster.yaml", [(0, 0), *[(4, 1)] * 9], False, None, 9),  # and more that somebody has joined
        ("clusters/onprem.yaml", [(4, 1), (4, 1)], False, None, 2),
        ("clusters/onprem.yaml", [(4, 1)], False, 8, 1),  # the others are late
        ("clusters/onprem.yaml", [(0, 0)], False, 8, 1),  # gone, all: one trial waits for them
    ],
)
def test_slots_follow_the_nodes_that_are_up_and_the_files_limits(
    file: str | None,
    up: list[Any],
    in_a_pod: bool,
    limit: int | None,
    slots: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in up]
    monkeypatch.setattr(attach.ray, "nodes", lambda: nodes)  # type: ignore[attr-defined]
    monkeypatch.setattr(attach, "BOOTSTRAP", ROOT / (file or "none.yaml"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1") if in_a_pod else monkeypatch.delenv(
        "KUBERNETES_SERVICE_HOST", raising=False
    )
    gpu = 1.0 if any(gpus for _, gpus in up) or file == "cluster.yaml" else 0.0
    now = attach.capacity_now(TrialShare(1.0, gpu), limit)
    assert min(now.slots, limit or now.slots) == slots
    assert now.total["CPU"] >= slots, "the total holds the counted trials"
