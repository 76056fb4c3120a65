"""What every run checks before its first trial: its data, and one training step of its default configuration.

The whole of `launch.py preflight` takes seconds; this takes milliseconds. The data are checked where they
are loaded, and the step is taken by each process that trials run in, before its first trial
(`trainables.tune`): torch is imported there anyway, and the device is the one that trials get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raysweep.config import Sweep
from raysweep.config.trial_config import trial_config
from raysweep.preflight.check import NOTE, require
from raysweep.preflight.data_quality import LEAK, data_checks
from raysweep.preflight.preflight import averaging_checks, read_data
from raysweep.preflight.probe_configs import probe_configs
from trainables.data import Data

PRINTED_NOTES = ("validation rows", "test rows", LEAK, "averaged weights")
"""The notes that a run prints: a class that a split lacks, rows that are equal by coincidence, and an average
of weights over too much of the run."""


def load_checked_data(sweep: Sweep, say: Callable[[str], None]) -> Data:
    """Load the data as trials get them, and check them.

    Args:
        sweep: what runs.
        say: prints a line, for each of the `PRINTED_NOTES`.

    Raises:
        PreflightFailed: with what is wrong with them.
        RunError: if they cannot be loaded.
    """
    data, facts = read_data(sweep)
    checks = [] if facts is None else [*data_checks(data, facts), *averaging_checks(sweep, facts)]
    require(checks)
    for check in checks:
        if check.state == NOTE and check.name in PRINTED_NOTES:
            say(f"note: {check.name}: {check.message}" + f"; {check.fix}" * bool(check.fix))
    return data


def first_step_config(sweep: Sweep) -> dict[str, Any]:
    """The config with which a process takes one step before its first trial: the run's default."""
    uncounted = sweep.model_copy(update={"run": sweep.run.model_copy(update={"costs": ()})})
    return trial_config(uncounted, probe_configs(sweep)["default"], "preflight")
