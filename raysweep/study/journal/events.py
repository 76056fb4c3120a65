"""What can happen in a study. Everything else (records, status, tracking, the view) folds these.

Every event is a frozen value with the wall-clock second at which it was written. Its `kind` is its name
in the journal: a class may be renamed, its kind may not. A `reason` is for people; programs read `code`.
Losses are
lower-is-better; `metrics` holds what the user's own words say, in the user's direction.
Non-finite floats are legal everywhere: the journal writes them as the strings nan, inf, -inf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from schedulers.reason import ReasonCode

Source = Literal["baseline", "point", "sampler"]
Outcome = Literal["completed", "stopped", "diverged", "failed", "infeasible"]
"""How a trial ended: all its epochs (or its own patience), a rule, a non-finite loss, an
exception in user code, memory that no slot has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """An attempt begins: the first `run`, or a later `resume`."""

    kind: ClassVar[str] = "attempt_started"
    t: float
    attempt: int
    slots: int
    """Trials that run at once."""
    trials: int
    """Trials wanted in all."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """git commit, package versions, data fingerprint, host, command."""
    lanes: int = 1
    """Trials of a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsChanged:
    """Nodes, or other studies, came or went: so many trials run at once from here on."""

    kind: ClassVar[str] = "slots_changed"
    t: float
    slots: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCreated:
    """The searcher proposed a configuration; the trial exists from here on."""

    kind: ClassVar[str] = "trial_created"
    t: float
    trial: str
    """Trial id: the trial's number, five digits; the same in Ray, Optuna and MLflow."""
    config: Mapping[str, Any]
    """The searched parameters, flat: ``{"optimizer_config.lr": 0.1}``."""
    source: Source
    revision: int = 0
    """Revision of the search space it was drawn from."""
    draws: int = 1
    """How often the sampler was asked: it may have proposed what was tried already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """The trial runs on a process, for the first time or again."""

    kind: ClassVar[str] = "trial_started"
    t: float
    trial: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlaced:
    """The trial was first heard of from a process: where that is. Told anew whenever it gets another."""

    kind: ClassVar[str] = "placed"
    t: float
    trial: str
    worker: str
    """host:pid of the process."""
    gpu: str
    """The name of its GPU; empty for none."""
    torch: str
    """Version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReported:
    """How a trial is trained that shares its process; told with its first epoch there."""

    kind: ClassVar[str] = "lane"
    t: float
    trial: str
    obstacle: str
    """Why it is trained by itself; empty where it is trained together with those that fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReported:
    """One epoch of one trial, with what the trial scheduler decided on it and why."""

    kind: ClassVar[str] = "reported"
    t: float
    trial: str
    generation: int
    """How many exploits the trial has behind it."""
    epoch: int
    """Position in the run (what the LR schedule sees), from 1."""
    work: int
    """Epochs of work done by this trial, re-runs after a recovery not counted; never goes back."""
    loss: float | None
    """The sweep's metric, flipped if maximised."""
    metrics: Mapping[str, float]
    decision: Literal["continue", "pause", "stop", "exploit"]
    reason: str = ""
    code: ReasonCode = ReasonCode.RULE
    worker: str = ""
    """host:pid of the process that ran the epoch."""
    again: bool = False
    """A re-run of an epoch the journal already knows: no rule judged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A whole checkpoint of the trial at `epoch` stands at `path` (relative to the study's folder)."""

    kind: ClassVar[str] = "checkpointed"
    t: float
    trial: str
    epoch: int
    generation: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialExploited:
    """The trial goes on from the donor's checkpoint at `epoch`, under `config` (flat, whole)."""

    kind: ClassVar[str] = "exploited"
    t: float
    trial: str
    donor: str
    epoch: int
    generation: int
    """The trial's generation from here on."""
    config: Mapping[str, Any]
    reason: str
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPaused:
    """The trial waits, its slot free: a rule's decision, or it gave way to others."""

    kind: ClassVar[str] = "paused"
    t: float
    trial: str
    epoch: int
    reason: str
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPromoted:
    """A paused trial goes on."""

    kind: ClassVar[str] = "promoted"
    t: float
    trial: str
    epoch: int
    reason: str
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecovered:
    """A worker or node was lost; the trial goes on from its last checkpoint. Not the trial's fault."""

    kind: ClassVar[str] = "worker_lost"
    t: float
    trial: str
    error: str
    terminated: bool = False
    """It was asked to leave (SIGTERM): that says nothing of the trial, and is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFailed:
    """The disk refused a checkpoint (full, read-only); the trial that reports next goes on all the same."""

    kind: ClassVar[str] = "checkpoint_failed"
    t: float
    trial: str
    """Whose process told of it; `error` names the trial whose checkpoint it was."""
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRetried:
    """The trial ran out of memory; it waits to be run once more, with more of the machine."""

    kind: ClassVar[str] = "retried"
    t: float
    trial: str
    resources: Mapping[str, float]
    """What it gets then, in Ray's words: ``{"cpu": 2, "gpu": 1}``."""
    reason: str
    code: ReasonCode = ReasonCode.OUT_OF_MEMORY
    error: str = ""
    """Traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailedAwaitingExploit:
    """The trial failed, and waits to go on as another's copy (`TrialExploited`); that it failed counts."""

    kind: ClassVar[str] = "trial_failed_awaiting_exploit"
    t: float
    trial: str
    outcome: Literal["failed", "infeasible"]
    reason: str
    code: ReasonCode = ReasonCode.TRIAL
    error: str = ""
    """Traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """The trial is over."""

    kind: ClassVar[str] = "trial_ended"
    t: float
    trial: str
    outcome: Outcome
    reason: str
    code: ReasonCode = ReasonCode.RULE
    error: str = ""
    """Traceback, for `failed` and `infeasible`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyExtended:
    """The study was changed in mid-life (`extend`): what, from its next trial on."""

    kind: ClassVar[str] = "study_revised"
    t: float
    revision: int
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReopened:
    """A completed trial goes on, for the study was given more epochs; its end counts no longer."""

    kind: ClassVar[str] = "reopened"
    t: float
    trial: str
    epoch: int
    waits: bool
    """The trial scheduler has to name it first."""
    reason: str
    code: ReasonCode = ReasonCode.MORE_EPOCHS


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt ends in good order (a killed driver writes none)."""

    kind: ClassVar[str] = "attempt_ended"
    t: float
    attempt: int
    exit_code: int
    reason: str
    code: ReasonCode = ReasonCode.ALL_ENDED


Event = (
    AttemptStarted
    | SlotsChanged
    | TrialCreated
    | TrialStarted
    | TrialPlaced
    | LaneReported
    | EpochReported
    | CheckpointSaved
    | TrialExploited
    | TrialPaused
    | TrialPromoted
    | TrialRecovered
    | CheckpointFailed
    | TrialRetried
    | TrialFailedAwaitingExploit
    | TrialEnded
    | StudyExtended
    | TrialReopened
    | AttemptEnded
)
Subscriber = Callable[[Event], None]
"""Journal, status, tracking and view are subscribers of one stream; a subscriber must return at
once and must not raise: whoever has slow or failing work to do has a thread of its own."""
