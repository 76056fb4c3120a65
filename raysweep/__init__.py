"""The Python API of raysweep; each name is imported when it is first used, so `import raysweep` is cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysweep.api.running import open as open
    from raysweep.api.running import run as run
    from raysweep.api.space import choice as choice
    from raysweep.api.space import integers as integers
    from raysweep.api.space import loguniform as loguniform
    from raysweep.api.space import uniform as uniform
    from raysweep.api.study import BestTrial as BestTrial
    from raysweep.api.study import Retraining as Retraining
    from raysweep.api.study import Study as Study
    from raysweep.api.tuning import tune as tune
    from raysweep.config import Sweep as Sweep
    from raysweep.errors import RaysweepError as RaysweepError
    from raysweep.study.execution.study_subscriber import StudySubscriber as StudySubscriber
    from trainables.log_metrics import log as log

_HOMES = {
    "BestTrial": "raysweep.api.study",
    "RaysweepError": "raysweep.errors",
    "Retraining": "raysweep.api.study",
    "Study": "raysweep.api.study",
    "StudySubscriber": "raysweep.study.execution.study_subscriber",
    "Sweep": "raysweep.config",
    "choice": "raysweep.api.space",
    "integers": "raysweep.api.space",
    "log": "trainables.log_metrics",
    "loguniform": "raysweep.api.space",
    "open": "raysweep.api.running",
    "run": "raysweep.api.running",
    "tune": "raysweep.api.tuning",
    "uniform": "raysweep.api.space",
}
"""Where each public name is defined."""

__all__ = [
    "BestTrial",
    "RaysweepError",
    "Retraining",
    "Study",
    "StudySubscriber",
    "Sweep",
    "choice",
    "integers",
    "log",
    "loguniform",
    "open",
    "run",
    "tune",
    "uniform",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
