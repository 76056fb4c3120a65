"""Estimates what a sweep will cost (epochs, hours, money, disk), or what fits into so many hours.

How many epochs the trial scheduler lets run is found by replaying it: on curves of a stated prior, in an
order that gets better as the sampler learns (so that later trials are stopped less), or on an earlier study's
curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysweep.advice.rule import class_name, is_grid
from raysweep.advice.trial_budget import BLIND
from raysweep.config import Sweep
from raysweep.planning.curve_prior import Draw, searched_curves
from raysweep.planning.earlier_curves import EarlierDraw
from raysweep.planning.strategy import affordable_parameters, recommend
from raysweep.study.results.counterfactual import CannotReplay, make_rule
from schedulers.simulate import CopiesTrials, Replay, replay
from schedulers.stop_audit import AUDIT_SETTINGS

DRAWS = 19
"""Replays, each on its own curves; the least and the most of 19 are an interval of 90%."""

STEPS = 400_000
"""Epochs replayed in total, about, so that a plan takes seconds."""

MOST_EPOCHS = 2_000_000
"""In one replay; a hundred times as many as any sweep of this project runs."""

START_S = 10.0
"""To start Ray, MLflow and the first workers, and to end; the interval takes half of it and twice as much."""

LOADED = 1.5
"""Factor by which an epoch may take longer on cores that others use too."""

EPOCH_OVERHEAD_S = 0.01
"""Of one report, from the trial to the decision."""

TRIAL_OVERHEAD_S = 0.15
RETRAINED, SEEDS = 3, 5
"""How many configurations `launch.py retrain` trains by default, and over how many seeds."""

POPULATION = "a population trains all its epochs: its worst are replaced, not stopped"
ON_A_GPU = "preflight measures how many of these trials keep a GPU busy"
RUNGS_SHOWN = 8
ZEALS = (0.05, 1.0)
"""How much a sampler learns from a trial, from the first replay to the last; see `searched_curves`."""

ALTERNATIVES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("schedulers.FIFO", {}),
    ("schedulers.ASHA", {"reduction_factor": 3}),
)


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate, and the interval it probably lies in."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """The median, the least and the most."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True, slots=True)
class Costs:
    """What a sweep's epochs, hours and checkpoints cost.

    Attributes:
        epoch_s: seconds of an epoch, of one or several configurations.
        slots: trials at once.
        price: of an hour of the whole machine or cluster; None if it is not given.
        checkpoint_mb: of one checkpoint, MiB; None if it is not known.
        gpu_busy: percent of the time for which the trials that share a GPU keep it busy; None if not known.
    """

    epoch_s: tuple[float, ...]
    slots: int
    price: float | None = None
    checkpoint_mb: float | None = None
    gpu_busy: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The estimate for a sweep.

    Attributes:
        trials: configurations.
        worst_epochs: if none is stopped.
        epochs: expected.
        rungs: epoch -> trials that are expected to reach it.
        slots: trials at once.
        epoch_s: seconds of an epoch, the mean.
        seconds: wall-clock, from the command to the summary.
        worst_s: of `worst_epochs`.
        retrain_s: of `launch.py retrain` after it.
        cost: expected; None without a price.
        disk_mb: the most that checkpoints take, MiB; None if their size is not known.
        notes: what was assumed.
    """

    trials: int
    worst_epochs: int
    epochs: Range
    rungs: Mapping[int, float]
    slots: int
    epoch_s: float
    seconds: Range
    worst_s: float
    retrain_s: float
    cost: Range | None
    disk_mb: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What fits into so many hours under one trial scheduler.

    Attributes:
        trial_scheduler: dotted path.
        trials: that fit beside the retraining.
        epochs: of each trial at most.
        share: of those epochs that is expected to run.
    """

    trial_scheduler: str
    trials: int
    epochs: int
    share: float


@dataclass(frozen=True, slots=True)
class Affordable:
    """The recommended use of so many hours.

    Attributes:
        hours: given.
        retrain_s: seconds of them that are set aside for the retraining.
        choices: what fits, by trial scheduler.
        sampler: to search with.
        why: the reason, in one sentence.
        sets: `--set` assignments that apply it.
    """

    hours: float
    retrain_s: float
    choices: tuple[Choice, ...]
    sampler: str
    why: str
    sets: tuple[str, ...]


def plan(sweep: Sweep, costs: Costs, draw: Draw) -> Plan:
    """Estimate what a sweep will cost.

    Args:
        sweep: what would run.
        costs: of its epochs, hours and checkpoints.
        draw: (trials, epochs, generator) -> curves.

    Raises:
        CannotReplay: if the trial scheduler has no rule that can be replayed.
    """
    scheduler = sweep.trial_scheduler
    replays, population = _replays(sweep, scheduler.name, scheduler.kwargs, costs, draw)
    notes: tuple[str, ...] = (POPULATION,) if population else ()
    trials, epochs, mean = sweep.trials, sweep.run.epochs, float(np.mean(costs.epoch_s))
    audited = float(scheduler.kwargs.get("audit_fraction") or 0.0)
    run = [one.epochs + audited * (one.whole - one.epochs) for one in replays]
    factors = [
        epochs_run / one.epochs if one.epochs else 1.0 for epochs_run, one in zip(run, replays, strict=True)
    ]
    trained = [
        one.makespan * factor + trials * TRIAL_OVERHEAD_S / costs.slots
        for one, factor in zip(replays, factors, strict=True)
    ]
    rounds = -(-trials // costs.slots)
    longest = rounds * (epochs * (max(costs.epoch_s) + EPOCH_OVERHEAD_S) + TRIAL_OVERHEAD_S)
    seconds, worst_s = _wall_clock(Range.of(trained)), 2 * START_S + LOADED * longest
    if (budget := sweep.time_budget_s) is not None:
        seconds = Range(*(min(each, budget) for each in (seconds.middle, seconds.low, seconds.high)))
        worst_s = min(worst_s, budget)
        notes += (f"time_budget_s ends it after {budget:g} s",)
    if sweep.stop.target is not None or sweep.stop.no_improvement is not None:
        notes += ("`stop` may end it earlier",)
    if sweep.resources_per_trial.gpu:
        notes += (ON_A_GPU,)
        if costs.gpu_busy is not None:
            notes += (f"trials of this size and share kept a GPU busy for {costs.gpu_busy:.0f}% of the time",)
    price = None if costs.price is None else costs.price / 3600
    return Plan(
        trials=trials,
        worst_epochs=trials * epochs,
        epochs=Range.of(run),
        rungs=_rungs(replays, trials, epochs),
        slots=costs.slots,
        epoch_s=mean,
        seconds=seconds,
        worst_s=worst_s,
        retrain_s=retrain_s(sweep, costs),
        cost=None
        if price is None
        else Range(seconds.middle * price, seconds.low * price, seconds.high * price),
        disk_mb=_disk_mb(sweep, costs, pauses=any(one.pauses for one in replays), copies=population),
        notes=notes,
    )


def affordable(sweep: Sweep, hours: float, costs: Costs, draw: Draw) -> Affordable:
    """What fits into so many hours, with a retraining of the best set aside.

    Args:
        sweep: what would run, except for its `trials`.
        hours: wall-clock.
        costs: of its epochs, hours and checkpoints.
        draw: (trials, epochs, generator) -> curves.

    Raises:
        CannotReplay: if the trial scheduler has no rule that can be replayed.
    """
    reserve = min(retrain_s(sweep, costs), hours * 3600)
    room_s = max(0.0, hours * 3600 - reserve - START_S) * costs.slots
    epoch_s = epoch_seconds(costs)
    own = sweep.trial_scheduler
    choices: dict[str, Choice] = {}
    for name, kwargs in ((own.name, own.kwargs), *ALTERNATIVES):
        if name not in choices:
            replays, _ = _replays(sweep, name, kwargs, costs, draw)
            share = float(np.median([one.epochs for one in replays])) / (sweep.trials * sweep.run.epochs)
            trial_s = trial_seconds(share * sweep.run.epochs, epoch_s)
            choices[name] = Choice(name, int(room_s / trial_s), sweep.run.epochs, share)
    searched = max(len(sweep.search_space), 1)
    most = max(choices.values(), key=lambda choice: choice.trials)
    advised = recommend(searched, hours)
    if most.trials < advised.trials:  # document 003's limits in hours are for long trainings
        advised = recommend(min(searched, affordable_parameters(hours)), hours)
    current = choices[own.name]
    chosen = current if current.trials >= advised.trials else most
    why = advised.why
    if advised.parameters < searched:
        why += f"; {searched} parameters are searched, but the hours are enough for {advised.parameters}"
    if chosen.trials < advised.trials:
        why += f"; {advised.trials} trials are needed, {chosen.trials} fit: use fewer epochs or parameters"
    sets = [f"trials={max(1, min(chosen.trials, advised.trials))}"]
    if advised.sampler != sweep.sampler.name:
        sets.append(f"sampler={advised.sampler}")
    if chosen.trial_scheduler != own.name:
        sets.append(f"trial_scheduler={chosen.trial_scheduler}")
    return Affordable(hours, reserve, tuple(choices.values()), advised.sampler, why, tuple(sets))


def expected_shares(sweep: Sweep, costs: Costs, draw: Draw) -> list[float]:
    """The share of all epochs of all trials that runs, in each replay.

    Raises:
        CannotReplay: if the trial scheduler has no rule that can be replayed.
    """
    scheduler = sweep.trial_scheduler
    replays, _ = _replays(sweep, scheduler.name, scheduler.kwargs, costs, draw)
    return [one.epochs / (sweep.trials * sweep.run.epochs) for one in replays]


def startup_trials(sweep: Sweep) -> int | None:
    """Random trials before the sampler learns from its trials; None for one that never does.

    As `raysweep.search.samplers` fills them in; ten for a sampler without that setting.
    """
    if class_name(sweep.sampler.name) in BLIND or is_grid(sweep) or not sweep.search_space:
        return None
    given = sweep.sampler.kwargs.get("n_startup_trials")
    return given if isinstance(given, int) else max(10, 2 * len(sweep.search_space))


def epoch_seconds(costs: Costs) -> float:
    """Mean seconds of an epoch, including its report."""
    return float(np.mean(costs.epoch_s)) + EPOCH_OVERHEAD_S


def trial_seconds(epochs: float, epoch_s: float) -> float:
    """Seconds of a trial of so many epochs."""
    return epochs * epoch_s + TRIAL_OVERHEAD_S


def _replays(
    sweep: Sweep, name: str, kwargs: Mapping[str, Any], costs: Costs, draw: Draw
) -> tuple[list[Replay], bool]:
    """Replay the trial scheduler, each trial at its own pace in seconds.

    Returns:
        The replays, and whether the scheduler is a population's; then all their trials train to the end.
    """
    trials, epochs = sweep.trials, sweep.run.epochs
    if trials * epochs > MOST_EPOCHS:
        what = f"{trials} trials of {epochs} epochs"
        raise CannotReplay(f"plan: {what} are more than are replayed here ({MOST_EPOCHS} epochs in all)")
    kwargs = {word: value for word, value in kwargs.items() if word not in AUDIT_SETTINGS}
    replays: list[Replay] = []
    population = False
    startup, zeals = startup_trials(sweep), (0.0,)
    draws = max(3, min(DRAWS, STEPS // (trials * epochs)))
    if startup is not None:
        zeals = tuple(np.geomspace(*ZEALS, draws))
    for number in range(draws):
        rng = np.random.default_rng([sweep.seed, number])
        in_order = draw
        if not isinstance(draw, EarlierDraw):  # already in the order of a search
            in_order = searched_curves(draw, startup or 0, zeals[number % len(zeals)])
        curves = in_order(trials, epochs, rng)
        pace = (rng.choice(costs.epoch_s, trials) + EPOCH_OVERHEAD_S).tolist()
        configs = [{key: domain.sample(rng) for key, domain in sweep.space.items()} for _ in range(trials)]
        rule = make_rule(name, kwargs, sweep, trials)
        try:
            one = replay(rule, curves, workers=costs.slots, configs=configs, pace=pace)
        except CopiesTrials:
            rule = make_rule("schedulers.FIFO", {}, sweep, trials)
            one = replay(rule, curves, workers=costs.slots, configs=configs, pace=pace)
            population = True
        except ValueError as error:
            raise CannotReplay(f"{name}: {error}") from None
        replays.append(one)
    return replays, population


def _rungs(replays: Sequence[Replay], trials: int, epochs: int) -> dict[int, float]:
    """Epoch -> trials that reach it, for the epochs at which most are stopped, the first and the last."""
    ends = np.zeros(epochs + 1)
    for one in replays:
        for epoch, _ in one.stopped.values():
            ends[epoch] += 1 / len(replays)
    often = sorted(int(epoch) for epoch in np.argsort(-ends)[: RUNGS_SHOWN - 2] if ends[epoch] >= 0.5)
    levels = sorted({1, *often, epochs})
    return {level: float(trials - ends[:level].sum()) for level in levels}


def _wall_clock(trained: Range) -> Range:
    """Wall-clock seconds, from the seconds that slots are busy."""
    return Range(START_S + trained.middle, START_S / 2 + trained.low, 2 * START_S + LOADED * trained.high)


def retrain_s(sweep: Sweep, costs: Costs) -> float:
    """Seconds of `launch.py retrain` with its defaults, if it drops no configuration."""
    rounds = -(-RETRAINED * SEEDS // costs.slots)
    return START_S + rounds * sweep.run.epochs * epoch_seconds(costs)


def _disk_mb(sweep: Sweep, costs: Costs, *, pauses: bool, copies: bool) -> float | None:
    """The checkpoints' MiB: every trial's last (a study can be extended), and the newest of running trials.

    If the rule pauses trials, each has its newest too; if trials copy others, one more.
    """
    if costs.checkpoint_mb is None:
        return None
    config = sweep.run.checkpoint_config
    running = config.keep_last_k + config.save_best if config.enabled else 2
    ended = 1 + config.save_best if config.enabled else 1
    kept = running + copies if pauses or copies else ended
    return costs.checkpoint_mb * (sweep.trials * kept + costs.slots * running)
