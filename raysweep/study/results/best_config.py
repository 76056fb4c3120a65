"""`best.yaml`: the winner as a run config that `launch.py run`, `retrain` and the template take as it is.

Derived as the training template's chapter on best.yaml has it: the full number of epochs, what counts
epochs in the schedule (`total_steps`, `T_max`, `total_iters`, `milestones`, ...) following them, its shape
(`upper_bound`) unchanged,
the searched values, five seeds, early stopping and checkpoints on. Each line says where it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.trial_config import searched
from raysweep.errors import ExitCode, RaysweepError
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.results.portable_paths import absolute_paths, module_folders
from raysweep.study.storage.files import replace
from schedulers.trial_id import trial_id
from trainables.run_config import (
    CONFIGS,
    SCHEDULE_LENGTHS,
    SCHEDULE_MARKS,
    USUAL_WARMUP,
    Checkpointing,
    EarlyStopping,
    RunConfig,
    SettingsChange,
    flatten,
    is_judged_by_epoch,
    overlay,
)

FULL_EPOCHS = 150
SEEDS = (58, 89, 231, 928, 814)
EARLY_STOPPING = {"enabled": True, "patience": 20, "mode": "min", "min_delta": 0.0001}
CHECKPOINTS = {"enabled": True, "save_every_n_epochs": 10, "keep_last_k": 3, "save_best": True}
OUR_WORDS = frozenset(RunConfig.model_fields) - {
    *("project", "device", "epochs", "batch_size", "seeds", "early_stopping_config", "checkpoint_config"),
    *CONFIGS,
    *CONFIGS.values(),
}
"""What the template's own reader does not know; written only where it says something."""
TERSE = ("device", "data_config")  # not worth a line where they say nothing


class NoWinner(RaysweepError):
    """The study has no trial that could be called best; one line."""

    exit_code = ExitCode.NO_RESULT


@dataclass(frozen=True, slots=True)
class DerivedConfig:
    """A run config for the full training, and why it is as it is.

    Attributes:
        run: nested, as under `run:`.
        notes: flat key -> where its value comes from.
    """

    run: dict[str, Any]
    notes: dict[str, str]


def fresh_seeds(count: int, used: Sequence[int]) -> list[int]:
    """The template's five seeds and after them others, without those that were searched with.

    >>> fresh_seeds(6, used=[58])
    [89, 231, 928, 814, 1000, 1001]
    """
    seeds = [seed for seed in (*SEEDS, *range(1000, 1000 + count + len(used))) if seed not in used]
    return seeds[:count]


def full_length(sweep: Sweep, record: StudyRecord, epochs: int | None = None) -> tuple[int, str]:
    """The epochs of the full training, and why so many.

    A population's settings belong to the epochs in which they were found: it is not stretched.
    """
    searched_with = sweep.run.epochs
    if epochs is not None:
        return epochs, f"as asked; the sweep ran {searched_with}"
    if is_population(record):
        return searched_with, "as in the sweep: the schedule that was found ends here"
    if searched_with >= FULL_EPOCHS:
        return searched_with, "as in the sweep"
    return FULL_EPOCHS, f"the full training; the sweep ran {searched_with}"


def is_population(record: StudyRecord) -> bool:
    """Whether trials copied one another, so that weights were trained under a schedule of settings."""
    return any(trial.lineage for trial in record.trials.values())


def derive(
    sweep: Sweep,
    flat: Mapping[str, Any],
    source: str,
    *,
    length: tuple[int, str],
    seeds: Sequence[int],
    early_stopping: bool = True,
) -> DerivedConfig:
    """The run config of the full training under a configuration.

    Args:
        sweep: what was searched.
        flat: the searched values.
        source: where they come from, for the comments: "trial 17".
        length: see `full_length`.
        seeds: one training each.
        early_stopping: whether it is switched on; not where a schedule is to be followed to its end.
    """
    epochs, why = length
    run = overlay(sweep.run.model_dump(mode="json") | {"project": sweep.experiment}, flat)
    notes = dict.fromkeys(flat, f"from {source}")
    for key, given in run["scheduler_config"].items():
        stretched = stretch(key, given, epochs / sweep.run.epochs)
        if stretched != given:
            run["scheduler_config"][key] = stretched
            notes[f"scheduler_config.{key}"] = f"follows the epochs; the sweep had {given}"
    if "upper_bound" in run["scheduler_config"]:
        notes.setdefault("scheduler_config.upper_bound", "unchanged: it is the schedule's shape")
    run |= {"epochs": epochs, "seeds": list(seeds)}
    notes |= {"epochs": why, "seeds": f"fresh; the sweep searched with {sweep.run.seeds[0]}"}
    if (warmup := lengthened_warmup(run["warmup"], sweep.run.epochs, epochs)) != run["warmup"]:
        notes["warmup"] = f"epochs; the sweep had {run['warmup']:g} of {sweep.run.epochs}"
        run["warmup"] = warmup
    if run["data_fraction"] != 1:
        notes["data_fraction"] = f"all rows; the sweep trained on {run['data_fraction']:g} of them"
        run["data_fraction"] = 1.0
    if "folds" in run["data_config"]:
        folds = run["data_config"].pop("folds")
        notes["data_config"] = f"one split instead of {folds} folds: one model comes out"
    if run["early_stopping_config"] == EarlyStopping().model_dump() and early_stopping:
        run["early_stopping_config"] = patience_by(sweep)
        notes["early_stopping_config"] = "on for the full training"
    if run["early_stopping_config"]["enabled"] and run["early_stopping_config"]["patience"] >= epochs:
        run["early_stopping_config"]["patience"] = max(1, epochs // 3)
        notes["early_stopping_config.patience"] = "below the epochs, so that it can act"
    if run["checkpoint_config"] == Checkpointing().model_dump():
        run["checkpoint_config"] = {**CHECKPOINTS, "monitor": sweep.metric, "mode": sweep.mode}
        notes["checkpoint_config"] = "on for the full training; the best epoch's is the model"
    return DerivedConfig(run, notes)


def patience_by(sweep: Sweep) -> dict[str, Any]:
    """Early stopping by the sweep's metric, or by `val_loss` where that is nothing that training improves."""
    if sweep.metric == "val_loss" or not is_judged_by_epoch(sweep.metric):
        return dict(EARLY_STOPPING)
    return {**EARLY_STOPPING, "monitor": sweep.metric, "mode": sweep.mode}


def lengthened_warmup(warmup: float, before: int, after: int) -> float:
    """A warm-up, given in epochs of a training of `before`, for one of `after` epochs.

    It keeps its share. One epoch may be all that a short training has for the usual share (`USUAL_WARMUP`),
    to the nearest whole epoch; then it has that share of the longer one as well.

    >>> lengthened_warmup(1, 27, 150), lengthened_warmup(9, 27, 150), lengthened_warmup(0.1, 27, 150)
    (8, 50, 0.1)
    """
    if warmup < 1 or after == before:
        return warmup
    low, high = USUAL_WARMUP
    longer = warmup * after / before
    if math.floor(low * before) <= warmup <= math.ceil(high * before):
        longer = min(max(longer, low * after), high * after)
    return max(1, math.floor(longer + 0.5))


def stretch(keyword: str, value: Any, ratio: float) -> Any:
    """The value of a schedule's keyword in a training `ratio` times as long; as it is if it counts no epochs.

    >>> stretch("milestones", [9, 18], 10), stretch("gamma", 0.1, 10)
    ([90, 180], 0.1)
    """
    if ratio == 1 or keyword not in (*SCHEDULE_LENGTHS, *SCHEDULE_MARKS):
        return value
    if isinstance(value, list):
        return [stretch(keyword, each, ratio) for each in value]
    if not is_number(value):
        return value
    return max(1, round(value * ratio))


def runs_anywhere(derived: DerivedConfig, sweep: Sweep) -> DerivedConfig:
    """The same with what it needs from the disk named by absolute paths: its data files, its modules."""
    run, named = absolute_paths(derived.run, sweep.import_paths)
    notes = dict.fromkeys(named, "absolute, so that this file can lie anywhere") | derived.notes
    if folders := module_folders(run, sweep.import_paths):
        run["import_paths"] = folders
        notes["import_paths"] = "where the modules it names are found; first as they were in the study"
    return DerivedConfig(run, notes)


def with_schedule(derived: DerivedConfig, steps: Sequence[tuple[int, Mapping[str, Any]]]) -> DerivedConfig:
    """The same run under a schedule of configurations: the first of them, and the changes after it."""
    run = overlay(derived.run, searched(steps[0][1]))
    run["schedule"] = changes(steps)
    notes = {**derived.notes, "schedule": "the settings under which the winner's weights were trained"}
    return DerivedConfig(run, notes)


def changes(steps: Sequence[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A schedule's steps after the first as the words of `run.schedule`."""
    return [
        SettingsChange(after_epoch=epoch, config=searched(config)).model_dump(mode="json")
        for epoch, config in steps[1:]
    ]


def pick(sweep: Sweep, record: StudyRecord, trial: str | None = None) -> TrialRecord:
    """The winner, or the trial asked for by its number or id.

    Raises:
        NoWinner: if nothing has succeeded, or there is no such trial.
    """
    if trial is None:
        best = record.best()
        if best is None:
            counts = ", ".join(f"{count} {status}" for status, count in sorted(record.counts().items()))
            raise NoWinner(f"{sweep.study_name}: no trial has succeeded ({counts or 'none was begun'})")
        return best
    found = record.trials.get(trial_id(int(trial)) if trial.isdecimal() else trial)
    if found is None:
        raise NoWinner(f"{sweep.study_name}: no trial {trial}; there are {len(record.trials)}, from 0")
    return found


def best_yaml(
    sweep: Sweep,
    record: StudyRecord,
    provenance: Mapping[str, Any],
    *,
    trial: str | None = None,
    epochs: int | None = None,
    seeds: int = 5,
    scheduled: bool = False,
    used: Sequence[int] = (),
    lines: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    whole: str = "",
) -> tuple[DerivedConfig, str]:
    """The run config of the full training, as values and as the text of `best.yaml`.

    Args:
        sweep: of the study.
        record: of the study.
        provenance: what the journal knows of code, versions and data.
        trial: another one than the best.
        epochs: of the full training, see `full_length`.
        seeds: how many.
        scheduled: of a population: the whole schedule of settings, not the last of them.
        used: seeds that have had a say already, beside the search's own.
        lines: of what more there is to say of where it comes from.
        notes: flat key -> where a value of the run comes from that was not searched here.
        whole: what the study is called that this one is a part of; "" if it is none.

    Raises:
        NoWinner: see `pick`.
    """
    best = pick(sweep, record, trial)
    derived = derive(
        sweep,
        searched(best.config),
        f"trial {best.number}",
        length=full_length(sweep, record, epochs),
        seeds=fresh_seeds(seeds, [*sweep.run.seeds[:1], *used]),
        early_stopping=not is_population(record),
    )
    if scheduled:
        derived = with_schedule(derived, record.schedule(best.trial))
    derived = runs_anywhere(DerivedConfig(derived.run, {**(notes or {}), **derived.notes}), sweep)
    about = [*lines, *_about(sweep, record, best, provenance, scheduled)]
    return derived, heading(about, whole or sweep.study_name) + text_of(derived)


def write_best(
    path: Path, sweep: Sweep, record: StudyRecord, provenance: Mapping[str, Any]
) -> TrialRecord | None:
    """Write the incumbent's run config, or nothing while no trial has reported.

    A population's winner was not trained under one configuration: `best.yaml` holds the last one, and
    `best_schedule.yaml` beside it the whole schedule, as a run config too.
    """
    best = record.best()
    if best is None:
        return None
    replace(path, best_yaml(sweep, record, provenance)[1])
    schedule_path = path.with_name("best_schedule.yaml")
    if len(record.schedule(best.trial)) > 1:
        replace(schedule_path, best_yaml(sweep, record, provenance, scheduled=True)[1])
    else:
        schedule_path.unlink(missing_ok=True)
    return best


def text_of(derived: DerivedConfig) -> str:
    """A run config as YAML, each value with its note behind it; words that say nothing are left out."""
    components = {*CONFIGS, *CONFIGS.values(), "batch_size"} if derived.run.get("data") is None else set()
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in RunConfig.model_fields.items()
        if name in OUR_WORDS or name in components  # without data, a loop of the user's own has none of them
    }
    lines: list[str] = []
    for key, value in derived.run.items():
        if (key in defaults and value in (defaults[key], [])) or (key in TERSE and not value):
            continue
        if isinstance(value, dict) and value:
            lines.append(_line("", key, "", derived.notes.get(key)))
            lines += [
                _line("  ", name, _yaml(inner), _note(derived.notes, f"{key}.{name}"))
                for name, inner in value.items()
            ]
        else:
            lines.append(_line("", key, _yaml(value), _note(derived.notes, key)))
    return "".join(lines)


def _note(notes: Mapping[str, str], key: str) -> str | None:
    """The note of a key, or of a value somewhere in it."""
    return notes.get(key) or next((note for at, note in notes.items() if at.startswith(f"{key}.")), None)


def _line(indent: str, key: str, value: str, note: str | None) -> str:
    words = f"{indent}{key}:{' ' if value else ''}{value}"
    return f"{words:<50}  # {note}\n" if note else f"{words}\n"


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _about(
    sweep: Sweep, record: StudyRecord, best: TrialRecord, provenance: Mapping[str, Any], scheduled: bool
) -> list[str]:
    """Where a configuration comes from, a line each."""
    worth = best.worth(record.objective)
    value = math.nan if worth is None else sweep.sign * worth
    known = flatten({key: provenance[key] for key in sorted(provenance) if key != "command"})
    revision = f"revision {best.revision} of the search space"
    lines = [
        f"study {sweep.study_name}, trial {best.number}: {best.status} after {best.epoch} epochs",
        f"{sweep.metric} {value:.6g} ({sweep.objective} epoch counts), {revision}",
        *(f"{key}: {value}" for key, value in known.items() if isinstance(value, str | int | float)),
    ]
    if best.lineage and not scheduled:
        lines.append("its weights were trained under a schedule of settings: best_schedule.yaml")
        lines.append("what stands below is the last of them")
    return lines


def heading(lines: Sequence[str], study: str) -> str:
    """The comment on top of a run config: where it comes from, and what to do with it."""
    lines = [*lines, "", f"python launch.py retrain {study}    (or: python launch.py run THIS_FILE)"]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"
