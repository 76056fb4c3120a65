"""Constraints and duplicates, from the sweep file to the journal and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysweep.config.constraint import Constraint
from raysweep.search.initial_points import Proposal
from raysweep.search.search_checks import duplicates_of
from raysweep.study.execution.searcher_factory import first_slots, make_searcher
from raysweep.study.journal.constraints import broken_constraint
from raysweep.study.journal.events import EpochReported, TrialEnded
from raysweep.study.journal.log import read_events
from schedulers.asha import ASHARule
from schedulers.reason import ReasonCode
from schedulers.rule import Stop
from tests.builders import LR, small_sweep
from tests.study.slot import ListedSearcher, Slot

SIZE = Constraint.model_validate("parameters <= 1000")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"parameters": 1000}, ""),  # the bound itself is within
        ({"parameters": 1500.0}, "breaks the constraint parameters <= 1000: it is 1500"),
        ({"val_loss": 0.5}, ""),  # a trial that does not say breaks nothing
        ({"parameters": float("nan")}, "breaks the constraint parameters <= 1000: it is nan"),
    ],
)
def test_the_constraint_that_a_result_breaks_is_named(result: dict[str, Any], reason: str) -> None:
    assert broken_constraint([SIZE], result) == reason


def test_a_rule_never_learns_of_a_report_that_broke_a_constraint(tmp_path: Path) -> None:
    """Neither live nor from the journal: nets that are too large would set the others' standard."""
    slot = Slot(tmp_path, small_sweep(), ASHARule(max_resource=6, grace_period=1))
    slot.controller.begin()
    asked = slot.controller.ask()
    assert asked is not None
    reason = f"breaks the constraint {SIZE}: it is 1500"
    slot.rule.end(asked[0], "infeasible")
    result = {"epoch": 1, "val_loss": 0.01, "parameters": 1500.0, "outcome": "infeasible", "reason": reason}
    slot.emitter.reported(asked[0], result, Stop(reason, code=ReasonCode.CONSTRAINT))
    slot.emitter.ended(asked[0], "infeasible", reason, code=ReasonCode.CONSTRAINT)
    again = Slot(tmp_path, small_sweep(), ASHARule(max_resource=6, grace_period=1))
    assert again.rule.state() == slot.rule.state()
    assert again.record.trials[asked[0]].outcome == "infeasible"
    assert again.searcher.told == {asked[0]: "infeasible"}


class Echo(ListedSearcher):
    """Proposes the same configuration again and again, and whose result to take."""

    def ask(self, number: int) -> Proposal:
        return Proposal({LR: 0.03}, "sampler", same_as="00000" if number else "")


def test_a_reused_result_ends_the_trial_without_running_it(tmp_path: Path) -> None:
    slot = Slot(tmp_path, small_sweep(trials=3), ASHARule(max_resource=6, grace_period=1))
    slot.controller.searcher = Echo()
    for _ in slot.run():
        pass
    first, *others = slot.record.trials.values()
    assert [trial.outcome for trial in others] == [first.outcome] * 2
    assert [trial.objective_loss("last") for trial in others] == [first.objective_loss("last")] * 2
    assert [trial.reason for trial in others] == ["not run: the same configuration as trial 0"] * 2
    events = list(read_events(tmp_path / "journal"))
    assert sum(isinstance(event, EpochReported) for event in events) == 6 + 2
    assert sum(isinstance(event, TrialEnded) for event in events) == 3
    again = Slot(tmp_path, small_sweep(trials=3), ASHARule(max_resource=6, grace_period=1))
    assert again.rule.state() == slot.rule.state()


def test_a_population_may_begin_alike_and_others_may_not() -> None:
    assert duplicates_of(small_sweep(trial_scheduler={"name": "schedulers.PBT"})) == "allow"
    assert duplicates_of(small_sweep()) == "skip"
    assert duplicates_of(small_sweep(duplicates="reuse")) == "reuse"


def test_an_ordered_search_keeps_the_window_of_its_first_attempt(tmp_path: Path) -> None:
    slot = Slot(tmp_path, small_sweep(), ASHARule(max_resource=6, grace_period=1))
    slot.controller.begin()
    assert first_slots([], 8) == 8
    assert first_slots(list(read_events(tmp_path / "journal")), 8) == 1
    assert getattr(make_searcher(small_sweep(ordered=True), window=3), "window", None) == 3
