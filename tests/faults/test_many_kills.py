"""The long list of `test_killed_driver`: ten SIGKILLs a sweep, some at checkpoints, promotions, exploits.

pytest -m nightly tests/faults
"""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path

import pytest

from service.study.events import Checkpointed, Event, Exploited, Promoted, Reported
from tests.faults.driver import events, history, record, reports, said, start, wait_until
from tests.faults.test_killed_driver import SCHEDULERS, SWEEP

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]
KILLS = 10
KINDS = (Reported, Checkpointed, Promoted, Exploited)


def moments(whole: list[Event], seed: int) -> list[tuple[type[Event], int]]:
    """When to kill: (kind of event, how many of it the journal has), in the order of the journal.

    One of each kind that occurs, and epochs for the rest.
    """
    draw = random.Random(seed)
    where: dict[type[Event], list[int]] = {kind: [] for kind in KINDS}
    for place, event in enumerate(whole[:-5]):  # the last ones are too near the end to be met
        if type(event) in where:
            where[type(event)].append(place)
    places = {draw.choice(found) for found in where.values() if found}
    others = [place for place in where[Reported] if place not in places]
    places |= set(draw.sample(others, min(KILLS - len(places), len(others))))
    kinds = [(type(whole[place]), place) for place in sorted(places)]
    return [(kind, sum(isinstance(event, kind) for event in whole[: place + 1])) for kind, place in kinds]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_ten_kills_leave_the_history_of_an_uninterrupted_run(tmp_path: Path, scheduler: str):
    for name in ("whole", "cut"):
        (tmp_path / f"{name}.yaml").write_text(SWEEP.format(name=name, scheduler=SCHEDULERS[scheduler]))
    whole, cut = tmp_path / "runs/whole", tmp_path / "runs/cut"
    assert start(tmp_path, "run", "whole.yaml").wait() == 0, said(tmp_path)
    process = start(tmp_path, "run", "cut.yaml")
    for kind, count in moments(events(whole), seed=len(scheduler)):
        wait_until(partial(has, cut, kind, count), process, tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start(tmp_path, "resume", "cut")
    assert process.wait() == 0, said(tmp_path)
    assert history(cut) == history(whole)
    assert len({(e.trial, e.epoch, e.generation) for e in reports(cut)}) == len(reports(cut))
    assert record(cut).unfinished() == []


def has(study: Path, kind: type[Event], count: int) -> bool:
    """Whether the journal has so many events of a kind, without epochs that ran twice."""
    found = [event for event in events(study) if isinstance(event, kind)]
    return sum(not (isinstance(event, Reported) and event.again) for event in found) >= count
