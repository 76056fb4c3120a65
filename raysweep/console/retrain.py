"""What is printed at the end of a retraining: the standings, the ensemble, the test score, the model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from raysweep.console.formatting import number
from raysweep.console.rows import print_row
from raysweep.launch_command import launch_command, typed
from raysweep.study.results.model_card import mean_of, score_key, validation_test_gap
from raysweep.study.results.retrain_fields import CandidateFields, RetrainFields
from raysweep.study.results.seed_race import BASELINE


def print_retraining(console: Console, result: RetrainFields, folder: Path) -> None:
    """Print the result of a retraining.

    Args:
        console: where to print.
        result: see `raysweep.study.results.finalize`.
        folder: of the retraining.
    """
    console.print(standings_table(result["metric"], result["standings"]))
    for one in result["standings"]:
        if one["out"]:
            print_row(console, "dropped", f"{one['what']}: {one['out']}")
    winner = result["standings"][0]
    seeds = f"mean of {len(winner['seeds'])} seeds, std {number(winner['std'])}"
    spread = f"{number(winner['mean'])} ({seeds})"
    print_row(console, "winner", f"{winner['what']}: {result['metric']} {spread}", "bold green")
    print_row(console, "lead", _lead(result))
    if result["winner"] == BASELINE:
        print_row(
            console,
            "baseline",
            "it won: the search found nothing better over these seeds",
            "yellow",
        )
    if result["tau"] is not None:
        agrees = f"Kendall's tau {result['tau']:+.2f} between the sweep's ranking and this one"
        print_row(console, "ranking", agrees)
    if result["val"] is not None:
        _print_scores(console, result)
    if result["note"]:
        print_row(console, "note", result["note"], "yellow")
    if result["model"] is not None:
        print_row(console, "model", f"{typed(folder / result['model'])}, its card is MODEL_CARD.md there")
        print_row(console, "", launch_command("predict", folder / result["model"], "TABLE.csv"))
    if (ensemble := result.get("ensemble")) is not None:
        print_row(console, "ensemble", f"{typed(folder / ensemble)}, of all seeds; `predict` takes it too")


def standings_table(metric: str, standings: Sequence[CandidateFields]) -> Table:
    """The candidates of a race, best first."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("configuration", no_wrap=True)
    for column in (metric, "± 95%", "std", "seeds", "P(best)", "sweep"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in standings:
        half = "-" if one["low"] is None or one["high"] is None else f"{(one['high'] - one['low']) / 2:.3g}"
        chance = "dropped" if one["out"] else "-" if one["p_best"] is None else f"{one['p_best']:.0%}"
        std = "-" if one["std"] is None else f"{one['std']:.3g}"
        row = (number(one["mean"]), half, std, str(len(one["seeds"])), chance, number(one["sweep_value"]))
        table.add_row(one["what"], *row)
    return table


def _lead(result: RetrainFields) -> str:
    """The winner's lead over the next, compared with seed noise."""
    if result["margin"] is None:
        return "nothing to compare it with"
    error = f"{number(result['margin'])} ± {number(result['margin_error'])} (standard error)"
    lead = f"{error} over {result['runner_up']}"
    return lead if result["clear"] else f"{lead}: within seed noise, take either"


def _print_scores(console: Console, result: RetrainFields) -> None:
    key, seed = score_key(result["metric"]), str(result["model_seed"])
    for split, scores, name in (("val", result["val"], "validation"), ("test", result["test"], "test")):
        if scores is None:
            continue
        single = ", ".join(f"{word} {number(value)}" for word, value in scores["members"][seed].items())
        together = ", ".join(f"{word} {number(value)}" for word, value in scores["ensemble"].items())
        print_row(console, name, f"best seed ({seed}): {single}", "bold" if split == "test" else "")
        print_row(console, "", f"all seeds averaged: {together}")
        if split == "test":
            print_row(console, "", f"mean over seeds: {key} {number(mean_of(scores, key))}")
    difference = validation_test_gap(result)
    if difference is not None:
        print_row(console, "gap", f"test minus validation, mean over seeds: {key} {difference:+.3g}")
    for opening in result["opened_before"]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(opening["t"]))
        message = f"the test rows were already used on {when} by `{opening['by']}`"
        print_row(console, "used before", message, "yellow")
