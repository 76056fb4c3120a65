"""Reasons name the user's metric, in the user's direction, which does not change decisions."""

from __future__ import annotations

import re
from typing import Any

import pytest

import schedulers
from schedulers import Pause, Report, Resume
from tests.schedulers.test_every_rule import RULES, R, every_rule

ACCURACY = re.compile(r"accuracy (?:is )?(\S+?)[,;)]?(?: |$)")


def reasons(rule: Any) -> list[Any]:
    """Decisions on seven trials whose accuracy rises to between 0.3 and 0.9; the third diverges."""
    decisions = []
    for epoch in range(1, R + 1):
        for n in range(7):
            accuracy = (0.3 + 0.1 * n) * epoch / R
            loss = float("nan") if (n, epoch) == (2, 4) else -accuracy
            decision = rule.report(Report(f"{n:05d}", epoch, loss, {"lr": 0.1 * (n + 1), "trial.seed": n}))
            decisions.append((type(decision), decision.reason))
            if isinstance(decision, Pause):
                rule.resumed(Resume(f"{n:05d}", "at once"))
    return decisions


@every_rule
def test_the_reasons_of_a_maximised_metric_are_its_own(name: str) -> None:
    plain, speaking = RULES[name](), RULES[name]()  # type: ignore[no-untyped-call]
    speaking.speak_of("accuracy", maximised=True)
    theirs, ours = reasons(plain), reasons(speaking)
    assert [kind for kind, _ in ours] == [kind for kind, _ in theirs]
    for _, reason in ours:
        assert not re.search(r"\bloss\b", reason)
        assert not any(value.startswith("-") for value in ACCURACY.findall(reason))


@pytest.mark.parametrize(
    ("mode", "value", "reason"),
    [
        ("max", 0.7722, "rung 1: accuracy 0.7722 ranks 1 of 1, top 1 goes on"),
        ("min", 0.7722, "rung 1: accuracy 0.7722 ranks 1 of 1, top 1 goes on"),
        ("max", -3.5, "rung 1: accuracy -3.5 ranks 1 of 1, top 1 goes on"),
    ],
)
def test_the_adapter_names_the_metric(mode: str, value: float, reason: str) -> None:
    scheduler = schedulers.ASHA(metric="accuracy", mode=mode, max_resource=9, reduction_factor=3)  # type: ignore[arg-type]
    loss = value if mode == "min" else -value
    assert scheduler.rule.report(Report("a", 1, loss)).reason == reason


def test_a_metric_that_tune_config_gives_is_named_too() -> None:
    scheduler = schedulers.ASHA(max_resource=9, reduction_factor=3)
    scheduler.set_search_properties("accuracy", "max")
    assert scheduler.rule.describe(-0.5) == "accuracy 0.5"
