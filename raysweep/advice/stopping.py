"""Advice on schedules and on stopping: settings that have no effect, or act too early."""

from __future__ import annotations

import math
from collections.abc import Iterator

from raysweep.advice.rule import (
    AdviceRule,
    Suggestion,
    at,
    class_name,
    is_grid,
    leaf,
    scheduler_class,
    setting,
)
from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.problem import Key, shown
from trainables.run_config import SCHEDULE_LENGTHS, SCHEDULE_MARKS, USUAL_WARMUP

GEOMETRY = (*SCHEDULE_LENGTHS, *SCHEDULE_MARKS, "upper_bound", "T_mult", "pct_start")
"""Settings of a schedule's shape, as opposed to its height (`lr`) and floor (`min_lr`)."""

LONG_RUN = 30
"""Epochs above which a run counts as long: document 003 (When to Prune) stops trials up to there."""

MANY_TRIALS = 10
_HALVING = ("ASHA", "SuccessiveHalving", "Hyperband")


def schedule_geometry(sweep: Sweep) -> Iterator[Suggestion]:
    """A schedule's shape follows the epochs and is not searched; its rate and its floor are."""
    for flat in sweep.space:
        if flat.startswith("scheduler_config.") and leaf(flat) in GEOMETRY:
            why = f"{leaf(flat)} sets the schedule's shape: search its rate (lr) and floor (min_lr) instead"
            yield Suggestion(at(flat), why, "drop it here, and give it in run.scheduler_config")


def warmup_share(sweep: Sweep) -> Iterator[Suggestion]:
    """A warm-up takes 5 to 10% of the steps, to the nearest whole epoch."""
    warmup, epochs = sweep.run.warmup_epochs, sweep.run.epochs
    if warmup == 0 or "warmup" in sweep.space:
        return
    low, high = (share * epochs for share in USUAL_WARMUP)
    if math.floor(low) <= warmup <= math.ceil(high):
        return
    share = f"{shown(round(warmup, 3))} of {epochs} epochs ({warmup / epochs:.0%})"
    why = f"a warm-up of {share}, where 5 to 10% is usual"
    yield Suggestion(("run", "warmup"), why, sets=(f"run.warmup={USUAL_WARMUP[0] if warmup < low else 0.1}",))


def never_acts(sweep: Sweep) -> Iterator[Suggestion]:
    """The trial scheduler's settings let it act within the sweep's epochs and trials."""
    name, epochs, trials = scheduler_class(sweep), sweep.run.epochs, sweep.trials
    if name in _HALVING and setting(sweep, "grace_period", 1) >= epochs:
        yield _never(sweep, "grace_period", 1, f"epochs ({epochs})", max(1, epochs // 9))
    if name == "MedianStopping" and setting(sweep, "n_startup_trials", 5) >= trials:
        yield _never(sweep, "n_startup_trials", 5, f"trials ({trials})", max(1, trials // 5))
    if name == "PFL" and setting(sweep, "min_finished", 5) >= trials:
        yield _never(sweep, "min_finished", 5, f"trials ({trials})", max(1, trials // 5))
    if name == "Patience" and setting(sweep, "patience", 10) >= epochs:
        yield _never(sweep, "patience", 10, f"epochs ({epochs})", max(1, epochs // 3))
    if name == "PBT" and setting(sweep, "perturbation_interval", 1) >= epochs:
        yield _never(sweep, "perturbation_interval", 1, f"epochs ({epochs})", max(1, epochs // 10))
    stopping = sweep.run.early_stopping_config
    if stopping.enabled and stopping.patience >= epochs:
        why = f"patience ({stopping.patience}) is not below epochs ({epochs}): it can never act"
        fix = f"run.early_stopping_config.patience={max(1, epochs // 3)}"
        yield Suggestion(("run", "early_stopping_config", "patience"), why, sets=(fix,))


def acts_too_early(sweep: Sweep) -> Iterator[Suggestion]:
    """No trial is judged while the learning rate still rises."""
    first = _first_judged(sweep)
    rising = _rising_epochs(sweep)
    if first is None or rising == 0:
        return
    keyword, epoch, offset = first
    if epoch > rising:
        return
    wanted = math.floor(rising) + 1 - offset
    if wanted >= sweep.run.epochs:
        return  # the schedule rises to the end: no setting would help
    until = shown(round(rising, 2))
    why = f"trials are judged at epoch {shown(epoch)}, but the learning rate rises until {until}"
    yield Suggestion(_kwarg(sweep, keyword), why, sets=(f"trial_scheduler.kwargs.{keyword}={wanted}",))


def small_population(sweep: Sweep) -> Iterator[Suggestion]:
    """A population's best quantile holds at least one member."""
    if scheduler_class(sweep) != "PBT":
        return
    quantile = setting(sweep, "quantile_fraction", 0.25)
    wanted = math.ceil(1 / quantile - 1e-9) if quantile > 0 else 0
    if sweep.trials < wanted:
        why = f"a population of {sweep.trials} has less than one member in a quantile of {shown(quantile)}"
        yield Suggestion(("trials",), why, sets=(f"trials={wanted}",))


def nobody_stopped(sweep: Sweep) -> Iterator[Suggestion]:
    """In a search with long runs, poor trials are stopped early."""
    fifo = class_name(sweep.trial_scheduler.name) in ("FIFO", "FIFOScheduler")
    if not fifo or is_grid(sweep) or sweep.run.early_stopping_config.enabled:
        return
    if sweep.run.epochs > LONG_RUN and sweep.trials > MANY_TRIALS:
        why = (
            f"{sweep.trials} trials all run their {sweep.run.epochs} epochs: "
            "stopping the poor ones early saves half of them or more"
        )
        yield Suggestion(("trial_scheduler",), why, sets=("trial_scheduler=schedulers.PFL",))


def _never(sweep: Sweep, keyword: str, default: float, bound: str, better: int) -> Suggestion:
    why = f"{keyword} ({shown(setting(sweep, keyword, default))}) is not below {bound}: it can never act"
    return Suggestion(_kwarg(sweep, keyword), why, sets=(f"trial_scheduler.kwargs.{keyword}={better}",))


def _kwarg(sweep: Sweep, keyword: str) -> Key:
    given = keyword in sweep.trial_scheduler.kwargs
    return ("trial_scheduler", "kwargs", keyword) if given else ("trial_scheduler",)


def _rising_epochs(sweep: Sweep) -> float:
    """Epochs until the learning rate reaches its maximum."""
    rising = sweep.run.warmup_epochs
    if class_name(sweep.run.scheduler) == "OneCycleLR":
        share = sweep.run.scheduler_config.get("pct_start")
        rising += (share if is_number(share) else 0.3) * sweep.run.epochs  # torch's default
    return rising


def _first_judged(sweep: Sweep) -> tuple[str, float, int] | None:
    """The keyword that sets the first judged epoch, that epoch, and its difference to the keyword's value."""
    name, epochs = scheduler_class(sweep), sweep.run.epochs
    if name in _HALVING:
        return "grace_period", setting(sweep, "grace_period", 1), 0
    if name == "MedianStopping":
        return "n_warmup_steps", setting(sweep, "n_warmup_steps", epochs // 5) + 1, 1
    if name == "ClassicPFL":
        return "n_warmup_epochs", setting(sweep, "n_warmup_epochs", 10) + 1, 1
    return None


RULES = (
    AdviceRule(schedule_geometry, "document 000, The HPO Philosophy, and What to tune, and what not to"),
    AdviceRule(warmup_share, "document 003, Learning Rate Warmup: 5-10% of total steps"),
    AdviceRule(never_acts, "the rules' own arithmetic; document 000's example has one such setting"),
    AdviceRule(acts_too_early, "document 003, Optuna's Pruning Strategy: no pruning in the first epochs"),
    AdviceRule(small_population, "arXiv:1711.09846: truncation selection copies from the top quantile"),
    AdviceRule(nobody_stopped, "document 002, Not Using Pruning; 003, Pitfall 4"),
)
