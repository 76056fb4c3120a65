"""Commands to use before a sweep: check, schema, init, lr-range, preflight, plan."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from raysweep.cli.group import cli
from raysweep.cli.options import FOLDER, JSON, RUNS, SWEEP_FILE, file_changes, options, target_options
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
@file_changes
@click.option("--data", "with_data", is_flag=True, help="Load the data too, which some advice needs.")
@click.option("--strict", is_flag=True, help="Treat warnings and advice as errors, as in CI.")
@JSON
@click.option("--cluster", type=SWEEP_FILE, help="Check too whether this file's cluster could run them.")
def check(
    files: tuple[Path, ...], strict: bool, wants_json: bool, cluster: Path | None, **kwargs: Any
) -> int:
    """Check whether sweep FILES are valid, and what could be done better; nothing is run."""
    results = [check_file(file, **kwargs) for file in files]
    if cluster is not None:
        results = [check_on_cluster(each, cluster) for each in results]
    if wants_json:
        click.echo(json.dumps([each.as_json() for each in results], indent=1))
    for each in () if wants_json else results:
        for line in each.complaints():
            click.echo(line, err=True)
        for line in each.verdict():
            click.echo(line)
    return 0 if all(each.passes(strict) for each in results) else 2


def check_on_cluster(result: CheckResult, cluster: Path) -> CheckResult:
    """A file's result, extended by what a cluster could not do for it.

    Raises:
        ClusterError: if no trial would fit on its nodes.
    """
    from raysweep.cluster.data_visibility import missing_data_files
    from raysweep.cluster.nodes import available_nodes, read_cluster_file

    sweep = result.sweep
    if sweep is None:
        return result
    nodes = available_nodes(read_cluster_file(cluster))
    if nodes is not None:
        nodes.slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    errors: list[Problem] = []
    warnings = [*result.warnings]
    for missing in missing_data_files(sweep, CLONE, Path.cwd()):
        kind = errors if missing.certain else warnings
        kind.append(Problem(result.file, None, missing.key, missing.message))
    checked = None if errors else sweep
    return replace(result, sweep=checked, problems=tuple(errors), warnings=tuple(warnings))


@cli.command()
@click.option("--write", "writes", is_flag=True, help="Update the published schema and its page instead.")
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
    "--drop",
    help="Columns that are not inputs, separated by commas; else identifiers and empty or constant ones.",
)
@click.option("--task", type=click.Choice(["regression", "classification"]))
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="The budget in hours.")
@click.option("--trials", type=click.IntRange(1), help="Trials; by default set by the parameters.")
@click.option(
    "--parameters", type=click.IntRange(1, 5), help="How many to search; by default set by the hours."
)
@click.option("--slots", type=click.IntRange(1), help="Trials at once.")
@click.option("--gpus", type=click.IntRange(0), help="GPUs; by default those of this machine.")
@click.option("--name", help="Study name; by default that of the data.")
@click.option("--from-template", "pair", nargs=2, type=SWEEP_FILE, help="Convert its RUN.yaml and OPT.yaml.")
@click.option("--from-wandb", "wandb", type=SWEEP_FILE, help="Convert a W&B sweep file; it runs your script.")
def init(
    file: Path, gpus: int | None, pair: tuple[Path, Path] | None, wandb: Path | None, **given: Any
) -> None:
    """Write a first sweep FILE (sweep.yaml): answer a few questions, or give the answers as options."""
    from raysweep.authoring.init_sweep import init_from_answers, init_from_template, init_from_wandb

    if wandb is not None:
        result = init_from_wandb(file, wandb, clone=CLONE)
    elif pair:
        result = init_from_template(file, *pair, clone=CLONE)
    else:
        here = this_machine()
        cpus, gpus = here.cpus, here.gpus if gpus is None else gpus
        result = init_from_answers(file, given, ask, click.echo, cpus=cpus, gpus=gpus, clone=CLONE)
    for line in (*(f"warning: {warning}" for warning in result.warnings), *result.verdict()):
        click.echo(line)
    click.echo(f"run it: {launch_command(file)}")


@cli.command("lr-range")
@click.argument("file", type=SWEEP_FILE)
@file_changes
@click.option("--low", type=click.FloatRange(0, min_open=True), default=1e-6, show_default=True)
@click.option("--high", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings.")
@JSON
def lr_range_(file: Path, low: float, high: float, seeds: int, wants_json: bool, **kwargs: Any) -> None:
    """Find the learning rates at which the run of a FILE learns, in seconds: Smith's range test."""
    from raysweep.preflight.lr_range import lr_range, plot

    if high < 10 * low:
        raise click.UsageError(f"--high ({high:g}) must be at least ten times --low ({low:g})")
    curve = lr_range(load_checked(file, **kwargs), str(file), low=low, high=high, seeds=seeds)
    for line in [json.dumps(curve.as_json(), indent=1)] if wants_json else [*plot(curve), *curve.verdict()]:
        click.echo(line)


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@file_changes
@click.option("--runs", type=FOLDER, help="Where the study would go.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=120.0, show_default=True)
@JSON
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

    On a cluster it runs on the workers. `--timeout` is in seconds, for two epochs of each configuration.
    """
    from raysweep.console.preflight import print_preflight

    sweep = load_checked(file, overrides=overrides, optimize_config=optimize_config)
    target = resolve_target(**places)
    if target.far:
        given = {"--set": overrides, "--timeout": timeout, "--runs": runs, "--json": wants_json}
        study = f"{new_name(sweep.study_name)}.preflight"
        return submit(target, sweep, file, optimize_config, ["preflight", *options(given)], study=study)
    result = try_sweep(sweep, runs, target, timeout)
    if wants_json:
        click.echo(json.dumps(result.as_json(), indent=1))
    else:
        print_preflight(stdout(), result)
    return ExitCode.PREFLIGHT if result.problems else ExitCode.DONE


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@file_changes
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Say what fits into so many hours.")
@click.option("--like", metavar="STUDY", help="Use the curves and times of this earlier study.")
@click.option("--epoch-s", type=click.FloatRange(0, min_open=True), help="Seconds an epoch; else measured.")
@click.option("--price", type=click.FloatRange(0), help="Price of an hour of the machine.")
@JSON
@RUNS
def plan(
    file: Path, hours: float | None, like: str | None, wants_json: bool, runs: Path, **kwargs: Any
) -> None:
    """Estimate what the sweep of a FILE will cost: epochs, hours, money, disk; or what fits into --hours."""
    from raysweep.console.plan import print_affordable, print_plan, print_staged_plan
    from raysweep.planning.cost_basis import measure_cost_basis
    from raysweep.planning.plan import Affordable, Plan, affordable
    from raysweep.planning.plan import plan as planned
    from raysweep.planning.staged_plan import StagedPlan, plan_stages

    given = {key: kwargs.pop(key) for key in ("epoch_s", "price")}
    sweep, console = load_checked(file, **kwargs), stdout()
    earlier = find_study(like, runs) if like else None
    record = fold(read_events(earlier.journal_dir), earlier.sweep().objective) if earlier else None
    if sweep.stages and hours:
        raise click.UsageError("--hours does not work for a sweep with stages; limit it by time_budget_s")
    sweep, _ = resolve_sweep(sweep, HERE, file)
    basis = measure_cost_basis(sweep, lambda: slots_here(sweep), like=record, **given)
    costs, draw = basis.costs, basis.draw
    result: Affordable | Plan | StagedPlan
    if sweep.stages:
        result = plan_stages(sweep, costs, draw)
    else:
        result = affordable(sweep, hours, costs, draw) if hours else planned(sweep, costs, draw)
    if wants_json:
        click.echo(json.dumps(asdict(result) | {"assumed": basis.assumed}, indent=1))
    elif isinstance(result, StagedPlan):
        print_staged_plan(console, result, basis.assumed, datetime.now())
    elif isinstance(result, Affordable):
        print_affordable(console, result, basis.assumed)
    else:
        print_plan(console, result, basis.assumed, datetime.now())


def ask(question: str, default: Any) -> Any:
    """Ask at the terminal; without a terminal, return the default.

    Raises:
        click.UsageError: if there is neither a terminal nor a default.
    """
    if sys.stdin.isatty():
        return click.prompt(question, default=default)
    if default is None:
        raise click.UsageError(f"no terminal to ask at: {question}; give it as an option, see init --help")
    return default
