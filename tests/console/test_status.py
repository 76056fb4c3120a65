"""What `launch.py status` prints."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from raysweep.cluster.fair_shares import LedgerEntry, SlotClaim
from raysweep.cluster.jobs import Job
from raysweep.config.sweep import Metric
from raysweep.console.status import print_job, print_shares, print_status
from raysweep.study.journal.records import StudyRecord
from raysweep.study.journal.status_fields import StudyStatus
from raysweep.study.journal.status_file import StatusFile, read_status
from raysweep.study.storage.layout import StudyFolder
from tests.builders import small_sweep


def test_a_study_in_five_lines() -> None:
    status = {
        "study": "digits",
        "state": "interrupted",
        "reason": "interrupted by SIGINT",
        "trials": {"wanted": 8, "asked": 5, "completed": 3, "paused": 1, "running": 1},
        "epochs": 95,
        "metric": "val_loss",
        "best": {"trial": "00002", "value": 0.25, "epoch": 30, "config": {"optimizer_config.lr": 0.1}},
    }
    console = Console(file=io.StringIO(), width=80)
    print_status(console, status)  # type: ignore[arg-type]
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [  # type: ignore[attr-defined]
        "study            digits",
        "state            interrupted - interrupted by SIGINT",
        "trials           5 of 8: 3 completed, 1 paused, 1 unfinished",
        "epochs           95",
        "best             trial 2: val_loss 0.25 at epoch 30  lr=0.1",
    ]


def test_who_shares_the_machines_and_who_is_queued() -> None:
    console = Console(file=io.StringIO(), width=80)
    claim = SlotClaim("digits", "ada", "/runs/digits", 2, {"CPU": 1.0}, fits=4, wanted=4, busy=4)
    later = replace(claim, study="housing", user="bob", priority=1, busy=0)
    print_shares(console, [LedgerEntry(claim, 0, 0, held=4, share=3), LedgerEntry(later, 0, 0, share=1)])
    assert [line.split() for line in console.file.getvalue().splitlines() if line.strip()] == [  # type: ignore[attr-defined]
        ["running", "by", "priority", "slots", "share", "wants"],
        ["digits", "ada", "2", "4", "3", "of", "4", "4"],
        ["housing", "bob", "1", "queued", "1", "of", "4", "4"],
    ]


def test_a_study_killed_before_its_first_trial_has_a_status_too(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_status(console, read_status(StudyFolder.create(tmp_path, "small", small_sweep(), "").path))
    assert "trials           0 of 6: none yet" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_types_of_status_json_name_every_field_of_the_file(tmp_path: Path) -> None:
    """A typed program could not read a field that is written without a type."""
    record = StudyRecord()
    folder = StudyFolder(tmp_path / "digits")
    file = StatusFile(folder, record, "val_loss", 1, [Metric(name="val_loss"), Metric(name="parameters")])
    assert set(file.summary("running")) | {"stage", "stages"} == set(StudyStatus.__annotations__)


def test_a_clusters_job_is_shown_with_the_last_line_of_its_output() -> None:
    console = Console(file=io.StringIO(), width=80)
    job = Job("raysubmit_1", "digits", "RUNNING", None, 0.0, "ada", "launch.py run digits.yaml")
    print_job(console, job, "3 of 8 trials", as_json=False)
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [  # type: ignore[attr-defined]
        "study            digits",
        "job              raysubmit_1, submitted by ada: launch.py run digits.yaml",
        "state            running",
        "last             3 of 8 trials",
    ]
