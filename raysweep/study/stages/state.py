"""A staged study on disk: which stage is over, which is next, and what they have come to.

runs/<study>/stages/NAME/ is a study of its own for every stage that trains, with `stage.json` beside it:
what it was made of, and how it ended. The trials' truth is in each stage's journal, as everywhere.
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
from raysweep.study.stages.derive import StageResult, own_values, racers
from raysweep.study.stages.derive import derive as derive_stage
from raysweep.study.storage.code_snapshot import keep_code
from raysweep.study.storage.files import Unreadable, read_json, replace, write_json
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from schedulers.trial_id import trial_id

VERSION = 1
FILE = "stage.json"


@dataclass(frozen=True)
class StageState:
    """A stage, as far as it has come.

    Attributes:
        stage: its words.
        folder: its study's, or where that will be.
        facts: what `stage.json` says; empty before it begins.
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
        """Whether it has a study of its own, and that was begun."""
        return self.folder.meta_file.exists()

    @property
    def standings(self) -> Sequence[CandidateFields]:
        """Of a validation that is over: its candidates, best first; of any other stage nobody."""
        found: Sequence[CandidateFields] = self.facts.get("verdict", {}).get("standings", [])
        return found

    def record(self) -> StudyRecord:
        """Of its trials so far."""
        return fold(read_events(self.folder.journal_dir), self.folder.wanted().objective)

    def found(self) -> StageResult:
        """What the stages after it may use."""
        fixed, rates = self.facts.get("fixed", {}), self.facts.get("rates")
        if not self.trains:
            return StageResult(self.stage, fixed, rates=tuple(rates) if rates else None)
        return StageResult(self.stage, fixed, self.folder.wanted(), self.record())


def stage_states(study: StudyFolder) -> list[StageState]:
    """The stages of a study in their order.

    Raises:
        NotAStudy: if what is known of one cannot be read.
    """
    return [read_stage_state(study, stage) for stage in study.wanted().stages]


def read_stage_state(study: StudyFolder, stage: Stage) -> StageState:
    """One stage as it stands on disk.

    Raises:
        NotAStudy: if what is known of it cannot be read.
    """
    folder = study.stage(stage.name)
    file = folder.path / FILE
    try:
        return StageState(stage, folder, read_json(file, version=VERSION, kind="stage"))
    except FileNotFoundError:
        return StageState(stage, folder)
    except Unreadable as error:
        raise NotAStudy(str(error)) from None


def begin_stage(study: StudyFolder, sweep: Sweep, part: StageState, clock: Callable[[], float]) -> StageState:
    """Make the folder of a stage that trains, out of what the stages before it found; as it is, if there.

    Args:
        study: the whole.
        sweep: the whole, as asked for.
        part: the stage.
        clock: wall-clock seconds.

    Raises:
        NoWinner: if the stages before it give nothing to go on with.
    """
    if part.trains:
        return part
    past = [earlier.found() for earlier in _before(study, part)]
    derived = derive_stage(_with_paths(sweep, study.path.parent), part.stage, past)
    facts = {"fixed": dict(derived.fixed), "sources": dict(derived.sources), "lines": list(derived.lines)}
    known = _known(part, {"begun_at": clock(), **facts})
    lines = [f"stage {part.stage.name} of {study.name}, made by the stages before it", *derived.lines]
    text = as_file(derived.sweep, lines)

    def fill(folder: StudyFolder) -> None:
        keep_code(folder, derived.sweep)
        write_json(folder.path / FILE, "stage", known)

    StudyFolder.create(
        study.path / "stages", part.stage.name, derived.sweep, text, part.folder.storage_uri, fill=fill
    )
    return read_stage_state(study, part.stage)


def write_stage_state(part: StageState, **facts: Any) -> StageState:
    """Write down more of what is known of a stage."""
    known = _known(part, facts)
    part.folder.path.mkdir(parents=True, exist_ok=True)
    write_json(part.folder.path / FILE, "stage", known)
    return StageState(part.stage, part.folder, known)


def _known(part: StageState, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": VERSION, "kind": part.stage.kind, **part.facts, **facts}


def end_stage(part: StageState, reason: str, t: float) -> StageState:
    """Write down that a stage is over, and with what; of a validation also who won it.

    Raises:
        NoWinner: of a validation in which nobody was trained to the end.
    """
    if part.stage.kind == "lr_range":
        return write_stage_state(part, ended={"t": t, "reason": reason})
    sweep, record = part.folder.wanted(), part.record()
    if part.stage.kind == "validate":
        shown = evaluate_retraining(sweep, record)
        if shown.winner is None:
            raise NoWinner(f"{part.folder.path}: no configuration was trained to its end on any seed")
        mean, seeds = shown.winner.mean, len(shown.winner.seeds)
        what = f"{shown.winner.what}, {sweep.metric} {mean:.6g} over {seeds} seeds"
        return write_stage_state(
            part, ended={"t": t, "reason": f"{reason}: {what}"}, verdict=nan_to_none(race_as_dict(shown))
        )
    best = record.best()
    worth = None if best is None else best.worth(record.objective)
    what = (
        ""
        if best is None or worth is None
        else f": trial {best.number}, {sweep.metric} {sweep.sign * worth:.6g}"
    )
    return write_stage_state(part, ended={"t": t, "reason": reason + what})


def _before(study: StudyFolder, part: StageState) -> list[StageState]:
    parts = stage_states(study)
    names = [each.stage.name for each in parts]
    return parts[: names.index(part.stage.name)]


def _with_paths(sweep: Sweep, runs: Path) -> Sweep:
    """Earlier studies by their paths: a stage's own neighbours are the other stages."""
    places = tuple(str(runs / each) if (runs / each).is_dir() else each for each in sweep.warm_start)
    return sweep.model_copy(update={"warm_start": places})


@dataclass(frozen=True)
class BestOfStages:
    """The best so far of a staged study.

    Attributes:
        part: the last search with a result.
        record: of its trials.
        trial: the best of it, or the one that was validated; None where the run as it was won.
        value: its metric; the mean over the seeds, where it was validated.
        validated: the validation's standing of it; None before.
    """

    part: StageState
    record: StudyRecord
    trial: TrialRecord | None
    value: float | None
    validated: Mapping[str, Any] | None = None

    @property
    def where(self) -> str:
        """Where it comes from, in words."""
        what = (
            "the run as it was"
            if self.trial is None
            else f"trial {self.trial.number} of {self.part.stage.name}"
        )
        return what + (f", over {len(self.validated['seeds'])} seeds" if self.validated else "")


def best_of_stages(sweep: Sweep, parts: Sequence[StageState]) -> BestOfStages | None:
    """The best configuration that the stages know of; None before any trial has reported."""
    searches = [part for part in parts if part.stage.searches and part.trains]
    for part in reversed(searches):
        record = part.record()
        best = record.best()
        if best is None:
            continue
        last = parts[-1]
        if last.over and last.standings:
            first = last.standings[0]
            number = number_of(first["name"])
            trial = None if number is None else record.trials[trial_id(number)]
            return BestOfStages(part, record, trial, first["mean"], first)
        worth = best.worth(record.objective)
        return BestOfStages(part, record, best, None if worth is None else sweep.sign * worth)
    return None


def number_of(candidate: str) -> int | None:
    """The trial of a candidate by its name: `t17`, `t17-last`; None of the baseline."""
    return None if candidate == BASELINE else int(candidate.removeprefix("t").partition("-")[0])


def staged_best(
    study: StudyFolder,
    *,
    trial: str | None = None,
    epochs: int | None = None,
    seeds: int = 5,
    scheduled: bool = False,
) -> tuple[RunConfigFor, str]:
    """The run config of a staged study's best for the full training; see `results.best_config`.

    Raises:
        NoWinner: if no trial has succeeded yet.
    """
    sweep, parts = study.wanted(), stage_states(study)
    best = best_of_stages(sweep, parts)
    if best is None:
        raise NoWinner(f"{study.name}: no trial of any stage has succeeded")
    used = _seeds_used(parts)
    lines = [f"study {study.name}, stage {best.part.stage.name}"]
    if best.validated and trial is None:
        std = best.validated["std"]
        spread = f"{best.validated['mean']:.6g}" + ("" if std is None else f" ± {std:.2g}")
        lines = [f"study {study.name}, stage {parts[-1].stage.name}: {best.where}: {sweep.metric} {spread}"]
    if best.trial is None and trial is None:
        base = sweep.in_stage(best.part.stage)
        length = full_length(base, best.record, epochs)
        fresh = fresh_seeds(seeds, [*sweep.run.seeds[:1], *used])
        plain = derive(base, own_values(sweep), "the run as it was", length=length, seeds=fresh)
        derived = runs_anywhere(plain, study.sweep())
        return derived, heading([*lines, "no trial of the search beat it"], study.name) + as_yaml(derived)
    number = trial if trial is not None or best.trial is None else str(best.trial.number)
    last = "-last" in str(best.validated and best.validated["name"])
    scheduled = scheduled or bool(best.validated and best.trial and best.trial.lineage and not last)
    return best_yaml(
        best.part.folder.sweep(),
        best.record,
        best.record.provenance,
        trial=number,
        epochs=epochs,
        seeds=seeds,
        scheduled=scheduled,
        used=used,
        lines=lines,
        notes=best.part.facts["sources"],
        whole=study.name,
    )


def write_staged_best(study: StudyFolder) -> None:
    """Bring the study's own best.yaml up to date; nothing while no trial has reported."""
    try:
        replace(study.best_file, staged_best(study)[1])
    except NoWinner:
        return


def staged_retraining(
    study: StudyFolder, *, top_k: int = 3, seeds: int = 5, overrides: Sequence[str] = ()
) -> Sweep:
    """The sweep of a staged study's retraining: the best of its last search, as a validation ranks them.

    Raises:
        NoWinner: if no trial has succeeded yet.
        SweepError: if an override cannot be.
    """
    sweep, parts = study.sweep(), stage_states(study)
    searches = [part.found() for part in parts if part.stage.searches and part.trains]
    if not searches:
        raise NoWinner(f"{study.name}: no trial has succeeded; there is nothing to retrain")
    standings = [one["name"] for one in parts[-1].standings]
    base, record, found = racers(sweep, searches, max(top_k, len(standings)))
    order = {name: place for place, name in enumerate(standings)}
    ranked = sorted(found, key=lambda each: order.get(each.name, len(order)))
    best = [each for each in ranked if each.name != BASELINE][:top_k]
    field = [*best, *(each for each in ranked if each.name == BASELINE)]
    named = base.model_copy(update={"study_name": sweep.study_name})
    return retraining(named, record, seeds=seeds, overrides=overrides, field=field, used=_seeds_used(parts))


def _seeds_used(parts: Sequence[StageState]) -> list[int]:
    """The seeds by which a validation has chosen."""
    last = parts[-1]
    if last.stage.kind != "validate" or not last.trains:
        return []
    return [int(seed) for seed in last.folder.wanted().sampler.kwargs["seeds"]]
