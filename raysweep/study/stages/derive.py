"""What a stage is, given the stages before it. Pure: the same sweep and the same records, the same stage.

A stage is a sweep of its own: the user's, with the stage's words laid over it, its run at the best values
found so far, its space narrowed. Nothing else carries over but the last search's trials, by `warm_start`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysweep.config import Sweep
from raysweep.config.parameter import Parameter
from raysweep.config.stage import LR, Stage, tuned
from raysweep.config.trial_config import searched
from raysweep.formatting import setting
from raysweep.study.journal.records import StudyRecord
from raysweep.study.results.retrain import Candidate, ranking, retraining, top_of
from raysweep.study.results.seed_race import BASELINE
from raysweep.study.stages.narrow_space import NarrowedSpace, active, given, narrow, narrowings, rebuilt
from schedulers.space import Categorical, Domain, Float
from trainables.run_config import RunConfig, flatten, overlay


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage that is over has found.

    Attributes:
        stage: its words.
        fixed: values of searched parameters that it left alone.
        sweep: that it was; None of a range test.
        record: of its trials; None of a range test.
        rates: lowest and highest rate worth searching, and the steepest point; None of a search.
    """

    stage: Stage
    fixed: Mapping[str, Any] = field(default_factory=dict)
    sweep: Sweep | None = None
    record: StudyRecord | None = None
    rates: tuple[float, float, float] | None = None

    def config(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's whole configuration: what was fixed, and what was searched."""
        return {**self.fixed, **searched(flat)}


@dataclass(frozen=True, slots=True)
class StageSweep:
    """A stage ready to be run.

    Attributes:
        sweep: to run.
        fixed: values of searched parameters that it leaves alone.
        sources: where each of these comes from, in words.
        lines: what was made of the stages before it, in words.
    """

    sweep: Sweep
    fixed: Mapping[str, Any]
    sources: Mapping[str, str]
    lines: tuple[str, ...]


def derive(sweep: Sweep, stage: Stage, past: Sequence[StageResult]) -> StageSweep:
    """The sweep of a stage.

    Args:
        sweep: the whole, as asked for.
        stage: of it; no range test, which is no sweep.
        past: the stages before it, oldest first.

    Raises:
        NoWinner: of a validation, if nothing has succeeded.
    """
    if stage.kind == "validate":
        return _validation(sweep, stage, past)
    keys = tuned(stage, tuple(sweep.search_space))
    best = best_config(sweep, past)
    best = {key: value for key, value in best.items() if key not in stage.own_run()}
    changes = _changes(sweep, stage, keys, past)
    declared = {key: sweep.search_space[key] for key in keys}
    space = given(rebuilt(declared, changes), keys, {**own_values(sweep), **best})
    fixed = {key: value for key, value in best.items() if key not in space}
    bare = sweep.in_stage(stage)
    first = not any(earlier.stage.searches for earlier in past)
    words = bare.model_dump(mode="json") | {
        "study_name": name_of(sweep, stage),
        "tracking": sweep.tracking_of_parts,
        "seed": seed_of(sweep, stage),
        "run": overlay(bare.run.model_dump(mode="json"), best),
        "search_space": space,
        "baseline": sweep.baseline or not first,
        "points_to_evaluate": [_part(point, space) for point in sweep.points_to_evaluate] if first else [],
        "warm_start": sweep.warm_start if first else [_searches(past)[-1].stage.name],
    }
    sources = {key: _source(key, past) for key in fixed}
    held = [f"{key} = {setting(value)}, {sources[key]}" for key, value in fixed.items()]
    lines = [*held, *map(line_of, changes), *_dropped(declared, space)]
    return StageSweep(Sweep.model_validate(words), fixed, sources, tuple(lines))


def name_of(sweep: Sweep, stage: Stage) -> str:
    """The name of a stage's study, for MLflow and the summary."""
    return f"{sweep.study_name[: 99 - len(stage.name)]}_{stage.name}"


def seed_of(sweep: Sweep, stage: Stage) -> int:
    """A stage's seed: its own, from the sweep's one; a stage put before it changes nothing."""
    digest = hashlib.sha256(f"{sweep.seed}/{stage.name}".encode()).digest()
    return int.from_bytes(digest[:4])


def best_config(sweep: Sweep, past: Sequence[StageResult]) -> dict[str, Any]:
    """The best values known of what is searched; the run's own, where nothing better is."""
    config = own_values(sweep)
    for earlier in past:
        best = earlier.record.best() if earlier.record is not None and earlier.stage.searches else None
        if earlier.rates is not None:
            config[LR] = earlier.rates[2]
        elif best is not None:
            config |= earlier.config(best.config)
    return active(sweep.search_space, config)


def to_be_tested(sweep: Sweep, stage: Stage, past: Sequence[StageResult]) -> Sweep:
    """The sweep whose run a range test trains: under the stage's words, at the best values so far."""
    bare = sweep.in_stage(stage)
    run = overlay(bare.run.model_dump(mode="json"), best_config(sweep, past))
    return bare.model_copy(update={"run": RunConfig.model_validate(run)})


def own_values(sweep: Sweep) -> dict[str, Any]:
    """What the run has for itself of what is searched."""
    run = sweep.run.model_dump(mode="json")
    flat = {**run, **flatten(run)}
    return {key: flat[key] for key in sweep.search_space if key in flat}


def _searches(past: Sequence[StageResult]) -> list[StageResult]:
    return [earlier for earlier in past if earlier.stage.searches]


def _changes(
    sweep: Sweep, stage: Stage, keys: Sequence[str], past: Sequence[StageResult]
) -> list[NarrowedSpace]:
    """What becomes of each parameter that the stage searches: by a range test, or around the best."""
    declared = {key: sweep.search_space[key] for key in keys}
    rates = next((earlier.rates for earlier in reversed(past) if earlier.rates is not None), None)
    if stage.kind == "refine":
        around = {key: best_of(sweep, key, past, stage.top) for key in keys}
        changes = narrowings(declared, around, stage.margin)
    else:
        changes = [change for change in narrowings(declared, {}, 0.0) if change.key == LR and rates]
    return [_tested(change, rates) if change.key == LR else change for change in changes]


def _tested(change: NarrowedSpace, rates: tuple[float, float, float] | None) -> NarrowedSpace:
    """A learning rate's range as the range test has it, where no trial has narrowed it."""
    domain = change.before
    if rates is None or change.values or not isinstance(domain, Float):
        return change
    low, high = max(rates[0], domain.low), min(rates[1], domain.high)
    return NarrowedSpace(change.key, domain, narrow(domain, (low, high), 0.0), (), change.when)


def best_of(sweep: Sweep, key: str, past: Sequence[StageResult], top: int) -> list[dict[str, Any]]:
    """Configurations of the best trials of the last search that searched a parameter."""
    for earlier in reversed(_searches(past)):
        if earlier.sweep is not None and earlier.record is not None and key in earlier.sweep.search_space:
            best = ranking(earlier.sweep, earlier.record)[:top]
            return [earlier.config(trial.config) for trial in best]
    return []


def _part(point: Mapping[str, Any], space: Mapping[str, Parameter]) -> dict[str, Any]:
    """What of a point a stage searches."""
    return {key: value for key, value in point.items() if key in space and space[key].domain.contains(value)}


def racers(sweep: Sweep, past: Sequence[StageResult], top: int) -> tuple[Sweep, StudyRecord, list[Candidate]]:
    """The best of the last search as candidates for a training over several seeds, and the run as it was.

    Returns:
        The sweep that they were searched with, its run the user's own; the record; the candidates.
    """
    last = _searches(past)[-1]
    assert last.sweep is not None
    assert last.record is not None
    found = [_as_racer(each, last) for each in top_of(last.sweep, last.record, top)]
    own = active(sweep.search_space, own_values(sweep))
    if own and own not in [each.config for each in found]:
        found.append(Candidate(BASELINE, own, "the run as it was"))
    return sweep.in_stage(last.stage), last.record, found


def _as_racer(candidate: Candidate, last: StageResult) -> Candidate:
    """A candidate with all its values. A stage's own baseline is a trial like any other to the race."""
    name = f"t{candidate.trial}" if candidate.name == BASELINE else candidate.name
    what = f"{candidate.what.replace(BASELINE, f'trial {candidate.trial}')} of {last.stage.name}"
    return Candidate(name, last.config(candidate.config), what, candidate.trial, candidate.value)


def _validation(sweep: Sweep, stage: Stage, past: Sequence[StageResult]) -> StageSweep:
    """The last search's best and the run as it was, over several seeds, all of them to their end."""
    base, record, field = racers(sweep, past, stage.top)
    whole = sweep.in_stage(stage)
    epochs = stage.run.get("epochs", base.run.epochs)
    overrides = [f"run.epochs={epochs}"]
    race = retraining(base, record, seeds=stage.seeds, overrides=overrides, field=field)
    words = race.model_dump(mode="json") | {
        "study_name": name_of(sweep, stage),
        "tracking": sweep.tracking_of_parts,
        "seed": seed_of(sweep, stage),
        "run": overlay(race.run.model_dump(mode="json"), stage.own_run()),
        **{
            word: getattr(whole, word)
            for word in ("max_concurrent_trials", "max_failures", "trial_timeout_s")
        },
        "time_budget_s": stage.time_budget_s,
    }
    best = f"the best of {_searches(past)[-1].stage.name}, and the run as it was"
    line = f"{len(field)} configurations over {stage.seeds} seeds: {best}"
    return StageSweep(Sweep.model_validate(words), {}, {}, (line,))


def line_of(change: NarrowedSpace) -> str:
    """What became of a parameter, in words."""
    name = change.key + (f" ({', '.join(map(setting, change.when.values()))})" if change.when else "")
    before, after = ranged(change.before), ranged(change.after)
    if change.values and change.before == change.after:
        return f"{name}: {before} stays: the best {len(change.values)} lie all over it"
    if change.values:
        return f"{name}: {before} -> {after}, around the best {len(change.values)}"
    if change.before == change.after:
        return f"{name}: {before} as it stands: no trial before it says more"
    return f"{name}: {before} -> {after}, by the range test"


def ranged(domain: Domain) -> str:
    """A domain in a few words.

    >>> ranged(Float(1e-4, 0.1, log=True))
    '0.0001..0.1 log'
    """
    if isinstance(domain, Categorical):
        return " ".join(map(setting, domain.choices))
    return f"{domain.low:.3g}..{domain.high:.3g}" + (" log" if domain.log else "")


def _source(key: str, past: Sequence[StageResult]) -> str:
    """Where the best value known of a parameter comes from."""
    source = "as the run has it"
    for earlier in past:
        if earlier.rates is not None and key == LR:
            source = f"the steepest point of {earlier.stage.name}"
        elif earlier.sweep is not None and earlier.record is not None and key in earlier.sweep.search_space:
            best = earlier.record.best()
            source = f"trial {best.number} of {earlier.stage.name}" if best is not None else source
    return source


def _dropped(declared: Mapping[str, Parameter], space: Mapping[str, Parameter]) -> list[str]:
    return [f"{key}: not searched, for its condition cannot hold" for key in declared if key not in space]
