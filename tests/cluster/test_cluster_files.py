"""The shipped cluster files are valid for Ray's own schema, and for what that does not check."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import ResourceRequestByCount

from raysweep.cluster.jobs import DASHBOARD_PORT
from raysweep.cluster.nodes import available_nodes, declared_nodes

ROOT = Path(__file__).resolve().parents[2]
CLOUDS = ("cluster.yaml", "clusters/gcp.yaml", "clusters/azure.yaml")
FILES = (*CLOUDS, "clusters/onprem.yaml")


def config_of(file: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES)
def test_ray_takes_it(file: str) -> None:
    config = prepare_config(config_of(file))
    validate_config(config)


@pytest.mark.parametrize("file", FILES)
def test_the_head_asks_for_the_token_and_nothing_listens_outside(
    file: str,
) -> None:
    """`Only the head came up` is the most common complaint; and Ray's autoscaler passes no token on."""
    config = config_of(file)
    head = " ".join(config["head_start_ray_commands"])
    workers = " ".join(config["worker_start_ray_commands"])
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in head
    assert "RAY_AUTH_MODE=token" in head
    assert "RAY_AUTH_MODE=token" in workers
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert str(DASHBOARD_PORT) not in head  # Ray's default: what our tunnel asks for


@pytest.mark.parametrize("file", FILES)
def test_studies_lie_where_every_node_sees_them_and_mlflow_is_the_heads(file: str) -> None:
    head = " ".join(config_of(file)["head_start_ray_commands"])
    assert "RAYSWEEP_STORAGE=/mnt/shared/runs" in head
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:5000" in head
    assert "python -m raysweep.tracking.server /mnt/shared/mlflow" in head


@pytest.mark.parametrize("file", FILES)
def test_a_head_that_is_up_is_not_restarted_by_a_second_ray_up(file: Any, tmp_path: Path) -> None:
    """Its commands run each time, in a bash; here with a port that answers for Ray's, then without."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        command = config_of(file)["head_start_ray_commands"][-1].replace("/6379", f"/{port}")
        stub = f"ray() {{ echo $1 >> {tmp_path}/called; }}; {command}"
        subprocess.run(["bash", "-c", stub], check=True)
        assert not (tmp_path / "called").exists()
    subprocess.run(["bash", "-c", stub], check=True)
    assert (tmp_path / "called").read_text().split() == ["stop", "start"]


def test_setup_commands_are_lists() -> None:
    """A string is read letter by letter, and Ray's schema accepts it."""
    for file in FILES:
        for key, value in config_of(file).items():
            assert not (key.endswith("_commands") and isinstance(value, str)), (file, key)


@pytest.mark.parametrize("file", CLOUDS)
def test_no_more_than_the_files_limit_is_requested_from_a_cloud(file: str) -> None:
    """Spot and on-demand nodes may each fill the cluster, but not exceed it together."""
    config = config_of(file)
    nodes = available_nodes(config)
    assert nodes is not None
    assert nodes.gpus == config["max_workers"] == 8
    assert declared_nodes(config) == 1, "no worker is kept for sweeps that do not run"


@pytest.mark.parametrize("file", CLOUDS)
@pytest.mark.parametrize(("spot", "launched"), [(1.0, "gpu_spot"), (0.0, "gpu")])
def test_the_autoscaler_takes_spot_and_on_demand_where_it_was_refused(
    file: str, spot: float, launched: str
) -> None:
    """By Ray's own scheduler, with the node types of the file."""
    kinds = {
        name: NodeTypeConfig(
            name=name,
            min_worker_nodes=kind.get("min_workers", 0),
            max_worker_nodes=kind.get("max_workers", 0),
            resources=kind["resources"],
            priority=kind.get("priority", 0),
        )
        for name, kind in config_of(file)["available_node_types"].items()
    }
    asked = ResourceRequestByCount(request=ResourceRequestUtil.make({"GPU": 0.25}), count=4)
    request = SchedulingRequest(
        node_type_configs=kinds,
        resource_requests=[asked],
        max_num_nodes=9,
        disable_launch_config_check=True,
        cloud_resource_availabilities={"gpu_spot": spot},
        recoverable_resource_availabilities={"gpu_spot": spot},
    )
    reply = ResourceDemandScheduler(_Quiet()).schedule(request)
    assert [(each.instance_type, each.count) for each in reply.to_launch] == [(launched, 1)]


class _Quiet:
    """An unused log of the autoscaler's events."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@pytest.mark.parametrize("file", CLOUDS)
def test_a_node_logs_in_to_the_registry_and_gives_the_volume_to_the_image(file: str) -> None:
    commands = config_of(file)["initialization_commands"]
    assert re.search("docker login|configure-docker|acr login", commands[0])
    assert "sudo chown 1000:1000 /mnt/shared" in commands[-1]
    assert re.search(r"useradd .*--uid 1000 ray", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    for command in commands:
        assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0, command


def statements(name: str) -> list[dict[str, Any]]:
    policy_statements: list[dict[str, Any]] = json.loads(
        (ROOT / "docs/aws" / name).read_text(encoding="utf-8")
    )["Statement"]
    return policy_statements


@pytest.mark.parametrize("name", ["head-policy.json", "worker-policy.json"])
def test_a_profile_may_change_nothing_but_its_own_cluster(name: str) -> None:
    """Every writing action names this account's resources; a tag limits instances to this cluster's."""
    cluster = config_of("cluster.yaml")["cluster_name"]
    for each in statements(name):
        actions = listed(each["Action"])
        assert not [action for action in actions if "*" in action]
        reads = all(re.match(r"(ec2:Describe|ecr:(Get|Batch))", action) for action in actions)
        assert reads or each["Resource"] != "*", each["Sid"]
        if {"ec2:TerminateInstances", "iam:PassRole"} & set(actions):
            assert each["Condition"]["StringEquals"] in (
                {"aws:ResourceTag/ray-cluster-name": cluster},
                {"iam:PassedToService": "ec2.amazonaws.com"},
            )


def test_workers_of_aws_have_a_profile_that_pulls_the_image_only() -> None:
    kinds = config_of("cluster.yaml")["available_node_types"]
    profiles = {name: kind["node_config"]["IamInstanceProfile"]["Name"] for name, kind in kinds.items()}
    assert profiles == {"head": "raysweep-head", "gpu_spot": "raysweep-worker", "gpu": "raysweep-worker"}
    actions = {a for each in statements("worker-policy.json") for a in listed(each["Action"])}
    assert {action.partition(":")[0] for action in actions} == {"ecr"}


def listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def test_the_aws_file_brings_its_own_security_group() -> None:
    """Rules in provider.security_group are added to one that opens port 22 to the whole world."""
    config = config_of("cluster.yaml")
    assert "security_group" not in config["provider"]
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["SecurityGroupIds"]
