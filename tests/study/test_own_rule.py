"""A rule beside the sweep file decides as one of ours does, and a class without one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raysweep.config import Sweep
from raysweep.study.execution.scheduler_factory import make_scheduler
from schedulers import Report, RuleScheduler, Stop
from trainables.run_config import RunError

OWN_RULE = """
from schedulers import Continue, Rule, RuleScheduler, Stop


class Ceiling(Rule):
    def __init__(self, *, max_resource, seed, ceiling=0.5):
        if ceiling < 0:
            raise ValueError(f"ceiling ({ceiling}) must be at least 0")
        super().__init__(max_resource=max_resource)
        self.seed, self.ceiling = seed, ceiling

    def judge(self, report):
        return Stop("above the ceiling") if report.loss > self.ceiling else Continue()


class CeilingScheduler(RuleScheduler):
    rule_class = Ceiling

    def __init__(self, *, max_resource, seed, ceiling=0.5, **adapter):
        super().__init__(Ceiling(max_resource=max_resource, seed=seed, ceiling=ceiling), **adapter)


class NoRule:
    pass
"""


@pytest.fixture
def sweep_with(tmp_path: Path) -> Callable[..., Any]:
    """A function that makes a sweep under a trial scheduler of the user's own module."""
    (tmp_path / "own_rule.py").write_text(OWN_RULE, encoding="utf-8")

    def make(name: str, **kwargs: Any) -> Sweep:
        run = {"data": "trainables.data.load_digits", "train": "mine.loop", "epochs": 7}
        return Sweep.model_validate(
            {
                "study_name": "own",
                "trials": 2,
                "seed": 3,
                "metric": "score",
                "direction": "maximize",
                "trial_scheduler": {"name": f"own_rule.{name}", "kwargs": kwargs},
                "run": run,
                "search_space": {"optimizer_config.lr": {"domain": {"low": 0.0, "high": 1.0}}},
                "import_paths": [str(tmp_path)],
            }
        )

    return make


@pytest.mark.parametrize("name", ["Ceiling", "CeilingScheduler"])
def test_a_rule_and_a_scheduler_class_of_ones_own_are_filled_in(
    name: str, sweep_with: Callable[..., Any]
) -> None:
    scheduler = make_scheduler(sweep_with(name, ceiling=0.2))
    assert isinstance(scheduler, RuleScheduler)
    rule = scheduler.rule
    assert (rule.max_resource, rule.seed, rule.ceiling) == (7, 3, 0.2)  # type: ignore[attr-defined]
    assert (scheduler.metric, scheduler.results.mode, scheduler.results.time_attr) == (
        "score",
        "max",
        "epoch",
    )
    assert rule.report(Report("00000", 1, 0.3)) == Stop("above the ceiling")


def test_a_rule_of_ones_own_can_be_audited(sweep_with: Callable[..., Any]) -> None:
    rule = make_scheduler(sweep_with("Ceiling", audit_fraction=1.0)).rule
    assert (rule.audit_fraction, rule.audit_seed, rule.rule.seed) == (1.0, 3, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("Ceiling", {"ceiling": -1}, "trial_scheduler: own_rule.Ceiling: ceiling (-1) must be at least 0"),
        (
            "NoRule",
            {},
            "trial_scheduler: 'own_rule.NoRule' is neither a schedulers.Rule nor one of this project's "
            "schedulers, so a study could not replay it from its journal; "
            "use schedulers.ASHA, or write a Rule",
        ),
    ],
)
def test_what_cannot_decide_is_refused_in_one_line(
    name: str, kwargs: Any, message: str, sweep_with: Callable[..., Any]
) -> None:
    with pytest.raises(RunError) as caught:
        make_scheduler(sweep_with(name, **kwargs))
    assert str(caught.value) == message
