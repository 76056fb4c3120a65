"""A study on one slot without Ray: the adapter's part played by forty lines, journal and rule real."""

from __future__ import annotations

import itertools
import math
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.search.initial_points import Proposal
from raysweep.search.searcher import Searcher
from raysweep.study.execution.controller import StudyController
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.execution.trial_events import TrialEventEmitter
from raysweep.study.journal.event_bus import EventBus, rebuild
from raysweep.study.journal.log import Journal, read_events
from raysweep.study.journal.records import StudyRecord
from raysweep.study.storage.journal_files import make_journal
from raysweep.study.storage.layout import StudyFolder
from schedulers.rule import Continue, Exploit, Pause, Report, Resume, Rule, Stop
from tests.builders import LR


def loss_of(config: Mapping[str, Any], epoch: int) -> float:
    """A curve that depends on nothing but its arguments; a high rate diverges late."""
    lr = math.log10(config[LR])
    return math.nan if lr > -0.05 and epoch > 3 else (lr + 1.5) ** 2 + 1.0 / epoch


class ListedSearcher(Searcher):
    """Proposes learning rates from a list, and records the results it gets."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        self.reports: list[tuple[str, int, float]] = []
        self.asked: list[int] = []
        self.waiting: set[str] = set()

    def ask(self, number: int) -> Proposal:
        self.asked.append(number)
        return Proposal({LR: 10 ** -(3.0 * ((number * 0.37) % 1.0))}, "sampler")

    def replay_asked(self, number: int, config: Mapping[str, Any], source: str, draws: int = 1) -> None:
        self.asked.append(number)

    def report(self, trial_id: str, step: int, loss: float) -> None:
        self.reports.append((trial_id, step, loss))

    def paused(self, trial_id: str) -> None:
        self.waiting.add(trial_id)

    def resumed(self, trial_id: str) -> None:
        self.waiting.discard(trial_id)

    def tell(
        self, trial_id: str, outcome: str, loss: float | None, reason: str = "", metrics: Any = None
    ) -> None:
        self.told[trial_id] = outcome


def release(journal: Journal) -> None:
    """Close a journal as a kill does: nothing is forced onto the disk."""
    if journal._fd >= 0:
        os.close(journal._fd)
        os.close(journal._mark_fd)
        journal._fd = journal._mark_fd = -1


class Slot:
    """One attempt at a study; what earlier attempts left in `root` is folded first."""

    def __init__(
        self,
        root: Path,
        sweep: Sweep,
        rule: Rule,
        earlier: Sequence[Rule] = (),
        fails: Callable[[Mapping[str, Any], int], bool] = lambda config, epoch: False,
    ) -> None:
        folder = StudyFolder(root)
        self.sweep, self.rule, self.fails = sweep, rule, fails
        self.searcher, self.record = ListedSearcher(), StudyRecord(sweep.objective)
        if not folder.journal_dir.exists():
            make_journal(folder.journal_dir)
        past = list(read_events(folder.journal_dir))
        rebuild(past, self.record, rule, self.searcher, earlier=earlier)
        clock: Callable[[], float] = itertools.count(1.0).__next__
        journal = Journal(folder.journal_dir, "small")
        weakref.finalize(self, release, journal)
        stream = EventBus(journal, self.record, self.searcher, [], clock, print)
        self.controller = StudyController(
            RunPlan(sweep, folder, 1, {"cpu": 1}), stream, rule, self.searcher, StopSignal()
        )
        self.emitter = TrialEventEmitter(self.controller)

    def run(self) -> Iterator[None]:
        """Play until nothing is left to do; yields between an epoch and the next, when all is quiet."""
        self.controller.begin()
        while (name := self._next()) is not None:
            while self._epoch(name):
                yield
            yield
        for trial in self.record.unfinished():
            self._end(trial.trial)
        self.controller.close()
        yield

    def _end(self, name: str) -> None:
        decision = self.rule.last_decision(name)
        self.rule.end(name, decision.ending)
        self.emitter.ended(name, decision.ending, decision.reason)

    def _next(self) -> str | None:
        pending = [
            trial.trial for trial in self.record.unfinished() if trial.status in ("pending", "running")
        ]
        if pending:
            return pending[0]
        paused = [trial.trial for trial in self.record.unfinished() if trial.status == "paused"]
        while (hopeless := self.rule.next_unresumable(paused)) is not None:
            paused.remove(hopeless)
            self._end(hopeless)
        resume = self.rule.resume(paused)
        if resume is not None:
            self._resume(resume)
            return resume.trial_id
        asked = self.controller.ask()
        return asked[0] if asked is not None else None

    def _resume(self, resume: Any) -> None:
        self.rule.resumed(resume)
        if resume.exploit is not None:
            self.emitter.exploited(resume.trial_id, resume.exploit)
        else:
            self.emitter.resumed(resume)

    def _epoch(self, name: str) -> bool:
        """Train one epoch; False when the trial leaves the slot."""
        trial = self.record.trials[name]
        epoch = max(trial.epoch, trial.lineage[-1].epoch if trial.lineage else 0) + 1
        if self.fails(trial.config, epoch):
            return self._failure(name, epoch)
        loss = loss_of(trial.config, epoch)
        decision = self.rule.report(Report(name, epoch, loss, trial.config))
        self.emitter.reported(name, {"epoch": epoch, "val_loss": loss}, decision)
        match decision:
            case Stop():
                self.emitter.ended(name, decision.ending, decision.reason)
            case Pause():
                self.emitter.paused(name, epoch, decision.reason)
            case Exploit():
                self._resume(Resume(name, decision.reason, decision))
        return isinstance(decision, Continue | Exploit)

    def _failure(self, name: str, epoch: int) -> bool:
        """An epoch that raises; True if the trial continues at once, as a copy."""
        decision = self.rule.failed(name, "boom")
        if decision is None:
            self.rule.end(name, "failed")
            self.emitter.ended(name, "failed", "boom", "Traceback: boom")
            return False
        self.emitter.failed_awaiting_exploit(name, "failed", "boom", "Traceback: boom")
        if isinstance(decision, Exploit):
            self._resume(Resume(name, decision.reason, decision))
        else:
            self.emitter.paused(name, epoch, decision.reason)
        return isinstance(decision, Exploit)
