"""Warns that a rented cluster costs money while unused, or ends it (`--down`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.nodes import read_cluster_file
from raysweep.cluster.target import Target
from raysweep.formatting import one_line

DOWN_S = 600.0
COSTS_ON = "machines may still cost money: check your cloud's console"


def is_rented(target: Target) -> bool:
    """Whether a target is a cluster whose file does not list one's own machines."""
    if target.kind != "cluster":
        return False
    return bool(read_cluster_file(Path(target.where))["provider"].get("type") != "local")


def idle_notice(target: Target, running: Sequence[str]) -> str:
    """A warning about a rented cluster on which nothing runs any more; "" for any other.

    Args:
        target: the cluster.
        running: studies whose jobs have not ended.
    """
    if running or not is_rented(target):
        return ""
    return (
        f"no sweep runs on this cluster, but its head still costs money: `ray down -y {target.where}` ends it"
    )


def guard_costs(target: Target, running: Callable[[], Sequence[str]], say: Callable[[str], None]) -> None:
    """End a cluster after a sweep if `--down` was given and nothing else runs there; else warn of its cost.

    Args:
        target: the cluster.
        running: asks it for the studies whose jobs have not ended.
        say: receives what is done, or why it is not.

    Raises:
        ClusterError: if the cluster should end and does not.
    """
    if not (target.down or is_rented(target)):
        return
    try:
        left = running()
    except ClusterError as error:
        if target.down:
            raise ClusterError(
                f"--down: unknown whether a sweep is still running ({error}); the cluster stays up"
            ) from None
        return
    if not target.down:
        if notice := idle_notice(target, left):
            say(notice)
    elif left:
        say(f"--down: the cluster stays up, still running there: {', '.join(dict.fromkeys(left))}")
    else:
        end_cluster(target.where, say)


def end_cluster(file: str, say: Callable[[str], None]) -> None:
    """Take down the cluster of a file, as `ray down` does.

    Raises:
        ClusterError: if that fails; with its last line of output.
    """
    say(f"--down: no sweep is running any more; ray down -y {file}")
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "down", "-y", file]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWN_S, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"ray down -y {file}: {one_line(error)}; {COSTS_ON}") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no output"]
        raise ClusterError(f"ray down -y {file}: {one_line(lines[-1], 300)}; {COSTS_ON}")
