"""A staged study on disk: which stages have ended, which is next, and their results.

runs/<study>/stages/NAME/ is a study of its own for every stage that trains. Its `stage.json` says how the
stage was derived and how it ended; its trials are in its own journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.config.stage import Stage
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.results.best_config import DerivedConfig as RunConfigFor
from raysweep.study.results.best_config import (
    NoWinner,
    as_yaml,
    best_yaml,
    derive,
    fresh_seeds,
    full_length,
    heading,
    runs_anywhere,
)
from raysweep.study.results.finalize import nan_to_none, race_as_dict
from raysweep.study.results.retrain import as_file, retraining
from raysweep.study.results.retrain_fields import CandidateFields
from raysweep.study.results.retrain_result import evaluate_retraining
from raysweep.study.results.seed_race import BASELINE
from raysweep.study.stages.derive import StageResult, own_values, race_candidates
from raysweep.study.stages.derive import derive as derive_stage
from raysweep.study.storage.code_snapshot import keep_code
from raysweep.study.storage.files import Unreadable, read_json, replace, write_json
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from schedulers.trial_id import trial_id

VERSION = 1
FILE = "stage.json"


@dataclass(frozen=True)
class StageState:
    """The state of one stage.

    Attributes:
        stage: its section of the sweep file.
        folder: of its study, which may not exist yet.
        facts: the fields of `stage.json`; empty before the stage begins.
    """

    stage: Stage
    folder: StudyFolder
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether it has ended, and the next one may begin."""
        return self.facts.get("ended") is not None

    @property
    def trains(self) -> bool:
        """Whether it has a study of its own that has begun."""
        return self.folder.meta_file.exists()

    @property
    def standings(self) -> Sequence[CandidateFields]:
        """The candidates of an ended validation, best first; empty for any other stage."""
        standings: Sequence[CandidateFields] = self.facts.get("verdict", {}).get("standings", [])
        return standings

    def record(self) -> StudyRecord:
        """The record of its trials so far."""
        return fold(read_events(self.folder.journal_dir), self.folder.stored_sweep().objective)

    def result(self) -> StageResult:
        """The results that the stages after it use."""
        fixed, rates = self.facts.get("fixed", {}), self.facts.get("rates")
        if not self.trains:
            return StageResult(self.stage, fixed, rates=tuple(rates) if rates else None)
        return StageResult(self.stage, fixed, self.folder.stored_sweep(), self.record())


def stage_states(study: StudyFolder) -> list[StageState]:
    """The states of a study's stages, in their order.

    Raises:
        NotAStudy: if a `stage.json` cannot be read.
    """
    return [read_stage_state(study, stage) for stage in study.stored_sweep().stages]


def read_stage_state(study: StudyFolder, stage: Stage) -> StageState:
    """Read the state of one stage.

    Raises:
        NotAStudy: if its `stage.json` cannot be read.
    """
    folder = study.stage(stage.name)
    file = folder.path / FILE
    try:
        return StageState(stage, folder, read_json(file, version=VERSION, kind="stage"))
    except FileNotFoundError:
        return StageState(stage, folder)
    except Unreadable as error:
        raise NotAStudy(str(error)) from None


def begin_stage(
    study: StudyFolder, sweep: Sweep, state: StageState, clock: Callable[[], float]
) -> StageState:
    """Create the study of a stage that trains, derived from the stages before it, unless it exists.

    Args:
        study: the staged study.
        sweep: the staged sweep.
        state: of the stage.
        clock: unix seconds.

    Raises:
        NoWinner: if the stages before it have no result to use.
    """
    if state.trains:
        return state
    past = [earlier.result() for earlier in _before(study, state)]
    derived = derive_stage(_with_paths(sweep, study.path.parent), state.stage, past)
    facts = {"fixed": dict(derived.fixed), "sources": dict(derived.sources), "lines": list(derived.lines)}
    fields = _with_facts(state, {"begun_at": clock(), **facts})
    lines = [f"stage {state.stage.name} of {study.name}, derived from the stages before it", *derived.lines]
    text = as_file(derived.sweep, lines)

    def fill(folder: StudyFolder) -> None:
        keep_code(folder, derived.sweep)
        write_json(folder.path / FILE, "stage", fields)

    StudyFolder.create(
        study.path / "stages", state.stage.name, derived.sweep, text, state.folder.storage_uri, fill=fill
    )
    return read_stage_state(study, state.stage)


def write_stage_state(state: StageState, **facts: Any) -> StageState:
    """Add fields to the `stage.json` of a stage."""
    fields = _with_facts(state, facts)
    state.folder.path.mkdir(parents=True, exist_ok=True)
    write_json(state.folder.path / FILE, "stage", fields)
    return StageState(state.stage, state.folder, fields)


def _with_facts(state: StageState, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": VERSION, "kind": state.stage.kind, **state.facts, **facts}


def end_stage(state: StageState, reason: str, t: float) -> StageState:
    """Record that a stage ended, with its best result; for a validation also its standings.

    Raises:
        NoWinner: if no candidate of a validation was trained to its end.
    """
    if state.stage.kind == "lr_range":
        return write_stage_state(state, ended={"t": t, "reason": reason})
    sweep, record = state.folder.stored_sweep(), state.record()
    if state.stage.kind == "validate":
        race = evaluate_retraining(sweep, record)
        if race.winner is None:
            raise NoWinner(f"{state.folder.path}: no configuration was trained to its end on any seed")
        mean, seeds = race.winner.mean, len(race.winner.seeds)
        reason += f": {race.winner.what}, {sweep.metric} {mean:.6g} over {seeds} seeds"
        return write_stage_state(
            state, ended={"t": t, "reason": reason}, verdict=nan_to_none(race_as_dict(race))
        )
    best = record.best()
    value = None if best is None else best.objective_value(record.objective, sweep.sign)
    if best is not None and value is not None:
        reason += f": trial {best.number}, {sweep.metric} {value:.6g}"
    return write_stage_state(state, ended={"t": t, "reason": reason})


def _before(study: StudyFolder, state: StageState) -> list[StageState]:
    states = stage_states(study)
    names = [each.stage.name for each in states]
    return states[: names.index(state.stage.name)]


def _with_paths(sweep: Sweep, runs: Path) -> Sweep:
    """The sweep with earlier studies by path, since a name in a stage is that of another stage."""
    paths = tuple(str(runs / each) if (runs / each).is_dir() else each for each in sweep.warm_start)
    return sweep.model_copy(update={"warm_start": paths})


@dataclass(frozen=True)
class BestOfStages:
    """The best configuration so far of a staged study.

    Attributes:
        state: of the last search with a result.
        record: of its trials.
        trial: its best trial, or the winner of the validation; None if that is the run as it was.
        value: its metric; the mean over the seeds if it was validated.
        validated: its result in the validation; None before that has ended.
    """

    state: StageState
    record: StudyRecord
    trial: TrialRecord | None
    value: float | None
    validated: Mapping[str, Any] | None = None

    @property
    def where(self) -> str:
        """A description of where it comes from."""
        if self.trial is None:
            origin = "the run as it was"
        else:
            origin = f"trial {self.trial.number} of {self.state.stage.name}"
        return origin + (f", over {len(self.validated['seeds'])} seeds" if self.validated else "")


def best_of_stages(sweep: Sweep, states: Sequence[StageState]) -> BestOfStages | None:
    """The best configuration of the stages so far; None before any trial has reported."""
    searches = [state for state in states if state.stage.searches and state.trains]
    for state in reversed(searches):
        record = state.record()
        best = record.best()
        if best is None:
            continue
        last = states[-1]
        if last.over and last.standings:
            first = last.standings[0]
            number = number_of(first["name"])
            trial = None if number is None else record.trials[trial_id(number)]
            return BestOfStages(state, record, trial, first["mean"], first)
        return BestOfStages(state, record, best, best.objective_value(record.objective, sweep.sign))
    return None


def number_of(candidate: str) -> int | None:
    """The trial number in a candidate's name, `t17` or `t17-last`; None for the baseline."""
    return None if candidate == BASELINE else int(candidate.removeprefix("t").partition("-")[0])


def staged_best(
    study: StudyFolder,
    *,
    trial: str | None = None,
    epochs: int | None = None,
    seeds: int = 5,
    scheduled: bool = False,
) -> tuple[RunConfigFor, str]:
    """The best.yaml of a staged study; arguments and result as of `results.best_config.best_yaml`.

    Raises:
        NoWinner: if no trial has succeeded.
    """
    sweep, states = study.stored_sweep(), stage_states(study)
    best = best_of_stages(sweep, states)
    if best is None:
        raise NoWinner(f"{study.name}: no trial of any stage has succeeded")
    used = _seeds_used(states)
    lines = [f"study {study.name}, stage {best.state.stage.name}"]
    if best.validated and trial is None:
        std = best.validated["std"]
        spread = f"{best.validated['mean']:.6g}" + ("" if std is None else f", std {std:.2g}")
        lines = [f"study {study.name}, stage {states[-1].stage.name}: {best.where}: {sweep.metric} {spread}"]
    if best.trial is None and trial is None:
        base = sweep.in_stage(best.state.stage)
        length = full_length(base, best.record, epochs)
        fresh = fresh_seeds(seeds, [*sweep.run.seeds[:1], *used])
        plain = derive(base, own_values(sweep), "the run as it was", length=length, seeds=fresh)
        derived = runs_anywhere(plain, study.sweep())
        return derived, heading([*lines, "no trial of the search beat it"], study.name) + as_yaml(derived)
    number = trial if trial is not None or best.trial is None else str(best.trial.number)
    last = "-last" in str(best.validated and best.validated["name"])
    scheduled = scheduled or bool(best.validated and best.trial and best.trial.lineage and not last)
    return best_yaml(
        best.state.folder.sweep(),
        best.record,
        best.record.provenance,
        trial=number,
        epochs=epochs,
        seeds=seeds,
        scheduled=scheduled,
        used=used,
        lines=lines,
        notes=best.state.facts["sources"],
        whole=study.name,
    )


def write_staged_best(study: StudyFolder) -> None:
    """Write the staged study's own best.yaml, if any trial has reported."""
    try:
        replace(study.best_file, staged_best(study)[1])
    except NoWinner:
        return


def staged_retraining(
    study: StudyFolder, *, top_k: int = 3, seeds: int = 5, overrides: Sequence[str] = ()
) -> Sweep:
    """The sweep of a staged study's retraining: the best of its last search, ranked by the validation if any.

    Raises:
        NoWinner: if no trial has succeeded.
        SweepError: if an override is invalid.
    """
    sweep, states = study.sweep(), stage_states(study)
    searches = [state.result() for state in states if state.stage.searches and state.trains]
    if not searches:
        raise NoWinner(f"{study.name}: no trial has succeeded; there is nothing to retrain")
    standings = [one["name"] for one in states[-1].standings]
    base, record, candidates = race_candidates(sweep, searches, max(top_k, len(standings)))
    order = {name: rank for rank, name in enumerate(standings)}
    ranked = sorted(candidates, key=lambda each: order.get(each.name, len(order)))
    best = [each for each in ranked if each.name != BASELINE][:top_k]
    field = [*best, *(each for each in ranked if each.name == BASELINE)]
    named = base.model_copy(update={"study_name": sweep.study_name})
    return retraining(named, record, seeds=seeds, overrides=overrides, field=field, used=_seeds_used(states))


def _seeds_used(states: Sequence[StageState]) -> list[int]:
    """The seeds of the validation, if there was one."""
    last = states[-1]
    if last.stage.kind != "validate" or not last.trains:
        return []
    return [int(seed) for seed in last.folder.stored_sweep().sampler.kwargs["seeds"]]
