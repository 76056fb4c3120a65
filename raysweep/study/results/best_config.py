"""`best.yaml`: the winner as a run config for `launch.py run`, `retrain` and the training template.

It is derived as the template's chapter on best.yaml says: the searched values, the full number of epochs,
schedule keywords that count epochs (`total_steps`, `T_max`, `total_iters`, `milestones`, ...) scaled with
them while the schedule's shape (`upper_bound`) stays, five seeds, early stopping and checkpoints on. A
comment behind each value says where it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.trial_config import searched
from raysweep.errors import ExitCode, RaysweepError
from raysweep.formatting import in_yaml
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
OUR_FIELDS = frozenset(RunConfig.model_fields) - {
    *("project", "device", "epochs", "batch_size", "seeds", "early_stopping_config", "checkpoint_config"),
    *CONFIGS,
    *CONFIGS.values(),
}
"""Fields that the template's own reader does not know; left out if they have their default."""
OMITTED_IF_EMPTY = ("device", "data_config")


class NoWinner(RaysweepError):
    """The study has no best trial, or not the one asked for."""

    exit_code = ExitCode.NO_RESULT


@dataclass(frozen=True, slots=True)
class DerivedConfig:
    """A run config for the full training, with notes on its values.

    Attributes:
        run: nested, as under `run:`.
        notes: by flat key, where its value comes from.
    """

    run: dict[str, Any]
    notes: dict[str, str]


def fresh_seeds(count: int, used: Sequence[int]) -> list[int]:
    """The template's five seeds, then others, without the seeds in use.

    >>> fresh_seeds(6, used=[58])
    [89, 231, 928, 814, 1000, 1001]
    """
    seeds = [seed for seed in (*SEEDS, *range(1000, 1000 + count + len(used))) if seed not in used]
    return seeds[:count]


def full_length(sweep: Sweep, record: StudyRecord, epochs: int | None = None) -> tuple[int, str]:
    """The number of epochs of the full training, and the reason.

    A population's settings hold for the epochs in which they were found, so its training is not lengthened.
    """
    searched_with = sweep.run.epochs
    if epochs is not None:
        return epochs, f"as requested; the sweep ran {searched_with}"
    if is_population(record):
        return searched_with, "as in the sweep: the schedule that was found ends here"
    if searched_with >= FULL_EPOCHS:
        return searched_with, "as in the sweep"
    return FULL_EPOCHS, f"the full training; the sweep ran {searched_with}"


def is_population(record: StudyRecord) -> bool:
    """Whether trials copied one another, so that weights were trained with a schedule of settings."""
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
    """The run config of the full training with a configuration.

    Args:
        sweep: the sweep that found it.
        flat: the searched values.
        source: where they come from, for the notes: "trial 17".
        length: epochs and their reason, see `full_length`.
        seeds: one training each.
        early_stopping: whether to switch it on; False if a schedule must be followed to its end.
    """
    epochs, why = length
    run = overlay(sweep.run.model_dump(mode="json") | {"project": sweep.experiment}, flat)
    notes = dict.fromkeys(flat, f"from {source}")
    for key, given in run["scheduler_config"].items():
        scaled = stretch(key, given, epochs / sweep.run.epochs)
        if scaled != given:
            run["scheduler_config"][key] = scaled
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
        run["early_stopping_config"] = _early_stopping(sweep)
        notes["early_stopping_config"] = "on for the full training"
    if run["early_stopping_config"]["enabled"] and run["early_stopping_config"]["patience"] >= epochs:
        run["early_stopping_config"]["patience"] = max(1, epochs // 3)
        notes["early_stopping_config.patience"] = "below the epochs, so that it can act"
    if run["checkpoint_config"] == Checkpointing().model_dump():
        run["checkpoint_config"] = {**CHECKPOINTS, "monitor": sweep.metric, "mode": sweep.mode}
        notes["checkpoint_config"] = "on for the full training; the best epoch's is the model"
    return DerivedConfig(run, notes)


def _early_stopping(sweep: Sweep) -> dict[str, Any]:
    """Early stopping by the sweep's metric, or by `val_loss` if the metric does not change with epochs."""
    if sweep.metric == "val_loss" or not is_judged_by_epoch(sweep.metric):
        return dict(EARLY_STOPPING)
    return {**EARLY_STOPPING, "monitor": sweep.metric, "mode": sweep.mode}


def lengthened_warmup(warmup: float, before: int, after: int) -> float:
    """A warm-up for a training of `after` epochs, given that of a training of `before` epochs.

    It keeps its share. If that is the usual share (`USUAL_WARMUP`) rounded to whole epochs, the result is
    kept within the usual share of the longer training. A warm-up below 1 is a share already.

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
    """The value of a schedule's keyword in a training `ratio` times as long; unchanged if no count of epochs.

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
    """The same with absolute paths to its data files and modules."""
    run, changed = absolute_paths(derived.run, sweep.import_paths)
    notes = dict.fromkeys(changed, "absolute, so that this file can be anywhere") | derived.notes
    if folders := module_folders(run, sweep.import_paths):
        run["import_paths"] = folders
        notes["import_paths"] = "where its modules are found; the study's copies come first"
    return DerivedConfig(run, notes)


def with_schedule(derived: DerivedConfig, steps: Sequence[tuple[int, Mapping[str, Any]]]) -> DerivedConfig:
    """The same run with a schedule of configurations: the first one, and the changes after it."""
    run = overlay(derived.run, searched(steps[0][1]))
    run["schedule"] = schedule_changes(steps)
    notes = {**derived.notes, "schedule": "the settings with which the winner's weights were trained"}
    return DerivedConfig(run, notes)


def schedule_changes(steps: Sequence[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The value of `run.schedule`: the steps of a schedule after the first."""
    return [
        SettingsChange(after_epoch=epoch, config=searched(config)).model_dump(mode="json")
        for epoch, config in steps[1:]
    ]


def pick_trial(sweep: Sweep, record: StudyRecord, trial: str | None = None) -> TrialRecord:
    """The best trial, or the one with the given number or id.

    Raises:
        NoWinner: if no trial has succeeded, or there is no such trial.
    """
    if trial is None:
        best = record.best()
        if best is None:
            counts = ", ".join(f"{count} {status}" for status, count in sorted(record.counts().items()))
            raise NoWinner(f"{sweep.study_name}: no trial has succeeded ({counts or 'none was started'})")
        return best
    chosen = record.trials.get(trial_id(int(trial)) if trial.isdecimal() else trial)
    if chosen is None:
        raise NoWinner(f"{sweep.study_name}: no trial {trial}; there are {len(record.trials)}, from 0")
    return chosen


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
        provenance: of the study: code, versions and data.
        trial: number or id of the trial; the best if None.
        epochs: of the full training, see `full_length`.
        seeds: their number.
        scheduled: of a population, take the whole schedule of settings instead of the last settings.
        used: seeds not to use, beside the search's own.
        lines: more lines for the comment at the top.
        notes: by flat key, where values of the run come from that were not searched here.
        whole: name of the staged study that this study is a stage of; "" if it is none.

    Raises:
        NoWinner: see `pick_trial`.
    """
    best = pick_trial(sweep, record, trial)
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
    return derived, heading(about, whole or sweep.study_name) + as_yaml(derived)


def write_best(
    path: Path, sweep: Sweep, record: StudyRecord, provenance: Mapping[str, Any]
) -> TrialRecord | None:
    """Write the best trial's run config; returns the trial, or None while no trial has reported.

    The winner of a population was trained with several configurations: `best.yaml` holds the last one,
    and `best_schedule.yaml` beside it a run config with the whole schedule.
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


def as_yaml(derived: DerivedConfig) -> str:
    """A run config as YAML with notes as comments; fields with their default may be left out."""
    components = {*CONFIGS, *CONFIGS.values(), "batch_size"} if derived.run.get("data") is None else set()
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in RunConfig.model_fields.items()
        if name in OUR_FIELDS or name in components  # a user's own loop without data needs none of these
    }
    lines: list[str] = []
    for key, value in derived.run.items():
        if (key in defaults and value in (defaults[key], [])) or (key in OMITTED_IF_EMPTY and not value):
            continue
        if isinstance(value, dict) and value:
            lines.append(_line("", key, "", derived.notes.get(key)))
            lines += [
                _line("  ", name, in_yaml(inner), _note(derived.notes, f"{key}.{name}"))
                for name, inner in value.items()
            ]
        else:
            lines.append(_line("", key, in_yaml(value), _note(derived.notes, key)))
    return "".join(lines)


def _note(notes: Mapping[str, str], key: str) -> str | None:
    """The note of a key, or of a value below it; None if there is none."""
    return notes.get(key) or next((note for at, note in notes.items() if at.startswith(f"{key}.")), None)


def _line(indent: str, key: str, value: str, note: str | None) -> str:
    setting = f"{indent}{key}:{' ' if value else ''}{value}"
    return f"{setting:<50}  # {note}\n" if note else f"{setting}\n"


def _about(
    sweep: Sweep, record: StudyRecord, best: TrialRecord, provenance: Mapping[str, Any], scheduled: bool
) -> list[str]:
    """Lines that say where a configuration comes from."""
    score = best.objective_value(record.objective, sweep.sign)
    facts = flatten({key: provenance[key] for key in sorted(provenance) if key != "command"})
    revision = f"revision {best.revision} of the search space"
    lines = [
        f"study {sweep.study_name}, trial {best.number}: {best.status} at epoch {best.epoch}",
        f"{sweep.metric} {math.nan if score is None else score:.6g} ({sweep.objective} epoch counts), "
        f"{revision}",
        *(f"{key}: {value}" for key, value in facts.items() if isinstance(value, str | int | float)),
    ]
    if best.lineage and not scheduled:
        lines.append("its weights were trained with a schedule of settings: best_schedule.yaml")
        lines.append("the settings below are the last of them")
    return lines


def heading(lines: Sequence[str], study: str) -> str:
    """The comment at the top of a run config: where it comes from, and how to train it."""
    lines = [*lines, "", f"python launch.py retrain {study}    (or: python launch.py run THIS_FILE)"]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"
