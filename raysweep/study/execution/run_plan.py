"""Everything about one attempt at a study, decided before it begins."""

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
    """What an attempt runs, where, and on what; nothing is chosen after it.

    Attributes:
        sweep: with all choices made; of a study that exists, the one its folder holds.
        folder: the study; empty for a first attempt.
        slots: trials at once, as things are when it begins.
        lanes: trials of a process, >= 1.
        resources: of one trial, in Ray's words: {"cpu": 1, "gpu": 0.5}.
        oom_resources: of a trial that ran out of memory, in its second run; None: it has none.
        data: what the trainable's `setup` takes as `data`, put once into Ray's object store; None: each
            process loads them.
        first_step: a trial's config that each process takes one step of before its first trial; if that does
            not go well before there is an epoch, the study ends there (`ExitCode.PREFLIGHT`). None: not
            tried.
        provenance: commit, versions, fingerprint: into the journal and best.yaml.
        slot_counter: counts the slots anew, for nodes and other studies come and go while it runs. None: they
            stay as they are.
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
