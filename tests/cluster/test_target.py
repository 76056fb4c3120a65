"""Where a command goes, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.target import Target, choose

FILE = Path("my/cluster.yaml")


def chosen(
    folder: Path,
    *,
    local: bool = False,
    address: str | None = None,
    cluster: Path | None = None,
    ray_address: str = "",
    head: str | None = None,
) -> Target:
    environ = {"RAY_ADDRESS": ray_address} if ray_address else {}
    return choose(
        local=local, address=address, cluster=cluster, environ=environ, folder=folder, head_of=lambda _: head
    )


@pytest.mark.parametrize(
    ("options", "kind", "why"),
    [
        ({}, "here", "no RAY_ADDRESS, and no cluster of ./cluster.yaml is up"),
        ({"local": True, "ray_address": "auto", "head": "1.2.3.4"}, "here", "--local"),
        ({"address": "http://10.0.0.1:8265"}, "jobs", "--address"),
        ({"address": "auto"}, "ray", "--address"),
        ({"cluster": FILE}, "cluster", "--cluster"),
        ({"ray_address": "10.0.0.1:6379"}, "ray", "RAY_ADDRESS is set"),
        ({"ray_address": "https://ray.lab", "head": "1.2.3.4"}, "jobs", "RAY_ADDRESS is set"),
        ({"ray_address": "local"}, "here", "RAY_ADDRESS is set"),
        ({"head": "1.2.3.4"}, "cluster", "its head 1.2.3.4 is up"),
    ],
)
def test_options_then_ray_address_then_the_running_cluster_then_here(
    tmp_path: Path, options: Any, kind: str, why: str
) -> None:
    (tmp_path / "cluster.yaml").touch()
    target = chosen(tmp_path, **options)
    assert (target.kind, target.why) == (kind, why)


def test_without_a_cluster_file_no_head_is_looked_for(tmp_path: Path) -> None:
    target = choose(
        local=False,
        address=None,
        cluster=None,
        environ={},
        folder=tmp_path,
        head_of=lambda _: 1 / 0,  # type: ignore[arg-type, return-value]
    )
    assert target.kind == "here"


def test_two_options_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="--local and --cluster contradict"):
        chosen(tmp_path, local=True, cluster=FILE)
