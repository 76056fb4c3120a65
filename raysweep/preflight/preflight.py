"""Tries a sweep before it runs: its data, the corners of its space, its checkpoints, a trial's memory.

Whatever could end trials overnight is done once, in seconds, with the code that trials run. Each
configuration runs in its own process.
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
from raysweep.study.storage.locations import check_writable, local_root
from raysweep.study.storage.lock import CannotWrite
from raysweep.study.storage.object_store import uri_of
from trainables.data import Data, load_whole
from trainables.dry_run_process import dry_run_all
from trainables.dry_run_report import DryRunReport
from trainables.lane_time import LaneTime, counts_up_to, measure_lanes
from trainables.memory_limit import available_memory_mb
from trainables.run_config import RunError
from trainables.user_errors import wrap_user_errors

LIMIT_S = 120.0
"""For the two epochs of one configuration."""

FATAL = ("failed", "oom")


@dataclass(frozen=True, slots=True)
class TrialSlots:
    """The slots of a sweep's trials, on this machine or on the nodes of a cluster.

    Attributes:
        slots: trials at once now.
        gpus: GPUs, of all nodes together.
        gpu: share of a GPU that a trial has now; 0 for none.
        cpus: cores, of all nodes together.
        nodes: machines.
        dry_run: (configurations, data, gpu=, at_once=, limit_s=) -> the report of each dry run there.
        free_mb: free memory of a node, MiB.
        cpus_up: cores of the running nodes; a preflight starts no others. None: as `cpus`.
        gpus_up: GPUs of the running nodes. None: as `gpus`.
        lanes: trials that share a process now.
        most_lanes: the most trials that can share a process: those that share a core, or a GPU.
        measure_lanes: (configurations, data, gpu=, counts=, limit_s=) -> the speed of each number of lanes.
    """

    slots: int
    gpus: int
    gpu: float
    cpus: int = 1
    nodes: int = 1
    dry_run: Callable[..., list[DryRunReport]] = dry_run_all
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
        """Configurations that can be tried at once on the running GPUs, each with a whole one."""
        up = self.gpus if self.gpus_up is None else self.gpus_up
        return 1 if self.dry_run is dry_run_all else max(up, 1)

    @property
    def at_once(self) -> int:
        """Configurations that can be tried at once on the cores of the running nodes."""
        return max(min(self.slots, self.cpus if self.cpus_up is None else self.cpus_up), 1)


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of a preflight.

    Attributes:
        checks: their results.
        configs: name -> flat configuration, of those that were tried.
        dry_runs: name -> report.
        fit: how many trials fit at once; None if nothing ran.
        sets: the `--set` that makes the sweep fit; "" if it fits.
        lanes: the speed of trials that share a process, by number of lanes; empty if none share a device.
    """

    checks: tuple[PreflightCheck, ...]
    configs: Mapping[str, Mapping[str, Any]]
    dry_runs: Mapping[str, DryRunReport]
    fit: Concurrency | None
    sets: str
    lanes: tuple[LaneTime, ...] = ()

    @property
    def problems(self) -> list[PreflightCheck]:
        """The checks that found a problem."""
        return [check for check in self.checks if check.state == PROBLEM]

    def require(self) -> None:
        """Raise if there is a problem.

        Raises:
            PreflightFailed: with all problems.
        """
        require(self.checks)

    def as_json(self) -> dict[str, Any]:
        """The result as JSON-serializable fields."""
        return {
            "passes": not self.problems,
            "checks": [asdict(check) for check in self.checks],
            "configurations": {
                name: {"config": dict(self.configs[name]), **asdict(report)}
                for name, report in self.dry_runs.items()
            },
            "fit": None if self.fit is None else asdict(self.fit),
            "lanes": [asdict(speed) for speed in self.lanes],
            "set": self.sets,
        }


def run_preflight(
    sweep: Sweep,
    place: TrialSlots,
    *,
    storage: str | Path,
    trouble: Callable[[], str],
    limit_s: float = LIMIT_S,
) -> Preflight:
    """Run the preflight of a sweep.

    Args:
        sweep: what would run.
        place: the slots it would run on.
        storage: where studies are kept: a folder, or a URI.
        trouble: returns why MLflow cannot be reached; "" if it can.
        limit_s: seconds that two epochs of a configuration may take.
    """
    outside = [*_writable(storage), *_tracking(trouble)]
    try:
        data, facts = read_data(sweep)
    except RunError as error:
        problem = PreflightCheck(PROBLEM, "data", str(error))
        return Preflight((problem, *outside), {}, {}, None, "")
    checks = [] if facts is None else [*data_checks(data, facts), *averaging_checks(sweep, facts)]
    if any(check.state == PROBLEM and check.name in ("numbers", "columns", "target") for check in checks):
        return Preflight((*checks, *outside), {}, {}, None, "")
    configs = probe_configs(sweep)
    dry_runs = dry_run_probes(sweep, configs, data, place, limit_s)
    times = time_lanes(sweep, configs, dry_runs, data, place, limit_s)
    fit = _fit(dry_runs, place, times)
    checks += [*dry_run_checks(dry_runs), *_corners_alike(configs, dry_runs), *outside, *_placed(fit, place)]
    checks += lane_checks(times, place.lanes)
    sets = "" if fit is None else fit.sets(place.gpu or None, place.slots)
    return Preflight(tuple(checks), configs, dry_runs, fit, sets, times)


def read_data(sweep: Sweep) -> tuple[Data, DataFacts | None]:
    """Load the data as trials get them, with counts of their rows if the run has data of its own.

    Raises:
        RunError: if they cannot be loaded.
    """
    with wrap_user_errors("run.data"):
        data, whole, test = load_whole(sweep.run, sweep.import_paths)
    return data, None if sweep.run.data is None else facts_of(data, whole, test)


def averaging_checks(sweep: Sweep, facts: DataFacts) -> Iterator[PreflightCheck]:
    """Check the rule of thumb on averaged weights, which needs the number of steps."""
    if averaging_window.__name__ in sweep.ignore_advice:
        return
    for suggestion in averaging_window(sweep, facts):
        fix = suggestion.fix or f"try {set_options(suggestion.sets)}"
        yield PreflightCheck(NOTE, "averaged weights", suggestion.why, fix)


def dry_run_probes(
    sweep: Sweep, configs: Mapping[str, Mapping[str, Any]], data: Data, place: TrialSlots, limit_s: float
) -> dict[str, DryRunReport]:
    """Try configurations, as many at once as trials would run; on GPUs each with a whole one."""
    reports = place.dry_run(
        [trial_config(sweep, config, "preflight") for config in configs.values()],
        data,
        gpu=float(place.on_gpu),
        at_once=place.devices if place.on_gpu else place.at_once,
        limit_s=limit_s,
    )
    return dict(zip(configs, reports, strict=True))


def time_lanes(
    sweep: Sweep,
    configs: Mapping[str, Mapping[str, Any]],
    dry_runs: Mapping[str, DryRunReport],
    data: Data,
    place: TrialSlots,
    limit_s: float,
) -> tuple[LaneTime, ...]:
    """Measure trials that share a process, with the configurations that ran as lanes in turn."""
    ran = [
        trial_config(sweep, configs[name], "preflight")
        for name, report in dry_runs.items()
        if report.outcome == "ran"
    ]
    counts = counts_up_to(place.most_lanes)
    if not ran or not counts:
        return ()
    gpu = float(place.on_gpu)
    return tuple(place.measure_lanes(ran, data, gpu=gpu, counts=counts, limit_s=limit_s))


def dry_run_checks(dry_runs: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    """Check the dry runs, which are given by name; `default` is one of them."""
    yield from _endings(dry_runs)
    ran = {name: report for name, report in dry_runs.items() if report.outcome == "ran"}
    if not ran:
        return
    yield from _random_differ(ran)
    yield from _learning(ran)
    yield from _gradients(ran)
    restored = ran["default"].restored if "default" in ran else None
    if restored is not None:
        message = "the second epoch is the same to the last bit" if restored else "the second epoch differs"
        fix = "" if restored else "a net or an optimizer keeps state outside its state_dict"
        yield PreflightCheck(OK if restored else PROBLEM, "checkpoint", f"restored from it, {message}", fix)


def _endings(dry_runs: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    """Check the configurations that did not run; divergence is a problem only if all diverge."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name, report in dry_runs.items():
        alike.setdefault((report.outcome, report.reason), []).append(name)
    for (outcome, reason), names in alike.items():
        which = f"all {len(names)} configurations" if 1 < len(names) == len(dry_runs) else ", ".join(names)
        if outcome in FATAL:
            fix = "a smaller net or batch, or resources_per_trial.on_oom" if outcome == "oom" else ""
            yield PreflightCheck(PROBLEM, which, f"{outcome}: {reason}", fix)
        elif outcome == "slow":
            fix = "allow more seconds with --timeout, or train on a data_fraction"
            yield PreflightCheck(NOTE, which, reason, fix)
    diverged = [name for name, report in dry_runs.items() if report.outcome == "diverged"]
    if diverged and len(diverged) == len(dry_runs):
        fix = "check the data's scale and the learning rates (`launch.py lr-range`)"
        yield PreflightCheck(PROBLEM, "divergence", "every configuration diverges in its first epochs", fix)
    elif diverged:
        yield PreflightCheck(NOTE, "divergence", f"in the first epochs: {', '.join(diverged)}")


def _random_differ(ran: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    """Check that the random configurations train differently."""
    drawn = [report for name, report in ran.items() if name.startswith("random")]
    curves = {_curve(report) for report in drawn}
    if len(drawn) > 1 and len(curves) == 1:
        message = (
            f"{len(drawn)} random configurations train alike, to the last bit: no parameter has an effect"
        )
        fix = "check what the net and the optimizer do with the parameters"
        yield PreflightCheck(PROBLEM, "search space", message, fix)
    elif len(drawn) > 1:
        yield PreflightCheck(
            OK, "search space", f"{len(curves)} of {len(drawn)} random configurations train differently"
        )


def _corners_alike(
    configs: Mapping[str, Mapping[str, Any]], dry_runs: Mapping[str, DryRunReport]
) -> Iterator[PreflightCheck]:
    """Check for corners that train exactly as the default: their parameters have no effect."""
    default = dry_runs["default"]
    if default.outcome != "ran":
        return
    for name, report in dry_runs.items():
        if name == "default" or name.startswith("random") or _curve(report) != _curve(default):
            continue
        differing = [key for key, value in configs[name].items() if configs["default"].get(key) != value]
        if report.outcome == "ran" and differing:
            have = "has" if len(differing) == 1 else "have"
            message = (
                f"'{name}' trains as the default, to the last bit: {', '.join(differing)} {have} no effect"
            )
            fix = "does a scheduler, or the class itself, override it? search parameters that have an effect"
            yield PreflightCheck(PROBLEM, "search space", message, fix)


def _curve(report: DryRunReport) -> tuple[float, ...]:
    return report.train_losses + report.val_losses


def _learning(ran: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    learns = [report.learns for report in ran.values() if report.learns is not None]
    if learns and not any(learns):
        fix = "check the data's scale and the learning rates (`launch.py lr-range`)"
        yield PreflightCheck(PROBLEM, "learning", "no configuration's training loss falls in two epochs", fix)
    elif learns:
        message = f"the training loss of {sum(learns)} of {len(learns)} falls in two epochs"
        yield PreflightCheck(OK, "learning", message)


def _gradients(ran: Mapping[str, DryRunReport]) -> Iterator[PreflightCheck]:
    faults = [(name, *fault) for name, report in ran.items() for fault in report.faults()]
    for name, what, message, fix in faults:
        yield PreflightCheck(PROBLEM, what, f"{name}: {message}", fix)
    notes = {
        (what, message): (name, fix) for name, report in ran.items() for what, message, fix in report.notes()
    }
    for (what, message), (name, fix) in notes.items():
        yield PreflightCheck(NOTE, what, f"{name}: {message}", fix)
    unusual = faults or any(what == "gradients" for what, _ in notes)
    if not unusual and any(report.parameters for report in ran.values()):
        yield PreflightCheck(OK, "gradients", "finite, and they reach every parameter; a step changes them")


def _fit(
    dry_runs: Mapping[str, DryRunReport], place: TrialSlots, times: Sequence[LaneTime]
) -> Concurrency | None:
    memory = max((report.memory_mb for report in dry_runs.values()), default=0.0)
    if not memory:
        return None
    for time in times:
        if 1 < time.lanes <= place.lanes:  # lanes share the memory of a process
            memory = min(memory, time.memory_mb)
    gpu_mb = max(report.gpu_mb for report in dry_runs.values())
    return fit_gpu(memory, gpu_mb, place.gpus) if gpu_mb else fit_cpu(memory, place.free_mb(), place.nodes)


def _placed(fit: Concurrency | None, place: TrialSlots) -> Iterator[PreflightCheck]:
    """Check that a trial's memory fits into its share."""
    if fit is None:
        return
    needs = f"a trial takes up to {fit.memory_mb:.0f} MiB, {fit.available_mb:.0f} are available"
    sets = fit.sets(place.gpu or None, place.slots)
    if fit.slots < 1:
        yield PreflightCheck(PROBLEM, "memory", f"{needs}: not one fits", "use a smaller net or batch")
    elif fit.gpu is not None and place.gpu < fit.gpu:
        yield PreflightCheck(
            PROBLEM, "memory", f"{needs}: a share of {place.gpu:g} is too small", f"--set {sets}"
        )
    elif fit.gpu is None and fit.slots < place.slots:
        yield PreflightCheck(PROBLEM, "memory", f"{needs}: {place.slots} at once do not fit", f"--set {sets}")
    else:
        more = f"--set {sets}" if sets else ""
        yield PreflightCheck(OK, "memory", f"{needs}: {fit.slots} at once would fit", more)


def _writable(storage: str | Path) -> Iterator[PreflightCheck]:
    """Check that files can be written: to the local folder, and to object storage if studies go there."""
    yield _folder_check(local_root(storage))
    if uri := uri_of(storage):
        try:
            check_writable(uri)
        except CannotWrite as error:
            fix = "name another in `storage`, or by --runs"
            yield PreflightCheck(PROBLEM, "object storage", str(error), fix)
        else:
            yield PreflightCheck(OK, "object storage", f"{uri} can be written")


def _folder_check(storage: Path) -> PreflightCheck:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage) as file:
            file.write(b"preflight")
    except OSError as error:
        message = f"{storage}: cannot be written ({error.strerror})"
        return PreflightCheck(PROBLEM, "storage", message, "use another by --runs")
    return PreflightCheck(OK, "storage", f"{storage} can be written")


def _tracking(trouble: Callable[[], str]) -> Iterator[PreflightCheck]:
    if message := trouble():
        yield PreflightCheck(PROBLEM, "MLflow", message, "start it, or name another in `tracking`")
    else:
        yield PreflightCheck(OK, "MLflow", "can be reached")
