"""What `launch.py replay` prints."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from raysweep.console.progress import Facts
from raysweep.console.replay import AT_MOST, print_replay
from raysweep.study.journal.records import StudyRecord
from raysweep.study.results.counterfactual import StudyReplay
from tests.builders import trained, trial_ended


@pytest.fixture
def record() -> StudyRecord:
    from raysweep.study.journal.records import fold

    events = []
    for number in range(40):
        name = f"{number:05d}"
        events += [*trained(name, [0.1 * (number + 1)] * 10), trial_ended(name, "completed")]
    return fold(events)


def shown(record: StudyRecord, facts: Facts, **changes: Any) -> list[str]:
    defaults = {
        "trial_scheduler": "schedulers.ASHA",
        "kwargs": {"grace_period": 2},
        "workers": 2,
        "recorded": 6,
        "left_out": {"stopped early": 2, "failed": 1},
        "replayed": ("00000", "00001", "00002"),
        "epochs_whole": 30,
        "epochs_run": 15,
        "finished": ("00001",),
        "stopped": {"00000": (2, "rung 2"), "00002": (3, "rung 3")},
        "best": "00000",
        "found": "00001",
        "regret": 0.1,
    }
    console = Console(file=io.StringIO(), width=80)
    print_replay(console, facts, record.trials, "last", StudyReplay(**{**defaults, **changes}))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_what_was_replayed_saved_and_lost(record: StudyRecord, facts: Facts) -> None:
    assert shown(record, facts) == [
        "replay           digits under schedulers.ASHA(grace_period=2), 2 at once",
        "curves           3 of 6 are complete and were replayed",
        "                 2 left out: stopped early",
        "                 1 left out: failed",
        "                 the others survived the recorded scheduler, so the savings are understated",
        "epochs           15 of 30 would have been run: 50% saved",
        "trials           1 would have finished, 2 ended earlier",
        "best             trial 0: val_loss 0.1 would have been lost",
        "                 trial 1: val_loss 0.2 would have been found, worse by 0.1",
        "trial 0          ended at epoch 2: rung 2",
        "trial 2          ended at epoch 3: rung 3",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"regret": 0.0, "found": "00000"}, "best             trial 0: val_loss 0.1 would have been found"),
        (
            {"found": None, "finished": ()},
            "best             trial 0: val_loss 0.1 would have been lost: no trial would have finished",
        ),
    ],
)
def test_the_best_is_found_or_lost(
    changes: Any,
    line: str,
    record: StudyRecord,
    facts: Facts,
) -> None:
    assert line in shown(record, facts, **changes)


def test_a_long_list_is_cut(record: StudyRecord, facts: Facts) -> None:
    lines = shown(record, facts, stopped={f"{n:05d}": (1, "rung 1") for n in range(AT_MOST + 5)})
    assert lines[-1] == "                 and 5 more; --json has them all"
