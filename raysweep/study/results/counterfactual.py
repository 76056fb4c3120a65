"""Replay of a study's recorded curves with another trial scheduler: what it would have saved and lost."""

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
from schedulers.stop_audit import AUDIT_SETTINGS

NEEDED = 2  # completed trials, to be compared


class CannotReplay(RaysweepError):
    """The study has too few complete curves, or the trial scheduler or its settings are invalid."""


@dataclass(frozen=True, slots=True)
class StudyReplay:
    """The result of a replay, over the trials whose curves are complete.

    Attributes:
        trial_scheduler: dotted path.
        kwargs: its settings.
        workers: trials at once.
        recorded: number of trials of the study.
        left_out: number of trials that cannot be replayed, by reason.
        replayed: the trials that can, in the order in which they start.
        epochs_whole: epochs of all replayed trials, each run to its end.
        epochs_run: epochs that would have been run.
        finished: trials that would have run to their last epoch.
        stopped: by trial, the epoch at which it would have ended, and the reason.
        best: the replayed trial with the lowest final loss.
        found: the best of those that would have finished; None if none would.
        regret: loss of `found` minus that of `best`, >= 0; infinite if none would have finished.
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


def parse_kwargs(text: str) -> dict[str, Any]:
    """Parse a trial scheduler's arguments from the command line.

    Raises:
        SweepError: if the text is not YAML.
        CannotReplay: if it is not a mapping.

    >>> parse_kwargs("{reduction_factor: 3}")
    {'reduction_factor': 3}
    """
    value = parse_value(text, "--kwargs")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CannotReplay(f"--kwargs {text}: not a mapping; write --kwargs '{{reduction_factor: 3}}'")
    return value


def replay_study(
    sweep: Sweep, record: StudyRecord, name: str, kwargs: Mapping[str, Any], workers: int | None = None
) -> StudyReplay:
    """Replay the complete curves of a study with another trial scheduler, in the order of trial numbers.

    A trial that the recorded scheduler stopped has no end to replay, so it is left out and counted. The
    trials that are left survived that scheduler and are better than most, so another one saves less among
    them than it would have saved among all.

    Args:
        sweep: of the study.
        record: of the study.
        name: dotted path of the trial scheduler, or the bare name of one of ours.
        kwargs: its own arguments; the others are filled in as in a sweep. Arguments of an audit are ignored,
            for a replay sees every end.
        workers: trials at once; as many as in the study if None.

    Raises:
        CannotReplay: if the arguments are invalid, or too few curves are complete.
    """
    chosen, left_out = _complete(record, sweep.run.epochs)
    path = f"schedulers.{name}" if name in RULES else name
    kwargs = {key: value for key, value in kwargs.items() if key not in AUDIT_SETTINGS}
    rule = make_rule(path, kwargs, sweep, len(chosen))
    curves = [_curve(trial, sweep.run.epochs) for trial in chosen]
    workers = workers or record.slots or 1
    try:
        outcome = replay(rule, curves, workers=workers, configs=[trial.config for trial in chosen])
    except ValueError as error:
        raise CannotReplay(f"{path}: {error}") from None
    names = [trial.trial for trial in chosen]
    losses = [trial.end_loss(sweep.objective) for trial in chosen]
    best = min(range(len(chosen)), key=losses.__getitem__)
    winner = min(outcome.finished, key=losses.__getitem__, default=None)
    return StudyReplay(
        trial_scheduler=path,
        kwargs=dict(kwargs),
        workers=workers,
        recorded=len(record.trials),
        left_out=left_out,
        replayed=tuple(names),
        epochs_whole=outcome.whole,
        epochs_run=outcome.epochs,
        finished=tuple(names[index] for index in outcome.finished),
        stopped={names[index]: outcome.stopped[index] for index in sorted(outcome.stopped)},
        best=names[best],
        found=None if winner is None else names[winner],
        regret=math.inf if winner is None else _regret(losses[winner], losses[best]),
    )


def _complete(record: StudyRecord, epochs: int) -> tuple[list[TrialRecord], dict[str, int]]:
    """The trials whose curves are complete, and the number of the others by reason.

    Raises:
        CannotReplay: if too few are complete.
    """
    reasons = {trial.trial: _why_not(trial, epochs) for trial in record.trials.values()}
    chosen = [record.trials[trial] for trial, reason in reasons.items() if not reason]
    left_out = Counter(reason for reason in reasons.values() if reason)
    completed = sum(trial.outcome == "completed" for trial in chosen)
    if completed < NEEDED:
        left_out["diverged"] = len(chosen) - completed
        others = [f"{count} {reason}" for reason, count in left_out.items() if count]
        raise CannotReplay(
            f"{completed} of {len(reasons)} recorded curves are complete ({', '.join(others)}), but a replay "
            f"needs {NEEDED}; record more with schedulers.FIFO, or with an audit_fraction"
        )
    return chosen, dict(left_out)


def _regret(found: float, best: float) -> float:
    return 0.0 if found == best else found - best  # both may be infinite


def as_json(result: StudyReplay) -> dict[str, Any]:
    """The result of a replay as plain data; `regret` is None if no trial would have finished."""
    return {
        "trial_scheduler": result.trial_scheduler,
        "kwargs": dict(result.kwargs),
        "workers": result.workers,
        "trials": {
            "recorded": result.recorded,
            "replayed": len(result.replayed),
            "left_out": dict(result.left_out),
        },
        "epochs": {"whole": result.epochs_whole, "run": result.epochs_run, "saved": result.saved},
        "best": {
            "trial": result.best,
            "kept": result.best in result.finished,
            "found": result.found,
            "regret": result.regret if math.isfinite(result.regret) else None,
        },
        "finished": list(result.finished),
        "stopped": [
            {"trial": trial, "epoch": epoch, "reason": reason}
            for trial, (epoch, reason) in result.stopped.items()
        ],
    }


def _why_not(trial: TrialRecord, epochs: int) -> str:
    """Why a trial's curve is not complete; "" if it is."""
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
    """The losses of a complete curve, (epochs,), with NaN after a divergence."""
    losses = [point.loss for point in trial.curve]
    return losses + [math.nan] * (epochs - len(losses))


def make_rule(path: str, kwargs: Mapping[str, Any], sweep: Sweep, population: int) -> Rule:
    """A new rule of a trial scheduler, with its own arguments and those filled in from the sweep.

    Raises:
        CannotReplay: if the arguments do not fit its signature, or it has no rule.
    """
    ours = path.removeprefix("schedulers.") in RULES
    for error in signature_errors(
        path, kwargs, Modules(sweep.import_paths), given=CONTEXT, home="schedulers"
    ):
        where = "--trial-scheduler" if error.kwarg is None else f"--kwargs {error.kwarg}"
        raise CannotReplay(f"{where}: {error.what}; {error.fix or 'give it in --kwargs'}")
    rule_class = resolve(RULES[path.removeprefix("schedulers.")] if ours else path, sweep.import_paths)
    rule_class = getattr(rule_class, "rule_class", rule_class)
    if not (isinstance(rule_class, type) and issubclass(rule_class, Rule)):
        raise CannotReplay(
            f"--trial-scheduler: {path} has no rule to replay; use one that has, such as schedulers.ASHA"
        )
    context = rule_context(rule_class, sweep, population_size=population)
    try:
        rule: Rule = rule_class(**{**context, **kwargs})
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # Unchecked types: a list where it compares, a string where it divides.
        raise CannotReplay(f"--kwargs: {path}: {error}") from None
    return rule
