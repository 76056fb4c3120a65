"""The one stream of a study: journal first, then everybody who folds it.

Live and after a restart the same code turns events into the state of the rule and of the searcher:
`rebuild` folds a journal, `EventBus.emit` one event more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from raysweep.study.journal.events import (
    EpochReported,
    Event,
    StudyExtended,
    Subscriber,
    TrialCreated,
    TrialEnded,
    TrialExploited,
    TrialFailedAwaitingExploit,
    TrialPaused,
    TrialPromoted,
    TrialReopened,
    TrialRetried,
)
from raysweep.study.journal.log import Journal
from raysweep.study.journal.pareto import counted
from raysweep.study.journal.records import StudyRecord
from schedulers.reason import UNJUDGED
from schedulers.rule import Decision, Exploit, Report, Resume, Rule


class SearchObserver(Protocol):
    """What a searcher is told; `raysweep.search.optuna_searcher.OptunaSearcher` is one."""

    def replay_asked(self, number: int, config: dict[str, Any], source: str, draws: int) -> None:
        """A trial the journal knows."""

    def report(self, trial_id: str, step: int, loss: float) -> None:
        """A trial's loss at a step."""

    def paused(self, trial_id: str) -> None:
        """A trial waits, maybe for ever: what it reported is all that is known of it."""

    def resumed(self, trial_id: str) -> None:
        """It goes on."""

    def tell(
        self,
        trial_id: str,
        outcome: str,
        worth: float | None,
        reason: str,
        metrics: Mapping[str, float] | None,
    ) -> None:
        """A trial's end, and all that it reported at the epoch that counts."""


@dataclass
class EventBus:
    """Appends events to the journal and hands them on.

    Attributes:
        record: always the fold of all events so far.
        broken: what the disk said when it refused an event; the sweep must end then, since what
            is not in the journal did not happen.
    """

    journal: Journal
    record: StudyRecord
    learner: SearchObserver
    subscribers: Sequence[Subscriber]
    clock: Callable[[], float]
    on_broken: Callable[[str], None]
    broken: str = field(default="", init=False)

    def emit(self, event: Event) -> None:
        """One event: onto the disk, into the record, to the searcher, to the subscribers."""
        if self.broken:
            return
        try:
            self.journal.append(event)
        except OSError as error:
            self._break(error)
            return
        self.record.apply(event)
        notify_searcher(self.learner, self.record, event)
        for subscriber in self.subscribers:
            subscriber(event)

    def check(self) -> None:
        """See, at most once a second, that the journal is still where it was; else the stream is `broken`."""
        if not self.broken:
            try:
                self.journal.check()
            except OSError as error:
                self._break(error)

    def close(self) -> None:
        """Close the journal; what the disk refuses at the end makes the stream `broken`, too."""
        try:
            self.journal.close()
        except OSError as error:
            self._break(error)

    def _break(self, error: OSError) -> None:
        if not self.broken:
            self.broken = f"the journal {self.journal.path} cannot be written: {error.strerror}"
            self.on_broken(self.broken)


def notify_searcher(learner: SearchObserver, record: StudyRecord, event: Event) -> None:
    """Tell the searcher what an event means to it; `record` has the event already."""
    match event:
        case EpochReported(again=False):
            if event.loss is not None:
                learner.report(event.trial, event.epoch, event.loss)
            if event.decision == "pause":  # a kill may come before the pause itself is told
                learner.paused(event.trial)
        case TrialPaused() | TrialRetried() | TrialFailedAwaitingExploit():
            learner.paused(event.trial)
        case TrialPromoted():
            learner.resumed(event.trial)
        case TrialEnded():
            trial = record.trials[event.trial]
            point = counted(trial, record.objective)
            metrics = point.metrics if point is not None else None
            learner.tell(event.trial, event.outcome, trial.worth(record.objective), event.reason, metrics)
        case _:
            pass


@dataclass
class RuleReplayer:
    """Folds events into a rule that has seen none of them, so that it decides on as before.

    What was decided stands, whatever the rule would say now: its settings may have grown since (`extend`).

    Attributes:
        decisions: trial -> what the rule, with its present settings, says of its last report.
    """

    rule: Rule
    record: StudyRecord
    decisions: dict[str, Decision] = field(default_factory=dict)
    _copied: dict[str, Exploit] = field(default_factory=dict)
    """Exploits since the trial's last epoch: one that goes with a promotion belongs to it."""

    def __call__(self, event: Event) -> None:
        """Take one event in; `record` has it already."""
        match event:
            case EpochReported(again=False) if event.code not in UNJUDGED:
                config = self.record.trials[event.trial].config
                report = Report(event.trial, event.epoch, event.loss, config)
                self.decisions[event.trial] = self.rule.report(report)
                if event.decision != "stop":
                    self.rule.endings.pop(event.trial, None)
                self._copied.pop(event.trial, None)
            case TrialFailedAwaitingExploit():
                self.rule.failed(event.trial, event.reason)
                self._copied.pop(event.trial, None)
            case TrialExploited():
                self._copied[event.trial] = Exploit(
                    event.donor, event.epoch, event.config, event.reason, event.code
                )
            case TrialPromoted():
                exploit = self._copied.get(event.trial)
                self.rule.resumed(Resume(event.trial, event.reason, exploit, event.code))
            case TrialEnded():
                self.rule.end(event.trial, event.outcome)
            case _:
                pass


def rebuild(
    past: Sequence[Event],
    record: StudyRecord,
    rule: Rule,
    learner: SearchObserver | None,
    *,
    earlier: Sequence[Rule] = (),
    taken_back: Collection[str] = (),
) -> RuleReplayer:
    """Fold a whole journal into a fresh record, rule and searcher.

    An end that was taken back later (`TrialReopened`, or about to be: `taken_back`) never was, to the rule
    and to the searcher.

    Args:
        past: the journal.
        record: empty.
        rule: fresh, with the settings of now.
        learner: fresh; None if nobody is to be told.
        earlier: fresh rules with the settings of each revision before: each hands on what it has learnt.
        taken_back: trials.
    """
    rules = [*earlier, rule]
    fold_rule = RuleReplayer(rules[0], record)
    until = {event.trial: place for place, event in enumerate(past) if isinstance(event, TrialReopened)}
    until |= dict.fromkeys(taken_back, len(past))
    for place, event in enumerate(past):
        record.apply(event)
        if isinstance(event, TrialEnded) and place < until.get(event.trial, -1):
            continue
        if isinstance(event, StudyExtended) and event.revision < len(rules):
            rules[event.revision].load(fold_rule.rule.state())
            fold_rule.rule = rules[event.revision]
        fold_rule(event)
        if learner is None:
            continue
        if isinstance(event, TrialCreated):
            learner.replay_asked(int(event.trial), dict(event.config), event.source, event.draws)
        notify_searcher(learner, record, event)
    return fold_rule
