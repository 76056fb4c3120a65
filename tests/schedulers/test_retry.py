"""Out of memory: trials are run once more, with more resources, when nothing else runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from schedulers import Listener, RuleScheduler
from schedulers.reason import ReasonCode
from schedulers.tune.ray_private import last_error, out_of_memory
from tests.schedulers.test_tune import Controller, FakeTrial, Scripted, result

OOM = result(outcome="oom", reason="CUDA out of memory", error="Traceback ...")
SHORT = "Failure # 1 (at noon)\nold\nFailure # 2 (at one)\n1 worker(s) were killed: running low on memory."


class Loop(Controller):
    def __init__(self, *trials: Any) -> None:
        super().__init__(*trials, more=True)

    def _cleanup_cached_actors(self, force_all: bool = False) -> None:
        self.calls.append(("idle processes end", force_all))

    def _set_trial_status(self, trial: Larger, status: str) -> None:
        self.calls.append((status, trial.trial_id))
        trial.status = status


class Larger(FakeTrial):
    share = None

    def update_resources(self, resources: dict[str, Any]) -> None:
        assert self.status != Trial.RUNNING
        self.share = resources


class RecordingListener(Listener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def retried(self, trial_id: str, resources: dict[str, Any], reason: str, error: str) -> None:  # type: ignore[override]
        self.events.append((trial_id, resources, reason))

    def ended(self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode) -> None:
        self.events.append((trial_id, ending))


def adapter(share: dict[str, Any] | None) -> tuple[Any, ...]:
    scheduler, ears = RuleScheduler(Scripted(), metric="loss", mode="min", slots=2), RecordingListener()
    scheduler.attach(listener=ears)
    scheduler.retries.share = lambda trial: share
    return scheduler, ears.events


def test_without_a_larger_share_the_trial_ends_at_once() -> None:
    scheduler, events = adapter(None)
    trial = Larger("a")
    assert scheduler.on_trial_result(Loop(trial), trial, OOM) == "STOP"
    assert events == [("a", "oom")]


def test_with_one_it_waits_unsaved_and_the_rule_hears_nothing() -> None:
    scheduler, events = adapter({"cpu": 2})
    trial = Larger("a")
    loop = Loop(trial)
    assert scheduler.on_trial_result(loop, trial, OOM) == "NOOP"
    assert loop.calls == [("pause", "a", False)]
    assert (trial.share, events) == ({"cpu": 2}, [("a", {"cpu": 2}, "CUDA out of memory")])
    assert scheduler.rule.events == []
    assert scheduler.rule.endings == {}


@pytest.mark.parametrize("status", [Trial.RUNNING, Trial.PENDING])
def test_it_waits_while_anything_else_runs_or_is_about_to(status: str) -> None:
    scheduler, _ = adapter({"cpu": 2})
    trial, other = Larger("a"), FakeTrial("b", status)
    loop = Loop(trial, other)
    scheduler.on_trial_result(loop, trial, OOM)
    scheduler.choose_trial_to_run(loop)
    assert trial.status == Trial.PAUSED


def test_then_it_starts_and_no_idle_process_keeps_what_it_needs() -> None:
    scheduler, _ = adapter({"cpu": 2})
    trial, other = Larger("a"), FakeTrial("b", Trial.PAUSED)
    loop = Loop(trial, other)
    scheduler.on_trial_result(loop, trial, OOM)
    assert scheduler.choose_trial_to_run(loop) is trial
    assert loop.calls[-2:] == [(Trial.PENDING, "a"), ("idle processes end", True)]


def test_the_second_time_is_the_end() -> None:
    scheduler, events = adapter({"cpu": 2})
    trial = Larger("a")
    loop = Loop(trial)
    scheduler.on_trial_result(loop, trial, OOM)
    scheduler.choose_trial_to_run(loop)
    trial.status = Trial.RUNNING
    assert scheduler.on_trial_result(loop, trial, OOM) == "STOP"
    assert events[-1] == ("a", "oom")


@pytest.mark.parametrize("by_ray", [True, False])
def test_a_worker_ended_for_want_of_memory_is_no_plain_loss(tmp_path: Path, by_ray: bool) -> None:
    """Ray's memory monitor reports it in the error, the kernel in a counter."""
    scheduler, events = adapter({"cpu": 2})
    scheduler.retries.starved = lambda: not by_ray
    trial = Larger("a", Trial.ERROR)
    trial.error_file = tmp_path / "error.txt"
    trial.error_file.write_text(SHORT if by_ray else "Failure # 1\nThe actor died")
    loop = Loop(trial)
    scheduler.on_trial_error(loop, trial)
    trial.status = Trial.PENDING
    scheduler.on_trial_add(loop, trial)
    assert (trial.status, trial.share) == (Trial.PAUSED, {"cpu": 2})
    assert events == [("a", {"cpu": 2}, "its process was killed because memory ran out")]


def test_only_the_last_failure_speaks(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    file.write_text(SHORT + "\nFailure # 3 (at two)\nThe actor died.\n")
    assert last_error(SimpleNamespace(error_file=str(file))) == "The actor died."
    file.write_text(SHORT)
    assert out_of_memory(last_error(SimpleNamespace(error_file=str(file))))
    assert last_error(SimpleNamespace(error_file=None)) == ""
