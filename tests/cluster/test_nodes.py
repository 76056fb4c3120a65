"""What a cluster can ever offer, from its file; and what fits on it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.machine import CannotPlace, Machine
from raysweep.cluster.nodes import Nodes, available_nodes, declared_nodes, machines_of, read_cluster_file

ROOT = Path(__file__).resolve().parents[2]
AWS = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
ONPREM = yaml.safe_load((ROOT / "clusters/onprem.yaml").read_text(encoding="utf-8"))


def asks(cpu=1.0, gpu=None):
    return SimpleNamespace(cpu=cpu, gpu=gpu, on_oom=None)


def test_the_shipped_aws_cluster_can_offer_eight_gpus_and_promises_its_head():
    nodes = available_nodes(AWS)
    assert nodes.machines == (Machine(0, 0), *[Machine(4, 1)] * 8)
    assert declared_nodes(AWS) == nodes.promised == 1


def test_machines_one_owns_are_known_only_once_they_are_up():
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
def test_trials_are_counted_node_by_node(cpu, gpu, slots):
    assert available_nodes(AWS).slots(asks(cpu, gpu)) == slots


@pytest.mark.parametrize(("cpu", "gpu"), [(8, 0), (1, 2), (5, 0.1)])
def test_what_no_single_node_can_hold_is_refused_though_the_sum_would(cpu, gpu):
    with pytest.raises(CannotPlace, match=r"the largest of 9 nodes .* offers 4 CPU and 1 GPU"):
        available_nodes(AWS).slots(asks(cpu, gpu))


def test_the_files_limit_binds():
    assert Nodes((Machine(8, 0), Machine(8, 0))).slots(asks(1, 0), limit=3) == 3


def test_dead_nodes_offer_nothing():
    ray = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 9.0}},
    ]
    assert list(machines_of(ray)) == [Machine(4, 1)]


@pytest.mark.parametrize("text", ["a: [", "- 1", "cluster_name: x"])
def test_what_is_no_cluster_file_is_one_line(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ClusterError, match=r"c\.yaml: no cluster file") as raised:
        read_cluster_file(tmp_path / "c.yaml")
    assert "\n" not in str(raised.value)
