"""`launch.py status`, for human eyes."""

import io

from rich.console import Console

from raysweep.console.status import print_status


def test_a_study_in_five_lines():
    status = {
        "study": "digits",
        "state": "interrupted",
        "reason": "interrupted by SIGINT",
        "trials": {"wanted": 8, "asked": 4, "completed": 3, "paused": 1},
        "epochs": 95,
        "metric": "val_loss",
        "best": {"trial": "00002", "value": 0.25, "epoch": 30, "config": {"optimizer_config.lr": 0.1}},
    }
    console = Console(file=io.StringIO(), width=80)
    print_status(console, status)
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [
        "study            digits",
        "state            interrupted - interrupted by SIGINT",
        "trials           4 of 8: 3 completed, 1 paused",
        "epochs           95",
        "best             trial 2: val_loss 0.25 at epoch 30  lr=0.1",
    ]


def test_a_study_killed_before_its_first_trial_has_a_status_too():
    console = Console(file=io.StringIO(), width=80)
    print_status(console, {"study": "digits", "state": "interrupted", "trials": {}, "best": None})
    assert "trials           0 of ?: none yet" in console.file.getvalue()
