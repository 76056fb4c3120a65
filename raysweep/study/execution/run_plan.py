"""The plan of one attempt at a study: everything that is decided before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raysweep.config import Sweep
from raysweep.study.storage.layout import StudyFolder

if TYPE_CHECKING:
    from raysweep.study.execution.slot_follower import SlotCounter
    from trainables.data import Data


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What an attempt runs, where, and with which data.

    Attributes:
        sweep: with all choices made; for an existing study, the one in its folder.
        folder: of the study; without trials for a first attempt.
        slots: trials at once when it begins.
        lanes: trials per process, >= 1.
        resources: of one trial, with Ray's names: {"cpu": 1, "gpu": 0.5}.
        oom_resources: for the second run of a trial that ran out of memory; None: there is no second run.
        data: argument `data` of the trainable's `setup`, put once into Ray's object store; None: each
            process loads the data.
        first_step: config of which each process trains one step before its first trial; if that fails before
            the study has an epoch, the study ends (`ExitCode.PREFLIGHT`). None: no such step.
        provenance: commit, versions and data fingerprint, for the journal and best.yaml.
        slot_counter: counts the slots while the study runs, since nodes and other studies come and go. None:
            they stay as they are.
    """

    sweep: Sweep
    folder: StudyFolder
    slots: int
    resources: Mapping[str, float]
    oom_resources: Mapping[str, float] | None = None
    data: Data | None = None
    first_step: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    slot_counter: SlotCounter | None = None
    lanes: int = 1
