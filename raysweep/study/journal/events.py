"""The events of a study, from which records, status, tracking and the live view are computed.

Every event is frozen and has the time `t` at which it was written, in unix seconds. Its `kind` is its name
in the journal: a class may be renamed, its kind may not. A `reason` is for people; programs read `code`.
A `loss` is lower-is-better; `metrics` have the user's names and signs. Floats may be non-finite: the journal
has them as the strings NaN, Infinity and -Infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from schedulers.reason import ReasonCode

Source = Literal["baseline", "point", "sampler"]
Outcome = Literal["completed", "stopped", "diverged", "failed", "infeasible"]
"""How a trial ended: by its last epoch or its own patience, a rule, a non-finite loss, an exception in user
code, or a need for more memory than any slot has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StudyEvent:
    """Base of all events."""

    kind: ClassVar[str]
    t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrialEvent(_StudyEvent):
    """Base of the events of one trial."""

    trial: str
    """Trial id: the trial's number with five digits; the same in Ray, Optuna and MLflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(_StudyEvent):
    """An attempt begins: the first `run`, or a later `resume`."""

    kind: ClassVar[str] = "attempt_started"
    attempt: int
    slots: int
    """Trials that run at once."""
    trials: int
    """Total number of trials the sweep asks for."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """git commit, package versions, data fingerprint, host, command."""
    lanes: int = 1
    """Trials per process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsChanged(_StudyEvent):
    """The number of trials that run at once changed, since nodes or other studies came or went."""

    kind: ClassVar[str] = "slots_changed"
    slots: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCreated(_TrialEvent):
    """The searcher proposed a configuration; the trial exists from here on."""

    kind: ClassVar[str] = "trial_created"
    config: Mapping[str, Any]
    """The searched parameters, flat: ``{"optimizer_config.lr": 0.1}``."""
    source: Source
    revision: int = 0
    """Revision of the search space it was drawn from."""
    draws: int = 1
    """How often the sampler was asked: its first proposals may have been duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted(_TrialEvent):
    """The trial runs in a process, for the first time or again."""

    kind: ClassVar[str] = "trial_started"
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlaced(_TrialEvent):
    """The first message of the trial from a process, and where that is; again for each new process."""

    kind: ClassVar[str] = "placed"
    worker: str
    """host:pid of the process."""
    gpu: str
    """The name of its GPU; "" if it has none."""
    torch: str
    """torch's version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReported(_TrialEvent):
    """How a trial in a shared process is trained; emitted with its first epoch there."""

    kind: ClassVar[str] = "lane"
    obstacle: str
    """Why it is trained by itself; "" if it is trained together with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReported(_TrialEvent):
    """One epoch of one trial, with the trial scheduler's decision and its reason."""

    kind: ClassVar[str] = "reported"
    generation: int
    """Number of the trial's exploits so far."""
    epoch: int
    """Position in the training (what the LR schedule sees), from 1."""
    work: int
    """Epochs of work done by this trial, without re-runs after a recovery; never decreases."""
    loss: float | None
    """The sweep's metric, negated if maximised."""
    metrics: Mapping[str, float]
    decision: Literal["continue", "pause", "stop", "exploit"]
    reason: str = ""
    code: ReasonCode = ReasonCode.RULE
    worker: str = ""
    """host:pid of the process that ran the epoch."""
    again: bool = False
    """A re-run of an epoch that the journal has already: no rule judged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(_TrialEvent):
    """A whole checkpoint of the trial at `epoch` exists at `path` (relative to the study's folder)."""

    kind: ClassVar[str] = "checkpointed"
    epoch: int
    generation: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialExploited(_TrialEvent):
    """The trial continues from the donor's checkpoint at `epoch`, with `config` (flat, complete)."""

    kind: ClassVar[str] = "exploited"
    donor: str
    epoch: int
    generation: int
    """The trial's generation from here on."""
    config: Mapping[str, Any]
    reason: str
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPaused(_TrialEvent):
    """The trial waits and its slot is free: a rule's decision, or to let other trials run."""

    kind: ClassVar[str] = "paused"
    epoch: int
    reason: str
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPromoted(_TrialEvent):
    """A paused trial continues."""

    kind: ClassVar[str] = "promoted"
    epoch: int
    reason: str
    code: ReasonCode = ReasonCode.RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecovered(_TrialEvent):
    """A worker or node was lost; the trial continues from its last checkpoint."""

    kind: ClassVar[str] = "worker_lost"
    error: str
    terminated: bool = False
    """It was terminated by a SIGTERM, which is not counted as a failure of the trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFailed(_TrialEvent):
    """A checkpoint could not be written (disk full or read-only); its trial continues.

    `trial` is the one whose process reported it; `error` names the trial whose checkpoint it was.
    """

    kind: ClassVar[str] = "checkpoint_failed"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRetried(_TrialEvent):
    """The trial ran out of memory; it waits to run once more with more resources."""

    kind: ClassVar[str] = "retried"
    resources: Mapping[str, float]
    """Resources of the second run, with Ray's names: ``{"cpu": 2, "gpu": 1}``."""
    reason: str
    code: ReasonCode = ReasonCode.OUT_OF_MEMORY
    error: str = ""
    """Traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailedAwaitingExploit(_TrialEvent):
    """The trial failed, and waits to continue as another's copy (`TrialExploited`); counts as a failure."""

    kind: ClassVar[str] = "trial_failed_awaiting_exploit"
    outcome: Literal["failed", "infeasible"]
    reason: str
    code: ReasonCode = ReasonCode.TRIAL
    error: str = ""
    """Traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded(_TrialEvent):
    """The trial ended."""

    kind: ClassVar[str] = "trial_ended"
    outcome: Outcome
    reason: str
    code: ReasonCode = ReasonCode.RULE
    error: str = ""
    """Traceback, for `failed` and `infeasible`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyExtended(_StudyEvent):
    """The study was revised by `extend`: `changes` hold from its next trial on."""

    kind: ClassVar[str] = "study_revised"
    revision: int
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReopened(_TrialEvent):
    """A completed trial continues, because the study has more epochs now; its end no longer counts."""

    kind: ClassVar[str] = "reopened"
    epoch: int
    waits: bool
    """It stays paused until the trial scheduler resumes it."""
    reason: str
    code: ReasonCode = ReasonCode.MORE_EPOCHS


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(_StudyEvent):
    """An attempt ended (a killed driver writes no such event)."""

    kind: ClassVar[str] = "attempt_ended"
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
"""Receives every event, as status, tracking and the live view do. It must return at once and must not raise:
slow or failing work belongs in a thread of its own."""
