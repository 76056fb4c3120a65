"""An idle rented cluster is reported, and ended on request, but never while another sweep runs there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from launch import main
from raysweep.cluster import target as targets
from raysweep.cluster.cost_guard import guard_costs
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.target import Target

SWEEP = str(Path(__file__).resolve().parents[2] / "sweeps/asha.yaml")


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which this test's own `ray down` records its arguments."""
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n[ -z "$FAILS" ] || {{ echo denied >&2; exit 1; }}\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return tmp_path / "asked"


def cluster(tmp_path: Path, provider: str = "aws", *, down: bool = False) -> Target:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"provider: {{type: {provider}}}\n")
    return Target("cluster", str(file), "a test", down=down)


@pytest.mark.parametrize(
    ("provider", "down", "running", "expected", "ends"),
    [
        (
            "aws",
            False,
            [],
            "no sweep runs on this cluster, but its head still costs money: `ray down -y ",
            False,
        ),
        ("aws", False, ["ann"], "", False),
        ("local", False, [], "", False),  # machines one owns
        (
            "aws",
            True,
            ["ann", "ann", "bob"],
            "--down: the cluster stays up, still running there: ann, bob",
            False,
        ),
        ("aws", True, [], "--down: no sweep is running any more; ray down -y ", True),
        ("local", True, [], "--down: no sweep is running any more; ray down -y ", True),
    ],
)
def test_after_a_sweep(
    provider: str, down: bool, running: Sequence[str], expected: str, ends: bool, ended: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    guard_costs(cluster(tmp_path, provider, down=down), lambda: running, lines.append)
    assert len(lines) == bool(expected)
    assert all(word.startswith(expected) for word in lines)
    assert ended.exists() == ends
    if ends:
        assert ended.read_text().endswith(f"down -y {tmp_path}/cluster.yaml\n")


def test_an_unreachable_cluster_stays_up(ended: Path, tmp_path: Path) -> None:
    def lost() -> Sequence[str]:
        raise ClusterError("the connection was lost")

    with pytest.raises(
        ClusterError, match=r"unknown whether a sweep is still running \(the connection was lost\)"
    ):
        guard_costs(cluster(tmp_path, down=True), lost, print)
    guard_costs(cluster(tmp_path), lost, print)
    assert not ended.exists()


def test_one_that_does_not_end_is_an_error(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(
        ClusterError, match="denied; machines may still cost money: check your cloud's console"
    ):
        guard_costs(cluster(tmp_path, down=True), list, print)


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (
            ["--local", "--down"],
            6,
            "--down ends the cluster of a file, but this runs on this machine (--local)",
        ),
        (
            ["--cluster", "cluster.yaml", "--down", "--no-wait"],
            6,
            "--down ends the cluster after the sweep, but ",
        ),
        (["--slurm", "--down"], 2, "launch.py: --slurm and --down contradict each other; give one"),
    ],
)
def test_what_cannot_be_ended_is_refused_before_anything_runs(
    args: list[str],
    code: int,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    cluster(tmp_path)
    monkeypatch.setattr(targets, "head_of", lambda _: None)
    assert main([SWEEP, *args]) == code
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)
