"""`launch.py status` and `list`: status.json and a cluster's jobs as text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from raysweep.console.formatting import number, settings
from raysweep.console.rows import print_row
from raysweep.console.stages import best_line, stages_table
from raysweep.study.journal.status_fields import StudyStatus

if TYPE_CHECKING:
    from raysweep.cluster.fair_shares import LedgerEntry
    from raysweep.cluster.jobs import Job

NOT_A_STATUS = ("wanted", "asked")


def print_status(console: Console, status: StudyStatus) -> None:
    """Print a study's status, see `raysweep.study.journal.status_file.read_status`."""
    trials = status["trials"]
    words = {} if status["state"] == "running" else {"running": "unfinished"}
    counts = ", ".join(
        f"{count} {words.get(name, name)}" for name, count in trials.items() if name not in NOT_A_STATUS
    )
    print_row(console, "study", status["study"])
    print_row(console, "state", " - ".join(filter(None, [status["state"], status.get("reason", "")])))
    print_row(
        console, "trials", f"{trials.get('asked', 0)} of {trials.get('wanted', '?')}: {counts or 'none yet'}"
    )
    print_row(console, "epochs", str(status.get("epochs", 0)))
    if "stages" in status:
        print_stages_status(console, status)
    for failure in status.get("failures", ()):
        stage = f"stages/{failure['stage']}/" if "stage" in failure else ""
        where = f"{stage}trials/{failure['first']}/error.txt"
        print_row(console, failure["outcome"], f"{failure['trials']} x {failure['error']} ({where})", "red")
    if (best := status["best"]) and "stages" not in status:
        value = f"{status['metric']} {number(best['value'])} at epoch {best['epoch']}"
        print_row(console, "best", f"trial {int(best['trial'])}: {value}  {settings(best['config'])}")
    for index, point in enumerate(status.get("front", ())):
        values = ", ".join(f"{name} {number(value)}" for name, value in point["values"].items())
        line = f"trial {int(point['trial'])}: {values}  {settings(point['config'])}"
        print_row(console, "" if index else "front", line)


def print_stages_status(console: Console, status: StudyStatus) -> None:
    """Print the stages of a staged study, what each was made from, and the study's best configuration."""
    console.print(stages_table(status))
    for stage in status["stages"]:
        for index, line in enumerate(stage["made_of"]):
            print_row(console, "" if index else stage["name"], line)
    if status["best"]:
        print_row(console, "best", best_line(status["best"], status["metric"]))


def print_studies(console: Console, studies: Sequence[StudyStatus], *, as_json: bool) -> None:
    """Print the studies of a folder, one line each."""
    if as_json:
        console.print_json(data=list(studies))
        return
    table = Table("study", "state", "trials", "best", box=None, header_style="dim")
    for status in studies:
        trials, best = status["trials"], status["best"]
        value = f"{status['metric']} {number(best['value'])}" if best else "-"
        table.add_row(
            status["study"], status["state"], f"{trials.get('asked', 0)}/{trials.get('wanted', '?')}", value
        )
    console.print(table if studies else "no study here yet")


def print_shares(console: Console, entries: Sequence[LedgerEntry]) -> None:
    """Print the drivers that share these machines, the oldest first, or nothing if there are none."""
    if not entries:
        return
    table = Table("running", "by", "priority", "slots", "share", "wants", box=None, header_style="dim")
    for entry in entries:
        claim = entry.claim
        table.add_row(
            claim.study,
            claim.user,
            str(claim.priority),
            str(entry.held) if entry.held or not claim.wanted else "queued",
            f"{entry.share} of {claim.fits}",
            str(claim.wanted),
        )
    console.print()
    console.print(table)


def print_job(console: Console, job: Job, last: str, *, as_json: bool) -> None:
    """Print a cluster's job, with the last line of its output."""
    if as_json:
        console.print_json(data=asdict(job) | {"last": last})
        return
    print_row(console, "study", job.study)
    print_row(console, "job", f"{job.id}, submitted by {job.user}: {job.command}")
    print_row(console, "state", job.status.lower())
    print_row(console, "last", last)


def print_jobs(console: Console, jobs: Sequence[Job], *, as_json: bool) -> None:
    """Print a cluster's jobs, one line each."""
    if as_json:
        console.print_json(data=[asdict(job) for job in jobs])
        return
    table = Table("id", "state", "by", "started", box=None, header_style="dim")
    for job in jobs:
        started = time.strftime("%m-%d %H:%M", time.localtime(job.started_at))
        table.add_row(job.id, job.status.lower(), job.user, started)
    console.print(table if jobs else "no sweep on this cluster yet")
