"""A retraining: the best configurations and the baseline over fresh seeds, as a study of its own.

`runs/<study>/retrain/` is such a study: it is run, resumed, tracked and shown like any sweep. Its
searcher goes in rounds (`raysweep.study.results.seed_race`), its trial scheduler drops clear losers
(`schedulers.racing`), and everything it needs stands in its own sweep.
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
from raysweep.config.overrides import lay_over, without
from raysweep.config.trial_config import searched
from raysweep.study.journal.log import read_events
from raysweep.study.journal.pareto import pareto_front
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.results.best_config import (
    NoWinner,
    changes,
    derive,
    fresh_seeds,
    full_length,
    is_population,
    lengthened_warmup,
    stretch,
)
from raysweep.study.results.seed_race import BASELINE
from raysweep.study.storage.layout import StudyExists, StudyFolder
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY

FOLDER = "retrain"
LAST = "-last"
ROUNDS = "raysweep.study.results.seed_race.SeedRaceSearcher"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that is trained anew.

    Attributes:
        name: `t17` for trial 17, `t17-last` for the last of its settings, `baseline`.
        config: flat; with `schedule` for one that changes in mid-training.
        what: in words.
        trial: where it comes from; None for a baseline that the sweep did not try.
        value: the metric it had in the sweep; None if it has none.
    """

    name: str
    config: dict[str, Any]
    what: str
    trial: int | None = None
    value: float | None = None


def is_last(candidate: Candidate) -> bool:
    """Whether it is the last settings of a trial that is another candidate by its whole schedule."""
    return candidate.name.endswith(LAST)


def ranking(sweep: Sweep, record: StudyRecord) -> list[TrialRecord]:
    """The trials that one could go on with, best first; those that ran to their end before others.

    Of a sweep with several metrics the Pareto front, best by the first metric first.
    """
    if len(sweep.metrics) > 1:
        return pareto_front(record.trials.values(), sweep.metrics, sweep.objective)
    return record.ranked()


def candidates(sweep: Sweep, record: StudyRecord, top_k: int) -> list[Candidate]:
    """The top k of a study, and its baseline; equal configurations once.

    A population's winner comes twice: under the schedule of settings that its weights were trained
    under, and under the last of these settings alone.

    Raises:
        NoWinner: if no trial could be retrained.
    """
    found = top_of(sweep, record, top_k)
    own = baseline_of(sweep)
    baseline = {key: own[key] for key in sweep.space if key in own}
    if sweep.space and len(baseline) == len(sweep.space) and BASELINE not in [each.name for each in found]:
        tries = (trial for trial in record.trials.values() if trial.source == "baseline")
        tried = next((trial for trial in tries if not trial.lineage), None)
        value = _value(sweep, record, tried) if tried else None
        last = Candidate(BASELINE, baseline, "baseline", tried.number if tried else None, value)
        found += [last] if _key(last) not in map(_key, found) else []
    return found


def top_of(sweep: Sweep, record: StudyRecord, top_k: int) -> list[Candidate]:
    """The top k of a study alone, see `candidates`.

    Raises:
        NoWinner: if no trial could be retrained.
    """
    found: dict[str, Candidate] = {}
    for trial in ranking(sweep, record):
        if sum(not is_last(each) for each in found.values()) == top_k:
            break
        for candidate in _of_trial(sweep, record, trial, last_too=not any(map(is_last, found.values()))):
            found.setdefault(_key(candidate), candidate)
    if not found:
        raise NoWinner(f"{sweep.study_name}: no trial has succeeded; there is nothing to retrain")
    return list(found.values())


def _key(candidate: Candidate) -> str:
    """The same for equal configurations."""
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
        top_k: how many of its configurations.
        seeds: how many trainings each.
        overrides: `key=value` each; `run.epochs` takes what counts epochs in the schedule along.
        field: the candidates; the study's top k and its baseline, if none are given.
        used: seeds that have had a say already, beside the search's own.

    Raises:
        NoWinner: if nothing has succeeded.
        SweepError: if an override cannot be.
    """
    epochs, others = without(overrides, ("epochs", "run.epochs"))
    length = full_length(sweep, record, epochs)
    fresh = fresh_seeds(seeds, [*sweep.run.seeds[:1], *used])
    base = derive(
        sweep, {}, "the sweep", length=length, seeds=fresh, early_stopping=not is_population(record)
    )
    racers = [
        asdict(each) | {"config": _stretched(each.config, sweep.run.epochs, length[0])}
        for each in field or candidates(sweep, record, top_k)
    ]
    words = sweep.model_dump(mode="json") | {
        "study_name": f"{sweep.study_name[:91]}_{FOLDER}",
        "tracking": sweep.tracking_of_parts,
        "trials": len(racers) * len(fresh),
        "objective": "best",  # of a training with checkpoints, the best epoch's weights are the model
        "sampler": {"name": ROUNDS, "kwargs": {"candidates": racers, "seeds": fresh}},
        "trial_scheduler": {"name": "schedulers.Racing", "kwargs": {}},
        "run": base.run,
        "baseline": False,
        "points_to_evaluate": (),
        "warm_start": (),
        "constraints": (),  # whoever broke one is no candidate
        "time_budget_s": None,
        "stop": {},
    }
    return lay_over(Sweep.model_validate(words), others, "retrain")


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
                update={"name": ROUNDS, "kwargs": {"candidates": [one], "seeds": seeds}}
            ),
            "baseline": False,
        }
    )


def of_study(study: StudyFolder, **words: Any) -> Sweep:
    """The sweep of a study's retraining, see `retraining`."""
    sweep = study.sweep()
    return retraining(sweep, fold(read_events(study.journal_dir), sweep.objective), **words)


def prepare(
    study: StudyFolder,
    name: str,
    *,
    overrides: Sequence[str] = (),
    make: Callable[..., Sweep] = of_study,
    **asked: int | None,
) -> StudyFolder:
    """The folder of a study's retraining: a new one, or the one there is, to be carried on.

    Args:
        study: that is retrained.
        name: of the folder within it.
        overrides: see `retraining`.
        make: gives the retraining's sweep of a study, with the other words.
        asked: `top_k` and `seeds`, each None where the user said nothing.

    Raises:
        StudyExists: if there is one of other settings than were asked for.
        NoWinner: see `retraining`.
        SweepError: see `retraining`.
    """
    folder = study.inner(name)
    said = {key: value for key, value in asked.items() if value is not None}
    if folder.meta_file.exists() and not overrides and not said:
        return StudyFolder.open(folder.path)
    wanted = make(study, overrides=overrides, **said)
    if not folder.meta_file.exists():
        text = as_file(wanted, ["a retraining, made by `launch.py retrain`"])
        return StudyFolder.create(study.path, name, wanted, text, folder.storage_uri)
    if folder.sweep() != Sweep.model_validate(wanted.model_dump(mode="json")):
        raise StudyExists(
            f"{folder.path} holds a retraining with other settings: `launch.py retrain {study.path}` without "
            "options carries it on, `--name` makes another"
        )
    return StudyFolder.open(folder.path)


def prepare_run(file: Path, runs: Path, overrides: Sequence[str] = ()) -> StudyFolder:
    """The folder in which a run config's file is trained over its own seeds.

    Raises:
        SweepError: if the file is not sound.
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
    """Whether all its trainings have ended."""
    record = fold(read_events(folder.journal_dir))
    return record.closed is not None and record.closed.exit_code == 0 and not record.unfinished()


def shown_keys(sweep: Sweep) -> tuple[str, ...]:
    """The flat keys that tell a sweep's trials apart; in a race, candidate and seed first."""
    racing = sweep.sampler.name == ROUNDS
    return ((CANDIDATE_KEY, BLOCK_KEY) if racing else ()) + tuple(sweep.space)


def as_file(sweep: Sweep | Mapping[str, Any], lines: Sequence[str]) -> str:
    """A sweep, or its words, as a file that nobody wrote, after these lines."""
    words = sweep.model_dump(mode="json") if isinstance(sweep, Sweep) else dict(sweep)
    text: str = yaml.safe_dump(words, sort_keys=False, allow_unicode=True)
    return "".join(f"# {line}\n" for line in lines) + text


def _of_trial(sweep: Sweep, record: StudyRecord, trial: TrialRecord, last_too: bool) -> list[Candidate]:
    """A trial as a candidate: as it is, or by its schedule of settings and perhaps by the last of them."""
    value, config = _value(sweep, record, trial), searched(trial.config)
    name = f"t{trial.number}"
    schedule = record.schedule(trial.trial)
    if len(schedule) == 1:
        name = BASELINE if trial.source == "baseline" else name
        what = "baseline" if name == BASELINE else f"trial {trial.number}"
        return [Candidate(name, config, what, trial.number, value)]
    whole = searched(schedule[0][1]) | {"schedule": changes(schedule)}
    found = [Candidate(name, whole, f"trial {trial.number}'s schedule", trial.number, value)]
    if last_too:
        last = f"trial {trial.number}'s last settings"
        found.append(Candidate(f"{name}{LAST}", config, last, trial.number, None))
    return found


def _value(sweep: Sweep, record: StudyRecord, trial: TrialRecord) -> float | None:
    worth = trial.worth(record.objective)
    return None if worth is None else sweep.sign * worth


def _stretched(config: dict[str, Any], before: int, after: int) -> dict[str, Any]:
    """A configuration whose own lengths follow the epochs, where they were searched."""

    def follow(key: str, value: Any) -> Any:
        if key == "warmup":
            return lengthened_warmup(value, before, after)
        word = key.removeprefix("scheduler_config.")
        return value if word == key else stretch(word, value, after / before)

    return {key: follow(key, value) for key, value in config.items() if key != "data_fraction"}
