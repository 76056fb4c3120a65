"""Derives the sweep of a stage from the stages before it; a pure function of the sweep and their records.

A stage is a sweep of its own: the user's sweep with the stage's settings, its run at the best values so far,
and its search space narrowed. The trials of the last search are passed on by `warm_start`, and nothing else.
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
from raysweep.study.stages.narrow_space import (
    NarrowedSpace,
    active,
    narrow,
    narrowings,
    with_domains,
    with_fixed,
)
from schedulers.space import Categorical, Domain, Float
from trainables.run_config import RunConfig, flatten, overlay


@dataclass(frozen=True, slots=True)
class StageResult:
    """The result of an ended stage.

    Attributes:
        stage: its section of the sweep file.
        fixed: values of searched parameters that it did not search.
        sweep: of the stage; None for a range test.
        record: of its trials; None for a range test.
        rates: lowest and highest learning rate worth searching, and the steepest point; None for a search.
    """

    stage: Stage
    fixed: Mapping[str, Any] = field(default_factory=dict)
    sweep: Sweep | None = None
    record: StudyRecord | None = None
    rates: tuple[float, float, float] | None = None

    def config(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's whole configuration: fixed and searched values."""
        return {**self.fixed, **searched(flat)}


@dataclass(frozen=True, slots=True)
class StageSweep:
    """The derived sweep of a stage.

    Attributes:
        sweep: to run.
        fixed: values of searched parameters that it does not search.
        sources: by key, where each of these comes from.
        lines: how it was derived from the stages before it, one line each.
    """

    sweep: Sweep
    fixed: Mapping[str, Any]
    sources: Mapping[str, str]
    lines: tuple[str, ...]


def derive(sweep: Sweep, stage: Stage, past: Sequence[StageResult]) -> StageSweep:
    """Derive the sweep of a stage.

    Args:
        sweep: the staged sweep.
        stage: a stage of it, but no range test, which is no sweep.
        past: results of the stages before it, oldest first.

    Raises:
        NoWinner: if it is a validation and no trial has succeeded.
    """
    if stage.kind == "validate":
        return _validation(sweep, stage, past)
    keys = tuned(stage, tuple(sweep.search_space))
    best = best_config(sweep, past)
    best = {key: value for key, value in best.items() if key not in stage.own_run()}
    changes = _changes(sweep, stage, keys, past)
    declared = {key: sweep.search_space[key] for key in keys}
    space = with_fixed(with_domains(declared, changes), keys, {**own_values(sweep), **best})
    fixed = {key: value for key, value in best.items() if key not in space}
    bare = sweep.in_stage(stage)
    first = not any(earlier.stage.searches for earlier in past)
    points = [_restrict_point(point, space) for point in sweep.points_to_evaluate] if first else []
    fields = bare.model_dump(mode="json") | {
        "study_name": name_of(sweep, stage),
        "tracking": sweep.tracking_of_parts,
        "seed": seed_of(sweep, stage),
        "run": overlay(bare.run.model_dump(mode="json"), best),
        "search_space": space,
        "baseline": sweep.baseline or not first,
        "points_to_evaluate": points,
        "warm_start": sweep.warm_start if first else [_searches(past)[-1].stage.name],
    }
    sources = {key: _source(key, past) for key in fixed}
    lines = [
        *(f"{key} = {setting(value)}, {sources[key]}" for key, value in fixed.items()),
        *map(describe_change, changes),
        *(f"{key}: not searched, for its condition cannot hold" for key in declared if key not in space),
    ]
    return StageSweep(Sweep.model_validate(fields), fixed, sources, tuple(lines))


def name_of(sweep: Sweep, stage: Stage) -> str:
    """The name of a stage's study, for MLflow and the summary."""
    return f"{sweep.study_name[: 99 - len(stage.name)]}_{stage.name}"


def seed_of(sweep: Sweep, stage: Stage) -> int:
    """A stage's seed, from the sweep's seed and its own name; other stages do not change it."""
    digest = hashlib.sha256(f"{sweep.seed}/{stage.name}".encode()).digest()
    return int.from_bytes(digest[:4])


def best_config(sweep: Sweep, past: Sequence[StageResult]) -> dict[str, Any]:
    """The best values so far of the searched parameters; the run's own where no stage has searched them."""
    config = own_values(sweep)
    for earlier in past:
        best = earlier.record.best() if earlier.record is not None and earlier.stage.searches else None
        if earlier.rates is not None:
            config[LR] = earlier.rates[2]
        elif best is not None:
            config |= earlier.config(best.config)
    return active(sweep.search_space, config)


def range_test_sweep(sweep: Sweep, stage: Stage, past: Sequence[StageResult]) -> Sweep:
    """The sweep whose run a range test trains: with the stage's settings, at the best values so far."""
    bare = sweep.in_stage(stage)
    run = overlay(bare.run.model_dump(mode="json"), best_config(sweep, past))
    return bare.model_copy(update={"run": RunConfig.model_validate(run)})


def own_values(sweep: Sweep) -> dict[str, Any]:
    """The run's own values of the searched parameters."""
    run = sweep.run.model_dump(mode="json")
    flat = {**run, **flatten(run)}
    return {key: flat[key] for key in sweep.search_space if key in flat}


def _searches(past: Sequence[StageResult]) -> list[StageResult]:
    return [earlier for earlier in past if earlier.stage.searches]


def _changes(
    sweep: Sweep, stage: Stage, keys: Sequence[str], past: Sequence[StageResult]
) -> list[NarrowedSpace]:
    """The change of each parameter that the stage searches: by a range test, or around the best trials."""
    declared = {key: sweep.search_space[key] for key in keys}
    rates = next((earlier.rates for earlier in reversed(past) if earlier.rates is not None), None)
    if stage.kind == "refine":
        around = {key: best_of(sweep, key, past, stage.top) for key in keys}
        changes = narrowings(declared, around, stage.margin)
    else:
        changes = [change for change in narrowings(declared, {}, 0.0) if change.key == LR and rates]
    return [_apply_range_test(change, rates) if change.key == LR else change for change in changes]


def _apply_range_test(change: NarrowedSpace, rates: tuple[float, float, float] | None) -> NarrowedSpace:
    """The learning rate's range by the range test, unless trials have narrowed it."""
    domain = change.before
    if rates is None or change.values or not isinstance(domain, Float):
        return change
    low, high = max(rates[0], domain.low), min(rates[1], domain.high)
    return NarrowedSpace(change.key, domain, narrow(domain, (low, high), 0.0), (), change.when)


def best_of(sweep: Sweep, key: str, past: Sequence[StageResult], top: int) -> list[dict[str, Any]]:
    """Configurations of the best trials of the last stage that searched a parameter."""
    for earlier in reversed(_searches(past)):
        if earlier.sweep is not None and earlier.record is not None and key in earlier.sweep.search_space:
            best = ranking(earlier.sweep, earlier.record)[:top]
            return [earlier.config(trial.config) for trial in best]
    return []


def _restrict_point(point: Mapping[str, Any], space: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of a point that lie in a search space."""
    return {key: value for key, value in point.items() if key in space and space[key].domain.contains(value)}


def race_candidates(
    sweep: Sweep, past: Sequence[StageResult], top: int
) -> tuple[Sweep, StudyRecord, list[Candidate]]:
    """The candidates for a training over several seeds: the best of the last search, and the run as it was.

    Returns:
        The sweep of the last search, with the user's own run; its record; the candidates.
    """
    last = _searches(past)[-1]
    assert last.sweep is not None
    assert last.record is not None
    candidates = [_whole_candidate(each, last) for each in top_of(last.sweep, last.record, top)]
    own = active(sweep.search_space, own_values(sweep))
    if own and own not in [each.config for each in candidates]:
        candidates.append(Candidate(BASELINE, own, "the run as it was"))
    return sweep.in_stage(last.stage), last.record, candidates


def _whole_candidate(candidate: Candidate, last: StageResult) -> Candidate:
    """A candidate with all its values; the stage's own baseline is named like any other trial."""
    name = f"t{candidate.trial}" if candidate.name == BASELINE else candidate.name
    what = f"{candidate.what.replace(BASELINE, f'trial {candidate.trial}')} of {last.stage.name}"
    return Candidate(name, last.config(candidate.config), what, candidate.trial, candidate.value)


def _validation(sweep: Sweep, stage: Stage, past: Sequence[StageResult]) -> StageSweep:
    """The sweep of a validation: the last search's best and the run as it was, over several seeds."""
    base, record, field = race_candidates(sweep, past, stage.top)
    whole = sweep.in_stage(stage)
    epochs = stage.run.get("epochs", base.run.epochs)
    overrides = [f"run.epochs={epochs}"]
    race = retraining(base, record, seeds=stage.seeds, overrides=overrides, field=field)
    fields = race.model_dump(mode="json") | {
        "study_name": name_of(sweep, stage),
        "tracking": sweep.tracking_of_parts,
        "seed": seed_of(sweep, stage),
        "run": overlay(race.run.model_dump(mode="json"), stage.own_run()),
        "max_concurrent_trials": whole.max_concurrent_trials,
        "max_failures": whole.max_failures,
        "trial_timeout_s": whole.trial_timeout_s,
        "time_budget_s": stage.time_budget_s,
    }
    best = f"the best of {_searches(past)[-1].stage.name}, and the run as it was"
    line = f"{len(field)} configurations over {stage.seeds} seeds: {best}"
    return StageSweep(Sweep.model_validate(fields), {}, {}, (line,))


def describe_change(change: NarrowedSpace) -> str:
    """One line on how a parameter's domain has changed."""
    name = change.key + (f" ({', '.join(map(setting, change.when.values()))})" if change.when else "")
    before, after = describe_domain(change.before), describe_domain(change.after)
    if change.values and change.before == change.after:
        return f"{name}: {before}, unchanged: the best {len(change.values)} are spread over all of it"
    if change.values:
        return f"{name}: {before} -> {after}, around the best {len(change.values)}"
    if change.before == change.after:
        return f"{name}: {before}, unchanged: no earlier trial narrows it"
    return f"{name}: {before} -> {after}, by the range test"


def describe_domain(domain: Domain) -> str:
    """A short description of a domain.

    >>> describe_domain(Float(1e-4, 0.1, log=True))
    '0.0001..0.1 log'
    """
    if isinstance(domain, Categorical):
        return " ".join(map(setting, domain.choices))
    return f"{domain.low:.3g}..{domain.high:.3g}" + (" log" if domain.log else "")


def _source(key: str, past: Sequence[StageResult]) -> str:
    """Where the best value so far of a parameter comes from."""
    source = "as in the run"
    for earlier in past:
        if earlier.rates is not None and key == LR:
            source = f"the steepest point of {earlier.stage.name}"
        elif earlier.sweep is not None and earlier.record is not None and key in earlier.sweep.search_space:
            best = earlier.record.best()
            source = f"trial {best.number} of {earlier.stage.name}" if best is not None else source
    return source
