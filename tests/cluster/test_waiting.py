"""How long a sweep waits for the nodes that a cluster file promises: as long as one may still start."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from raysweep.cluster import attach
from raysweep.cluster.ray_private import AutoscalerReport

COMING, NONE_COMING = AutoscalerReport(1, ()), AutoscalerReport(0, ("gpu: no quota",))
WAITS = "1 of 3 nodes are up, waiting for the rest"
WITHOUT = "1 of 3 nodes are up{}; starting with these, others are used once they join"


@pytest.mark.parametrize(
    ("reports", "seconds", "expected"),
    [
        ([COMING], 310, [WAITS, WITHOUT.format("")]),  # on its way, for five minutes and no longer
        ([None], 310, [WAITS, WITHOUT.format("")]),  # an autoscaler that tells nothing
        ([NONE_COMING], 40, [WAITS, WITHOUT.format(" (gpu: no quota)")]),  # it has given up
        ([NONE_COMING, NONE_COMING, COMING], 310, [WAITS, WITHOUT.format("")]),  # it had not begun
    ],
)
def test_a_sweep_waits_for_promised_nodes_only_while_one_may_come(
    reports: list[Any], seconds: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    clock = itertools.count(0.0, 10.0)
    now = [0.0]
    waiting = itertools.chain(reports, itertools.repeat(reports[-1]))

    def tick() -> float:
        now[0] = next(clock)
        return now[0]

    monkeypatch.setattr(attach.time, "monotonic", tick)  # type: ignore[attr-defined]
    monkeypatch.setattr(attach.time, "sleep", lambda _: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(attach.ray, "nodes", lambda: [{"Alive": True}, {"Alive": False}])  # type: ignore[attr-defined]
    monkeypatch.setattr(attach, "autoscaler_report", lambda: next(waiting))
    attach._wait_for(3, lines.append)
    assert lines == expected
    assert seconds - 20 <= now[0] <= seconds + 20


def test_nodes_that_are_up_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach.ray, "nodes", lambda: [{"Alive": True}] * 3)  # type: ignore[attr-defined]
    attach._wait_for(3, lambda _: pytest.fail("nothing to say"))
