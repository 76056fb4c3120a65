"""What several commands share: finding a study, reading a sweep, where it runs, messages."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raysweep.advice import headline
from raysweep.cluster.lanes import lanes_per_process
from raysweep.cluster.machine import this_machine
from raysweep.cluster.target import Target, resolve_target
from raysweep.config import Sweep
from raysweep.console.progress import Facts
from raysweep.formatting import printable
from raysweep.launch_command import launch_command, typed
from raysweep.preflight import check_file
from raysweep.study.storage.journal_files import list_foreign_files
from raysweep.study.storage.layout import NotAStudy, StudyFolder, below
from raysweep.study.storage.locations import download_study, local_root
from raysweep.study.storage.object_store import name_in, uri_of
from trainables.imports import CLONE

if TYPE_CHECKING:
    from raysweep.preflight.preflight import Preflight, TrialSlots

HERE = Target("here", "", "the study is here")


def load_checked(file: Path, **kwargs: Any) -> Sweep:
    """The sweep of a valid file; warnings are printed, and how much advice there is.

    Raises:
        SweepError: if the file is not valid.
    """
    result = check_file.load_checked(file, **kwargs)
    assert result.sweep is not None, "an invalid file raises"
    warn(result.warnings)
    if result.advice:
        click.echo(f"{headline(result.advice)}: `{launch_command('check', file)}` says more", err=True)
    return result.sweep


def where_is(study: str, runs: Path, **places: Any) -> Target:
    """Where a study is: on this machine if its folder is here, unless an option says otherwise."""
    if not any(places.values()) and (Path(study).is_dir() or (runs / study).is_dir()):
        ray = os.environ.get("RAY_ADDRESS", "")
        return Target("ray", ray, "RAY_ADDRESS is set") if ray and "//" not in ray else HERE
    return resolve_target(**places)


def run_on_cluster(
    target: Target, command: str, study: str, args: Sequence[str] = (), *, job: str = ""
) -> int:
    """Run a command on a study as a job on its cluster, and follow it; returns the exit code.

    Args:
        target: the cluster.
        command: of launch.py.
        study: its name or URI, or a file.
        args: further arguments.
        job: the job's name; by default the study's and the command's.
    """
    from raysweep.cluster import remote_commands
    from raysweep.tracking.provenance import submitted_environment

    name = job or f"{name_in(study)}.{command}"
    job_id = remote_commands.send(
        target,
        name,
        [command, study, *args],
        clone=CLONE,
        say=echo_err,
        environment=submitted_environment(Path.cwd()),
    )
    return remote_commands.follow(target, job_id, say=echo_err)


def storage_of(sweep: Sweep, runs: Path | None) -> Path | str:
    """Where new studies are kept: a folder, or a URI as it was written."""
    return runs or sweep.storage or os.environ.get("RAYSWEEP_STORAGE") or "runs"


def root_of(sweep: Sweep, runs: Path | None) -> Path:
    """The local folder of new studies; with object storage, that of their small files."""
    return local_root(storage_of(sweep, runs))


def try_sweep(sweep: Sweep, runs: Path | None, target: Target, timeout: float = 120.0) -> Preflight:
    """Run the preflight of a sweep on this machine, or on the workers of a running Ray."""
    from raysweep.preflight.preflight import run_preflight
    from raysweep.tracking import store_uri, trouble_with

    with trial_slots(sweep, target) as slots:
        return run_preflight(
            sweep,
            slots,
            storage=storage_of(sweep, runs),
            trouble=lambda: trouble_with(store_uri(sweep.tracking.uri, os.environ, Path.cwd())),
            limit_s=timeout,
        )


def slots_here(sweep: Sweep) -> TrialSlots:
    """The slots of this machine for a sweep's trials."""
    from raysweep.preflight.preflight import TrialSlots

    machine, request = this_machine(), sweep.resources_per_trial
    slots = machine.slots(request, sweep.max_concurrent_trials)
    return TrialSlots(
        slots,
        machine.gpus,
        machine.gpu_share(request.gpu),
        machine.cpus,
        lanes=lanes_per_process(machine, request, request.lanes, slots),
        most_lanes=lanes_per_process(machine, request, slots, slots),
    )


@contextmanager
def trial_slots(sweep: Sweep, target: Target) -> Iterator[TrialSlots]:
    """The slots for a sweep's trials, of this machine or of the nodes of a running Ray."""
    if target.kind != "ray":
        yield slots_here(sweep)
        return
    from raysweep.cluster.attach import attach_ray, nodes_up
    from raysweep.cluster.remote_dry_run import dry_run_on_workers, free_memory_mb, measure_lanes_on_worker
    from raysweep.preflight.preflight import TrialSlots

    request = sweep.resources_per_trial
    with attach_ray(target.where, say=echo_err) as nodes:
        slots, up = nodes.slots(request, sweep.max_concurrent_trials), nodes_up()
        yield TrialSlots(
            slots,
            nodes.gpus,
            nodes.gpu_share(request.gpu),
            nodes.cpus,
            sum(each.cpus > 0 for each in nodes.machines),
            partial(dry_run_on_workers, cpu=request.cpu),
            free_memory_mb,
            cpus_up=up.cpus,
            gpus_up=up.gpus,
            lanes=lanes_per_process(nodes, request, request.lanes, slots),
            most_lanes=lanes_per_process(nodes, request, slots, slots),
            measure_lanes=partial(measure_lanes_on_worker, cpu=request.cpu),
        )


def echo_err(text: str) -> None:
    """Print a message on stderr, so that stdout has only the command's output."""
    click.echo(printable(text, "\n"), err=True)


def study_facts(sweep: Sweep) -> Facts:
    """What a view needs to know about a sweep."""
    return Facts(
        name=sweep.study_name,
        metric=sweep.metric,
        sign=sweep.sign,
        epochs=sweep.run.epochs,
        wanted=sweep.trials,
        audited=bool(sweep.trial_scheduler.kwargs.get("audit_fraction")),
        metrics=sweep.metrics,
    )


def find_study(study: str, runs: Path, *, staged: bool = False) -> StudyFolder:
    """Find a study by its folder or URI, or by its name under `runs`; a URI's small files are downloaded.

    Args:
        study: as typed.
        runs: where studies are kept.
        staged: whether the study may have stages; otherwise one of its stages has to be named.

    Raises:
        NotAStudy: if there is none, or if it has stages and `staged` is false.
    """
    folder = _find(study, runs)
    for foreign in list_foreign_files(folder.journal_dir):
        echo_err(f"warning: {foreign} is not a segment of the journal and is not read")
    stages = () if staged else folder.stored_sweep().stages
    if stages:
        studies = [stage.name for stage in stages if stage.kind != "lr_range"]
        names = ", ".join(typed(folder.stage(name).path) for name in studies)
        raise NotAStudy(f"{folder.name} has stages, each a study of its own; name one: {names}")
    return folder


def _find(study: str, runs: Path) -> StudyFolder:
    if uri := uri_of(study) or (uri_of(runs) and below(uri_of(runs), study)):
        return download_study(uri, local_root(runs))
    path = Path(study)
    if (runs / study).is_dir():
        return StudyFolder.open(runs / study)
    if path.is_dir() or len(path.parts) != 1:
        return StudyFolder.open(path)
    names = sorted(each.parent.name for each in runs.glob("*/study.json"))
    matches = difflib.get_close_matches(study, names, n=1)
    hint = f"did you mean {matches[0]!r}?" if matches else f"it has {', '.join(names) or 'none'}"
    raise NotAStudy(f"{runs}: holds no study {study!r}; {hint}")


def warn(warnings: Iterable[Any]) -> None:
    """Print warnings on stderr, one line each."""
    for warning in warnings:
        echo_err(f"warning: {warning}")
