"""A retraining: the best configurations and the baseline over new seeds, as a study of its own.

`runs/<study>/retrain/` is such a study: it is run, resumed, tracked and shown like any sweep. Its
searcher proceeds in rounds (`raysweep.study.results.seed_race`), its trial scheduler drops clear losers
(`schedulers.racing`), and its own sweep holds all that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from raysweep.config import Sweep, read_sweep
from raysweep.config.baseline import baseline_of
from raysweep.config.overrides import split_off, with_overrides
from raysweep.config.trial_config import searched
from raysweep.study.journal.log import read_events
from raysweep.study.journal.pareto import pareto_front
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.results.best_config import (
    NoWinner,
    derive,
    fresh_seeds,
    full_length,
    is_population,
    lengthened_warmup,
    schedule_changes,
    stretch,
)
from raysweep.study.results.seed_race import BASELINE
from raysweep.study.storage.layout import StudyExists, StudyFolder
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY

FOLDER = "retrain"
LAST = "-last"
SEED_RACE = "raysweep.study.results.seed_race.SeedRaceSearcher"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration to be trained again.

    Attributes:
        name: `t17` for trial 17, `t17-last` for the last of its settings, or `baseline`.
        config: flat; with a `schedule` if the settings change during training.
        what: description.
        trial: number of the trial; None for a baseline that the sweep did not try.
        value: its metric in the sweep; None if it has none.
    """

    name: str
    config: dict[str, Any]
    what: str
    trial: int | None = None
    value: float | None = None


def is_last(candidate: Candidate) -> bool:
    """Whether it has the last settings of a trial whose whole schedule is another candidate."""
    return candidate.name.endswith(LAST)


def ranking(sweep: Sweep, record: StudyRecord) -> list[TrialRecord]:
    """The trials to choose candidates from, best first; completed ones before others.

    With several metrics, the Pareto front, best by the first metric first.
    """
    if len(sweep.metrics) > 1:
        return pareto_front(record.trials.values(), sweep.metrics, sweep.objective)
    return record.ranked()


def candidates(sweep: Sweep, record: StudyRecord, top_k: int) -> list[Candidate]:
    """The top k of a study, and its baseline, without duplicate configurations.

    The winner of a population is two candidates: with the schedule of settings that its weights were trained
    with, and with the last of these settings alone.

    Raises:
        NoWinner: if there is no trial to retrain.
    """
    chosen = top_of(sweep, record, top_k)
    own = baseline_of(sweep)
    values = {key: own[key] for key in sweep.space if key in own}
    if sweep.space and len(values) == len(sweep.space) and BASELINE not in [each.name for each in chosen]:
        trials = (trial for trial in record.trials.values() if trial.source == "baseline")
        trial = next((trial for trial in trials if not trial.lineage), None)
        value = trial.objective_value(record.objective, sweep.sign) if trial else None
        baseline = Candidate(BASELINE, values, "baseline", trial.number if trial else None, value)
        chosen += [baseline] if _key(baseline) not in map(_key, chosen) else []
    return chosen


def top_of(sweep: Sweep, record: StudyRecord, top_k: int) -> list[Candidate]:
    """The top k of a study without its baseline, see `candidates`.

    Raises:
        NoWinner: if there is no trial to retrain.
    """
    chosen: dict[str, Candidate] = {}
    for trial in ranking(sweep, record):
        if sum(not is_last(each) for each in chosen.values()) == top_k:
            break
        for candidate in _of_trial(sweep, record, trial, last_too=not any(map(is_last, chosen.values()))):
            chosen.setdefault(_key(candidate), candidate)
    if not chosen:
        raise NoWinner(f"{sweep.study_name}: no trial has succeeded; there is nothing to retrain")
    return list(chosen.values())


def _key(candidate: Candidate) -> str:
    """A key that is the same for equal configurations."""
    return json.dumps(candidate.config, sort_keys=True, default=str)


def retraining(
    sweep: Sweep,
    record: StudyRecord,
    *,
    top_k: int = 3,
    seeds: int = 5,
    overrides: Sequence[str] = (),
    field: Sequence[Candidate] = (),
    used: Sequence[int] = (),
) -> Sweep:
    """The sweep of a retraining.

    Args:
        sweep: of the study.
        record: of the study.
        top_k: number of its configurations.
        seeds: number of trainings of each.
        overrides: `key=value` each; with `run.epochs`, schedule keywords that count epochs are scaled.
        field: the candidates; if empty, the study's top k and its baseline.
        used: seeds not to use, beside the search's own.

    Raises:
        NoWinner: if no trial has succeeded.
        SweepError: if an override is invalid.
    """
    epochs, others = split_off(overrides, ("epochs", "run.epochs"))
    length = full_length(sweep, record, epochs)
    fresh = fresh_seeds(seeds, [*sweep.run.seeds[:1], *used])
    base = derive(
        sweep, {}, "the sweep", length=length, seeds=fresh, early_stopping=not is_population(record)
    )
    racers = [
        asdict(each) | {"config": _scaled(each.config, sweep.run.epochs, length[0])}
        for each in field or candidates(sweep, record, top_k)
    ]
    fields = sweep.model_dump(mode="json") | {
        "study_name": f"{sweep.study_name[:91]}_{FOLDER}",
        "tracking": sweep.tracking_of_parts,
        "trials": len(racers) * len(fresh),
        "objective": "best",  # the model has the weights of the best epoch
        "sampler": {"name": SEED_RACE, "kwargs": {"candidates": racers, "seeds": fresh}},
        "trial_scheduler": {"name": "schedulers.Racing", "kwargs": {}},
        "run": base.run,
        "baseline": False,
        "points_to_evaluate": (),
        "warm_start": (),
        "constraints": (),  # a trial that broke one is no candidate
        "time_budget_s": None,
        "stop": {},
    }
    return with_overrides(Sweep.model_validate(fields), others, "retrain")


def retraining_of_run(sweep: Sweep) -> Sweep:
    """The sweep that trains a run config alone over its own seeds."""
    seeds = sweep.run.seeds
    one = asdict(Candidate("run", {}, "the run as it stands in the file"))
    return sweep.model_copy(
        update={
            "study_name": f"{sweep.study_name[:91]}_{FOLDER}",
            "tracking": sweep.tracking_of_parts,
            "trials": len(seeds),
            "objective": "best" if sweep.run.checkpoint_config.enabled else sweep.objective,
            "sampler": sweep.sampler.model_copy(
                update={"name": SEED_RACE, "kwargs": {"candidates": [one], "seeds": seeds}}
            ),
            "baseline": False,
        }
    )


def retraining_of_study(study: StudyFolder, **kwargs: Any) -> Sweep:
    """The sweep of a study's retraining, see `retraining`."""
    sweep = study.sweep()
    return retraining(sweep, fold(read_events(study.journal_dir), sweep.objective), **kwargs)


def prepare(
    study: StudyFolder,
    name: str,
    *,
    overrides: Sequence[str] = (),
    make: Callable[..., Sweep] = retraining_of_study,
    **options: int | None,
) -> StudyFolder:
    """The folder of a study's retraining: a new one, or the existing one, to be continued.

    Args:
        study: the study to retrain.
        name: of the folder within it.
        overrides: see `retraining`.
        make: makes the sweep of the retraining from a study, overrides and options.
        options: `top_k` and `seeds`, None if the user gave none.

    Raises:
        StudyExists: if it exists with other settings.
        NoWinner: see `retraining`.
        SweepError: see `retraining`.
    """
    folder = study.inner(name)
    given = {key: value for key, value in options.items() if value is not None}
    if folder.meta_file.exists() and not overrides and not given:
        return StudyFolder.open(folder.path)
    wanted = make(study, overrides=overrides, **given)
    if not folder.meta_file.exists():
        text = as_file(wanted, ["a retraining, made by `launch.py retrain`"])
        return StudyFolder.create(study.path, name, wanted, text, folder.storage_uri)
    if folder.sweep() != Sweep.model_validate(wanted.model_dump(mode="json")):
        raise StudyExists(
            f"{folder.path} holds a retraining with other settings: continue it with "
            f"`launch.py retrain {study.path}` without options, or start another with `--name`"
        )
    return StudyFolder.open(folder.path)


def prepare_run(file: Path, runs: Path, overrides: Sequence[str] = ()) -> StudyFolder:
    """The folder for training the run config of a file over its own seeds.

    Raises:
        SweepError: if the file is invalid.
        StudyExists: if there is another retraining of that name.
    """
    wanted = retraining_of_run(read_sweep(file, overrides=overrides).sweep)
    folder = StudyFolder(runs.absolute() / wanted.study_name)
    if folder.meta_file.exists():
        if folder.sweep() == Sweep.model_validate(wanted.model_dump(mode="json")):
            return folder
        raise StudyExists(f"{folder.path} holds another retraining; set another `project`, or move it away")
    return StudyFolder.create(runs, wanted.study_name, wanted, file.read_text(encoding="utf-8"))


def is_over(folder: StudyFolder) -> bool:
    """Whether all trainings of a retraining have ended."""
    record = fold(read_events(folder.journal_dir))
    return record.closed is not None and record.closed.exit_code == 0 and not record.unfinished()


def shown_keys(sweep: Sweep) -> tuple[str, ...]:
    """The flat keys in which a sweep's trials differ; in a race, candidate and seed first."""
    racing = sweep.sampler.name == SEED_RACE
    return ((CANDIDATE_KEY, BLOCK_KEY) if racing else ()) + tuple(sweep.space)


def as_file(sweep: Sweep | Mapping[str, Any], lines: Sequence[str]) -> str:
    """The text of a sweep file, with the lines as a comment at its top."""
    fields = sweep.model_dump(mode="json") if isinstance(sweep, Sweep) else dict(sweep)
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return "".join(f"# {line}\n" for line in lines) + text


def _of_trial(sweep: Sweep, record: StudyRecord, trial: TrialRecord, last_too: bool) -> list[Candidate]:
    """The candidates of a trial: its configuration, or its schedule and maybe its last settings."""
    value, config = trial.objective_value(record.objective, sweep.sign), searched(trial.config)
    name = f"t{trial.number}"
    schedule = record.schedule(trial.trial)
    if len(schedule) == 1:
        name = BASELINE if trial.source == "baseline" else name
        what = "baseline" if name == BASELINE else f"trial {trial.number}"
        return [Candidate(name, config, what, trial.number, value)]
    whole = searched(schedule[0][1]) | {"schedule": schedule_changes(schedule)}
    of_trial = [Candidate(name, whole, f"trial {trial.number}'s schedule", trial.number, value)]
    if last_too:
        last = f"trial {trial.number}'s last settings"
        of_trial.append(Candidate(f"{name}{LAST}", config, last, trial.number, None))
    return of_trial


def _scaled(config: dict[str, Any], before: int, after: int) -> dict[str, Any]:
    """A configuration for `after` epochs: searched warm-ups and schedule keywords are scaled."""

    def scale(key: str, value: Any) -> Any:
        if key == "warmup":
            return lengthened_warmup(value, before, after)
        keyword = key.removeprefix("scheduler_config.")
        return value if keyword == key else stretch(keyword, value, after / before)

    return {key: scale(key, value) for key, value in config.items() if key != "data_fraction"}
