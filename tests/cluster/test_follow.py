"""Following a job over connections that break: the messages, the output, and when the follower gives up."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster import jobs as module
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.jobs import Interruption, Job, Jobs, watch_job
from raysweep.cluster.target import Target

ENDED = Job("far", "far", "SUCCEEDED", 0, 0.0, "ann", "launch.py run")
FAR = Target("cluster", "c.yaml", "--cluster")
LOST = "connection lost; far continues, reconnecting"
CUT, AWAY, ENDS = "cut", "away", "ends"
"""A connection that breaks in the middle of a log; an unreachable head; a job followed to its end."""


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], tuple[list[str], str, Job]]:
    """Follows a job over such connections; returns the messages, the output, and the ended job."""

    def run(connections: list[str]) -> tuple[Any, ...]:
        left, messages, shown = iter(connections), list[str](), list[str]()

        class Scripted:
            def __init__(self, fate: str) -> None:
                self.fate = fate

            def follow(self, job: str, write: Callable[[str], None], seen: int) -> tuple[Any, ...]:
                write("abcd"[seen : seen + 2])
                if self.fate == CUT:
                    raise Interruption("cut", seen + 2)
                return ENDED, seen + 2

        @contextmanager
        def reach(*_: object) -> Iterator[Scripted]:
            if (fate := next(left)) == AWAY:
                raise ClusterError("no SSH tunnel")
            yield Scripted(fate)

        monkeypatch.setattr(module, "reach", reach)
        ended = watch_job(FAR, "far", environ={}, home=Path(), write=shown.append, say=messages.append)
        return messages, "".join(shown), ended

    clock = itertools.count(0.0, 100.0)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize(
    ("connections", "messages", "shown"),
    [
        ([ENDS], [], "ab"),
        ([CUT, ENDS], [LOST, "connected again"], "abcd"),
        ([CUT, AWAY, AWAY, AWAY, ENDS], [LOST, "connected again"], "abcd"),
    ],
)
def test_a_follower_shows_each_line_once_over_several_connections(
    follow: Callable[[list[str]], tuple[list[str], str, Job]],
    connections: list[str],
    messages: list[str],
    shown: str,
) -> None:
    assert follow(connections) == (messages, shown, ENDED)


@pytest.mark.parametrize(
    ("connections", "message"),
    [
        ([AWAY], "no SSH tunnel"),  # never reached: reported immediately
        ([CUT, *[AWAY] * 20], "no connection for 600 s; far continues: `launch.py logs -f far`"),
    ],
)
def test_a_follower_gives_up_at_once_or_after_ten_minutes(
    follow: Callable[[list[str]], tuple[list[str], str, Job]], connections: list[str], message: str
) -> None:
    with pytest.raises(ClusterError) as raised:
        follow(connections)
    assert str(raised.value) == message


@pytest.mark.parametrize("ask", [Jobs.all, lambda jobs: jobs.log("far"), lambda jobs: jobs.stop("far")])
def test_a_connection_that_breaks_during_a_request_is_one_line(
    ask: Callable[[Jobs], object],
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def refuse(*_: object) -> object:
                raise RuntimeError("Request failed\nConnection reset by peer")

            return refuse

    jobs = object.__new__(Jobs)
    jobs._client = Broken()  # type: ignore[assignment]
    with pytest.raises(ClusterError) as raised:
        ask(jobs)
    assert str(raised.value) == (
        "the connection to the cluster was lost (Connection reset by peer); what runs there continues"
    )
