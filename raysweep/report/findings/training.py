"""Findings on the training itself, from learning curves: too fast, too slow, too short, too large a net.

A rule looks at the ranked trials, best first, and is silent if the losses it needs were not reported. Shares
are of the loss that training has removed, so that no rule depends on a loss's scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import linear_regression, median

from raysweep.launch_command import launch_command
from raysweep.report.boundary import further
from raysweep.report.findings.evidence import (
    TOP,
    Evidence,
    Finding,
    again,
    moved_rate,
    rate_key,
    rates_times,
)
from raysweep.report.formatting import number, percent, setting
from raysweep.report.subject import Subject
from raysweep.study.journal.failures import common_failures
from raysweep.study.journal.records import TrialRecord
from trainables.run_config import EMA_RATES

LEAST = 3  # trials, below which "most of them" means nothing
LONG = 8  # epochs, below which a curve has no shape
RISE, OF_GAIN, SPIKES = 0.1, 0.05, 0.2  # of the loss; of what was gained; of the epochs
EARLY = 0.1  # of all trials that ended
HALFWAY = 0.6  # of the gain; a straight line has 0.5 of it by half of its epochs, exp(-3t) has 0.8
TAIL, FALLING = 0.2, 0.05  # the last fifth of the epochs, and its share of the whole gain
APART, OF_START = 1.5, 0.1  # validation over train loss; their gap, of the loss at the start
ALIKE, LEFT = 0.1, 0.5  # validation against train loss; what is left of the loss at the start
RAW = "val_loss_raw"  # of the trained weights, where val_loss is of an average of them
LAG, OF_LAG = 1.2, 0.01  # averaged over trained weights' validation loss; their gap, of the loss at the start
SHORTER = 30  # factor; leaves 33 of SPlus's 1,000 steps: within a quarter of any run of 130 steps
HIGHER, PROPORTIONAL = 1.5, 0.6  # factor on a rate; slope of log gain on log rate
WEIGHT_DECAY = {"type": "float", "min": 1e-5, "max": 1e-1, "log": True}
CAPACITY = (
    "layers",
    "depth",
    "nodes",
    "width",
    "hidden",
    "units",
    "channels",
    "dim",
    "d_model",
    "hidden_dim",
)


def noisy_training(evidence: Evidence) -> Finding | None:
    """The training loss spikes up and down: 003, red flag 1 (the rate is too high; a tenth of it).

    A spike is a rise by a tenth of the loss that also undoes a twentieth of the gain; a curve is noisy if a
    fifth of its epochs are spikes, and a study if half of its trials are noisy.
    """
    subject = evidence.subject
    curves = [curve for trial in subject.ranked() if len(curve := series(trial, "train_loss")) >= LONG]
    noisy = [share for curve in curves if (share := spikes(curve)) >= SPIKES]
    if len(noisy) < LEAST or 2 * len(noisy) < len(curves):
        return None
    return Finding(
        "noisy_training",
        "advice",
        f"in {len(noisy)} of {len(curves)} trials the training loss rises by {percent(RISE)} or more in "
        f"{percent(median(noisy))} of the epochs",
        "The learning rate is probably too high.",
        rates_times(subject, 0.1),
        moved_rate(subject),
    )


def dies_in_first_epoch(evidence: Evidence) -> Finding | None:
    """Trials fail or diverge within their first epoch: 003, red flag 5."""
    subject = evidence.subject
    ended = [trial for trial in subject.trials if trial.outcome is not None]
    died = [trial for trial in ended if trial.outcome in ("diverged", "failed") and trial.work <= 1]
    if len(died) < LEAST or len(died) < EARLY * len(ended):
        return None
    diverged = sum(trial.outcome == "diverged" for trial in died)
    errors = common_failures(died)
    key = rate_key(subject)
    of_rate = 2 * diverged >= len(died)
    rates = sorted(float(trial.config[key]) for trial in died if key in trial.config) if key else []
    at = f"; half of them with {key} above {setting(median(rates))}" if rates and of_rate else ""
    return Finding(
        "dies_in_first_epoch",
        "problem" if 2 * len(died) > len(ended) else "advice",
        f"{len(died)} of {len(ended)} trials ended in their first epoch ({diverged} diverged, "
        f"{len(died) - diverged} failed){at}",
        "The learning rate is far too high for a part of the space, or the batch size does not suit it."
        if of_rate
        else f"The code fails, not the settings: {errors[0]['error'] if errors else 'see the journal'}.",
        rates_times(subject, 0.1) if of_rate else _traceback(subject, died[0]),
        moved_rate(subject) if of_rate else (),
    )


def slow_convergence(evidence: Evidence) -> Finding | None:
    """Even the best trials fall almost in a straight line: 003, decision tree ("BAD LR").

    Converging training makes most of its gain early. Here, in most of the best trials, the first half of the
    epochs brought less than 60% of it, and the loss still falls at the end.
    """
    subject, whole = evidence.subject, _best_curves(evidence)
    slow = [curve for curve in whole if by_halfway(curve) < HALFWAY and still_falling(curve) >= FALLING]
    if len(slow) < LEAST or 2 * len(slow) <= len(whole):
        return None
    return Finding(
        "slow_convergence",
        "advice",
        f"in {len(slow)} of the best {len(whole)} trials the first half of the epochs brought only "
        f"{percent(median(map(by_halfway, slow)))} of the gain, the last {tail(subject.epochs)} of "
        f"{subject.epochs} {percent(median(map(still_falling, slow)))}",
        "The learning rate is too low (or its schedule holds it back): search higher ones first.",
        rates_times(subject, 10.0),
        moved_rate(subject),
    )


def epochs_run_out(evidence: Evidence) -> Finding | None:
    """Trials end while their loss still falls: 003, "train longer"; the ranking compares beginnings only.

    Silent if convergence is slow: that needs another learning rate first.
    """
    subject, whole = evidence.subject, _best_curves(evidence)
    falling = [curve for curve in whole if still_falling(curve) >= FALLING]
    if len(falling) < LEAST or 2 * len(falling) <= len(whole) or slow_convergence(evidence) is not None:
        return None
    return Finding(
        "epochs_run_out",
        "advice",
        f"in {len(falling)} of the best {len(whole)} trials the last {tail(subject.epochs)} of the "
        f"{subject.epochs} epochs still brought {percent(median(map(still_falling, falling)))} of the gain",
        "Training ends before it converges: slow starters are ranked too low.",
        _more_epochs(subject),
    )


def _more_epochs(subject: Subject) -> str:
    """The command that doubles the epochs: of the study if it can be extended, else of a new one."""
    wanted = 2 * subject.epochs
    if subject.folder is None:
        return "Give trials more epochs."
    if subject.can_extend(epochs=True):
        return launch_command("extend", subject.folder, "--epochs", str(wanted))
    return again(subject, {"run.epochs": wanted})


def overfits(evidence: Evidence) -> Finding | None:
    """Validation and train loss are far apart in the best trials: 003, decision tree (low train, high val).

    Far: validation is one and a half times the train loss, and their gap a tenth of the loss at the start.
    """
    subject = evidence.subject
    gaps = _ends(evidence)
    apart = [
        one for one in gaps if one.val > APART * one.train and one.val - one.train > OF_START * one.start
    ]
    if len(apart) < LEAST or 2 * len(apart) <= len(gaps):
        return None
    return Finding(
        "overfits",
        "advice",
        f"in {len(apart)} of the best {len(gaps)} trials validation ends far above train: "
        f"{number(median(one.val for one in apart))} against {number(median(one.train for one in apart))}",
        "The nets memorise the training rows: regularise, or stop earlier.",
        _regularise(subject),
    )


def lacks_capacity(evidence: Evidence) -> Finding | None:
    """Both losses stay high and alike, and no longer fall: 003, "when model capacity is the real problem".

    High: even the best trials keep half of the loss that trials start with. Silent if the search contradicts
    it: the gain grows with the learning rate, or larger nets did no better.
    """
    subject, ends = evidence.subject, _ends(evidence)
    if _held_back_by_rate(evidence) or _larger_no_better(subject):
        return None
    high = [
        one
        for one in ends
        if min(one.train, one.val) > LEFT * one.start
        and abs(one.val - one.train) <= ALIKE * one.val
        and one.falling < FALLING
    ]
    if len(high) < LEAST or 2 * len(high) <= len(ends):
        return None
    return Finding(
        "lacks_capacity",
        "advice",
        f"in {len(high)} of the best {len(ends)} trials train and validation end alike "
        f"({number(median(one.train for one in high))}, {number(median(one.val for one in high))}) and high: "
        f"trials begin at {number(high[0].start)}",
        "The net cannot fit the data, or the data hold no more information: a larger net tells which.",
        _larger(subject),
    )


def average_lags(evidence: Evidence) -> Finding | None:
    """An optimizer validates with an average of its weights that lags far behind the trained weights.

    Far: in most of the best trials its loss ends a fifth above theirs, and by a hundredth of the loss at the
    start. An average that is better, as it should be, does not lag.
    """
    subject, start = evidence.subject, _start(evidence)
    ends = [
        (series(trial, "val_loss")[-1], raw[-1])
        for trial in _best(evidence)
        if (raw := series(trial, RAW)) and series(trial, "val_loss")
    ]
    behind = [(val, raw) for val, raw in ends if val > max(LAG * raw, raw + OF_LAG * start)]
    if len(behind) < LEAST or 2 * len(behind) <= len(ends):
        return None
    averaged, trained = (median(losses) for losses in zip(*behind, strict=True))
    return Finding(
        "average_lags",
        "problem",
        f"in {len(behind)} of the best {len(ends)} trials val_loss, of the averaged weights, ends at "
        f"{number(averaged)}, val_loss_raw, of the trained ones, at {number(trained)}",
        "The average spans too much of a run: trials are ranked by outdated weights.",
        _shorter_average(subject),
    )


def _held_back_by_rate(evidence: Evidence) -> bool:
    """Whether the best trial has the highest learning rate, and the gain grows with the rate.

    The gain of a trial whose rate is far too low is proportional to the rate: slope 1 in logarithms. For a
    net that is too small it levels off (measured on the bundled data: 1.0 to 1.8, against 0.06 to 0.4).
    """
    subject, key = evidence.subject, rate_key(evidence.subject)
    ranked = [trial for trial in subject.ranked() if validation(trial) and trial.config.get(key or "", 0) > 0]
    if key is None or len(ranked) < LEAST:
        return False
    best = float(ranked[0].config[key])
    if any(float(trial.config.get(key, 0)) > HIGHER * best for trial in subject.trials):
        return False  # higher rates were tried, and were no better
    top = max(validation(trial)[0] for trial in ranked)
    gains = {float(trial.config[key]): top - validation(trial)[-1] for trial in ranked}
    near = [
        (math.log(rate), math.log(gain)) for rate, gain in gains.items() if gain > 0 and rate >= best / 10
    ]
    if len(near) < LEAST:
        return False
    rates, logs = zip(*near, strict=True)
    return linear_regression(rates, logs).slope > PROPORTIONAL


def _larger_no_better(subject: Subject) -> bool:
    """Whether the size of the net was searched and the best trials are no larger than the others."""
    ranked = subject.ranked()
    for key in subject.parameters:
        if not key.startswith("net_config.") or key.rpartition(".")[2] not in CAPACITY:
            continue
        sizes = [trial.config[key] for trial in ranked if isinstance(trial.config.get(key), int)]
        if len(sizes) >= 2 * TOP and len(set(sizes)) > 1 and median(sizes[:TOP]) <= median(sizes):
            return True
    return False


def series(trial: TrialRecord, name: str) -> list[float]:
    """A trial's finite values of a metric, by epoch."""
    values = [point.metrics.get(name, math.nan) for point in trial.curve]
    return [value for value in values if math.isfinite(value)]


def spikes(curve: Sequence[float]) -> float:
    """The share of steps that are spikes.

    >>> spikes([1.0, 0.5, 0.9, 0.4, 0.39])
    0.25
    """
    gained = curve[0] - min(curve)
    rises = [b - a > max(RISE * abs(a), OF_GAIN * gained) for a, b in pairwise(curve)]
    return sum(rises) / len(rises)


def by_halfway(curve: Sequence[float]) -> float:
    """The share of the whole gain that the first half of the epochs brought; 1 without a gain.

    >>> by_halfway([5.0, 4.0, 3.0, 2.0, 1.0])
    0.5
    """
    gained = curve[0] - min(curve)
    return (curve[0] - min(curve[: len(curve) // 2 + 1])) / gained if gained > 0 else 1.0


def tail(epochs: int) -> int:
    """The last fifth of the epochs, at least one.

    >>> tail(27), tail(8)
    (5, 2)
    """
    return max(round(TAIL * epochs), 1)


def still_falling(curve: Sequence[float]) -> float:
    """The share of the whole gain that the last fifth of the epochs brought; 0 without a gain.

    >>> still_falling([5.0, 4.0, 3.0, 2.0, 1.0])
    0.25
    """
    gained, late = curve[0] - min(curve), tail(len(curve))
    return max((min(curve[:-late]) - min(curve)) / gained, 0.0) if gained > 0 else 0.0


@dataclass(frozen=True, slots=True)
class End:
    """The end of a trial.

    Attributes:
        train, val: median losses of its last fifth of epochs, both of the trained weights.
        start: the validation loss after the first epoch, the median over all trials.
        falling: the share of its gain that this last fifth brought.
    """

    train: float
    val: float
    start: float
    falling: float


def _ends(evidence: Evidence) -> list[End]:
    """The ends of the best trials that were completed and are long enough."""
    start, ends = _start(evidence), []
    for trial in _best(evidence):
        train, val = series(trial, "train_loss"), validation(trial)
        if len(train) >= LONG and len(val) >= LONG:
            late = tail(len(val))
            ends.append(End(median(train[-late:]), median(val[-late:]), start, still_falling(val)))
    return ends


def _start(evidence: Evidence) -> float:
    """The validation loss after the first epoch, the median over all trials; NaN if none reported it."""
    starts = [curve[0] for trial in evidence.subject.trials if (curve := validation(trial))]
    return median(starts) if starts else math.nan


def validation(trial: TrialRecord) -> list[float]:
    """Validation losses of the trained weights, as `train_loss` is."""
    return series(trial, RAW) or series(trial, "val_loss")


def _best(evidence: Evidence) -> list[TrialRecord]:
    return [trial for trial in evidence.subject.ranked()[:TOP] if trial.outcome == "completed"]


def _best_curves(evidence: Evidence) -> list[list[float]]:
    """The objective's curves, lower is better, of the best trials that ran all epochs.

    For val_loss of averaged weights, that of the trained ones: an average still falls while it catches up.
    """
    curves = [
        (evidence.subject.metric == "val_loss" and series(trial, RAW))
        or [point.loss for point in trial.curve if math.isfinite(point.loss)]
        for trial in _best(evidence)
    ]
    return [curve for curve in curves if len(curve) >= max(LONG, evidence.subject.epochs)]


def _traceback(subject: Subject, trial: TrialRecord) -> str:
    if subject.folder is None:
        return "Read its error, and fix the code."
    return f"Read the traceback in {subject.folder.name}/trials/{trial.trial}/, and fix the code."


def _regularise(subject: Subject) -> str:
    decay = next((key for key in subject.parameters if key.endswith("weight_decay")), "")
    if decay and not subject.parameters[decay].cases:
        bound = further(subject.domains[decay], upper=True)
        if bound is not None:
            return again(subject, {f"search_space.{decay}.max": bound})
    if (subject.run.get("optimizer_config") or {}).get("weight_decay") is not None:
        return again(subject, {"search_space.optimizer_config.weight_decay": WEIGHT_DECAY})
    return "Search weight_decay (1e-5 to 1e-1) and dropout (0 to 0.5), or turn on early_stopping_config."


def _larger(subject: Subject) -> str:
    for key, domain in subject.domains.items():
        is_single = not subject.parameters[key].cases
        if is_single and key.startswith("net_config.") and key.rpartition(".")[2] in CAPACITY:
            bound = further(domain, upper=True)
            if bound is not None and hasattr(domain, "high"):
                return again(subject, {f"search_space.{key}.max": bound})
    for name, value in (subject.run.get("net_config") or {}).items():
        if name in CAPACITY and isinstance(value, int):
            return again(subject, {f"run.net_config.{name}": 2 * value})
    return "Use a larger net, or other inputs."


def _shorter_average(subject: Subject) -> str:
    flat, name = "optimizer_config.ema_rate", str(subject.run.get("optimizer", "")).rpartition(".")[2]
    rate = (subject.run.get("optimizer_config") or {}).get("ema_rate", EMA_RATES.get(name))
    if flat in subject.parameters or "optimizer" in subject.parameters:
        return "Search lower values of optimizer_config.ema_rate."
    if not isinstance(rate, int | float) or not 0 < rate < 1:
        return "Use an optimizer that averages over fewer steps, or none."
    fits = round(1 - float(f"{min(SHORTER * (1 - rate), 0.5):.0e}"), 12)
    return again(subject, {f"run.{flat}": fits})
