"""The training template's own words, read as what they mean here.

Our first users come with its two files, a run config and an optimize config; both are read as they
are. What is taken as something else, or left aside, is said in a note.
"""

from __future__ import annotations

from raysweep.config.document import Document, Location
from raysweep.config.problem import Key, Problem, SweepError
from raysweep.config.sweep import Sweep
from trainables.run_config import RunConfig

OLD_SWEEP_WORDS = ("pruner", "wandb", "logging")
OLD_RUN_WORDS = ("wandb", "logging")

PRUNERS = {
    "pruner.PFLPruner": "schedulers.ClassicPFL",
    "optuna.pruners.NopPruner": "schedulers.FIFO",
}
"""Pruners whose rule we have, by the name that users of the template know."""


def is_run_config(document: Document) -> bool:
    """Whether a file is a run config alone (`best.yaml`), rather than a sweep."""
    words = set(document.value)
    of_a_sweep = words & ({*Sweep.model_fields, "pruner"} - {"metrics", "import_paths"})
    return "run" not in words and len(words & set(RunConfig.model_fields)) > len(of_a_sweep)


def as_sweep(run: Document, study_name: str) -> Document:
    """Make a run config alone the sweep that trains it once."""
    value = {"study_name": study_name, "trials": 1, "baseline": True, "run": {}}
    document = Document(run.file, value)
    document.graft(("run",), run)
    document.places[("run",)] = Location(run.file, 1)
    _judge_by_monitor(document)
    return document


def _judge_by_monitor(document: Document) -> None:
    """Judge the training by what its checkpoints are chosen by, if they are."""
    key: Key = ("run", "checkpoint_config")
    wish = document.at(key)
    if not isinstance(wish, dict) or wish.get("enabled") is not True:
        return
    directions = {"min": "minimize", "max": "maximize"}
    for word, name, value in (
        ("metric", "monitor", wish.get("monitor")),
        ("direction", "mode", directions.get(wish.get("mode", "min"))),
    ):
        if isinstance(value, str):
            document.value[word] = value
            document.places[(word,)] = document.places.get((*key, name), Location(document.file, 1))


def as_pair(run: Document, optimize: Document) -> Document:
    """Make a run config and an optimize config one sweep.

    Raises:
        SweepError: if they are not one of each.
    """
    if "run" in run.value or not is_run_config(run):
        what = "is no run config, and --optimize-config was given"
        fix = "give the run config first: RUN.yaml --optimize-config OPT.yaml (a sweep file stands alone)"
        raise SweepError([Problem(run.file, 1, "", what, fix)])
    if "run" in optimize.value:
        raise SweepError(
            [optimize.problem(("run",), f"{run.file} is the run", "drop this key, or run this file alone")]
        )
    optimize.graft(("run",), run)
    return optimize


def translate(document: Document) -> tuple[list[Problem], list[Problem]]:
    """Put today's words for the template's.

    Returns:
        Problems, and notes on what was read as what.
    """
    problems, notes = [], []
    for key in [*((word,) for word in ("wandb", "logging")), *(("run", word) for word in OLD_RUN_WORDS)]:
        holder = document.at(key[:-1])
        if isinstance(holder, dict) and key[-1] in holder:
            notes.append(document.problem(key, "ignored", "trials are tracked in MLflow; see 'tracking'"))
            del holder[key[-1]]
    if "pruner" in document.value and "trial_scheduler" in document.value:
        what = "'pruner' and 'trial_scheduler' both say who goes on"
        problems.append(document.problem(("pruner",), what, "keep one of the two"))
        del document.value["pruner"]
    elif "pruner" in document.value:
        notes += _pruner(document)
    return problems, notes


def _pruner(document: Document) -> list[Problem]:
    """Read `pruner` as the trial scheduler that it means."""
    key: Key = ("trial_scheduler",)
    document.move(("pruner",), key)
    value = document.at(key)
    if value is None:
        del document.value["trial_scheduler"]
        return []
    name = value.get("name") if isinstance(value, dict) else value
    ours = PRUNERS.get(name) if isinstance(name, str) else None
    if ours is None:
        return []
    if isinstance(value, dict):
        value["name"] = ours
    else:
        document.value["trial_scheduler"] = ours
    at: Key = (*key, "name") if isinstance(value, dict) else key
    return [document.problem(at, f"'{name}' is {ours} here")]
