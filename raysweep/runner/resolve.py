"""Decides what a sweep file leaves open before anything runs: resources, budget, the plan of an attempt."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from raysweep.cluster.fair_shares import SlotClaim
from raysweep.cluster.lanes import lanes_per_process
from raysweep.cluster.machine_ledger import MachineLedger
from raysweep.cluster.nodes import Nodes, TrialShare
from raysweep.cluster.shared_slots import Capacity, SharedSlots, trial_cost
from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.runner.common import echo_err, trial_slots, warn
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.journal.records import StudyRecord
from raysweep.study.storage.code_snapshot import code_fingerprint, list_differences
from raysweep.study.storage.layout import StudyFolder

if TYPE_CHECKING:
    from raysweep.cluster.machine import Machine
    from trainables.data import Data


def resolve_sweep(sweep: Sweep, target: Target, file: Path) -> tuple[Sweep, dict[str, str]]:
    """The sweep as it will run, and a line for each choice, by key; the lines are printed too.

    Raises:
        PreflightFailed: if nothing could be measured, or nothing fits.
        SweepError: if no trial fits into the budget.
        CannotReplay: if there is a budget and the trial scheduler cannot be replayed.
        RunError: if the data cannot be loaded.
    """
    chosen: dict[str, str] = {}
    if sweep.resources_per_trial.auto:
        from raysweep.planning.auto_resources import choose_resources

        with trial_slots(sweep, target) as slots:
            sweep, chosen["resources_per_trial"] = choose_resources(sweep, slots)
    if sweep.budget is not None:
        from raysweep.planning.budget import fit_budget
        from raysweep.planning.cost_basis import measure_cost_basis

        with trial_slots(sweep, target) as slots:
            epoch_s = None if sweep.budget.hours is not None else 1.0  # epochs are counted, not timed
            basis = measure_cost_basis(sweep, lambda: slots, epoch_s=epoch_s)
        choice = fit_budget(sweep, basis.costs, basis.draw, str(file))
        sweep, chosen["budget"] = choice.sweep, choice.why
    for key, why in chosen.items():
        echo_err(f"{key}: {why}")
    return sweep, chosen


@contextmanager
def resolve_run(
    sweep: Sweep, folder: StudyFolder, target: Target, past: StudyRecord, *, check: bool
) -> Iterator[RunPlan]:
    """The plan of an attempt; its Ray is up inside the `with` block.

    On this machine the data are loaded before Ray starts, so that wrong data fail early.

    Args:
        sweep: with all its choices made.
        folder: the study.
        target: where it runs.
        past: the study's record so far.
        check: whether the data and the first step are checked.

    Raises:
        PreflightFailed: with what is wrong with the data.
        RunError: if they cannot be loaded.
    """
    data = load_study_data(sweep, folder, past, check=check) if target.kind == "here" else None
    with start_or_attach_ray(target) as machine:
        if data is None:
            data = load_data_on_cluster(sweep, folder, past, check=check)
        yield plan_attempt(sweep, folder, machine, data, check=check)


def plan_attempt(
    sweep: Sweep, folder: StudyFolder, machine: Machine | Nodes, data: Data, *, check: bool
) -> RunPlan:
    """The plan of an attempt on a running Ray; `check`: whether each process tries a first step."""
    from raysweep.preflight.first_step import first_step_config
    from raysweep.tracking import provenance, source_folder

    request = sweep.resources_per_trial
    share = TrialShare(request.cpu, machine.gpu_share(request.gpu))
    code = code_fingerprint(folder)
    slots = machine.slots(request, sweep.max_concurrent_trials)
    origin = provenance(source_folder(sweep), data_fingerprint=data.fingerprint)
    return RunPlan(
        sweep,
        folder,
        slots=slots,
        lanes=lanes_per_process(machine, request, request.lanes, slots),
        slot_counter=share_slots(sweep, folder, machine, share, str(origin.get("user", ""))),
        resources={"cpu": share.cpu, "gpu": share.gpu},
        oom_resources=machine.share_after_oom(request),
        data=data,
        first_step=first_step_config(sweep) if check else None,
        provenance=origin | ({"code_fingerprint": code} if code else {}),
    )


def share_slots(
    sweep: Sweep, folder: StudyFolder, machine: Machine | Nodes, share: TrialShare, user: str
) -> SharedSlots:
    """The counter of a study's slots, shared with other studies on its machine or cluster."""
    limit, path = sweep.max_concurrent_trials, folder.path.absolute()
    claim = SlotClaim(sweep.study_name, user, str(path), sweep.priority, trial_cost(share.cpu, share.gpu))
    if isinstance(machine, Nodes):
        from raysweep.cluster.attach import capacity_now
        from raysweep.cluster.cluster_ledger import ClusterLedger

        name = f"{path} {uuid4().hex}"
        return SharedSlots(ClusterLedger(), name, claim, partial(capacity_now, share, limit), limit)
    capacity = Capacity(machine.slots(share), {"CPU": machine.cpus, "GPU": machine.gpus})
    ledger = MachineLedger()
    return SharedSlots(ledger, ledger.own_name(path), claim, lambda: capacity, limit)


def start_or_attach_ray(target: Target) -> AbstractContextManager[Machine | Nodes]:
    """The Ray that a sweep runs on: its own on this machine, or a running one."""
    if target.kind == "ray":
        from raysweep.cluster.attach import attach_ray

        return attach_ray(target.where, say=click.echo)
    from raysweep.cluster.embedded import embedded_ray

    return embedded_ray()


def load_study_data(sweep: Sweep, folder: StudyFolder, past: StudyRecord, *, check: bool) -> Data:
    """Load the data; warns if code or data have changed since the study began.

    Raises:
        PreflightFailed: if `check`, with what is wrong with them.
        RunError: if they cannot be loaded.
    """
    from raysweep.preflight.first_step import load_checked_data
    from trainables.user_errors import load_data

    data = load_checked_data(sweep, echo_err) if check else load_data(sweep.run, sweep.import_paths)
    warn(list_differences(folder, past.provenance, data.fingerprint))
    return data


def load_data_on_cluster(sweep: Sweep, folder: StudyFolder, past: StudyRecord, *, check: bool) -> Data:
    """As `load_study_data`; meanwhile nodes check that they have the study's storage and our versions.

    Raises:
        ClusterError: if they do not.
    """
    from raysweep.cluster.node_versions import same_versions_on_nodes
    from raysweep.cluster.shared_storage import storage_shared_by_nodes

    with storage_shared_by_nodes(folder.storage_uri or str(folder.path)), same_versions_on_nodes():
        importlib.import_module("raysweep.study.execution.tuner")  # takes seconds, while the nodes check
        return load_study_data(sweep, folder, past, check=check)
