"""What several commands do: find a study, read a sweep, say where it goes, tell the user."""

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
from raysweep.preflight import check_file as before
from raysweep.study.storage.journal_files import list_foreign_files
from raysweep.study.storage.layout import NotAStudy, StudyFolder, below
from raysweep.study.storage.locations import download_study, local_root
from raysweep.study.storage.object_store import name_in, uri_of
from trainables.imports import CLONE

if TYPE_CHECKING:
    from raysweep.preflight.preflight import Preflight, TrialSlots

HERE = Target("here", "", "the study is here")


def load_checked(file: Path, **words: Any) -> Sweep:
    """The sweep of a file, found sound; what is odd is printed, and how much advice there is.

    Raises:
        SweepError: if it is not sound.
    """
    seen = before.load_checked(file, **words)
    assert seen.sweep is not None, "an unsound file raises"
    warn(seen.warnings)
    if seen.advice:
        click.echo(f"{headline(seen.advice)}: `{launch_command('check', file)}` says more", err=True)
    return seen.sweep


def where_is(study: str, runs: Path, **places: Any) -> Target:
    """Where a study is: here if its folder is, unless an option says otherwise."""
    if not any(places.values()) and (Path(study).is_dir() or (runs / study).is_dir()):
        ray = os.environ.get("RAY_ADDRESS", "")
        return Target("ray", ray, "RAY_ADDRESS is set") if ray and "//" not in ray else HERE
    return resolve_target(**places)


def run_on_cluster(
    target: Target, command: str, study: str, words: Sequence[str] = (), *, job: str = ""
) -> int:
    """Carry a command on a study out on the cluster it is on, as a job there, followed; the exit code.

    Args:
        target: the cluster.
        command: of launch.py.
        study: its name or URI, or a file.
        words: further arguments.
        job: what the job is called; the study and the command.
    """
    from raysweep.cluster import remote_commands
    from raysweep.tracking.provenance import submitted_environment

    name = job or f"{name_in(study)}.{command}"
    job_id = remote_commands.send(
        target,
        name,
        [command, study, *words],
        clone=CLONE,
        say=echo_err,
        environment=submitted_environment(Path.cwd()),
    )
    return remote_commands.follow(target, job_id, say=echo_err)


def storage_of(sweep: Sweep, runs: Path | None) -> Path | str:
    """Where new studies go: a folder, or a URI as it was written."""
    return runs or sweep.storage or os.environ.get("RAYSWEEP_STORAGE") or "runs"


def root_of(sweep: Sweep, runs: Path | None) -> Path:
    """The folder of this disk that a new study goes to; with a storage elsewhere, its small files do."""
    return local_root(storage_of(sweep, runs))


def try_sweep(sweep: Sweep, runs: Path | None, target: Target, timeout: float = 120.0) -> Preflight:
    """A sweep tried on this machine, or on the workers of the Ray that is up."""
    from raysweep.preflight.preflight import run_preflight
    from raysweep.tracking import store_uri, trouble_with

    with slots_of(sweep, target) as place:
        return run_preflight(
            sweep,
            place,
            storage=root_of(sweep, runs),
            trouble=lambda: trouble_with(store_uri(sweep.tracking.uri, os.environ, Path.cwd())),
            limit_s=timeout,
        )


def slots_here(sweep: Sweep) -> TrialSlots:
    """What this machine gives a sweep's trials."""
    from raysweep.preflight.preflight import TrialSlots

    machine, asked = this_machine(), sweep.resources_per_trial
    slots = machine.slots(asked, sweep.max_concurrent_trials)
    return TrialSlots(
        slots,
        machine.gpus,
        machine.gpu_share(asked.gpu),
        machine.cpus,
        lanes=lanes_per_process(machine, asked, asked.lanes, slots),
        most_lanes=lanes_per_process(machine, asked, slots, slots),
    )


@contextmanager
def slots_of(sweep: Sweep, target: Target) -> Iterator[TrialSlots]:
    """What a sweep's trials are given: of this machine, or of the nodes of a Ray that is up."""
    if target.kind != "ray":
        yield slots_here(sweep)
        return
    from raysweep.cluster.attach import attach_ray, nodes_up
    from raysweep.cluster.remote_dry_run import free_memory_mb, measure_lanes_on_worker, rehearse_on_workers
    from raysweep.preflight.preflight import TrialSlots

    asked = sweep.resources_per_trial
    with attach_ray(target.where, say=echo_err) as nodes:
        slots, up = nodes.slots(asked, sweep.max_concurrent_trials), nodes_up()
        yield TrialSlots(
            slots,
            nodes.gpus,
            nodes.gpu_share(asked.gpu),
            nodes.cpus,
            sum(each.cpus > 0 for each in nodes.machines),
            partial(rehearse_on_workers, cpu=asked.cpu),
            free_memory_mb,
            cpus_up=up.cpus,
            gpus_up=up.gpus,
            lanes=lanes_per_process(nodes, asked, asked.lanes, slots),
            most_lanes=lanes_per_process(nodes, asked, slots, slots),
            measure_lanes=partial(measure_lanes_on_worker, cpu=asked.cpu),
        )


def echo_err(text: str) -> None:
    """Tell the user, not the pipe."""
    click.echo(printable(text, "\n"), err=True)


def study_facts(sweep: Sweep) -> Facts:
    """What a view must know of a sweep."""
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
    """A study by its folder or URI, or by its name under `runs`; a URI's small files are brought here.

    Args:
        study: as typed.
        runs: where studies are.
        staged: whether one of several stages will do; else one of these is to be named.

    Raises:
        NotAStudy: if there is none (where a name was given, with those that are there), or it is of several
            stages and one of them is meant.
    """
    folder = _find(study, runs)
    for foreign in list_foreign_files(folder.journal_dir):
        echo_err(f"warning: {foreign} is no segment of the journal and is not read")
    stages = () if staged else folder.wanted().stages
    if stages:
        studies = [stage.name for stage in stages if stage.kind != "lr_range"]
        names = ", ".join(typed(folder.stage(name).path) for name in studies)
        raise NotAStudy(f"{folder.name} has stages, each a study of its own; name one: {names}")
    return folder


def _find(study: str, runs: Path) -> StudyFolder:
    if uri := uri_of(study) or (uri_of(runs) and below(uri_of(runs), study)):
        return download_study(uri, local_root(runs))
    path = Path(study)
    named = runs / study
    if named.is_dir():
        return StudyFolder.open(named)
    if path.is_dir() or len(path.parts) != 1:
        return StudyFolder.open(path)
    known = sorted(each.parent.name for each in runs.glob("*/study.json"))
    near = difflib.get_close_matches(study, known, n=1)
    there = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
    raise NotAStudy(f"{runs}: holds no study {study!r}; {there}")


def warn(warnings: Iterable[Any]) -> None:
    """Print what is allowed but suspicious."""
    for warning in warnings:
        echo_err(f"warning: {warning}")
