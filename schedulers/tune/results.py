"""From Ray's results to the reports that a rule judges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS, DEFAULT_METRIC, TRAINING_ITERATION

from schedulers.outcome import outcome_of
from schedulers.rule import Report, Rule
from schedulers.tune.flat_config import get_flat

Mode = Literal["min", "max"]


class Results:
    """Reads metric and epoch from results; the only place where the sign of a maximised metric is flipped.

    Args:
        metric: key of the metric; None until `TuneConfig` gives it.
        mode: `min` or `max`.
        time_attr: key of the epoch.
    """

    def __init__(self, metric: str | None, mode: str | None, time_attr: str = TRAINING_ITERATION) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode is 'min' or 'max', not {mode!r}")
        self.metric, self.mode, self.time_attr = metric, mode, time_attr

    def complete(self, metric: str | None, mode: str | None) -> bool:
        """Take metric and mode from `TuneConfig`; False if either was given here as well."""
        if (self.metric and metric) or (self.mode and mode):
            return False
        self.metric, self.mode = self.metric or metric or DEFAULT_METRIC, self.mode or mode
        return True

    def resource(self, result: Mapping[str, Any]) -> int:
        """The epoch of a result.

        Raises:
            ValueError: if it has none.
        """
        if self.time_attr not in result:
            raise ValueError(f"results have no {self.time_attr!r} (time_attr); they have {sorted(result)}")
        return int(result[self.time_attr])

    def without_metric(self, result: Mapping[str, Any]) -> str:
        """The error of a result without the metric; "" if it has it, even if it is not a number."""
        if self.metric in result:
            return ""
        numbers = {name for name, value in result.items() if type(value) in (int, float) and value == value}
        names = sorted(name for name in numbers - {*AUTO_RESULT_KEYS} if "/" not in name)  # config/lr
        return f"no {self.metric!r}, the metric, is reported; there are {', '.join(names)}"

    def report(self, rule: Rule, trial: Trial, result: Mapping[str, Any]) -> Report:
        """The report of a result to a rule."""
        loss = result.get(str(self.metric))
        if loss is not None:
            loss = -float(loss) if self.mode == "max" else float(loss)
        if outcome_of(result) == "diverged":
            loss = math.nan
        config = {key: value for key in rule.parameters for value in get_flat(trial.config, key)}
        return Report(trial.trial_id, self.resource(result), loss, config)
