"""Commands for the winner: best, retrain, predict, reproduce."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from raysweep.cli.group import cli
from raysweep.cli.options import FOLDER, JSON, PLACES, RUNS, TRUST, options, target_options
from raysweep.cluster.machine import this_machine
from raysweep.console.console import stdout
from raysweep.runner.common import echo_err, find_study, run_on_cluster, where_is
from raysweep.runner.retrain_study import prepare_retraining, run_retraining
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.results.best_config import best_yaml, pick_trial
from raysweep.study.storage.trust import require_trust, require_trust_in_model
from trainables.imports import CLONE


@cli.command()
@click.argument("study")
@click.option("--trial", metavar="ID", help="This trial instead of the best.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of the full training.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Seeds in the file.")
@click.option("--schedule", is_flag=True, help="Print a population's whole schedule of settings.")
@JSON
@RUNS
@target_options
def best(study: str, runs: Path, wants_json: bool, schedule: bool, **kwargs: Any) -> int:
    """Print a STUDY's best trial as a run config for the full training: best.yaml."""
    target = where_is(study, runs, **{key: kwargs.pop(key) for key in PLACES})
    if target.far:
        given = {f"--{key}": value for key, value in kwargs.items()}
        args = options(given | {"--json": wants_json, "--schedule": schedule})
        return run_on_cluster(target, "best", study, args)
    folder = find_study(study, runs, staged=True)
    sweep = folder.sweep()
    if sweep.stages:
        from raysweep.study.stages.state import staged_best

        derived, text = staged_best(folder, scheduled=schedule, **kwargs)
    else:
        record = fold(read_events(folder.journal_dir), sweep.objective)
        derived, text = best_yaml(sweep, record, record.provenance, scheduled=schedule, **kwargs)
    click.echo(json.dumps(derived.run, indent=1) + "\n" if wants_json else text, nl=False)
    return 0


@cli.command()
@click.argument("what", metavar="STUDY|BEST.yaml")
@click.option("--top-k", type=click.IntRange(1), help="How many of the best to train.  [default: 3]")
@click.option("--seeds", type=click.IntRange(2), help="Trainings of each configuration.  [default: 5]")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the run of all, as in epochs=50."
)
@click.option("--name", default="retrain", show_default=True, help="Name of its folder in the study's.")
@TRUST
@RUNS
@target_options
def retrain(what: str, runs: Path, overrides: tuple[str, ...], name: str, trust: bool, **kwargs: Any) -> int:
    """Train a STUDY's best configurations again over several seeds, and test the winner."""
    from raysweep.study.results.retrain import prepare_run

    race = {key: kwargs.pop(key) for key in ("top_k", "seeds")}
    target, is_file = where_is(what, runs, **kwargs), Path(what).suffix in (".yaml", ".yml")
    if target.far:
        from raysweep.cluster.working_tree import sent_as

        given = {"--top-k": race["top_k"], "--seeds": race["seeds"], "--name": name, "--set": overrides}
        given |= {"--trust": trust}
        there = sent_as(Path(what), CLONE, Path.cwd()) if is_file else what
        return run_on_cluster(target, "retrain", there, options(given))
    if is_file:
        home, folder = Path(what).absolute().parent, prepare_run(Path(what), runs, overrides)
        home = home if (home / folder.meta_file.name).exists() else folder.path
    else:
        study = find_study(what, runs, staged=True)
        require_trust(study.path, trust)
        home, folder = study.path, prepare_retraining(study, name, overrides, **race)
    return run_retraining(folder, home, target)


@cli.command()
@click.argument("model", type=FOLDER)
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A CSV to write; else stdout."
)
@click.option("--ensemble", is_flag=True, help="Use the mean prediction of all seeds' nets.")
@TRUST
@RUNS
def predict(model: Path, table: Path, output: Path | None, ensemble: bool, trust: bool, runs: Path) -> None:
    """Predict a TABLE (CSV, Parquet, .npy, .npz) with a MODEL: its folder, or a study that was retrained."""
    from raysweep.study.results.finalize import ENSEMBLE, MODEL
    from trainables.predict_file import predict_file

    studies = (runs / model / "retrain", model / "retrain")
    retraining = next((each for each in studies if each.is_dir()), None)
    if ensemble and (retraining is None or not (retraining / ENSEMBLE).is_dir()):
        raise click.UsageError(
            f"--ensemble: {model} is not a study with an ensemble; retrain it over several seeds"
        )
    saved = (retraining or model) / (ENSEMBLE if ensemble else MODEL)
    folder = saved if saved.is_dir() else model
    require_trust_in_model(folder, trust)
    predictions, notes = predict_file(folder, table)
    for note in notes:
        echo_err(note)
    predictions.to_csv(output or sys.stdout, index=False)


@cli.command()
@click.argument("study")
@click.argument("trial", metavar="TRIAL")
@TRUST
@RUNS
def reproduce(study: str, trial: str, trust: bool, runs: Path) -> int:
    """Run one TRIAL of a STUDY again from its record alone: is its curve the same to the last bit?"""
    from raysweep.console.reproduce import print_reproduction
    from raysweep.study.results.reproduce import (
        curve_of_weights,
        first_difference,
        possible_causes,
        reproduction_config,
        run_again,
    )
    from raysweep.tracking import provenance, source_folder
    from trainables.user_errors import load_data

    folder = find_study(study, runs)
    require_trust(folder.path, trust)
    sweep = folder.sweep()
    record = fold(read_events(folder.journal_dir), sweep.objective)
    chosen = pick_trial(sweep, record, trial)
    points = curve_of_weights(record, chosen.trial)
    share = this_machine().gpu_share(sweep.resources_per_trial.gpu)
    results = list(run_again(reproduction_config(sweep, record, chosen.trial), len(points), share))
    data = load_data(sweep.run, sweep.import_paths)
    now = provenance(source_folder(sweep), data_fingerprint=data.fingerprint)
    difference = first_difference(points, results)
    print_reproduction(stdout(), chosen, len(points), difference, possible_causes(record.provenance, now))
    return 0 if difference is None else 1
