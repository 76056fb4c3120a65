"""The event bus of a study: an event goes to the journal first, then to everything that follows it.

The state of the rule and of the searcher is rebuilt after a restart by the same code that keeps it up to date
in a running study: `rebuild` folds a whole journal, `EventBus.emit` one more event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
from raysweep.study.journal.pareto import scored_point
from raysweep.study.journal.records import StudyRecord
from schedulers.reason import UNJUDGED
from schedulers.rule import Decision, Exploit, Report, Resume, Rule

if TYPE_CHECKING:
    from raysweep.search.searcher import Searcher


@dataclass
class EventBus:
    """Appends events to the journal and passes them on.

    Attributes:
        record: the fold of all events so far.
        broken: why the journal cannot be written, or "". The sweep must end then, since an event that is
            not in the journal did not happen.
    """

    journal: Journal
    record: StudyRecord
    searcher: Searcher
    subscribers: Sequence[Subscriber]
    clock: Callable[[], float]
    on_broken: Callable[[str], None]
    broken: str = field(default="", init=False)

    def emit(self, event: Event) -> None:
        """Write an event to the journal, then pass it to the record, the searcher and the subscribers."""
        if self.broken:
            return
        try:
            self.journal.append(event)
        except OSError as error:
            self._break(error)
            return
        self.record.apply(event)
        notify_searcher(self.searcher, self.record, event)
        for subscriber in self.subscribers:
            subscriber(event)

    def check(self) -> None:
        """Set `broken` if the journal is no longer at its path; looks at most once a second."""
        if not self.broken:
            try:
                self.journal.check()
            except OSError as error:
                self._break(error)

    def close(self) -> None:
        """Close the journal; set `broken` if that fails."""
        try:
            self.journal.close()
        except OSError as error:
            self._break(error)

    def _break(self, error: OSError) -> None:
        if not self.broken:
            self.broken = f"the journal {self.journal.path} cannot be written: {error.strerror}"
            self.on_broken(self.broken)


def notify_searcher(searcher: Searcher, record: StudyRecord, event: Event) -> None:
    """Tell the searcher about an event that `record` has already."""
    match event:
        case EpochReported(again=False):
            if event.loss is not None:
                searcher.report(event.trial, event.epoch, event.loss)
            if event.decision == "pause":  # a kill may come before `TrialPaused`
                searcher.paused(event.trial)
        case TrialPaused() | TrialRetried() | TrialFailedAwaitingExploit():
            searcher.paused(event.trial)
        case TrialPromoted():
            searcher.resumed(event.trial)
        case TrialEnded():
            trial = record.trials[event.trial]
            loss, point = trial.objective_loss(record.objective), scored_point(trial, record.objective)
            metrics = point.metrics if point is not None else None
            searcher.tell(event.trial, event.outcome, loss, event.reason, metrics)
        case _:
            pass


@dataclass
class RuleReplayer:
    """Replays events into a new rule, so that it continues to decide as before.

    Recorded decisions stand even if the rule would decide otherwise now, for `extend` may have changed its
    settings.

    Attributes:
        decisions: by trial, what the rule with its present settings decides on the last report.
    """

    rule: Rule
    record: StudyRecord
    decisions: dict[str, Decision] = field(default_factory=dict)
    _copied: dict[str, Exploit] = field(default_factory=dict)
    """By trial, its exploit since its last epoch, which belongs to the promotion that follows."""

    def __call__(self, event: Event) -> None:
        """Replay one event that `record` has already."""
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
    searcher: Searcher | None,
    *,
    earlier: Sequence[Rule] = (),
    reopened: Collection[str] = (),
) -> RuleReplayer:
    """Fold a whole journal into a new record, rule and searcher.

    The rule and the searcher are not told of the end of a trial that was reopened later.

    Args:
        past: all events of the journal.
        record: an empty record.
        rule: a new rule, with the present settings.
        searcher: a new searcher, or None.
        earlier: new rules with the settings of each earlier revision; each passes its state to the next.
        reopened: trials that are about to be reopened, beside those that were (`TrialReopened`).
    """
    rules = [*earlier, rule]
    replay = RuleReplayer(rules[0], record)
    until = {event.trial: index for index, event in enumerate(past) if isinstance(event, TrialReopened)}
    until |= dict.fromkeys(reopened, len(past))
    for index, event in enumerate(past):
        record.apply(event)
        if isinstance(event, TrialEnded) and index < until.get(event.trial, -1):
            continue
        if isinstance(event, StudyExtended) and event.revision < len(rules):
            rules[event.revision].load(replay.rule.state())
            replay.rule = rules[event.revision]
        replay(event)
        if searcher is None:
            continue
        if isinstance(event, TrialCreated):
            searcher.replay_asked(int(event.trial), dict(event.config), event.source, event.draws)
        notify_searcher(searcher, record, event)
    return replay
