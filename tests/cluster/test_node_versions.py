"""Nodes with another torch, Ray or Python than the driver are refused, all in one line."""

from __future__ import annotations

import pytest

from raysweep.cluster.node_versions import differences, installed

DRIVER = {"ray": "2.60.0", "torch": "2.13.0", "Python": "3.11"}
FIX = "; install the same on all: pip install -c constraints.txt -e ."


@pytest.mark.parametrize(
    ("nodes", "line"),
    [
        ([], ""),
        ([("a", DRIVER), ("b", DRIVER)], ""),
        ([("a", DRIVER | {"torch": "2.12.1"})], f"node a has torch 2.12.1, the driver 2.13.0{FIX}"),
        (
            [("b", DRIVER | {"Python": "3.12"}), ("a", DRIVER | {"ray": "2.59.0", "torch": "2.12.1"})],
            "node a has ray 2.59.0, the driver 2.60.0; node a has torch 2.12.1, the driver 2.13.0; "
            f"node b has Python 3.12, the driver 3.11{FIX}",
        ),
    ],
)
def test_nodes_that_differ_from_the_driver_are_named_in_one_line(
    nodes: list[tuple[str, dict[str, str]]], line: str
) -> None:
    assert differences(DRIVER, nodes) == line


def test_a_build_for_another_device_is_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head without a GPU may have torch for the CPU."""
    seen = []
    for build in ("2.13.0+cpu", "2.13.0+cu130"):
        monkeypatch.setattr("raysweep.cluster.node_versions.metadata.version", lambda _, build=build: build)
        seen.append(installed())
    assert seen[0] == seen[1]
