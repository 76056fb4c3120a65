"""Extends a study; shared by `launch.py extend` and `Study.extend`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence

import click

from raysweep.runner.new_study import without_secrets
from raysweep.study.execution.extend import as_overrides, check_extension, revised
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.lock import lock


def revise_study(
    folder: StudyFolder,
    trials: str | None,
    epochs: int | None,
    overrides: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> None:
    """Write a new revision of a study's sweep, and print what changes.

    Args:
        folder: the study.
        trials: the total (`100`), or additional ones (`+50`); None for no change.
        epochs: of each trial; None for no change.
        overrides: `key=value` each.
        dry_run: only print the changes.

    Raises:
        SweepError: if an override is invalid.
        CannotExtend: if trials before and after could not be compared.
    """
    from raysweep.study.execution.scheduler_factory import make_scheduler

    with lock(folder.lock_file, shlex.join(sys.argv)):
        new = without_secrets(
            revised(folder, [*as_overrides(folder.stored_sweep(), trials, epochs), *overrides])
        )
        record = fold(read_events(folder.journal_dir), new.objective)
        extension = check_extension(folder, new, record, make_scheduler(folder.sweep()).rule)
        for line in extension.lines(record):
            click.echo(line)
        if not dry_run:
            folder.revise(new, extension.changes, time.time())
