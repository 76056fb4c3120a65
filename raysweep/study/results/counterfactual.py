"""A study's recorded curves under another trial scheduler: what it would have saved, and lost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.config import Sweep
from raysweep.config.call_checks import CONTEXT
from raysweep.config.component import resolve, signature_errors
from raysweep.config.document import parse_value
from raysweep.config.lookup import Modules
from raysweep.config.rule_context import rule_context
from raysweep.errors import RaysweepError
from raysweep.study.journal.records import StudyRecord, TrialRecord
from schedulers import RULES
from schedulers.rule import Rule
from schedulers.simulate import replay
from schedulers.stop_audit import AUDIT_WORDS

NEEDED = 2  # whole trials, to compare one with another


class CannotReplay(RaysweepError):
    """The study has too few complete curves, or the trial scheduler or its settings are none."""


@dataclass(frozen=True, slots=True)
class StudyReplay:
    """What would have become of the trials whose whole curves are known.

    Attributes:
        trial_scheduler: dotted path.
        kwargs: its settings.
        workers: trials at once.
        recorded: trials of the study.
        left_out: why a curve cannot be replayed -> trials.
        replayed: those that can, in the order in which they start.
        epochs_whole: epochs of all that were replayed, each to its end.
        epochs_run: epochs that would have been run.
        finished: trials that would have run to their last epoch.
        stopped: trial -> epoch at which it would have ended, and why.
        best: of the replayed, the trial whose end is worth most.
        found: of those that would have finished, the best; None if none would.
        regret: loss of `found` less that of `best`, >= 0; infinite if none would have finished.
    """

    trial_scheduler: str
    kwargs: Mapping[str, Any]
    workers: int
    recorded: int
    left_out: Mapping[str, int]
    replayed: tuple[str, ...]
    epochs_whole: int
    epochs_run: int
    finished: tuple[str, ...]
    stopped: Mapping[str, tuple[int, str]]
    best: str
    found: str | None
    regret: float

    @property
    def saved(self) -> float:
        """Share of the epochs not run, in [0, 1]."""
        return 1 - self.epochs_run / self.epochs_whole


def settings(text: str) -> dict[str, Any]:
    """A trial scheduler's arguments as given on the command line.

    Raises:
        SweepError: if it is no YAML.
        CannotReplay: if it is no mapping.

    >>> settings("{reduction_factor: 3}")
    {'reduction_factor': 3}
    """
    value = parse_value(text, "--kwargs")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CannotReplay(f"--kwargs {text}: is no mapping; write --kwargs '{{reduction_factor: 3}}'")
    return value


def replay_study(
    sweep: Sweep, record: StudyRecord, name: str, kwargs: Mapping[str, Any], workers: int | None = None
) -> StudyReplay:
    """Run the complete curves of a record through a fresh rule, in the order of their trials' numbers.

    A trial that the recorded scheduler stopped has no end to replay: it is left out, and counted. What
    is left are then the survivors of that scheduler, who are better than most; among them any other
    saves less than it would have saved among all.

    Args:
        sweep: of the study.
        record: of the study.
        name: dotted path of the trial scheduler, or the bare name of one of ours.
        kwargs: its own arguments; what it takes besides is filled in as in a sweep. Those of an audit
            are passed over: a replay sees every end.
        workers: trials at once; as many as in the study if None.

    Raises:
        CannotReplay: with what is wrong.
    """
    chosen, left_out = _complete(record, sweep.run.epochs)
    path = f"schedulers.{name}" if name in RULES else name
    kwargs = {word: value for word, value in kwargs.items() if word not in AUDIT_WORDS}
    rule = fresh_rule(path, kwargs, sweep, len(chosen))
    curves = [_curve(trial, sweep.run.epochs) for trial in chosen]
    workers = workers or record.slots or 1
    try:
        seen = replay(rule, curves, workers=workers, configs=[trial.config for trial in chosen])
    except ValueError as error:
        raise CannotReplay(f"{path}: {error}") from None
    names = [trial.trial for trial in chosen]
    worth = [trial.end_loss(sweep.objective) for trial in chosen]
    best = min(range(len(chosen)), key=worth.__getitem__)
    found = min(seen.finished, key=worth.__getitem__, default=None)
    return StudyReplay(
        trial_scheduler=path,
        kwargs=dict(kwargs),
        workers=workers,
        recorded=len(record.trials),
        left_out=left_out,
        replayed=tuple(names),
        epochs_whole=seen.whole,
        epochs_run=seen.epochs,
        finished=tuple(names[index] for index in seen.finished),
        stopped={names[index]: seen.stopped[index] for index in sorted(seen.stopped)},
        best=names[best],
        found=None if found is None else names[found],
        regret=math.inf if found is None else _regret(worth[found], worth[best]),
    )


def _complete(record: StudyRecord, epochs: int) -> tuple[list[TrialRecord], dict[str, int]]:
    """The trials whose whole curves are known, and how many are not and why.

    Raises:
        CannotReplay: if they are too few to be compared with each other.
    """
    reasons = {trial.trial: _why_not(trial, epochs) for trial in record.trials.values()}
    chosen = [record.trials[trial] for trial, reason in reasons.items() if not reason]
    left_out = Counter(reason for reason in reasons.values() if reason)
    completed = sum(trial.outcome == "completed" for trial in chosen)
    if completed < NEEDED:
        left_out["diverged"] = len(chosen) - completed
        others = [f"{count} {reason}" for reason, count in left_out.items() if count]
        raise CannotReplay(
            f"{completed} of {len(reasons)} recorded curves are complete ({', '.join(others)}), and a replay "
            f"needs {NEEDED}; record them with schedulers.FIFO, or with an audit_fraction"
        )
    return chosen, dict(left_out)


def _regret(found: float, best: float) -> float:
    return 0.0 if found == best else found - best  # both may be infinite


def as_json(seen: StudyReplay) -> dict[str, Any]:
    """A replay as plain data for programs; `regret` is null if no trial would have finished."""
    return {
        "trial_scheduler": seen.trial_scheduler,
        "kwargs": dict(seen.kwargs),
        "workers": seen.workers,
        "trials": {
            "recorded": seen.recorded,
            "replayed": len(seen.replayed),
            "left_out": dict(seen.left_out),
        },
        "epochs": {"whole": seen.epochs_whole, "run": seen.epochs_run, "saved": seen.saved},
        "best": {
            "trial": seen.best,
            "kept": seen.best in seen.finished,
            "found": seen.found,
            "regret": seen.regret if math.isfinite(seen.regret) else None,
        },
        "finished": list(seen.finished),
        "stopped": [
            {"trial": trial, "epoch": epoch, "reason": reason}
            for trial, (epoch, reason) in seen.stopped.items()
        ],
    }


def _why_not(trial: TrialRecord, epochs: int) -> str:
    """Why the trial's whole curve is not known; empty if it is."""
    if trial.lineage:
        return "went on from another's weights"
    if trial.outcome is None:
        return "unfinished"
    if trial.outcome in ("failed", "infeasible"):
        return "failed"
    if trial.outcome == "stopped":
        return "stopped early"
    every = [point.epoch for point in trial.curve] == list(range(1, trial.epoch + 1))
    if not every or (trial.outcome == "completed" and trial.epoch < epochs):
        return "ended by their own patience, or reported only now and then"
    return ""


def _curve(trial: TrialRecord, epochs: int) -> Sequence[float]:
    """The losses, (epochs,); of a diverged trial nothing follows."""
    losses = [point.loss for point in trial.curve]
    return losses + [math.nan] * (epochs - len(losses))


def fresh_rule(path: str, kwargs: Mapping[str, Any], sweep: Sweep, population: int) -> Rule:
    """A fresh rule, its arguments held against its signature."""
    ours = path.removeprefix("schedulers.") in RULES
    for misfit in signature_errors(
        path, kwargs, Modules(sweep.import_paths), given=CONTEXT, home="schedulers"
    ):
        where = "--trial-scheduler" if misfit.kwarg is None else f"--kwargs {misfit.kwarg}"
        raise CannotReplay(f"{where}: {misfit.what}; {misfit.fix or 'give it in --kwargs'}")
    rule_class = resolve(RULES[path.removeprefix("schedulers.")] if ours else path, sweep.import_paths)
    rule_class = getattr(rule_class, "rule_class", rule_class)
    if not (isinstance(rule_class, type) and issubclass(rule_class, Rule)):
        raise CannotReplay(
            f"--trial-scheduler: {path} has no rule that could be replayed; use schedulers.ASHA"
        )
    context = rule_context(rule_class, sweep, population_size=population)
    try:
        rule: Rule = rule_class(**{**context, **kwargs})
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # The settings are whatever was typed: a list where it compares, a word where it divides.
        raise CannotReplay(f"--kwargs: {path}: {error}") from None
    return rule
