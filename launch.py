"""The command line: parses, wires the rooms together, prints. `python launch.py --help`.

Ray, torch and MLflow are imported inside the functions that need them: `check` and a mistyped
command answer at once.
"""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from service.cluster.machine import CannotPlace, Machine, this_machine
from service.cluster.target import Target, where
from service.cluster.trouble import ClusterError
from service.spec import Problem, Sweep, SweepError, read_sweep
from service.study.folder import NotAStudy, StudyExists, StudyFolder
from service.study.journal import JournalError, read_events
from service.study.lock import StudyBusy, lock
from service.study.record import fold
from service.study.replay import CannotReplay, as_json, replay_study, settings
from service.study.status import read_status
from service.study.stop import StopSignal, stopped_by_signals
from service.view.live import watch
from service.view.preview import print_preview
from service.view.progress import Facts
from service.view.replay import print_replay
from service.view.rows import put
from service.view.status import print_job, print_jobs, print_status, print_studies
from service.view.summary import print_places, print_summary
from trainables.run import RunError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from service.cluster.nodes import Nodes
    from service.study.desk import Finish
    from service.tracking import TrackingProcess
    from service.view.watch import Watch
    from trainables.data import Data

# What a user can mend -> exit code. Anything else is a defect of ours: a traceback and exit code 1.
EXIT_CODES: dict[type[Exception], int] = {
    SweepError: 2,
    RunError: 2,
    StudyExists: 2,
    NotAStudy: 2,
    StudyBusy: 2,
    JournalError: 2,
    CannotReplay: 2,
    CannotPlace: 6,
    ClusterError: 6,
}
INTERRUPTED = 130
HERE = Target("here", "", "the study is here")
CLONE = Path(__file__).resolve().parent


class RunByDefault(click.Group):
    """`launch.py sweep.yaml` is `launch.py run sweep.yaml`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in front of what is no command but looks like a file or an option of `run`."""
        first = args[0] if args else "--help"
        if first not in self.commands and first not in ("--help", "--version"):
            if (
                not first.startswith("-")
                and Path(first).suffix not in (".yaml", ".yml")
                and not Path(first).exists()
            ):
                known = difflib.get_close_matches(first, self.commands, n=1)
                mend = (
                    f"did you mean {known[0]!r}?"
                    if known
                    else f"commands: {', '.join(sorted(self.commands))}"
                )
                raise click.UsageError(f"{first!r} is neither a command nor a sweep file; {mend}")
            args = ["run", *args]
        return super().parse_args(ctx, args or ["--help"])


SWEEP_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
RUNS = click.option(
    "--runs",
    type=FOLDER,
    default="runs",
    show_default=True,
    envvar="SWEEPS_STORAGE",
    help="Where studies are.",
)


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where it goes; all three are passed on as they are."""
    for option in (
        click.option("--cluster", type=SWEEP_FILE, help="On the cluster of this file, as `ray up` takes it."),
        click.option("--address", metavar="URL", help="At this Job API (http://...) or this Ray."),
        click.option("--local", is_flag=True, help="On this machine."),
    ):
        command = option(command)
    return command


@click.group(cls=RunByDefault)
@click.version_option(package_name="sweeps-on-ray")
def cli() -> None:
    """Hyperparameter sweeps on Ray Tune: one YAML file, one command.

    `launch.py SWEEP.yaml` runs a sweep.
    """


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. run.epochs=3."
)
@click.option(
    "--optimize-config", type=SWEEP_FILE, help="The training template's second file: FILE is its run config."
)
@click.option("--name", help="Study name; study_name of the file by default.")
@click.option("--dry-run", is_flag=True, help="Print what would run.")
@click.option("--runs", type=FOLDER, help="Where studies go; the file's `storage`, or runs.")
@click.option("--detach", is_flag=True, help="Leave it running without this terminal.")
@click.option("--no-wait", is_flag=True, help="On a cluster: submit, print the id, do not follow.")
@placed
def run(
    file: Path,
    overrides: tuple[str, ...],
    optimize_config: Path | None,
    name: str | None,
    dry_run: bool,
    runs: Path | None,
    detach: bool,
    no_wait: bool,
    **places: Any,
) -> int:
    """Run the sweep of a FILE: on a cluster if one is named or up, else on this machine."""
    sweep = examine(file, overrides=overrides, optimize_config=optimize_config)
    if name:
        sweep = sweep.model_copy(update={"study_name": name})
    if dry_run:
        machine, asked = this_machine(), sweep.resources_per_trial
        slots = machine.slots(asked, sweep.max_concurrent_trials)
        print_preview(Console(), sweep, slots=slots, gpu=machine.gpu_share(asked.gpu))
        return 0
    target = where(**places)
    if target.far:
        words = [
            *(word for each in overrides for word in ("--set", each)),
            *(("--runs", str(runs)) if runs else ()),
        ]
        return submit(target, sweep, file, optimize_config, words, name=name, wait=not (no_wait or detach))
    folder = create(sweep, runs, file, target)
    if detach:
        return leave(folder)
    return carry_out(sweep, folder, target)


@cli.command()
@click.argument("study")
@RUNS
@placed
def resume(study: str, runs: Path, **places: Any) -> int:
    """Carry on with a STUDY (its folder, or its name) where it was stopped or killed."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        job = verbs.send(target, study, ["resume", study], clone=CLONE, say=murmur)
        return verbs.follow(target, job, say=murmur)
    folder = find(study, runs)
    return carry_out(folder.sweep(), folder, target)


@cli.command()
@click.argument("study")
@click.option("--json", "as_json", is_flag=True, help="status.json, for programs.")
@RUNS
@placed
def status(study: str, as_json: bool, runs: Path, **places: Any) -> None:
    """Say how far a STUDY (its folder, or its name) is."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        job, word = verbs.look(target, study)
        print_job(Console(), asdict(job) | {"last": word}, as_json=as_json)
        return
    facts = read_status(find(study, runs).path)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        print_status(Console(), facts)


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@RUNS
@placed
def list_(as_json: bool, runs: Path, **places: Any) -> None:
    """List the sweeps of a cluster, or the studies of this machine."""
    target = where(**places)
    if target.far:
        from service.cluster import verbs

        print_jobs(Console(), [asdict(job) for job in verbs.listed(target)], as_json=as_json)
        return
    print_studies(Console(), studies(runs), as_json=as_json)


@cli.command()
@click.argument("study")
@click.option("-f", "--follow", is_flag=True, help="Until it ends.")
@RUNS
@placed
def logs(study: str, follow: bool, runs: Path, **places: Any) -> int:
    """Show what a detached STUDY, or a cluster's, has printed."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        return verbs.print_log(target, study, on=follow, say=murmur)
    from service.cluster import background

    background.follow(find(study, runs), lambda text: click.echo(text, nl=False), on=follow)
    return 0


@cli.command()
@click.argument("study")
@click.option("--now", is_flag=True, help="Do not finish running epochs; they are run again by `resume`.")
@RUNS
@placed
def stop(study: str, now: bool, runs: Path, **places: Any) -> None:
    """Stop a running STUDY; `resume` carries it on."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        verbs.stop(target, study, say=murmur)
        return
    from service.cluster import background

    background.stop(find(study, runs), now=now, say=murmur)


@cli.command()
@click.option("--cluster", type=SWEEP_FILE, default="cluster.yaml", show_default=True)
def ui(cluster: Path) -> None:
    """Open tunnels to a cluster's MLflow and Ray dashboard, until Ctrl-C."""
    from service.cluster import verbs

    verbs.show_pages(cluster, click.echo)


@cli.command()
@click.argument("study")
@click.option("--trial-scheduler", "name", required=True, metavar="NAME", help="E.g. schedulers.ASHA.")
@click.option("--kwargs", "given", default="{}", metavar="YAML", help="E.g. '{reduction_factor: 3}'.")
@click.option("--workers", type=click.IntRange(1), help="Trials at once; as many as the study had.")
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
@RUNS
def replay(study: str, name: str, given: str, workers: int | None, wants_json: bool, runs: Path) -> None:
    """Replay a STUDY's recorded curves under another trial scheduler: what it saves, what it loses."""
    folder = find(study, runs)
    sweep = folder.sweep()
    record = fold(read_events(folder.journal_dir), sweep.objective)
    seen = replay_study(sweep, record, name, settings(given), workers)
    if wants_json:
        click.echo(json.dumps(as_json(seen), indent=1))
    else:
        print_replay(Console(), facts_of(sweep), record.trials, sweep.objective, seen)


@cli.command()
@click.argument("files", nargs=-1, required=True, type=SWEEP_FILE)
def check(files: tuple[Path, ...]) -> int:
    """Say whether sweep FILES are sound; nothing is run."""
    unsound = 0
    for file in files:
        try:
            examine(file)
            click.echo(f"{file}: sound")
        except SweepError as error:
            unsound += 1
            click.echo(str(error), err=True)
    return 2 if unsound else 0


def examine(file: Path, **words: Any) -> Sweep:
    """The sweep of a file, found sound; what is allowed but suspicious is printed.

    Raises:
        SweepError: if it is not sound.
    """
    reading = read_sweep(file, **words)
    sweep, sampler = reading.sweep, reading.sweep.sampler
    warn(reading.warnings)
    if not sweep.space or not sampler.name.startswith("optuna."):
        return sweep  # a user's own sampler is not imported before it runs
    from service.search import check_sampler
    from service.search.space import Space

    try:
        notes = check_sampler(sampler.name, sampler.kwargs, Space(sweep.space, sweep.conditions))
    except ValueError as error:
        raise SweepError([Problem(str(file), None, "sampler", str(error))]) from None
    warn(f"{file}: sampler: {note}" for note in notes)
    return sweep


def where_is(study: str, runs: Path, **places: Any) -> Target:
    """Where a study is: here if its folder is, unless an option says otherwise."""
    if not any(places.values()) and (Path(study).is_dir() or (runs / study).is_dir()):
        ray = os.environ.get("RAY_ADDRESS", "")
        return Target("ray", ray, "RAY_ADDRESS is set") if ray and "//" not in ray else HERE
    return where(**places)


def create(sweep: Sweep, runs: Path | None, file: Path, target: Target) -> StudyFolder:
    """The folder of a new study.

    Raises:
        CannotPlace: if this machine, being the one to run it, has no slot for a trial.
        ClusterError: if the place cannot be written to.
    """
    if target.kind == "here":
        this_machine().slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    root = runs or Path(sweep.storage or os.environ.get("SWEEPS_STORAGE") or "runs")
    try:
        return StudyFolder.create(root, sweep.study_name, sweep, file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClusterError(f"storage: {root}: cannot be written ({error.strerror})") from None


def submit(
    target: Target,
    sweep: Sweep,
    file: Path,
    optimize_config: Path | None,
    words: Sequence[str],
    *,
    name: str | None,
    wait: bool,
) -> int:
    """Send a sweep to a cluster, as a job that runs this very command there; the sweep's exit code."""
    from service.cluster import verbs
    from service.cluster.jobs import new_name
    from service.cluster.package import sent_as

    nodes = verbs.offers(target)
    if nodes is not None:
        nodes.slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    study, here = name or new_name(sweep.study_name), Path.cwd()
    arguments = ["run", sent_as(file, CLONE, here), *words, "--name", study]
    if optimize_config:
        arguments += ["--optimize-config", sent_as(optimize_config, CLONE, here)]
    murmur(f"{study}: {target}")
    job = verbs.send(target, study, arguments, clone=CLONE, say=murmur)
    if not wait:
        click.echo(job)
        return 0
    return verbs.follow(target, job, say=murmur)


def leave(folder: StudyFolder) -> int:
    """Start a study's driver without this terminal."""
    from service.cluster.background import detach

    pid, place = detach(folder, CLONE / "launch.py"), folder.path
    murmur(f"process {pid}; follow it: `launch.py logs -f {place}`, stop it: `launch.py stop {place}`")
    click.echo(folder.name)
    return 0


def murmur(text: str) -> None:
    """Tell the user, not the pipe."""
    click.echo(text, err=True)


def ray_of(target: Target, sweep: Sweep) -> AbstractContextManager[Machine | Nodes]:
    """The Ray that a sweep runs on: one of our own, or one that is up."""
    if target.kind == "ray":
        from service.cluster.attached import attached

        return attached(target.where, sweep.import_paths, say=click.echo)
    from service.cluster.embedded import embedded

    return embedded(sweep.import_paths)


def carry_out(sweep: Sweep, folder: StudyFolder, target: Target) -> int:
    """Run what of the study has not been run, on a Ray of our own or one that is up; the exit code."""
    console = Console()
    with lock(folder.lock_file, shlex.join(sys.argv)):
        trials = f"{sweep.trials} trials of at most {sweep.run.epochs} epochs"
        console.print(f"{sweep.study_name}: {trials}, {target}", highlight=False)
        tracker = tracker_of(sweep, folder)
        tracker.start()  # first of all: it imports mlflow in a process of its own, on a core still idle
        from trainables.data import load

        data = load(sweep.run, sweep.import_paths)
        view = watch(facts_of(sweep), fold(read_events(folder.journal_dir), sweep.objective), console)
        with ray_of(target, sweep) as machine:
            check_shared(folder, target)
            finish = attempt(sweep, folder, machine, data, view)
            tracker.hang_up()
            now = view.progress()
        print_summary(console, view.facts, finish.record, now, finish.exit_code, finish.reason)
        print_places(console, folder.path, folder.best_file, finish.exit_code)
        print_tracking(console, tracker)
    return finish.exit_code


def check_shared(folder: StudyFolder, target: Target) -> None:
    """See that every node of a cluster has the study's folder."""
    if target.kind == "ray":
        from service.cluster.attached import check_storage

        check_storage(folder.path)


def attempt(
    sweep: Sweep,
    folder: StudyFolder,
    machine: Machine | Nodes,
    data: Data,
    view: Watch,
) -> Finish:
    """One attempt at the study on the Ray that is up, stoppable by signals."""
    from service.study.tune import conduct
    from service.tracking import provenance

    stop, asked = StopSignal(), sweep.resources_per_trial
    with view:
        return conduct(
            sweep,
            folder,
            slots=machine.slots(asked, sweep.max_concurrent_trials),
            resources={"cpu": asked.cpu, "gpu": machine.gpu_share(asked.gpu)},
            stop=stop,
            subscribers=[view],
            data=data,
            provenance=provenance(Path(__file__).parent, data_fingerprint=data.fingerprint),
            signals=stopped_by_signals(stop, view.say),
        )


def tracker_of(sweep: Sweep, folder: StudyFolder) -> TrackingProcess:
    """Who tells MLflow, not yet started."""
    from service.tracking import SweepFacts, TrackingProcess, store_uri

    facts = SweepFacts(
        study=sweep.study_name,
        experiment=sweep.tracking.experiment or sweep.run.project,
        metric=sweep.metric,
        direction=sweep.direction,
        objective=sweep.objective,
        parameters=tuple(sweep.space),
        log_scaled=tuple(key for key, domain in sweep.space.items() if getattr(domain, "log", False)),
        settings={
            "sampler": sweep.sampler.name,
            "trial_scheduler": sweep.trial_scheduler.name,
            "trials": sweep.trials,
            "epochs": sweep.run.epochs,
            "seed": sweep.seed,
        },
        sweep_yaml=(folder.path / "sweep.yaml").read_text(encoding="utf-8"),
    )
    return TrackingProcess(folder.path, facts, uri=store_uri(sweep.tracking.uri, os.environ, Path.cwd()))


def print_tracking(console: Console, tracker: TrackingProcess) -> None:
    """Wait for what MLflow is still owed, and print the page worth opening."""
    from service.tracking import ui_command

    unsent = tracker.close()
    command = ui_command(tracker.uri, Path.cwd())
    if tracker.link:
        put(console, "MLflow", f"{command}, then {tracker.link}" if command else tracker.link)
    if unsent:
        lacks = f"lacks {unsent} events: {tracker.trouble}; `launch.py resume` sends them"
        put(console, "MLflow", lacks, "yellow")
    elif tracker.refused:
        put(console, "MLflow", f"refused {tracker.refused} changes; {tracker.trouble}", "yellow")


def facts_of(sweep: Sweep) -> Facts:
    """What a view must know of a sweep."""
    return Facts(
        name=sweep.study_name,
        metric=sweep.metric,
        sign=sweep.sign,
        epochs=sweep.run.epochs,
        wanted=sweep.trials,
        audited=bool(sweep.trial_scheduler.kwargs.get("audit_fraction")),
    )


def find(study: str, runs: Path) -> StudyFolder:
    """A study by its folder, or by its name under `runs`."""
    path = Path(study)
    named = runs / study
    return StudyFolder.open(named if named.is_dir() or len(path.parts) == 1 else path)


def studies(runs: Path) -> list[dict[str, Any]]:
    """What status.json says of every study under a folder, oldest first."""
    found = [read_status(meta.parent) for meta in sorted(runs.glob("*/study.json"))]
    return sorted(found, key=lambda facts: facts.get("begun_at") or 0.0)


def warn(warnings: Iterable[Any]) -> None:
    """Print what is allowed but suspicious."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; whatever a user can mend is a line on stderr and an exit code."""
    try:
        code = cli.main(args, prog_name="launch.py", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        click.echo(f"launch.py: {error.format_message()}", err=True)
        return 2
    except tuple(EXIT_CODES) as error:
        click.echo(str(error), err=True)
        return EXIT_CODES[type(error)]
    except (KeyboardInterrupt, click.Abort):
        click.echo("aborted; what was reported is kept: `launch.py resume` carries on", err=True)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
