"""What a sweep will come to before it runs: epochs, hours, cost and disk, or what so many hours hold.

How many epochs the trial scheduler lets run is seen by replaying it on curves of a stated prior, in an order
that gets better as the sampler learns (later trials are then stopped less), or on an earlier study's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
from schedulers.stop_audit import AUDIT_WORDS

DRAWS = 9
"""Replays, each on curves of its own; the least and most of nine are an interval of about 80%."""

STEPS = 400_000
"""Epochs replayed in all, about: a plan is made in seconds."""

MOST_EPOCHS = 2_000_000
"""In one replay; a hundred times as many as any sweep of this project runs."""

START_S = 10.0
"""Ray, MLflow and the first workers, and in the end the summary; half of it or twice as much."""

LOADED = 1.5
"""Times an epoch may take longer than it was seen to, on cores that others use too."""

EPOCH_OVERHEAD_S = 0.01
"""Of one report, from the trial to the decision."""

TRIAL_OVERHEAD_S = 0.15
RETRAINED, SEEDS = 3, 5
"""What `launch.py retrain` trains by default: so many configurations over so many seeds."""

POPULATION = "a population trains all its epochs: its worst are replaced, not stopped"
ON_A_GPU = "how many of these trials keep a GPU busy is measured by preflight, by the time of their epochs"
RUNGS_SHOWN = 8
ZEALS = (0.5, 1.0)
"""What a sampler that learns makes of a trial, from the first replay to the last; see `searched_curves`."""

ALTERNATIVES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("schedulers.FIFO", {}),
    ("schedulers.ASHA", {"reduction_factor": 3}),
)


@dataclass(frozen=True, slots=True)
class Range:
    """An expectation, and the interval it is likely in."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """The median, the least and the most."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True, slots=True)
class Costs:
    """What things take.

    Attributes:
        epoch_s: seconds of an epoch, of one or several configurations.
        slots: trials at once.
        price: of an hour of the whole machine or cluster; None if it is not said.
        checkpoint_mb: of one checkpoint, MiB; None if it is not known.
    """

    epoch_s: tuple[float, ...]
    slots: int
    price: float | None = None
    checkpoint_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep will come to.

    Attributes:
        trials: configurations.
        worst_epochs: if none is stopped.
        epochs: expected.
        rungs: epoch -> trials that are expected to train beyond it, or end there with the run.
        slots: trials at once.
        epoch_s: seconds of an epoch, the mean.
        seconds: wall-clock, from the command to the summary.
        worst_s: of `worst_epochs`.
        retrain_s: of `launch.py retrain` after it.
        cost: expected; None without a price.
        disk_mb: checkpoints at their most, MiB; None if their size is not known.
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

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """What so many hours hold under a trial scheduler.

    Attributes:
        trial_scheduler: dotted path.
        trials: that fit, the retraining set aside.
        epochs: of each trial at most.
        share: of those epochs, that is expected to be run.
    """

    trial_scheduler: str
    trials: int
    epochs: int
    share: float


@dataclass(frozen=True, slots=True)
class Affordable:
    """What to do with so many hours.

    Attributes:
        hours: given.
        retrain_s: of them, seconds set aside for the retraining.
        choices: what fits, by trial scheduler.
        sampler: to search with.
        why: the reason, in a sentence.
        sets: the `--set` that does it.
    """

    hours: float
    retrain_s: float
    choices: tuple[Choice, ...]
    sampler: str
    why: str
    sets: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self)


def plan(sweep: Sweep, costs: Costs, draw: Draw) -> Plan:
    """What the sweep will come to.

    Args:
        sweep: what would run.
        costs: what things take.
        draw: (trials, epochs, generator) -> curves.

    Raises:
        CannotReplay: if the trial scheduler has no rule that could be replayed.
    """
    scheduler = sweep.trial_scheduler
    seen, population = _replays(sweep, scheduler.name, scheduler.kwargs, costs, draw)
    notes: tuple[str, ...] = (POPULATION,) if population else ()
    trials, epochs, mean = sweep.trials, sweep.run.epochs, float(np.mean(costs.epoch_s))
    audited = float(scheduler.kwargs.get("audit_fraction") or 0.0)
    run = [one.epochs + audited * (one.whole - one.epochs) for one in seen]
    longer = [ran / one.epochs if one.epochs else 1.0 for ran, one in zip(run, seen, strict=True)]
    trained = [
        one.makespan * more + trials * TRIAL_OVERHEAD_S / costs.slots
        for one, more in zip(seen, longer, strict=True)
    ]
    rounds = -(-trials // costs.slots)
    longest = rounds * (epochs * (max(costs.epoch_s) + EPOCH_OVERHEAD_S) + TRIAL_OVERHEAD_S)
    took, worst_s = _wall_clock(Range.of(trained)), 2 * START_S + LOADED * longest
    if (budget := sweep.time_budget_s) is not None:
        took = Range(*(min(each, budget) for each in (took.middle, took.low, took.high)))
        worst_s = min(worst_s, budget)
        notes += (f"time_budget_s ends it after {budget:g} s",)
    if sweep.stop.target is not None or sweep.stop.no_improvement is not None:
        notes += ("`stop` may end it earlier",)
    if sweep.resources_per_trial.gpu:
        notes += (ON_A_GPU,)
    price = None if costs.price is None else costs.price / 3600
    return Plan(
        trials=trials,
        worst_epochs=trials * epochs,
        epochs=Range.of(run),
        rungs=_rungs(seen, trials, epochs),
        slots=costs.slots,
        epoch_s=mean,
        seconds=took,
        worst_s=worst_s,
        retrain_s=retrain_s(sweep, costs),
        cost=None if price is None else Range(took.middle * price, took.low * price, took.high * price),
        disk_mb=_disk_mb(sweep, costs, waits=any(one.pauses for one in seen), copies=population),
        notes=notes,
    )


def affordable(sweep: Sweep, hours: float, costs: Costs, draw: Draw) -> Affordable:
    """What fits into so many hours, with enough of them left to retrain the best.

    Args:
        sweep: what would run; its trials have no say.
        hours: wall-clock.
        costs: what things take.
        draw: (trials, epochs, generator) -> curves.

    Raises:
        CannotReplay: if the trial scheduler has no rule that could be replayed.
    """
    reserve = min(retrain_s(sweep, costs), hours * 3600)
    room_s = max(0.0, hours * 3600 - reserve - START_S) * costs.slots
    epoch_s = epoch_seconds(costs)
    own = sweep.trial_scheduler
    choices: dict[str, Choice] = {}
    for name, kwargs in ((own.name, own.kwargs), *ALTERNATIVES):
        if name not in choices:
            seen, _ = _replays(sweep, name, kwargs, costs, draw)
            share = float(np.median([one.epochs for one in seen])) / (sweep.trials * sweep.run.epochs)
            trial_s = trial_seconds(share * sweep.run.epochs, epoch_s)
            choices[name] = Choice(name, int(room_s / trial_s), sweep.run.epochs, share)
    searched = max(len(sweep.search_space), 1)
    most = max(choices.values(), key=lambda choice: choice.trials)
    advised = recommend(searched, hours)
    if most.trials < advised.trials:  # document 003's hours are those of trainings that take long
        advised = recommend(min(searched, affordable_parameters(hours)), hours)
    kept = choices[own.name]
    chosen = kept if kept.trials >= advised.trials else most
    why = advised.why
    if advised.parameters < searched:
        why += f"; {searched} parameters are searched, so many hours are enough for {advised.parameters}"
    if chosen.trials < advised.trials:
        why += f"; {advised.trials} trials would be wanted, {chosen.trials} fit: fewer epochs or parameters"
    sets = [f"trials={max(1, min(chosen.trials, advised.trials))}"]
    if advised.sampler != sweep.sampler.name:
        sets.append(f"sampler={advised.sampler}")
    if chosen.trial_scheduler != own.name:
        sets.append(f"trial_scheduler={chosen.trial_scheduler}")
    return Affordable(hours, reserve, tuple(choices.values()), advised.sampler, why, tuple(sets))


def expected_shares(sweep: Sweep, costs: Costs, draw: Draw) -> list[float]:
    """Of all epochs of all trials, the share that runs, in each replay.

    Raises:
        CannotReplay: if the trial scheduler has no rule that could be replayed.
    """
    scheduler = sweep.trial_scheduler
    seen, _ = _replays(sweep, scheduler.name, scheduler.kwargs, costs, draw)
    return [one.epochs / (sweep.trials * sweep.run.epochs) for one in seen]


def startup_trials(sweep: Sweep) -> int | None:
    """Trials before the sampler learns from any; None for one that never does.

    As `raysweep.search.samplers` fills them in; ten of a sampler that does not say.
    """
    if class_name(sweep.sampler.name) in BLIND or is_grid(sweep) or not sweep.search_space:
        return None
    given = sweep.sampler.kwargs.get("n_startup_trials")
    return given if isinstance(given, int) else max(10, 2 * len(sweep.search_space))


def epoch_seconds(costs: Costs) -> float:
    """Of one epoch, its report included."""
    return float(np.mean(costs.epoch_s)) + EPOCH_OVERHEAD_S


def trial_seconds(epochs: float, epoch_s: float) -> float:
    """Of one trial of so many epochs."""
    return epochs * epoch_s + TRIAL_OVERHEAD_S


def _replays(
    sweep: Sweep, name: str, kwargs: Mapping[str, Any], costs: Costs, draw: Draw
) -> tuple[list[Replay], bool]:
    """The trial scheduler's replays, each trial at a pace of its own in seconds.

    Also whether it is a population's; then they are of trials that all train to their end.
    """
    trials, epochs = sweep.trials, sweep.run.epochs
    if trials * epochs > MOST_EPOCHS:
        what = f"{trials} trials of {epochs} epochs"
        raise CannotReplay(f"plan: {what} are more than are replayed here ({MOST_EPOCHS} epochs in all)")
    words = {word: value for word, value in kwargs.items() if word not in AUDIT_WORDS}
    found: list[Replay] = []
    population = False
    startup, zeals = startup_trials(sweep), (0.0,)
    draws = max(3, min(DRAWS, STEPS // (trials * epochs)))
    if startup is not None:
        zeals = tuple(np.geomspace(*ZEALS, draws))
    for number in range(draws):
        rng = np.random.default_rng([sweep.seed, number])
        searched = draw
        if not isinstance(draw, EarlierDraw):  # whose order is that of a search already
            searched = searched_curves(draw, startup or 0, zeals[number % len(zeals)])
        curves = searched(trials, epochs, rng)
        pace = (rng.choice(costs.epoch_s, trials) + EPOCH_OVERHEAD_S).tolist()
        configs = [{key: domain.sample(rng) for key, domain in sweep.space.items()} for _ in range(trials)]
        rule = make_rule(name, words, sweep, trials)
        try:
            seen = replay(rule, curves, workers=costs.slots, configs=configs, pace=pace)
        except CopiesTrials:
            rule = make_rule("schedulers.FIFO", {}, sweep, trials)
            seen = replay(rule, curves, workers=costs.slots, configs=configs, pace=pace)
            population = True
        except ValueError as error:
            raise CannotReplay(f"{name}: {error}") from None
        found.append(seen)
    return found, population


def _rungs(seen: Sequence[Replay], trials: int, epochs: int) -> dict[int, float]:
    """Epoch -> trials that get so far: the epochs at which most are stopped, and the end."""
    ends = np.zeros(epochs + 1)
    for one in seen:
        for epoch, _ in one.stopped.values():
            ends[epoch] += 1 / len(seen)
    often = sorted(int(epoch) for epoch in np.argsort(-ends)[: RUNGS_SHOWN - 2] if ends[epoch] >= 0.5)
    levels = sorted({1, *often, epochs})
    return {level: float(trials - ends[:level].sum()) for level in levels}


def _wall_clock(trained: Range) -> Range:
    """What is waited for, of the seconds that slots are busy."""
    return Range(START_S + trained.middle, START_S / 2 + trained.low, 2 * START_S + LOADED * trained.high)


def retrain_s(sweep: Sweep, costs: Costs) -> float:
    """Of `launch.py retrain`: so many configurations over so many seeds, none dropped."""
    rounds = -(-RETRAINED * SEEDS // costs.slots)
    return START_S + rounds * sweep.run.epochs * epoch_seconds(costs)


def _disk_mb(sweep: Sweep, costs: Costs, *, waits: bool, copies: bool) -> float | None:
    """Every trial's last checkpoint (a study can be given more epochs), and the newest of those that run.

    Where trials wait for their turn (`waits`) each has its newest too; where others copy it, one more.
    """
    if costs.checkpoint_mb is None:
        return None
    wish = sweep.run.checkpoint_config
    beside = wish.keep_last_k + wish.save_best if wish.enabled else 2
    ended = 1 + wish.save_best if wish.enabled else 1
    held = beside + copies if waits or copies else ended
    return costs.checkpoint_mb * (sweep.trials * held + costs.slots * beside)
