"""Replays recorded curves under any rule on virtual workers: what it would have saved and lost.

There is no Ray and no clock: one epoch of a trial takes one unit of virtual time (or the trial's own
pace), and the worker that is free first goes first. As in the service, a free worker first resumes the
trial that the rule names, else starts the next new trial, and is idle if there is neither. Trials
still paused when nothing runs end.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schedulers.rule import Decision, Exploit, Pause, Report, Rule, Stop
from schedulers.trial_id import trial_id


class CopiesTrials(ValueError):
    """The rule copies trials or changes configurations, so recorded curves cannot be replayed under it."""

    def __init__(self) -> None:
        super().__init__(
            "recorded curves cannot be replayed under a rule that copies trials or "
            "changes their configurations"
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of replaying recorded curves under a rule.

    Attributes:
        epochs: epochs run, of all trials.
        whole: epochs to run every trial to its end (or its divergence).
        finished: trials that ran to the last epoch, by index into the curves, in order of finishing.
        stopped: index -> epoch and reason, of every other trial.
        best: lowest final loss of the finished trials; infinite if there are none.
        pauses: number of pauses, each of which costs a checkpoint and a restore.
        makespan: virtual time of the last report, in epochs.
    """

    epochs: int
    whole: int
    finished: tuple[int, ...]
    stopped: Mapping[int, tuple[int, str]]
    best: float
    pauses: int
    makespan: float

    @property
    def saved(self) -> float:
        """Share of the epochs not run, in [0, 1]."""
        return 1 - self.epochs / self.whole if self.whole else 0.0


@dataclass(slots=True)
class _Bench:
    """The virtual workers, with running and paused trials, numbered in the order of their start."""

    rule: Rule
    curves: Sequence[Sequence[float]]
    configs: Sequence[Mapping[str, Any]]
    pace: Sequence[float]
    running: list[tuple[float, int, int]] = field(default_factory=list)  # (until, ticket, trial)
    paused: set[int] = field(default_factory=set)
    done: dict[int, int] = field(default_factory=dict)  # trial -> epochs run
    finished: list[int] = field(default_factory=list)
    stopped: dict[int, tuple[int, str]] = field(default_factory=dict)
    tickets: int = 0
    pauses: int = 0

    def run(self, trial: int, now: float) -> None:
        """Start one more epoch of the trial."""
        self.tickets += 1
        heapq.heappush(self.running, (now + self.pace[trial], self.tickets, trial))

    def resume(self, now: float) -> bool:
        """Resume the trial that the rule names; False if it names none."""
        resume = self.rule.resume([trial_id(trial) for trial in sorted(self.paused)])
        if resume is None:
            return False
        if resume.exploit is not None:
            raise CopiesTrials
        self.rule.resumed(resume)
        self.paused.remove(int(resume.trial_id))
        self.run(int(resume.trial_id), now)
        return True

    def report(self, trial: int) -> Decision:
        """End an epoch of the trial; returns the rule's decision."""
        epoch = self.done[trial] = self.done.get(trial, 0) + 1
        loss = float(self.curves[trial][epoch - 1])
        return self.rule.report(Report(trial_id(trial), epoch, loss, self.configs[trial]))

    def carry_out(self, trial: int, decision: Decision, now: float) -> None:
        """Run the trial on, pause it or end it."""
        if isinstance(decision, Exploit):
            raise CopiesTrials
        if isinstance(decision, Pause):
            self.pauses += 1
            self.paused.add(trial)
        elif isinstance(decision, Stop):
            if decision.ending == "completed":
                self.finished.append(trial)
            else:
                self.stopped[trial] = (self.done[trial], decision.reason)
        else:
            self.run(trial, now)


def replay(
    rule: Rule,
    curves: Sequence[Sequence[float]],
    order: Sequence[int] | None = None,
    workers: int = 1,
    *,
    configs: Sequence[Mapping[str, Any]] | None = None,
    pace: Sequence[float] | None = None,
) -> Replay:
    """Replay recorded curves.

    Args:
        rule: a fresh rule whose max_resource is the length of a curve.
        curves: losses, (trials, epochs), lower is better; NaN and inf are divergences.
        order: indices of the trials in the order in which they start; if None, all in their order.
        workers: number of trials that run at once.
        configs: the searched parameters of each curve, for rules that read them.
        pace: virtual time of an epoch of each curve; 1 if None.

    Raises:
        ValueError: if a curve is not as long as the rule's max_resource, or if workers is below 1.
        CopiesTrials: if the rule copies trials.
    """
    chosen = list(range(len(curves))) if order is None else [int(index) for index in order]
    if workers < 1:
        raise ValueError(f"workers ({workers}) must be at least 1")
    for index in chosen:
        if len(curves[index]) != rule.max_resource:
            raise ValueError(
                f"curve {index} has {len(curves[index])} epochs, the rule's max_resource is "
                f"{rule.max_resource}: they must be equal"
            )
    bench = _Bench(
        rule,
        [curves[index] for index in chosen],
        [{} if configs is None else configs[index] for index in chosen],
        [1.0 if pace is None else pace[index] for index in chosen],
    )
    makespan = _drive(bench, workers)
    return Replay(
        epochs=sum(bench.done.values()),
        whole=sum(_length(curve) for curve in bench.curves),
        finished=tuple(chosen[trial] for trial in bench.finished),
        stopped={chosen[trial]: stop for trial, stop in bench.stopped.items()},
        best=min((float(bench.curves[trial][-1]) for trial in bench.finished), default=math.inf),
        pauses=bench.pauses,
        makespan=makespan,
    )


def _drive(bench: _Bench, workers: int) -> float:
    """Run until no trial runs or can be started; returns the time of the last report."""
    now, started = 0.0, 0
    while True:
        while len(bench.running) < workers:
            if bench.resume(now):
                continue
            if started == len(bench.curves):
                break
            bench.run(started, now)
            started += 1
            if started == len(bench.curves):
                bench.rule.no_more_trials([trial_id(trial) for trial in range(started)])
        if not bench.running:
            break
        now, _, trial = heapq.heappop(bench.running)
        bench.carry_out(trial, bench.report(trial), now)
    for trial in sorted(bench.paused):
        last = bench.rule.last_decision(trial_id(trial))
        bench.rule.end(trial_id(trial), last.ending)
        bench.stopped[trial] = (bench.done[trial], last.reason)
    return now


def _length(curve: Sequence[float]) -> int:
    """Epochs of a curve up to its first non-finite loss, or all."""
    return next((epoch for epoch, loss in enumerate(curve, 1) if not math.isfinite(loss)), len(curve))
