"""A sweep tried before it runs: its data, its corners, its checkpoints, and what a trial takes.

All that could end trials in the night is done once, in seconds, by the code that trials run, each
configuration in a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raysweep.advice.data import DataFacts, averaging_window, facts_of
from raysweep.config import Sweep
from raysweep.config.trial_config import trial_config
from raysweep.launch_command import set_options
from raysweep.preflight.check import NOTE, OK, PROBLEM, PreflightCheck, require
from raysweep.preflight.concurrency import Concurrency, fit_cpu, fit_gpu
from raysweep.preflight.data_quality import data_checks
from raysweep.preflight.lanes import lane_checks
from raysweep.preflight.probe_configs import probe_configs
from trainables.data import Data, load_whole
from trainables.dry_run_process import dry_run_all
from trainables.dry_run_report import DryRunReport
from trainables.lane_time import LaneTime, counts_up_to, measure_lanes
from trainables.memory_limit import available_memory_mb
from trainables.run_config import RunError
from trainables.user_errors import wrap_user_errors

LIMIT_S = 120.0
"""Of two epochs of one configuration."""

FATAL = ("failed", "oom")


@dataclass(frozen=True, slots=True)
class TrialSlots:
    """What a sweep would run on: this machine, or the nodes of a cluster.

    Attributes:
        slots: trials at once as things are.
        gpus: GPUs, of all nodes together.
        gpu: share of a GPU that a trial has as things are; 0 for none.
        cpus: cores, of all nodes together.
        nodes: machines.
        rehearse: (configurations, data, gpu=, at_once=, limit_s=) -> what became of each there.
        free_mb: memory of a node that may still be taken, MiB.
        cpus_up: cores of the nodes that are up: to try a sweep no node more than one is asked for.
        gpus_up: GPUs of the nodes that are up.
        lanes: trials of a process as things are.
        most_lanes: trials of a process at most: of those that share a core, or a GPU.
        measure_lanes: (configurations, data, gpu=, counts=, limit_s=) -> how quick so many lanes are there.
    """

    slots: int
    gpus: int
    gpu: float
    cpus: int = 1
    nodes: int = 1
    rehearse: Callable[..., list[DryRunReport]] = dry_run_all
    free_mb: Callable[[], float] = available_memory_mb
    cpus_up: int | None = None
    gpus_up: int | None = None
    lanes: int = 1
    most_lanes: int = 1
    measure_lanes: Callable[..., list[LaneTime]] = measure_lanes

    @property
    def on_gpu(self) -> bool:
        """Whether trials train on GPUs."""
        return self.gpus > 0 and self.gpu > 0

    @property
    def devices(self) -> int:
        """Configurations that can be tried beside each other, each with all of a GPU that is there now."""
        up = self.gpus if self.gpus_up is None else self.gpus_up
        return 1 if self.rehearse is dry_run_all else max(up, 1)

    @property
    def at_once(self) -> int:
        """Configurations that can be tried beside each other on the cores that are there now."""
        return max(min(self.slots, self.cpus if self.cpus_up is None else self.cpus_up), 1)


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was seen.

    Attributes:
        checks: what was looked at.
        configs: name -> flat configuration, of those that were rehearsed.
        rehearsals: name -> what became of it.
        fit: what fits; None if nothing ran.
        lanes: how quick trials are that share a process, by number of lanes; empty where none share a device.
        sets: the `--set` that makes the sweep fit; empty if it does.
    """

    checks: tuple[PreflightCheck, ...]
    configs: Mapping[str, Mapping[str, Any]]
    rehearsals: Mapping[str, DryRunReport]
    fit: Concurrency | None
    sets: str
    lanes: tuple[LaneTime, ...] = ()

    @property
    def problems(self) -> list[PreflightCheck]:
        """What the sweep would lose time to."""
        return [check for check in self.checks if check.state == PROBLEM]

    def require(self) -> None:
        """Nothing, if there is no problem.

        Raises:
            NotFit: with them.
        """
        require(self.checks)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "passes": not self.problems,
            "checks": [asdict(check) for check in self.checks],
            "configurations": {
                name: {"config": dict(self.configs[name]), **asdict(rehearsal)}
                for name, rehearsal in self.rehearsals.items()
            },
            "fit": None if self.fit is None else asdict(self.fit),
            "lanes": [asdict(speed) for speed in self.lanes],
            "set": self.sets,
        }


def run_preflight(
    sweep: Sweep,
    place: TrialSlots,
    *,
    storage: Path,
    trouble: Callable[[], str],
    limit_s: float = LIMIT_S,
) -> Preflight:
    """Try a sweep.

    Args:
        sweep: what would run.
        place: on what.
        storage: folder that studies go to.
        trouble: what keeps MLflow from being told; empty if nothing does.
        limit_s: seconds that two epochs of a configuration may take.
    """
    outside = [*_writable(storage), *_tracking(trouble)]
    try:
        data, facts = read_data(sweep)
    except RunError as error:
        wrong = PreflightCheck(PROBLEM, "data", str(error))
        return Preflight((wrong, *outside), {}, {}, None, "")
    checks = [] if facts is None else [*data_checks(data, facts), *averaging_checks(sweep, facts)]
    if any(check.state == PROBLEM and check.name in ("numbers", "columns", "target") for check in checks):
        return Preflight((*checks, *outside), {}, {}, None, "")
    configs = probe_configs(sweep)
    rehearsals = dry_run_probes(sweep, configs, data, place, limit_s)
    times = time_lanes(sweep, configs, rehearsals, data, place, limit_s)
    fit = _fit(rehearsals, place, times)
    checks += [*judged(rehearsals), *_corners_alike(configs, rehearsals), *outside, *_placed(fit, place)]
    checks += lane_checks(times, place.lanes)
    sets = "" if fit is None else fit.sets(place.gpu or None, place.slots)
    return Preflight(tuple(checks), configs, rehearsals, fit, sets, times)


def read_data(sweep: Sweep) -> tuple[Data, DataFacts | None]:
    """The data as trials get them, and what is counted of them, if the run has any.

    Raises:
        RunError: if they cannot be loaded.
    """
    with wrap_user_errors("run.data"):
        data, whole, test = load_whole(sweep.run, sweep.import_paths)
    return data, None if sweep.run.data is None else facts_of(data, whole, test)


def averaging_checks(sweep: Sweep, facts: DataFacts) -> Iterator[PreflightCheck]:
    """Whether averaged weights keep up with the training: the rule of thumb, now that its steps are known."""
    if averaging_window.__name__ in sweep.ignore_advice:
        return
    for remark in averaging_window(sweep, facts):
        fix = remark.fix or f"try {set_options(remark.sets)}"
        yield PreflightCheck(NOTE, "averaged weights", remark.why, fix)


def dry_run_probes(
    sweep: Sweep, configs: Mapping[str, Mapping[str, Any]], data: Data, place: TrialSlots, limit_s: float
) -> dict[str, DryRunReport]:
    """Rehearse configurations, as many at once as trials would run; on a GPU, with all of it, in turn."""
    found = place.rehearse(
        [trial_config(sweep, config, "preflight") for config in configs.values()],
        data,
        gpu=float(place.on_gpu),
        at_once=place.devices if place.on_gpu else place.at_once,
        limit_s=limit_s,
    )
    return dict(zip(configs, found, strict=True))


def time_lanes(
    sweep: Sweep,
    configs: Mapping[str, Mapping[str, Any]],
    rehearsals: Mapping[str, DryRunReport],
    data: Data,
    place: TrialSlots,
    limit_s: float,
) -> tuple[LaneTime, ...]:
    """How quick trials are that share a process: of the configurations that ran, each in its turn a lane."""
    ran = [
        trial_config(sweep, configs[name], "preflight")
        for name, one in rehearsals.items()
        if one.outcome == "ran"
    ]
    counts = counts_up_to(place.most_lanes)
    if not ran or not counts:
        return ()
    gpu = float(place.on_gpu)
    return tuple(place.measure_lanes(ran, data, gpu=gpu, counts=counts, limit_s=limit_s))


def judged(rehearsals: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    """What the rehearsals say of the sweep.

    Args:
        rehearsals: by name; `default` is among them.
    """
    yield from _endings(rehearsals)
    ran = {name: one for name, one in rehearsals.items() if one.outcome == "ran"}
    if not ran:
        return
    yield from _apart(ran)
    yield from _learning(ran)
    yield from _gradients(ran)
    restored = ran["default"].restored if "default" in ran else None
    if restored is not None:
        message = (
            "the second epoch is the same to the last bit" if restored else "the second epoch is another"
        )
        fix = "" if restored else "a net or an optimizer keeps state outside its state_dict"
        yield PreflightCheck(OK if restored else PROBLEM, "checkpoint", f"restored from it, {message}", fix)


def _endings(rehearsals: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    """How configurations ended that did not run; those that diverge are the search's own business."""
    for name, one in rehearsals.items():
        if one.outcome in FATAL:
            fix = "a smaller net or batch, or resources_per_trial.on_oom" if one.outcome == "oom" else ""
            yield PreflightCheck(PROBLEM, name, f"{one.outcome}: {one.reason}", fix)
        elif one.outcome == "slow":
            yield PreflightCheck(
                NOTE, name, one.reason, "give more with --timeout, or train on a data_fraction"
            )
    diverged = [name for name, one in rehearsals.items() if one.outcome == "diverged"]
    if diverged and len(diverged) == len(rehearsals):
        fix = "look at the data's scale and at the learning rates (`launch.py lr-range`)"
        yield PreflightCheck(PROBLEM, "divergence", "every configuration diverges in its first epochs", fix)
    elif diverged:
        yield PreflightCheck(NOTE, "divergence", f"in the first epochs: {', '.join(diverged)}")


def _apart(ran: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    """Whether the random configurations differ in what comes of them."""
    drawn = [one for name, one in ran.items() if name.startswith("random")]
    curves = {_curve(one) for one in drawn}
    if len(drawn) > 1 and len(curves) == 1:
        message = (
            f"{len(drawn)} random configurations train alike, to the last bit: nothing that is searched acts"
        )
        yield PreflightCheck(
            PROBLEM, "search space", message, "look at what the net and the optimizer do with it"
        )
    elif len(drawn) > 1:
        yield PreflightCheck(
            OK, "search space", f"{len(curves)} of {len(drawn)} random configurations train differently"
        )


def _corners_alike(
    configs: Mapping[str, Mapping[str, Any]], rehearsals: Mapping[str, DryRunReport]
) -> Iterator[PreflightCheck]:
    """Whether a corner trains as the default does: then what sets it apart does not act."""
    default = rehearsals["default"]
    if default.outcome != "ran":
        return
    for name, one in rehearsals.items():
        if name == "default" or name.startswith("random") or _curve(one) != _curve(default):
            continue
        apart = [key for key, value in configs[name].items() if configs["default"].get(key) != value]
        if one.outcome == "ran" and apart:
            does = "does" if len(apart) == 1 else "do"
            message = (
                f"'{name}' trains as the default does, to the last bit: {', '.join(apart)} {does} not act"
            )
            fix = "does a scheduler, or the class itself, set it anew? search what acts"
            yield PreflightCheck(PROBLEM, "search space", message, fix)


def _curve(one: DryRunReport) -> tuple[float, ...]:
    return one.train_losses + one.val_losses


def _learning(ran: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    told = {name: one.learns for name, one in ran.items() if one.learns is not None}
    learns = [name for name, does in told.items() if does]
    if told and not learns:
        fix = "look at the data's scale and at the learning rates (`launch.py lr-range`)"
        yield PreflightCheck(PROBLEM, "learning", "no configuration's training loss falls in two epochs", fix)
    elif told:
        yield PreflightCheck(
            OK, "learning", f"the training loss of {len(learns)} of {len(told)} falls in two epochs"
        )


def _gradients(ran: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    faults = [(name, *fault) for name, one in ran.items() for fault in one.faults()]
    for name, what, message, fix in faults:
        yield PreflightCheck(PROBLEM, what, f"{name}: {message}", fix)
    notes = {(what, message): (name, fix) for name, one in ran.items() for what, message, fix in one.notes()}
    for (what, message), (name, fix) in notes.items():
        yield PreflightCheck(NOTE, what, f"{name}: {message}", fix)
    odd = faults or any(what == "gradients" for what, _ in notes)
    if not odd and any(one.parameters for one in ran.values()):
        yield PreflightCheck(OK, "gradients", "finite, and they reach every parameter; a step moves them")


def _fit(
    rehearsals: Mapping[str, DryRunReport], place: TrialSlots, times: Sequence[LaneTime]
) -> Concurrency | None:
    memory = max((one.memory_mb for one in rehearsals.values()), default=0.0)
    if not memory:
        return None
    for time in times:
        if 1 < time.lanes <= place.lanes:  # lanes share what a process takes
            memory = min(memory, time.memory_mb)
    gpu_mb = max(one.gpu_mb for one in rehearsals.values())
    return fit_gpu(memory, gpu_mb, place.gpus) if gpu_mb else fit_cpu(memory, place.free_mb(), place.nodes)


def _placed(fit: Concurrency | None, place: TrialSlots) -> Iterator[PreflightCheck]:
    """Whether what a trial takes fits into what it is given."""
    if fit is None:
        return
    needs = f"a trial takes up to {fit.memory_mb:.0f} MiB, {fit.available_mb:.0f} are there"
    sets = fit.sets(place.gpu or None, place.slots)
    if fit.slots < 1:
        yield PreflightCheck(PROBLEM, "memory", f"{needs}: not one fits", "a smaller net or batch")
    elif fit.gpu is not None and place.gpu < fit.gpu:
        yield PreflightCheck(
            PROBLEM, "memory", f"{needs}: a share of {place.gpu:g} is too small", f"--set {sets}"
        )
    elif fit.gpu is None and fit.slots < place.slots:
        yield PreflightCheck(PROBLEM, "memory", f"{needs}: {place.slots} at once do not fit", f"--set {sets}")
    else:
        more = f"--set {sets}" if sets else ""
        yield PreflightCheck(OK, "memory", f"{needs}: {fit.slots} at once would fit", more)


def _writable(storage: Path) -> Iterator[PreflightCheck]:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage) as file:
            file.write(b"preflight")
    except OSError as error:
        yield PreflightCheck(
            PROBLEM, "storage", f"{storage}: cannot be written ({error.strerror})", "give another by --runs"
        )
    else:
        yield PreflightCheck(OK, "storage", f"{storage} can be written")


def _tracking(trouble: Callable[[], str]) -> Iterator[PreflightCheck]:
    said = trouble()
    yield (
        PreflightCheck(PROBLEM, "MLflow", said, "start it, or name another in `tracking`")
        if said
        else PreflightCheck(OK, "MLflow", "can be told")
    )
