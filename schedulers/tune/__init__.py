"""The adapter to Ray Tune: `RuleScheduler`, and an explicit scheduler class for each rule.

What it knows lies in files of its own: `adapter` (what Ray asks and tells), `schedulers` (the classes
that `tune.TuneConfig` takes), `copies` (weights that go from one trial to another), `slots` (whose
process still starts), `results` (what a result says), `connections` (what a service lends it). None of
them branches on an algorithm's name: what an algorithm needs, it says through the words of
`schedulers.rule`.

Line numbers in them are of ray 2.60.0, tune/execution/tune_controller.py.
"""

from schedulers.tune.adapter import RuleScheduler
from schedulers.tune.schedulers import (
    ASHA,
    FIFO,
    PBT,
    PFL,
    ClassicPFL,
    Hyperband,
    Margin,
    MedianStopping,
    Patience,
    Racing,
    SuccessiveHalving,
)

__all__ = [
    "ASHA",
    "FIFO",
    "PBT",
    "PFL",
    "ClassicPFL",
    "Hyperband",
    "Margin",
    "MedianStopping",
    "Patience",
    "Racing",
    "RuleScheduler",
    "SuccessiveHalving",
]
