"""The base class of trial scheduler rules: reports in, decisions with their reasons out.

A rule is pure: it has no clock, no I/O and no global generator, it knows nothing of Ray, and its
state is plain data. So it can be tested as a table, replayed over recorded curves and rebuilt from a
journal.

A trial's *resource* is the number of epochs it has trained; R (`max_resource`) is that of a whole
trial. The *loss* is always lower-is-better: the caller of a rule negates a maximised metric once.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from schedulers.errors import InvalidSetting, require_at_least
from schedulers.reason import ReasonCode

Objective = Literal["last", "best"]
Ending = Literal["completed", "stopped", "diverged", "failed"]
ENDINGS: tuple[Ending, ...] = get_args(Ending)


@dataclass(frozen=True, slots=True)
class Report:
    """One trial's loss at one resource.

    Attributes:
        trial_id: id of the trial, the same for its whole life.
        resource: epochs trained so far, >= 1.
        loss: lower is better; NaN, +-inf and None (missing) are valid values, not errors.
        config: the searched parameters, flat: ``{"optimizer_config.lr": 0.1}``.
    """

    trial_id: str
    resource: int
    loss: float | None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The prediction behind a decision; losses, lower is better.

    Attributes:
        median: median of the predicted final loss.
        low, high: range meant to hold nine of ten final losses, widened by how far the study's own
            earlier predictions were off; None while too few of those trials have finished.
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
        reason: may be empty, as where nothing is decided.
        milestone: whether this state is worth a checkpoint (another trial may copy it), and the trial
            may give its slot to a waiting one.
        code: the kind of the reason, for programs, which never read the reason itself.
    """

    reason: str = ""
    milestone: bool = False
    outlook: Outlook | None = None
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True)
class Pause:
    """Free the slot and wait until `Rule.resume` names the trial.

    Attributes:
        reason: what the trial waits for.
        save: whether to save a checkpoint first; False if there is nothing worth saving (NaN weights).
    """

    reason: str
    save: bool = True
    outlook: Outlook | None = None
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True)
class Stop:
    """The trial ends here, with `ending` as its outcome."""

    reason: str
    ending: Ending = "stopped"
    outlook: Outlook | None = None
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True)
class Exploit:
    """Go on from the donor's checkpoint at `resource`, with `config` (flat and complete)."""

    donor: str
    resource: int
    config: Mapping[str, Any]
    reason: str
    code: ReasonCode = ReasonCode.RULE


Decision = Continue | Pause | Stop | Exploit


@dataclass(frozen=True, slots=True)
class Resume:
    """A paused trial goes on; with `exploit`, from another trial's checkpoint and configuration."""

    trial_id: str
    reason: str
    exploit: Exploit | None = None
    code: ReasonCode = ReasonCode.RULE


class Rule(ABC):
    """Decides which trials go on. Subclasses define `judge`, and `resume`/`resumed` if they pause trials.

    The base class does what holds for every rule: a resource already reported is not judged again, a
    non-finite loss ends the trial at once, and a trial that reaches R ends as completed.

    Attributes:
        parameters: flat keys of the searched parameters that the rule reads from `Report.config`.
        replaces: whether `failed` may return anything but None.
        metric: name of the loss in reasons.
        sign: -1 if that metric is maximised, so that reasons show the user's values.

    Args:
        max_resource: R, epochs of a whole trial; at R every trial ends.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: if max_resource is below 1 or the objective is unknown.
    """

    parameters: Sequence[str] = ()
    replaces: bool = False
    metric: str = "loss"
    sign: int = 1

    def __init__(self, *, max_resource: int, objective: Objective = "last") -> None:
        require_at_least(1, max_resource=max_resource)
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

        Finite reports before it get a plain `Continue`, whatever other trials report meanwhile, and no
        decision depends on when they arrive: the trial may train ahead and report them together. Changes
        nothing.

        Args:
            trial_id: a trial that has trained up to `resource`, and may go on from there.
            resource: epochs trained; 0 for a trial that has not begun.
        """
        if resource != self.last_resource.get(trial_id, 0) or trial_id in self.endings:
            return resource + 1  # run again after a recovery
        return max(min(self.next_judged(trial_id, resource), self.max_resource), resource + 1)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The next resource at which `judge` may decide, or learn what another trial's decision depends on.

        By default the next epoch. A value that is too low only costs time.
        """
        return resource + 1

    def speak_of(self, metric: str, *, maximised: bool = False) -> None:
        """Let reasons name the user's metric, with its values in the user's direction."""
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
        """Decide on a new, finite report; also called at R, where only a returned `Stop` counts.

        `report.loss` is the loss by the objective.
        """

    def diverged(self, report: Report) -> Decision:
        """Decide on a loss that is NaN, infinite or missing; by default the trial stops."""
        value = self.format_value(report.loss)
        return Stop(f"{self.metric} is {value} at epoch {report.resource}", "diverged")

    def failed(self, trial_id: str, reason: str) -> Pause | Exploit | None:
        """Decide on a trial whose next epoch failed; None if it ends, and the caller then calls `end`.

        A rule may let it go on from another trial's weights.
        """
        return None

    def on_duplicate_report(self, report: Report) -> Decision:
        """Decide on a resource judged before, re-run after a recovery; nothing is learnt from it.

        A trial that had ended is stopped again: its worker may have died before it was stopped.
        """
        ending = self.endings.get(report.trial_id)
        if ending in ENDINGS:
            return Stop(f"had ended before epoch {report.resource} was run again ({ending})", ending)
        return Continue("already reported")

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """The paused trial to resume now, or None. Changes nothing.

        `paused` is in order of trial number. It holds trials that this rule paused and trials that gave
        way at a milestone. By default the least trained of them is resumed.
        """
        if not paused:
            return None
        trial = min(paused, key=lambda name: self.last_resource.get(name, 0))
        return Resume(trial, "its turn again")

    def next_unresumable(self, paused: Sequence[str]) -> str | None:
        """A paused trial that can never be resumed, or None. Changes nothing.

        The trial ends by `last_decision`: its disk space is freed and a sampler learns from it at once,
        so a rule that can tell should do so.
        """
        return None

    def resumed(self, resume: Resume) -> None:  # noqa: B027 - a hook: most rules have nothing to note
        """Note that `resume` is being carried out."""

    def no_more_trials(self, trial_ids: Sequence[str]) -> None:  # noqa: B027 - a hook: few rules need it
        """Note that no new trial will come: `trial_ids` are all of the sweep. Idempotent."""

    def cannot_pause(self) -> None:  # noqa: B027 - a hook: most rules pause no trial
        """From now on decide without pauses, if the rule can: a paused trial would start from scratch.

        Trials already paused may still be resumed; a `Pause` is treated as `Continue`.
        """

    def end(self, trial_id: str, ending: str) -> None:
        """Record that the trial ended, by whatever cause; it reports no more. Idempotent."""
        self.endings.setdefault(trial_id, ending)

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Why a sweep under this rule cannot be given more epochs or more trials; empty if it can.

        It can if the decisions so far would be as good in the larger sweep.
        """
        return ""

    def is_exploit_source(self, resource: int) -> bool:
        """Whether another trial may yet copy a checkpoint at `resource`, which is kept then."""
        return False

    def last_word(self, trial_id: str) -> str:
        """The reason why a trial ends that is still paused when nothing is left to run."""
        epoch = self.last_resource.get(trial_id, 0)
        return f"paused at epoch {epoch}; nothing is left to run that could promote it"

    def last_decision(self, trial_id: str) -> Stop:
        """The end of a trial that is still paused when nothing is left to run."""
        return Stop(self.last_word(trial_id))

    def state(self) -> dict[str, Any]:
        """A copy of all that the rule has learnt, in JSON types and named tuples."""
        return copy.deepcopy({name: vars(self)[name] for name in self.memory()})

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`; from here on the rule decides as the one that saved it would.

        JSON turns tuples into lists: a rule whose state has named tuples rebuilds them here.
        """
        vars(self).update(copy.deepcopy(dict(state)))

    def memory(self) -> tuple[str, ...]:
        """Names of the attributes that make up the state; subclasses add theirs."""
        return ("last_resource", "objective_loss", "endings")
