"""Commands before a GPU-hour is spent: check, schema, init, lr-range, preflight, plan."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from raysweep.cli.group import cli
from raysweep.cli.options import FOLDER, RUNS, SWEEP_FILE, options, target_options
from raysweep.cluster.machine import this_machine
from raysweep.cluster.target import new_name, resolve_target
from raysweep.config.problem import Problem
from raysweep.console.console import stdout
from raysweep.errors import ExitCode
from raysweep.launch_command import launch_command
from raysweep.preflight.check_file import CheckResult, check_file
from raysweep.runner.common import HERE, find_study, load_checked, slots_here, try_sweep
from raysweep.runner.resolve import resolve_sweep
from raysweep.runner.submit import submit
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from trainables.imports import CLONE


@cli.command()
@click.argument("files", nargs=-1, required=True, type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--data", "with_data", is_flag=True, help="Load the data too: some advice needs them.")
@click.option("--strict", is_flag=True, help="Warnings and advice are errors too, as in CI.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--cluster", type=SWEEP_FILE, help="Also whether the cluster of this file could run them.")
def check(files: tuple[Path, ...], strict: bool, wants_json: bool, cluster: Path | None, **words: Any) -> int:
    """Say whether sweep FILES are sound, and what could be done better; nothing is run."""
    looks = [check_file(file, **words) for file in files]
    if cluster is not None:
        looks = [on_cluster(each, cluster) for each in looks]
    if wants_json:
        click.echo(json.dumps([each.as_json() for each in looks], indent=1))
    for each in () if wants_json else looks:
        for line in each.complaints():
            click.echo(line, err=True)
        for line in each.verdict():
            click.echo(line)
    return 0 if all(each.passes(strict) for each in looks) else 2


def on_cluster(seen: CheckResult, cluster: Path) -> CheckResult:
    """The same, with what a cluster could not do for it."""
    from raysweep.cluster.data_visibility import missing_data_files
    from raysweep.cluster.nodes import available_nodes, read_cluster_file

    if seen.sweep is None:
        return seen
    nodes, asked = available_nodes(read_cluster_file(cluster)), seen.sweep.resources_per_trial
    if nodes is not None:
        nodes.slots(asked, seen.sweep.max_concurrent_trials)
    found = missing_data_files(seen.sweep, CLONE, Path.cwd())
    said = [Problem(seen.file, None, each.key, each.message) for each in found]
    certain = tuple(one for one, each in zip(said, found, strict=True) if each.certain)
    rest = tuple(one for one in said if one not in certain)
    return replace(
        seen, sweep=None if certain else seen.sweep, problems=certain, warnings=(*seen.warnings, *rest)
    )


@cli.command()
@click.option("--write", "writes", is_flag=True, help="Bring the published one and its page up to date.")
def schema(writes: bool) -> None:
    """Print the sweep file's JSON Schema, for editors."""
    from raysweep.authoring.schema import sweep_schema
    from raysweep.authoring.schema_docs import as_text, write

    if not writes:
        click.echo(as_text(sweep_schema()), nl=False)
        return
    for path in write(CLONE):
        click.echo(f"{path.relative_to(CLONE)}: written")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default="sweep.yaml")
@click.option("--data", help="A table (.csv, .csv.gz, .parquet), or a data function's dotted path.")
@click.option("--target", help="The table's column to predict.")
@click.option(
    "--drop", help="Its columns that are no inputs, by commas; else identifiers, empty, constant ones."
)
@click.option("--task", type=click.Choice(["regression", "classification"]))
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Budget.")
@click.option("--trials", type=click.IntRange(1), help="Budget; otherwise by the parameters.")
@click.option("--parameters", type=click.IntRange(1, 5), help="How many are searched; by the hours.")
@click.option("--slots", type=click.IntRange(1), help="Trials at once.")
@click.option("--gpus", type=click.IntRange(0), help="GPUs; otherwise those of this machine.")
@click.option("--name", help="Study name; otherwise that of the data.")
@click.option("--from-template", "pair", nargs=2, type=SWEEP_FILE, help="Of its RUN.yaml and OPT.yaml.")
@click.option("--from-wandb", "wandb", type=SWEEP_FILE, help="Of a W&B sweep file: your script is run.")
def init(
    file: Path, gpus: int | None, pair: tuple[Path, Path] | None, wandb: Path | None, **given: Any
) -> None:
    """Write a first sweep FILE (sweep.yaml): answer a few questions, or give the answers as options."""
    from raysweep.authoring.init_sweep import init_from_answers, init_from_template, init_from_wandb

    if wandb is not None:
        seen = init_from_wandb(file, wandb, clone=CLONE)
    elif pair:
        seen = init_from_template(file, *pair, clone=CLONE)
    else:
        here = this_machine()
        cpus, gpus = here.cpus, here.gpus if gpus is None else gpus
        seen = init_from_answers(file, given, ask, click.echo, cpus=cpus, gpus=gpus, clone=CLONE)
    for line in (*(f"warning: {one}" for one in seen.warnings), *seen.verdict()):
        click.echo(line)
    click.echo(f"run it: {launch_command(file)}")


@cli.command("lr-range")
@click.argument("file", type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--low", type=click.FloatRange(0, min_open=True), default=1e-6, show_default=True)
@click.option("--high", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON, for programs.")
def lr_range_(file: Path, low: float, high: float, seeds: int, wants_json: bool, **words: Any) -> None:
    """Find the learning rates at which the run of a FILE learns, in seconds: Smith's range test."""
    from raysweep.preflight.lr_range import lr_range, plot

    if high < 10 * low:
        raise click.UsageError(f"--high ({high:g}) must be at least ten times --low ({low:g})")
    found = lr_range(load_checked(file, **words), str(file), low=low, high=high, seeds=seeds)
    for line in [json.dumps(found.as_json(), indent=1)] if wants_json else [*plot(found), *found.verdict()]:
        click.echo(line)


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--runs", type=FOLDER, help="Where the study would go.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=120.0, show_default=True)
@click.option("--json", "wants_json", is_flag=True, help="Print JSON, for programs.")
@target_options
def preflight(
    file: Path,
    runs: Path | None,
    timeout: float,
    wants_json: bool,
    overrides: tuple[str, ...],
    optimize_config: Path | None,
    **places: Any,
) -> int:
    """Try the sweep of a FILE, in seconds: data, corners of the space, checkpoints, memory, MLflow.

    On a cluster its workers do. `--timeout` is in seconds, for the first two epochs of each configuration.
    """
    from raysweep.console.preflight import print_preflight

    sweep = load_checked(file, overrides=overrides, optimize_config=optimize_config)
    target = resolve_target(**places)
    if target.far:
        given = {"--set": overrides, "--timeout": timeout, "--runs": runs, "--json": wants_json}
        study = f"{new_name(sweep.study_name)}.preflight"
        return submit(target, sweep, file, optimize_config, ["preflight", *options(given)], study=study)
    seen = try_sweep(sweep, runs, target, timeout)
    if wants_json:
        click.echo(json.dumps(seen.as_json(), indent=1))
    else:
        print_preflight(stdout(), seen)
    return ExitCode.PREFLIGHT if seen.problems else ExitCode.DONE


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does.")
@click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="The reverse: what fits into them.")
@click.option("--like", metavar="STUDY", help="Plan by the curves and times of this one.")
@click.option("--epoch-s", type=click.FloatRange(0, min_open=True), help="Seconds; else they are measured.")
@click.option("--price", type=click.FloatRange(0), help="Of an hour of the machine.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON, for programs.")
@RUNS
def plan(
    file: Path, hours: float | None, like: str | None, wants_json: bool, runs: Path, **words: Any
) -> None:
    """Say what the sweep of a FILE will come to: epochs, hours, cost, disk; or what --hours hold."""
    from raysweep.console.plan import print_affordable, print_plan, print_staged_plan
    from raysweep.planning.cost_basis import measure_cost_basis
    from raysweep.planning.plan import Affordable, Plan, affordable
    from raysweep.planning.plan import plan as planned
    from raysweep.planning.staged_plan import StagedPlan, plan_stages

    given = {key: words.pop(key) for key in ("epoch_s", "price")}
    sweep, console = load_checked(file, **words), stdout()
    earlier = find_study(like, runs) if like else None
    record = fold(read_events(earlier.journal_dir), earlier.sweep().objective) if earlier else None
    if sweep.stages and hours:
        raise click.UsageError(
            "--hours: not of a sweep with stages; time_budget_s ends them, plan says how far"
        )
    sweep, _ = resolve_sweep(sweep, HERE, file)
    by = measure_cost_basis(sweep, lambda: slots_here(sweep), like=record, **given)
    found: Affordable | Plan | StagedPlan
    if sweep.stages:
        found = plan_stages(sweep, by.costs, by.draw)
    else:
        found = affordable(sweep, hours, by.costs, by.draw) if hours else planned(sweep, by.costs, by.draw)
    if wants_json:
        click.echo(json.dumps(found.as_json() | {"assumed": by.assumed}, indent=1))
    elif isinstance(found, StagedPlan):
        print_staged_plan(console, found, by.assumed, datetime.now())
    elif isinstance(found, Affordable):
        print_affordable(console, found, by.assumed)
    else:
        print_plan(console, found, by.assumed, datetime.now())


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
