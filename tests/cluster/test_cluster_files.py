"""The shipped cluster files, held against Ray's own schema and against what it does not look at."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from raysweep.cluster.jobs import DASHBOARD_PORT

ROOT = Path(__file__).resolve().parents[2]
FILES = ("cluster.yaml", "clusters/onprem.yaml")


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
    """`Only the head came up` is the commonest complaint; and Ray's autoscaler passes no token on."""
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
    """A string is taken letter by letter, and Ray's schema lets it pass."""
    for file in FILES:
        for key, value in config_of(file).items():
            assert not (key.endswith("_commands") and isinstance(value, str)), (file, key)


def test_the_aws_file_brings_its_own_security_group() -> None:
    """Rules in provider.security_group are added to one that opens port 22 to the whole world."""
    config = config_of("cluster.yaml")
    assert "security_group" not in config["provider"]
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["SecurityGroupIds"]
