"""The long list of `test_killed_driver`: forty SIGKILLs a sweep, two hundred in all.

pytest -m nightly tests/faults
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.driver import copies, ended, history, record, reports, said, start, store_of
from tests.faults.kills import FIRST, SCHEDULERS, kill, kill_again, write_two
from tests.faults.mortal import WHENS

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(7200)]
KILLS = 40
TRIALS = {"fifo": 16, "asha": 16, "pbt": 16, "predictive": 24, "pfl": 16}
"""So many trials have events enough for each kill to find one; PFL stops most of them early."""


@pytest.mark.parametrize("name", SCHEDULERS)
def test_forty_kills_leave_the_history_of_an_uninterrupted_run(tmp_path: Path, name: str) -> None:
    write_two(tmp_path, name, TRIALS[name])
    draw = random.Random(f"{name}, many")
    whole = start(tmp_path, "run", "whole.yaml")
    kill(tmp_path, ("run", "cut.yaml"), FIRST[name], 1, draw.choice(WHENS))
    assert ended(whole, tmp_path) == 0, said(tmp_path)
    kill_again(tmp_path, KILLS - 1, draw)
    assert ended(start(tmp_path, "resume", "cut", store=store_of(tmp_path)), tmp_path) == 0, said(tmp_path)
    cut, uncut = tmp_path / "runs/cut", tmp_path / "runs/whole"
    if name == "pbt":  # a restart may change who comes to a milestone last, and so waits there for nobody
        assert [entry[:-1] for entry in history(cut)] == [entry[:-1] for entry in history(uncut)]
        assert copies(cut) == copies(uncut)
    else:
        assert history(cut) == history(uncut)
    assert len({(e.trial, e.epoch, e.generation) for e in reports(cut)}) == len(reports(cut))
    assert record(cut).unfinished() == []
    assert record(cut).attempts == KILLS + 1
