"""Commands that show what was learnt: replay, report, export, compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raysweep.cli.group import cli
from raysweep.cli.options import FOLDER, JSON, PLACES, RUNS, SWEEP_FILE, options, target_options
from raysweep.console.console import stdout
from raysweep.console.replay import print_replay
from raysweep.console.rows import print_row
from raysweep.launch_command import typed
from raysweep.report.errors import NothingFound
from raysweep.runner.common import echo_err, find_study, run_on_cluster, study_facts, where_is
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.journal.status_file import read_status
from raysweep.study.results.counterfactual import as_json, parse_kwargs, replay_study
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.trust import is_trusted

if TYPE_CHECKING:
    from raysweep.report.dataframes import Form
    from raysweep.report.subject import Subject

VERSUS = " -- "
"""Replaces `--` among the arguments of `compare`; no study can have this name."""


@cli.command()
@click.argument("study")
@click.option("--trial-scheduler", "name", required=True, metavar="NAME", help="Its name: schedulers.ASHA.")
@click.option("--kwargs", default="{}", metavar="YAML", help="Its settings, e.g. '{reduction_factor: 3}'.")
@click.option("--workers", type=click.IntRange(1), help="Trials at once; by default as in the study.")
@JSON
@RUNS
def replay(study: str, name: str, kwargs: str, workers: int | None, wants_json: bool, runs: Path) -> None:
    """Replay a STUDY's recorded curves under another trial scheduler: what it would have saved and lost."""
    folder = find_study(study, runs)
    sweep = folder.sweep()
    if not is_trusted(folder.path):  # its own modules are not to be imported
        sweep = sweep.model_copy(update={"import_paths": ()})
    record = fold(read_events(folder.journal_dir), sweep.objective)
    replayed = replay_study(sweep, record, name, parse_kwargs(kwargs), workers)
    if wants_json:
        click.echo(json.dumps(as_json(replayed), indent=1))
    else:
        print_replay(stdout(), study_facts(sweep), record.trials, sweep.objective, replayed)


@cli.command()
@click.argument("names", nargs=-1, metavar="[STUDY]...")
@click.option("--top-k", type=click.IntRange(1), default=10, show_default=True, help="Rows of the top table.")
@click.option("--db", type=SWEEP_FILE, help="A database of Optuna's, or of the training template.")
@click.option("--opt-config", type=SWEEP_FILE, help="The template's optimize config that made --db.")
@JSON
@click.option("--no-mlflow", is_flag=True, help="Do not log the report to the study's run.")
@RUNS
@target_options
def report(
    names: tuple[str, ...],
    db: Path | None,
    opt_config: Path | None,
    no_mlflow: bool,
    runs: Path,
    **kwargs: Any,
) -> None:
    """Show what was learnt from a STUDY: here, as a page, and in MLflow; also while it runs."""
    places = {key: kwargs.pop(key) for key in PLACES}
    if opt_config is not None and db is None:
        raise click.UsageError("--opt-config needs --db; a study knows its own search space")
    if db is not None:
        from raysweep.report.database import of_database

        make_report(of_database(db, opt_config, *names[:1]), Path(f"{db.stem}-report"), **kwargs)
        return
    from raysweep.report.subject import of_study, only_study

    for name in names or (only_study(runs),):
        target = where_is(name, runs, **places)
        if target.far:
            given = {"--top-k": kwargs["top_k"], "--json": kwargs["wants_json"], "--no-mlflow": no_mlflow}
            run_on_cluster(target, "report", name, options(given))
            continue
        folder = find_study(name, runs, staged=True)
        if folder.stored_sweep().stages:
            report_stages(folder, no_mlflow, **kwargs)
            continue
        files = make_report(of_study(folder), folder.path / "report", **kwargs)
        log_report(folder, files, no_mlflow)


@cli.command()
@click.argument("study")
@click.option("--csv", "form", flag_value="csv", default="csv", help="As CSV.  [default]")
@click.option("--parquet", "form", flag_value="parquet", help="As Parquet.")
@click.option("--json", "form", flag_value="json", help="As JSON.")
@click.option("-o", "--output", type=FOLDER, help="A folder; by default `export` in the study's folder.")
@RUNS
@target_options
def export(study: str, form: Form, output: Path | None, runs: Path, **places: Any) -> int:
    """Write the trials and the learning curves of a STUDY as tables, for other programs."""
    target = where_is(study, runs, **places)
    if target.far:
        return run_on_cluster(target, "export", study, options({f"--{form}": True, "--output": output}))
    from raysweep.report.dataframes import write_tables

    folder = find_study(study, runs, staged=True)
    for path in write_tables(folder, form, output or folder.path / "export"):
        click.echo(path)
    return 0


class SidesCommand(click.Command):
    """A command that takes several sides of studies, with `--` between them.

    Click drops `--` and allows no options after it; here options may follow.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Pass every `--` on to the command."""
        return super().parse_args(ctx, [VERSUS if arg == "--" else arg for arg in args])


@cli.command(cls=SidesCommand)
@click.argument("names", nargs=-1, required=True, metavar="STUDY... [-- STUDY...]")
@click.option(
    "--top-k",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Best trials of each study that are compared for agreement.",
)
@click.option("-o", "--output", type=FOLDER, help="A folder for the page, Markdown and JSON.")
@JSON
@RUNS
def compare(names: tuple[str, ...], top_k: int, output: Path | None, wants_json: bool, runs: Path) -> None:
    """Compare STUDIES; with several per side (A1 A2 -- B1 B2), test which side is better."""
    from raysweep.report.compare import as_json, compare
    from raysweep.report.compare_sections import sections, write
    from raysweep.report.subject import of_study
    from raysweep.report.terminal import print_sections

    sides = sides_of(names)
    comparison = compare([[of_study(find_study(name, runs)) for name in side] for side in sides], top_k)
    console = stdout()
    if wants_json:
        click.echo(json.dumps(as_json(comparison), indent=1))
    else:
        print_sections(console, sections(comparison))
    if output is not None:
        page = write(comparison, output)[0]
        if not wants_json:
            print_row(console, "page", typed(page))


def sides_of(names: Sequence[str]) -> list[list[str]]:
    """The studies of each side; without `--` every study is a side.

    >>> sides_of(["a", "b"]), sides_of(["a", "b", VERSUS, "c"])
    ([['a'], ['b']], [['a', 'b'], ['c']])
    """
    if VERSUS not in names:
        return [[name] for name in names]
    grouped = groupby(names, lambda name: name == VERSUS)
    return [list(group) for between, group in grouped if not between]


def report_stages(study: StudyFolder, no_mlflow: bool, top_k: int, wants_json: bool) -> None:
    """Write a report for every stage that has results; print the stages and the last search's report."""
    from raysweep.console.status import print_stages_status
    from raysweep.report.report import as_json, report
    from raysweep.report.report_files import write
    from raysweep.report.subject import of_study
    from raysweep.report.terminal import print_report

    reports, pages = {}, {}
    for folder in study.stages():
        try:
            reports[folder.name] = report(of_study(folder), top_k)
        except NothingFound as error:
            echo_err(str(error))
            continue
        files = write(reports[folder.name], folder.path / "report")
        pages[folder.name] = files[0]
        log_report(folder, files, no_mlflow)
    status, console = read_status(study.path), stdout()
    if wants_json:
        click.echo(json.dumps(status | {"reports": {name: as_json(each) for name, each in reports.items()}}))
        return
    print_stages_status(console, status)
    stages = study.stored_sweep().stages
    searches = [each.name for each in stages if each.searches and each.name in reports]
    if searches:
        console.rule(f"stage {searches[-1]}", align="left")
        print_report(console, reports[searches[-1]])
    console.print()
    for name, page in pages.items():
        print_row(console, f"{name}, page", typed(page))


def log_report(folder: StudyFolder, files: Sequence[Path], no_mlflow: bool) -> None:
    """Log a report's files to its study's run in MLflow."""
    from raysweep.tracking.attachments import attach_to_study

    trouble = "" if no_mlflow else attach_to_study(folder.path, files, "report")
    if trouble:
        echo_err(f"not logged to MLflow: {trouble}")


def make_report(subject: Subject, folder: Path, top_k: int, wants_json: bool) -> list[Path]:
    """Make a subject's report, write its files, and print it; returns the files."""
    from raysweep.report.report import as_json, report
    from raysweep.report.report_files import write
    from raysweep.report.terminal import print_report

    content = report(subject, top_k)
    files = write(content, folder)
    if wants_json:
        click.echo(json.dumps(as_json(content), indent=1))
        return files
    console = stdout()
    print_report(console, content)
    console.print()
    print_row(console, "page", typed(files[0]))
    return files
