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
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from service.before import examine as before
from service.before.advice import headline
from service.before.check import NotFit
from service.before.examine import look
from service.cluster.machine import CannotPlace, Machine, this_machine
from service.cluster.on_end import announce
from service.cluster.target import Target, where
from service.cluster.trouble import ClusterError
from service.report.errors import CannotReport, NothingFound
from service.spec import Sweep, SweepError
from service.study.best import NoWinner, best_yaml, pick
from service.study.code import differences, keep_code
from service.study.extend import CannotExtend, check_extension, in_words, revised
from service.study.folder import NotAStudy, StudyExists, StudyFolder
from service.study.journal import JournalError, read_events
from service.study.lock import CannotWrite, StudyBusy, lock
from service.study.mark import marked
from service.study.record import fold
from service.study.replay import CannotReplay, as_json, replay_study, settings
from service.study.status import read_status
from service.study.stop import StopSignal, stopped_by_signals
from service.view.doctor import print_checks
from service.view.live import watch
from service.view.preview import print_preview
from service.view.progress import Facts
from service.view.replay import print_replay
from service.view.rows import put
from service.view.status import print_job, print_jobs, print_status, print_studies
from service.view.summary import print_places, print_summary, shown
from trainables.run import RunError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from service.before.preflight import Place, Preflight
    from service.cluster.nodes import Nodes
    from service.report.subject import Subject
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
    CannotExtend: 2,
    CannotReplay: 2,
    CannotReport: 2,
    NotFit: 3,
    NoWinner: 4,
    NothingFound: 4,
    CannotPlace: 6,
    ClusterError: 6,
    CannotWrite: 6,
}
INTERRUPTED = 130
LAST_S = 20.0  # for MLflow after a sweep
SYNC_S = 3600.0  # for MLflow when nothing else is waited for: a slow one is given its time
HERE = Target("here", "", "the study is here")
CLONE = Path(__file__).resolve().parent


def several_sets(args: Sequence[str]) -> list[str]:
    """Give each of several values after one `--set` a `--set` of its own.

    >>> several_sets(["run", "a.yaml", "--set", "trials=4", "run.epochs=3", "--dry-run"])
    ['run', 'a.yaml', '--set', 'trials=4', '--set', 'run.epochs=3', '--dry-run']
    """
    spread: list[str] = []
    setting = False
    for word in args:
        if spread[-1:] == ["--set"]:
            setting = True
        elif word.startswith("-") or "=" not in word:
            setting = word.startswith("--set=")
        elif setting:
            spread.append("--set")
        spread.append(word)
    return spread


class RunByDefault(click.Group):
    """`launch.py sweep.yaml` is `launch.py run sweep.yaml`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in front of what is no command but looks like a file or an option of `run`."""
        args = several_sets(args)
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
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as in run.epochs=3."
)
@click.option(
    "--optimize-config", type=SWEEP_FILE, help="The training template's second file: FILE is its run config."
)
@click.option("--name", help="Study name; study_name of the file by default.")
@click.option("--dry-run", is_flag=True, help="Print what would run.")
@click.option("--runs", type=FOLDER, help="Where studies go; the file's `storage`, or runs.")
@click.option("--detach", is_flag=True, help="Leave it running without this terminal.")
@click.option("--no-wait", is_flag=True, help="On a cluster: submit, print the id, do not follow.")
@click.option("--preflight", "tries", is_flag=True, help="Try it first, and only run it if all is well.")
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
    tries: bool,
    **places: Any,
) -> int:
    """Run the sweep of a FILE: on a cluster if one is named or up, else on this machine."""
    sweep = examine(file, overrides=overrides, optimize_config=optimize_config, runs=runs)
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
            *(("--preflight",) if tries else ()),
        ]
        return submit(target, sweep, file, optimize_config, words, name=name, wait=not (no_wait or detach))
    if tries:
        tried(sweep, runs).require()
    folder = create(sweep, runs, file, target)
    if detach:
        return leave(folder)
    return carry_out(folder.sweep(), folder, target)


@cli.command()
@click.argument("study")
@click.option("--adopt-code", is_flag=True, help="Take your modules as they are now, not the study's copy.")
@RUNS
@placed
def resume(study: str, runs: Path, adopt_code: bool, **places: Any) -> int:
    """Carry on with a STUDY (its folder, or its name) where it was stopped or killed."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        words = ["resume", study, *(["--adopt-code"] if adopt_code else ())]
        job = verbs.send(target, study, words, clone=CLONE, say=murmur)
        return verbs.follow(target, job, say=murmur)
    folder = find(study, runs)
    if adopt_code:
        with lock(folder.lock_file, shlex.join(sys.argv)):
            keep_code(folder, folder.sweep())
    return carry_out(folder.sweep(), folder, target)


@cli.command()
@click.argument("study")
@click.option("--trials", metavar="N|+N", help="So many trials in all, or so many more.")
@click.option("--epochs", type=click.IntRange(1), help="So many epochs a trial; completed ones go on.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="E.g. a wider range.")
@click.option("--dry-run", is_flag=True, help="Say what it would come to.")
@RUNS
@placed
def extend(
    study: str,
    trials: str | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    runs: Path,
    **places: Any,
) -> int:
    """Give a STUDY more trials, more epochs or a wider search space, and carry on with it."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        given = {"--trials": trials, "--epochs": epochs}
        words = [text for key, value in given.items() if value for text in (key, str(value))]
        words += [text for each in overrides for text in ("--set", each)] + ["--dry-run"] * dry_run
        job = verbs.send(target, study, ["extend", study, *words], clone=CLONE, say=murmur)
        return verbs.follow(target, job, say=murmur)
    from service.study.tune import make_scheduler

    folder = find(study, runs)
    with lock(folder.lock_file, shlex.join(sys.argv)):
        new = revised(folder, [*in_words(folder.wanted(), trials, epochs), *overrides])
        record = fold(read_events(folder.journal_dir), new.objective)
        extension = check_extension(folder, new, record, make_scheduler(folder.sweep()).rule)
        for line in extension.lines(record):
            click.echo(line)
        if dry_run:
            return 0
        folder.revise(new, extension.changes, time.time())
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
@RUNS
def sync(study: str, runs: Path) -> int:
    """Send MLflow what it still lacks of a STUDY that does not run."""
    from service.tracking import waiting

    folder = find(study, runs)
    with lock(folder.lock_file, shlex.join(sys.argv)):
        tracker = tracker_of(folder.sweep(), folder)
        lacked, trouble = waiting(folder.path, tracker.uri)
        warn([trouble] if trouble else [])
        tracker.start()
        unsent = print_tracking(Console(), tracker, patience_s=SYNC_S)
    click.echo(f"{folder.name}: {lacked} events were not in MLflow yet, {unsent} are not now")
    return 1 if unsent or tracker.refused else 0


@cli.command()
@click.option("--ray", "try_ray", is_flag=True, help="Start a Ray, and stop it again.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@RUNS
def doctor(try_ray: bool, as_json: bool, runs: Path) -> int:
    """Look whether this machine is fit for a sweep; changes nothing, ends nobody."""
    from service.cluster.doctor import examine as look
    from service.tracking import store_uri, trouble_with

    def tracking() -> tuple[str, str]:
        uri = store_uri(None, os.environ, Path.cwd())
        return uri, trouble_with(uri)

    checks = look(runs, os.environ, Path.home(), tracking=tracking, try_ray=try_ray)
    found = [asdict(check) for check in checks]
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        print_checks(Console(), found)
    return 1 if any(check.state == "problem" for check in checks) else 0


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
@click.argument("names", nargs=-1, metavar="[STUDY]...")
@click.option("--top-k", type=click.IntRange(1), default=10, show_default=True, help="Rows of the top table.")
@click.option("--db", type=SWEEP_FILE, help="A database of Optuna's, or of the training template.")
@click.option("--opt-config", type=SWEEP_FILE, help="The template's optimize config that --db came from.")
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
@click.option("--no-mlflow", is_flag=True, help="Do not log it to the study's run.")
@RUNS
def report(
    names: tuple[str, ...],
    db: Path | None,
    opt_config: Path | None,
    no_mlflow: bool,
    runs: Path,
    **words: Any,
) -> None:
    """Say what was learnt of a STUDY: here, as a page, and in MLflow; while it runs, too."""
    if opt_config is not None and db is None:
        raise click.UsageError("--opt-config belongs to --db; a study of ours knows its search space")
    if db is not None:
        from service.report.database import of_database

        report_on(of_database(db, opt_config, *names[:1]), Path(f"{db.stem}-report"), **words)
        return
    from service.report.subject import of_study, only_study
    from service.tracking.attach import attach_to_study

    for name in names or (only_study(runs),):
        folder = find(name, runs)
        files = report_on(of_study(folder), folder.path / "report", **words)
        trouble = "" if no_mlflow else attach_to_study(folder.path, files, "report")
        if trouble:
            murmur(f"not logged to MLflow: {trouble}")


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="STUDY STUDY...")
@click.option("--top-k", type=click.IntRange(1), default=5, show_default=True, help="For agreement.")
@click.option("-o", "--output", type=FOLDER, help="A folder to write it to: a page, Markdown, JSON.")
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
@RUNS
def compare(names: tuple[str, ...], top_k: int, output: Path | None, wants_json: bool, runs: Path) -> None:
    """Hold STUDIES against each other: which is best, how sure that is, whether they agree."""
    from service.report.compare import as_json, compare
    from service.report.compare_sections import sections, write
    from service.report.subject import of_study
    from service.report.terminal import print_sections

    found = compare([of_study(find(name, runs)) for name in names], top_k)
    console = Console()
    if wants_json:
        click.echo(json.dumps(as_json(found), indent=1))
    else:
        print_sections(console, sections(found))
    if output is not None:
        page = write(found, output)[0]
        if not wants_json:
            put(console, "page", shown(page))


def report_on(subject: Subject, folder: Path, top_k: int, wants_json: bool) -> list[Path]:
    """Make a subject's report, write its files, and print it."""
    from service.report.report import as_json, report
    from service.report.terminal import print_report
    from service.report.write import write

    found = report(subject, top_k)
    files = write(found, folder)
    if wants_json:
        click.echo(json.dumps(as_json(found), indent=1))
        return files
    console = Console()
    print_report(console, found)
    console.print()
    put(console, "page", shown(files[0]))
    return files


@cli.command()
@click.argument("study")
@click.option("--trial", metavar="ID", help="Another than the best.")
@click.option("--epochs", type=click.IntRange(1), help="Of the full training.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--schedule", is_flag=True, help="Of a population: the whole schedule of settings.")
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
@RUNS
def best(study: str, runs: Path, wants_json: bool, schedule: bool, **words: Any) -> None:
    """Print a STUDY's best trial as a run config for the full training: best.yaml."""
    folder = find(study, runs)
    sweep = folder.sweep()
    record = fold(read_events(folder.journal_dir), sweep.objective)
    derived, text = best_yaml(sweep, record, record.provenance, scheduled=schedule, **words)
    click.echo(json.dumps(derived.run, indent=1) + "\n" if wants_json else text, nl=False)


@cli.command()
@click.argument("what", metavar="STUDY|BEST.yaml")
@click.option("--top-k", type=click.IntRange(1), help="Of the study's configurations.  [default: 3]")
@click.option("--seeds", type=click.IntRange(2), help="Trainings of each.  [default: 5]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="E.g. run.epochs=50.")
@click.option("--name", default="retrain", show_default=True, help="Of its folder in the study's.")
@RUNS
@placed
def retrain(what: str, runs: Path, overrides: tuple[str, ...], name: str, **words: Any) -> int:
    """Train a STUDY's best configurations anew over several seeds, and test the winner."""
    from service.study.retrain import is_over, prepare, prepare_run

    asked = {key: words.pop(key) for key in ("top_k", "seeds")}
    target = where_is(what, runs, **words)
    if target.far:
        raise ClusterError("retrain: runs where the study is; `launch.py sync` it, or log in there")
    if Path(what).suffix in (".yaml", ".yml"):
        home, folder = Path(what).absolute().parent, prepare_run(Path(what), runs, overrides)
        home = home if (home / folder.meta_file.name).exists() else folder.path
    else:
        study = find(what, runs)
        home, folder = study.path, prepare(study, name, overrides=overrides, **asked)
    code = 0 if is_over(folder) else carry_out(folder.sweep(), folder, target)
    if code:
        murmur("the same `launch.py retrain` carries it on, and then scores the winner")
    return code or conclude_retraining(folder, home)


def conclude_retraining(folder: StudyFolder, home: Path) -> int:
    """Score the winner of a retraining, write its model, register it, and print all that."""
    from service.study.conclude import conclude
    from service.tracking import store_uri
    from service.tracking.model import register_once
    from service.view.retrain import print_retraining

    console, sweep = Console(), folder.sweep()
    with lock(folder.lock_file, shlex.join(sys.argv)):
        result = conclude(folder, home, by=shlex.join(sys.argv), clock=time.time)
        print_retraining(console, result, folder.path)
        if result["model"] is not None:
            uri = store_uri(sweep.tracking.uri, os.environ, Path.cwd())
            said, trouble = register_once(folder.path, home.name, uri, result)
            put(console, "registered", said or trouble, "yellow" if trouble else "")
    return 0


@cli.command()
@click.argument("model", type=FOLDER)
@click.argument("table", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A CSV; else stdout.")
@RUNS
def predict(model: Path, table: Path, output: Path | None, runs: Path) -> None:
    """Score a TABLE (CSV, Parquet) with a MODEL: its folder, or the study that was retrained."""
    from trainables.model import predict_file

    named = runs / model / "retrain" / "model"
    answers, notes = predict_file(named if named.is_dir() else model, table)
    for note in notes:
        murmur(note)
    answers.to_csv(output or sys.stdout, index=False)


@cli.command()
@click.argument("study")
@click.argument("trial", metavar="TRIAL")
@RUNS
def reproduce(study: str, trial: str, runs: Path) -> int:
    """Run one TRIAL of a STUDY again from its record alone: is its curve the same to the last bit?"""
    from service.study.reproduce import causes, curve_of_weights, first_difference, run_again, trial_words
    from service.tracking import provenance
    from service.view.reproduce import print_reproduction
    from trainables.data import load

    folder = find(study, runs)
    sweep = folder.sweep()
    record = fold(read_events(folder.journal_dir), sweep.objective)
    chosen = pick(sweep, record, trial)
    points = curve_of_weights(record, chosen.trial)
    share = this_machine().gpu_share(sweep.resources_per_trial.gpu)
    results = list(run_again(trial_words(sweep, record, chosen.trial), len(points), share))
    data = load(sweep.run, sweep.import_paths)
    now = provenance(CLONE, data_fingerprint=data.fingerprint)
    different = first_difference(points, results)
    print_reproduction(Console(), chosen, len(points), different, causes(record.provenance, now))
    return 0 if different is None else 1


@cli.command()
@click.argument("files", nargs=-1, required=True, type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--data", "with_data", is_flag=True, help="Load the data too: some advice needs them.")
@click.option("--strict", is_flag=True, help="Warnings and advice are errors too, as in CI.")
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
def check(files: tuple[Path, ...], strict: bool, wants_json: bool, **words: Any) -> int:
    """Say whether sweep FILES are sound, and what could be done better; nothing is run."""
    looks = [look(file, **words) for file in files]
    if wants_json:
        click.echo(json.dumps([each.as_json() for each in looks], indent=1))
    for each in () if wants_json else looks:
        for line in each.complaints():
            click.echo(line, err=True)
        for line in each.verdict():
            click.echo(line)
    return 0 if all(each.passes(strict) for each in looks) else 2


@cli.command()
@click.option("--write", "writes", is_flag=True, help="Bring the published one and its page up to date.")
def schema(writes: bool) -> None:
    """Print the sweep file's JSON Schema, for editors."""
    from service.before.page import as_text, write
    from service.before.schema import sweep_schema

    if not writes:
        click.echo(as_text(sweep_schema()), nl=False)
        return
    for path in write(CLONE):
        click.echo(f"{path.relative_to(CLONE)}: written")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default="sweep.yaml")
@click.option("--data", help="A table (.csv, .csv.gz, .parquet), or a data function's dotted path.")
@click.option("--target", help="The table's column to predict.")
@click.option("--task", type=click.Choice(["regression", "classification"]))
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Budget.")
@click.option("--trials", type=click.IntRange(1), help="Budget; otherwise by the parameters.")
@click.option("--parameters", type=click.IntRange(1, 5), help="How many are searched; by the hours.")
@click.option("--slots", type=click.IntRange(1), help="Trials at once.")
@click.option("--gpus", type=click.IntRange(0), help="GPUs; otherwise those of this machine.")
@click.option("--name", help="Study name; otherwise that of the data.")
@click.option("--from-template", "pair", nargs=2, type=SWEEP_FILE, help="Of its RUN.yaml and OPT.yaml.")
def init(file: Path, gpus: int | None, pair: tuple[Path, Path] | None, **given: Any) -> None:
    """Write a first sweep FILE (sweep.yaml): answer a few questions, or give the answers as options."""
    from service.before.begin import begin, begin_from_template

    if pair:
        seen = begin_from_template(file, *pair, clone=CLONE)
    else:
        here = this_machine()
        cpus, gpus = here.cpus, here.gpus if gpus is None else gpus
        seen = begin(file, given, ask, cpus=cpus, gpus=gpus, clone=CLONE)
    for line in (*(f"warning: {one}" for one in seen.warnings), *seen.verdict()):
        click.echo(line)
    click.echo(f"run it: python launch.py {file}")


@cli.command("lr-range")
@click.argument("file", type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--low", type=click.FloatRange(0, min_open=True), default=1e-6, show_default=True)
@click.option("--high", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings.")
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
def lr_range_(file: Path, low: float, high: float, seeds: int, wants_json: bool, **words: Any) -> None:
    """Find the learning rates at which the run of a FILE learns, in seconds: Smith's range test."""
    from service.before.lr_range import lr_range, plot

    if high < 10 * low:
        raise click.UsageError(f"--high ({high:g}) must be at least ten times --low ({low:g})")
    found = lr_range(examine(file, **words), str(file), low=low, high=high, seeds=seeds)
    for line in [json.dumps(found.as_json(), indent=1)] if wants_json else [*plot(found), *found.verdict()]:
        click.echo(line)


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--runs", type=FOLDER, help="Where the study would go.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=120.0, show_default=True)
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
def preflight(file: Path, runs: Path | None, timeout: float, wants_json: bool, **words: Any) -> int:
    """Try the sweep of a FILE, in seconds: data, corners of the space, checkpoints, memory, MLflow.

    `--timeout` is in seconds, for the first two epochs of each configuration.
    """
    from service.view.preflight import print_preflight

    seen = tried(examine(file, **words), runs, timeout)
    if wants_json:
        click.echo(json.dumps(seen.as_json(), indent=1))
    else:
        print_preflight(Console(), seen.as_json())
    return EXIT_CODES[NotFit] if seen.problems else 0


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="The reverse: what fits into them.")
@click.option("--like", metavar="STUDY", help="Plan by the curves and times of this one.")
@click.option("--epoch-s", type=click.FloatRange(0, min_open=True), help="Seconds; else they are measured.")
@click.option("--price", type=click.FloatRange(0), help="Of an hour of the machine.")
@click.option("--json", "wants_json", is_flag=True, help="For programs.")
@RUNS
def plan(
    file: Path, hours: float | None, like: str | None, wants_json: bool, runs: Path, **words: Any
) -> None:
    """Say what the sweep of a FILE will come to: epochs, hours, cost, disk; or what --hours hold."""
    from service.before.measure import basis
    from service.before.plan import affordable
    from service.before.plan import plan as planned
    from service.view.plan import print_affordable, print_plan

    given = {key: words.pop(key) for key in ("epoch_s", "price")}
    sweep, console = examine(file, **words), Console()
    earlier = find(like, runs) if like else None
    record = fold(read_events(earlier.journal_dir), earlier.sweep().objective) if earlier else None
    by = basis(sweep, lambda: place_here(sweep), like=record, **given)
    found = affordable(sweep, hours, by.costs, by.draw) if hours else planned(sweep, by.costs, by.draw)
    if wants_json:
        click.echo(json.dumps(found.as_json() | {"assumed": by.assumed}, indent=1))
    elif hours:
        print_affordable(console, found.as_json(), by.assumed)
    else:
        print_plan(console, found.as_json(), by.assumed, datetime.now())


def ask(question: str, default: Any) -> Any:
    """Ask at the terminal; where there is none, take the default.

    Raises:
        click.UsageError: if there is neither.
    """
    if sys.stdin.isatty():
        return click.prompt(question, default=default)
    if default is None:
        raise click.UsageError(f"nobody to ask: {question}; give it as an option, see init --help")
    return default


def examine(file: Path, **words: Any) -> Sweep:
    """The sweep of a file, found sound; what is odd is printed, and how much advice there is.

    Raises:
        SweepError: if it is not sound.
    """
    seen = before.examine(file, **words)
    assert seen.sweep is not None, "an unsound file raises"
    warn(seen.warnings)
    if seen.advice:
        click.echo(f"{headline(seen.advice)}: `launch.py check {file}` says more", err=True)
    return seen.sweep


def where_is(study: str, runs: Path, **places: Any) -> Target:
    """Where a study is: here if its folder is, unless an option says otherwise."""
    if not any(places.values()) and (Path(study).is_dir() or (runs / study).is_dir()):
        ray = os.environ.get("RAY_ADDRESS", "")
        return Target("ray", ray, "RAY_ADDRESS is set") if ray and "//" not in ray else HERE
    return where(**places)


def root_of(sweep: Sweep, runs: Path | None) -> Path:
    """The folder that a new study goes to."""
    return runs or Path(sweep.storage or os.environ.get("SWEEPS_STORAGE") or "runs")


def tried(sweep: Sweep, runs: Path | None, timeout: float = 120.0) -> Preflight:
    """A sweep tried on this machine."""
    from service.before.preflight import preflight
    from service.tracking import store_uri, trouble_with

    return preflight(
        sweep,
        place_here(sweep),
        storage=root_of(sweep, runs),
        trouble=lambda: trouble_with(store_uri(sweep.tracking.uri, os.environ, Path.cwd())),
        limit_s=timeout,
    )


def place_here(sweep: Sweep) -> Place:
    """What this machine gives a sweep's trials."""
    from service.before.preflight import Place

    machine, asked = this_machine(), sweep.resources_per_trial
    slots = machine.slots(asked, sweep.max_concurrent_trials)
    return Place(slots, machine.gpus, machine.gpu_share(asked.gpu))


def create(sweep: Sweep, runs: Path | None, file: Path, target: Target) -> StudyFolder:
    """The folder of a new study.

    Raises:
        CannotPlace: if this machine, being the one to run it, has no slot for a trial.
        ClusterError: if the place cannot be written to.
    """
    if target.kind == "here":
        this_machine().slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    root = root_of(sweep, runs)
    try:
        folder = StudyFolder.create(root, sweep.study_name, sweep, file.read_text(encoding="utf-8"))
        keep_code(folder, sweep)
        return folder
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
    with lock(folder.lock_file, shlex.join(sys.argv)), marked(folder.path):
        trials = f"{sweep.trials} trials of at most {sweep.run.epochs} epochs"
        console.print(f"{sweep.study_name}: {trials}, {target}", highlight=False)
        past = fold(read_events(folder.journal_dir), sweep.objective)
        tracker = tracker_of(sweep, folder)
        tracker.start()  # before Ray: it imports mlflow in a process of its own, on a core still idle
        from trainables.data import load

        data = load(sweep.run, sweep.import_paths)
        warn(differences(folder, past, data.fingerprint))
        view = watch(facts_of(sweep), past, console)
        with ray_of(target, sweep) as machine:
            check_shared(folder, target)
            finish = attempt(sweep, folder, machine, data, view)
            tracker.hang_up()
            now = view.progress()
        print_summary(console, view.facts, finish.record, now, finish.exit_code, finish.reason)
        print_places(console, folder.path, folder.best_file, finish.exit_code)
        warn(finish.notes)
        print_tracking(console, tracker)
    if sweep.on_end:
        facts = read_status(folder.path)
        said = {key: facts[key] for key in ("study", "state", "exit_code", "reason", "metric", "epochs")}
        best = facts["best"] or {"trial": None, "value": None}
        said |= {"folder": str(folder.path), "best_trial": best["trial"], "best_value": best["value"]}
        warn(filter(None, [announce(sweep.on_end, said)]))
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
            on_oom=machine.share_after_oom(asked),
            stop=stop,
            subscribers=[view],
            data=data,
            provenance=provenance(Path(__file__).parent, data_fingerprint=data.fingerprint),
            signals=stopped_by_signals(stop, view.say),
        )


def tracker_of(sweep: Sweep, folder: StudyFolder) -> TrackingProcess:
    """Who tells MLflow, not yet started."""
    from service.study.retrain import shown_keys
    from service.tracking import SweepFacts, TrackingProcess, store_uri

    facts = SweepFacts(
        study=sweep.study_name,
        experiment=sweep.tracking.experiment or sweep.run.project,
        metric=sweep.metric,
        direction=sweep.direction,
        others=sweep.others,
        objective=sweep.objective,
        parameters=shown_keys(sweep),
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


def print_tracking(console: Console, tracker: TrackingProcess, *, patience_s: float = LAST_S) -> int:
    """Wait for what MLflow is still owed, and print the page worth opening; how many events it lacks."""
    from service.tracking import ui_command

    unsent = tracker.close(patience_s)
    command = ui_command(tracker.uri, Path.cwd())
    if tracker.link:
        put(console, "MLflow", f"{command}, then {tracker.link}" if command else tracker.link)
    if unsent:
        lacks = f"lacks {unsent} events: {tracker.trouble}; `launch.py sync {tracker.folder}` sends them"
        put(console, "MLflow", lacks, "yellow")
    elif tracker.refused:
        put(console, "MLflow", f"refused {tracker.refused} changes; {tracker.trouble}", "yellow")
    return unsent


def facts_of(sweep: Sweep) -> Facts:
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
