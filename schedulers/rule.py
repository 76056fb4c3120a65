"""What every trial scheduler's rule is: reports in, decisions with their reasons out.

A rule is pure. It has no clock, no I/O and no global generator, it knows nothing of Ray, and its
state is plain data; so it can be tested as a table, replayed over recorded curves, rebuilt from a
journal and explained in a log line, an MLflow tag and a report alike.

Words: a trial's *resource* is the number of epochs it has trained, R (`max_resource`) what a whole
trial may use. The *loss* is always lower-is-better; whoever speaks to a rule flips `maximize` once.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from schedulers.errors import InvalidSetting
from schedulers.reason import ReasonCode

Objective = Literal["last", "best"]
Ending = Literal["completed", "stopped", "diverged", "failed"]
ENDINGS: tuple[Ending, ...] = get_args(Ending)


@dataclass(frozen=True, slots=True)
class Report:
    """One trial's loss at one resource.

    Attributes:
        trial_id: identity of the trial for its whole life.
        resource: epochs trained so far, >= 1.
        loss: lower is better; NaN, +-inf and None (missing) are outcomes, not errors.
        config: the searched parameters, flat: ``{"optimizer_config.lr": 0.1}``.
    """

    trial_id: str
    resource: int
    loss: float | None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a rule that predicts expected of a trial when it decided; losses, lower is better.

    Attributes:
        median: of the predicted final loss.
        low, high: the range that is to hold nine of ten ends, widened by how far the study's own earlier
            predictions were off; None while too few of them have come to their end.
        chance: the model's probability that the trial ends better than the best so far; not calibrated.
    """

    median: float
    low: float | None
    high: float | None
    chance: float


@dataclass(frozen=True, slots=True)
class Continue:
    """Train on.

    Attributes:
        reason: may be empty; an epoch at which nothing is decided needs no reason.
        milestone: this state is worth a checkpoint (someone may copy it), and if other trials
            wait for a slot, this is a good moment to give way to them.
        code: the kind of the reason, for programs: they never read the reason itself.
    """

    reason: str = ""
    milestone: bool = False
    outlook: Outlook | None = None
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True)
class Pause:
    """Free the slot and wait until `Rule.resume` names the trial.

    Attributes:
        reason: what it waits for.
        save: keep a checkpoint first; False where there is nothing worth keeping (NaN weights).
    """

    reason: str
    save: bool = True
    outlook: Outlook | None = None
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True)
class Stop:
    """The trial ends here: `completed` all it was given, was `stopped`, `diverged` or `failed`."""

    reason: str
    ending: Ending = "stopped"
    outlook: Outlook | None = None
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True)
class Exploit:
    """Go on from the donor's checkpoint at `resource`, under `config` (flat, the whole of it)."""

    donor: str
    resource: int
    config: Mapping[str, Any]
    reason: str
    code: ReasonCode = ReasonCode.RULE


Decision = Continue | Pause | Stop | Exploit


@dataclass(frozen=True, slots=True)
class Resume:
    """A paused trial goes on; with `exploit`, from another's checkpoint and configuration."""

    trial_id: str
    reason: str
    exploit: Exploit | None = None
    code: ReasonCode = ReasonCode.RULE


class Rule(ABC):
    """Decides who goes on. Subclasses write `judge`, and `resume`/`resumed` where they pause.

    The base holds what is true of every rule, so that no rule can forget it: a resource already
    reported is not judged again, a non-finite loss ends the trial at once, R ends it as completed.

    Attributes:
        parameters: flat keys of the searched parameters a rule wants to see in `Report.config`.
        replaces: whether `failed` may answer anything but None.
        metric: what reasons call the loss.
        sign: -1 where that metric is maximised: reasons then show it as the user knows it.

    Args:
        max_resource: R, epochs of a whole trial; at R every trial ends.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: if max_resource is below 1 or the objective is another word.
    """

    parameters: Sequence[str] = ()
    replaces: bool = False
    metric: str = "loss"
    sign: int = 1

    def __init__(self, *, max_resource: int, objective: Objective = "last") -> None:
        if max_resource < 1:
            raise InvalidSetting("max_resource", f"max_resource ({max_resource}) must be at least 1")
        if objective not in ("last", "best"):
            raise InvalidSetting("objective", f"objective is 'last' or 'best', not {objective!r}")
        self.max_resource = max_resource
        self.objective = objective
        self.last_resource: dict[str, int] = {}  # trial -> highest resource reported
        self.objective_loss: dict[str, float] = {}  # trial -> its loss by the objective
        self.endings: dict[str, str] = {}  # trial -> how it ended

    def report(self, report: Report) -> Decision:
        """Judge one report. The same reports in the same order give the same decisions."""
        trial = report.trial_id
        if report.resource <= self.last_resource.get(trial, 0) or trial in self.endings:
            return self.on_duplicate_report(report)
        self.last_resource[trial] = report.resource
        if report.loss is None or not math.isfinite(report.loss):
            decision = self.diverged(report)
        else:
            loss = report.loss
            if self.objective == "best":
                loss = min(loss, self.objective_loss.get(trial, math.inf))
            self.objective_loss[trial] = loss
            decision = self.judge(Report(trial, report.resource, loss, report.config))
            if report.resource >= self.max_resource and not isinstance(decision, Stop):
                decision = Stop(f"finished all {self.max_resource} epochs", "completed")
        if isinstance(decision, Stop):
            self.end(trial, decision.ending)
        return decision

    def next_decision(self, trial_id: str, resource: int) -> int:
        """The next resource, above `resource`, whose report must be judged before the trial trains on.

        The finite reports before it are answered by a plain `Continue`, whatever other trials report
        meanwhile, and nobody's decision depends on when they come: the trial may train on without asking,
        and hand them over together. A question: it changes nothing.

        Args:
            trial_id: of a trial that has trained up to `resource`, and may go on from there.
            resource: where it stands; 0 for one that has not begun.
        """
        if resource != self.last_resource.get(trial_id, 0) or trial_id in self.endings:
            return resource + 1  # run again after a recovery
        return max(min(self.next_judged(trial_id, resource), self.max_resource), resource + 1)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The next resource at which `judge` may decide, or learn what another trial's decision depends on.

        Every one, unless a rule knows better; up to R it may name any, and too low a one costs time only.
        """
        return resource + 1

    def speak_of(self, metric: str, *, maximised: bool = False) -> None:
        """Have reasons name the user's metric, with its values in the user's direction."""
        self.metric, self.sign = metric, -1 if maximised else 1

    def format_value(self, loss: float | None) -> str:
        """A loss as a value of the user's metric."""
        return str(loss) if loss is None else f"{self.sign * loss:.6g}"

    def describe(self, loss: float | None) -> str:
        """A loss as the user's metric and its value.

        >>> from schedulers import FIFORule
        >>> rule = FIFORule(max_resource=3)
        >>> rule.speak_of("accuracy", maximised=True)
        >>> rule.describe(-0.7722), rule.report(Report("a", 1, float("nan"))).reason
        ('accuracy 0.7722', 'accuracy is nan at epoch 1')
        """
        return f"{self.metric} {self.format_value(loss)}"

    @abstractmethod
    def judge(self, report: Report) -> Decision:
        """Decide on a first-time, finite report; called at R too, so that R can be recorded.

        `report.loss` is the trial's worth by the objective. What it returns at R is ignored
        unless it is a `Stop`.
        """

    def diverged(self, report: Report) -> Decision:
        """Answer a loss that is NaN, infinite or missing; a rule may do better than to stop."""
        value = self.format_value(report.loss)
        return Stop(f"{self.metric} is {value} at epoch {report.resource}", "diverged")

    def failed(self, trial_id: str, reason: str) -> Pause | Exploit | None:
        """Answer a trial whose next epoch failed, so that it has nothing to go on from; None: it ends.

        A rule may know of another's weights to go on from. The answer comes with the failure: whoever
        asks says `end` if it is None.
        """
        return None

    def on_duplicate_report(self, report: Report) -> Decision:
        """Answer a resource judged before: a re-run after a recovery, from which nothing is learnt.

        Whoever had ended ends again: its worker may have died between the decision and the deed.
        """
        ending = self.endings.get(report.trial_id)
        if ending in ENDINGS:
            return Stop(f"had ended before epoch {report.resource} was run again ({ending})", ending)
        return Continue("already reported")

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Name the paused trial to go on with now, or None. A question: it changes nothing.

        `paused` is in order of trial number. It holds those this rule paused and those that gave
        way at a milestone. The default lets whoever gave way go on, the least trained first.
        """
        if not paused:
            return None
        trial = min(paused, key=lambda name: self.last_resource.get(name, 0))
        return Resume(trial, "its turn again")

    def next_unresumable(self, paused: Sequence[str]) -> str | None:
        """Name a paused trial that nothing can make go on any more; `last_decision` is its end. A question.

        Whoever can know it should say it: such a trial's place on the disk is freed, and a sampler
        learns from it at once.
        """
        return None

    def resumed(self, resume: Resume) -> None:  # noqa: B027 - a hook: most rules have nothing to note
        """Take note that `resume` is being carried out."""

    def no_more_trials(self, known: Sequence[str]) -> None:  # noqa: B027 - a hook: few rules need it
        """Take note that no new trial will come: `known` are all there will ever be. Idempotent."""

    def cannot_pause(self) -> None:  # noqa: B027 - a hook: most rules pause nobody
        """From now on a trial that pauses would begin again: rules that can decide without it do so.

        Whoever waits already may still be resumed; a `Pause` is answered by going on.
        """

    def end(self, trial_id: str, ending: str) -> None:
        """The trial reports no more (also failed, lost, or stopped by somebody else). Idempotent."""
        self.endings.setdefault(trial_id, ending)

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Why a sweep begun under this rule cannot be given more epochs or more trials; empty if it can.

        It can if what was decided so far would be as good a decision in the larger sweep.
        """
        return ""

    def is_exploit_source(self, resource: int) -> bool:
        """Whether a trial may yet be sent to copy another's checkpoint at `resource`: it is kept then."""
        return False

    def last_word(self, trial_id: str) -> str:
        """Why a trial that is still paused when nothing is left to run ends now."""
        epoch = self.last_resource.get(trial_id, 0)
        return f"paused at epoch {epoch}; nothing is left to run that could promote it"

    def last_decision(self, trial_id: str) -> Stop:
        """How a trial ends that is still paused when nothing is left to run."""
        return Stop(self.last_word(trial_id))

    def state(self) -> dict[str, Any]:
        """Everything the rule has learnt: plain data and named tuples, which JSON can write."""
        return copy.deepcopy({name: vars(self)[name] for name in self.memory()})

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up `state`; from here on the rule decides as the one that saved it would.

        It may have been through JSON, which makes lists of tuples: a rule that remembers named tuples
        makes them anew here.
        """
        vars(self).update(copy.deepcopy(dict(state)))

    def memory(self) -> tuple[str, ...]:
        """Names of the attributes that hold what was learnt; subclasses add theirs."""
        return ("last_resource", "objective_loss", "endings")
