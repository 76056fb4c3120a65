"""The one stream of a study: journal first, then everybody who folds it.

Live and after a restart the same code turns events into the state of the rule and of the searcher:
`rebuild` folds a journal, `Stream.emit` one event more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from schedulers.rule import Exploit, Report, Resume, Rule
from service.study.events import Asked, Ended, Event, Exploited, Paused, Promoted, Reported, Subscriber
from service.study.journal import Journal
from service.study.record import StudyRecord


class Learner(Protocol):
    """What a searcher is told; `service.search.StudySearcher` is one."""

    def replay_asked(self, number: int, config: dict[str, Any], source: str) -> None:
        """A trial the journal knows."""

    def report(self, trial_id: str, step: int, loss: float) -> None:
        """A trial's loss at a step."""

    def paused(self, trial_id: str) -> None:
        """A trial waits, maybe for ever: what it reported is all that is known of it."""

    def resumed(self, trial_id: str) -> None:
        """It goes on."""

    def tell(self, trial_id: str, outcome: str, worth: float | None, reason: str) -> None:
        """A trial's end."""


@dataclass
class Stream:
    """Appends events to the journal and hands them on.

    Attributes:
        record: always the fold of all events so far.
        broken: what the disk said when it refused an event; the sweep must end then, since what
            is not in the journal did not happen.
    """

    journal: Journal
    record: StudyRecord
    learner: Learner
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
            self.broken = f"the journal {self.journal.path} cannot be written: {error.strerror}"
            self.on_broken(self.broken)
            return
        self.record.apply(event)
        teach(self.learner, self.record, event)
        for subscriber in self.subscribers:
            subscriber(event)


def teach(learner: Learner, record: StudyRecord, event: Event) -> None:
    """Tell the searcher what an event means to it; `record` has the event already."""
    match event:
        case Reported(again=False):
            if event.loss is not None:
                learner.report(event.trial, event.epoch, event.loss)
            if event.decision == "pause":  # a kill may come before the pause itself is told
                learner.paused(event.trial)
        case Paused():
            learner.paused(event.trial)
        case Promoted():
            learner.resumed(event.trial)
        case Ended():
            worth = record.trials[event.trial].worth(record.objective)
            learner.tell(event.trial, event.outcome, worth, event.reason)
        case _:
            pass


@dataclass
class RuleFold:
    """Folds events into a rule that has seen none of them, so that it decides on as before."""

    rule: Rule
    record: StudyRecord
    _copied: dict[str, Exploit] = field(default_factory=dict)
    """Exploits since the trial's last epoch: one that goes with a promotion belongs to it."""

    def __call__(self, event: Event) -> None:
        """Take one event in; `record` has it already."""
        match event:
            case Reported(again=False):
                config = self.record.trials[event.trial].config
                self.rule.report(Report(event.trial, event.epoch, event.loss, config))
                self._copied.pop(event.trial, None)
            case Exploited():
                self._copied[event.trial] = Exploit(event.donor, event.epoch, event.config, event.reason)
            case Promoted():
                self.rule.resumed(Resume(event.trial, event.reason, self._copied.get(event.trial)))
            case Ended():
                self.rule.end(event.trial, event.outcome)
            case _:
                pass


def rebuild(past: Iterable[Event], record: StudyRecord, rule: Rule, learner: Learner) -> None:
    """Fold a whole journal into a fresh record, rule and searcher."""
    fold_rule = RuleFold(rule, record)
    for event in past:
        record.apply(event)
        fold_rule(event)
        if isinstance(event, Asked):
            learner.replay_asked(int(event.trial), dict(event.config), event.source)
        teach(learner, record, event)
