"""Recorded curves through any rule on W virtual workers: what would have been saved, what lost.

No Ray, no clock: one epoch of one trial is one unit of virtual time (or the trial's own pace), and
whichever worker is free first goes first. The order of questions is the service's: a free worker
first asks the rule whom to resume, then takes the next new trial, and idles only if there is
neither; who is still paused when nothing runs has ended.
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
    """What a rule made of recorded curves.

    Attributes:
        epochs: epochs run, all trials together.
        whole: epochs that running every trial to its end (or its divergence) would have taken.
        finished: trials that ran to the last epoch, by index into the curves, in order of finishing.
        stopped: index -> epoch and reason, of every other trial.
        best: lowest final loss among the finished; infinite if none is.
        pauses: how often a worker was handed over, which costs a checkpoint and a restore.
        makespan: virtual time at which the last worker fell idle, epochs.
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
    """The virtual workers: what runs, what waits. Trials are numbered in the order of their start."""

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
        """One more epoch of the trial begins."""
        self.tickets += 1
        heapq.heappush(self.running, (now + self.pace[trial], self.tickets, trial))

    def resume(self, now: float) -> bool:
        """Put to work whom the rule names, if it names one."""
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
        """The epoch is over: what does the rule say?"""
        epoch = self.done[trial] = self.done.get(trial, 0) + 1
        loss = float(self.curves[trial][epoch - 1])
        return self.rule.report(Report(trial_id(trial), epoch, loss, self.configs[trial]))

    def carry_out(self, trial: int, decision: Decision, now: float) -> None:
        """Run on, wait or end."""
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
        order: indices of the trials in the order in which they start; all, as they stand, if None.
        workers: how many trials run at once.
        configs: the searched parameters of each curve, for rules that look at them.
        pace: virtual time an epoch of each curve takes; 1 if None.

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
                f"{rule.max_resource}: they must be as long as each other"
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
        stopped={chosen[trial]: how for trial, how in bench.stopped.items()},
        best=min((float(bench.curves[trial][-1]) for trial in bench.finished), default=math.inf),
        pauses=bench.pauses,
        makespan=makespan,
    )


def _drive(bench: _Bench, workers: int) -> float:
    """Run until nothing runs and nothing can; the time of the last report."""
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
    """Epochs until a curve ends of itself: its first non-finite loss counts, what follows does not."""
    return next((epoch for epoch, loss in enumerate(curve, 1) if not math.isfinite(loss)), len(curve))
