"""Constraints on a trial's metrics: `parameters <= 1e6`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_serializer, model_validator

from trainables.run_config import Section

_CONSTRAINT = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=)\s*(\S+)\s*")


class Constraint(Section):
    """A bound on one of the numbers that a trial reports.

    Attributes:
        metric: name, as the trial reports it.
        relation: of the metric to the bound, which is allowed itself.
        bound: finite.

    >>> constraint = Constraint.model_validate("parameters <= 1e6")
    >>> str(constraint), constraint.violation({"parameters": 1.5e6})
    ('parameters <= 1e+06', 0.5)
    """

    metric: str
    relation: Literal["<=", ">="]
    bound: float = Field(allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _from_a_sentence(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = _CONSTRAINT.fullmatch(value)
        number = _number(match[3]) if match else None
        if match is None or number is None:
            raise ValueError(f"'{value}' is no constraint; write it as 'parameters <= 1e6', with <= or >=")
        return {"metric": match[1], "relation": match[2], "bound": number}

    @model_serializer
    def _as_a_sentence(self) -> str:
        return f"{self.metric} {self.relation} {self.bound!r}"

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.bound:g}"

    def violation(self, metrics: Mapping[str, float]) -> float:
        """By how much a trial exceeds the bound, as a share of the bound; at most 0 if it satisfies it.

        0 if the metric is missing. If the bound is 0, the difference itself.
        """
        value = metrics.get(self.metric)
        if value is None:
            return 0.0
        if math.isnan(value):
            return 1.0
        beyond = value - self.bound if self.relation == "<=" else self.bound - value
        return beyond / (abs(self.bound) or 1.0)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
