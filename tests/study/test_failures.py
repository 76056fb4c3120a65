"""Failures of trials: their files and counts, and the end of a study in which they repeat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raysweep.study.execution.kernel_kills import KernelKills
from raysweep.study.execution.trial_timeouts import Watchdog
from raysweep.study.journal.events import (
    TrialCreated,
    TrialEnded,
    TrialFailedAwaitingExploit,
    TrialPromoted,
    TrialRetried,
)
from raysweep.study.journal.failures import ErrorFiles, common_failures, error_file, repeated_error
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.storage.layout import StudyFolder
from schedulers.fifo import FIFORule
from schedulers.reason import ReasonCode
from tests.builders import small_sweep
from tests.study.slot import Slot

TRACEBACK = "Traceback (most recent call last):\n  File ...\n"
ASSERTED = "AcceleratorError: CUDA error: device-side assert triggered"
ILLEGAL = "AcceleratorError: CUDA error: an illegal memory access was encountered"
ADVICE = "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."


def ends(*outcomes: str) -> StudyRecord:
    """Trials that end one after the other: `ok`, or by an error of this text."""
    slots = [
        (f"{number:05d}", "completed" if text == "ok" else "failed", text)
        for number, text in enumerate(outcomes)
    ]
    record = StudyRecord()
    for trial, outcome, text in slots:
        asked(record, trial)
        error = "" if text == "ok" else TRACEBACK + text
        record.apply(TrialEnded(t=10.0 + int(trial), trial=trial, outcome=outcome, reason=text, error=error))  # type: ignore[arg-type]
    return record


def asked(record: StudyRecord, trial: str) -> None:
    record.apply(TrialCreated(t=1.0, trial=trial, config={}, source="sampler"))


@pytest.mark.parametrize(
    ("outcomes", "error"),
    [
        (["KeyError: 'price'"] * 3, "KeyError: 'price'"),
        (["KeyError: 'price'"] * 2, ""),
        (["KeyError: 'price'", "ok", "KeyError: 'price'", "KeyError: 'price'"], ""),
        (["ok", *["KeyError: 'price'"] * 3], "KeyError: 'price'"),
        (["KeyError: 'price'", "KeyError: 'prize'", "KeyError: 'price'"], ""),
        (
            ["ValueError: got 3 at 0x7f", "ValueError: got 4 at 0x80", "ValueError: got 5.5 at 0x81"],
            "ValueError: got 5.5 at 0x81",
        ),
        ([f"{ASSERTED}\n{ADVICE}"] * 3, ASSERTED),
        ([f"{ASSERTED}\n{ADVICE}", f"{ILLEGAL}\n{ADVICE}", f"{ASSERTED}\n{ADVICE}"], ""),
        ([f"ValueError: a\n\n{TRACEBACK}KeyError: 'b'"] * 3, "KeyError: 'b'"),  # the last of a chain
        (["RuntimeError: sizes differ:\n\tw is 3\n\tb is 4"] * 3, "RuntimeError: sizes differ: w is 3"),
    ],
)
def test_three_trials_running_by_one_error_are_no_accident(outcomes: list[str], error: str) -> None:
    assert repeated_error(ends(*outcomes), since=0.0) == error


def test_what_failed_before_the_attempt_does_not_count() -> None:
    record = ends(*["KeyError: 'price'"] * 3)
    assert repeated_error(record, since=11.0) == ""


def test_the_commonest_cause_comes_first_with_where_to_look() -> None:
    record = ends("KeyError: 'a'", "OSError: b", "OSError: b")
    assert common_failures(record.trials.values()) == [
        {"error": "OSError: b", "trials": 2, "first": "00001", "outcome": "failed"},
        {"error": "KeyError: 'a'", "trials": 1, "first": "00000", "outcome": "failed"},
    ]


def test_a_traceback_is_kept_in_its_trials_folder(tmp_path: Path) -> None:
    keep = ErrorFiles(StudyFolder(tmp_path))
    keep(TrialEnded(t=1.0, trial="00003", outcome="failed", reason="r", error=TRACEBACK))
    keep(TrialEnded(t=1.0, trial="00004", outcome="stopped", reason="r"))
    assert error_file(StudyFolder(tmp_path), "00003").read_text() == TRACEBACK
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["00003"]


def test_a_disk_that_refuses_a_traceback_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file where the folder belongs")
    ErrorFiles(StudyFolder(tmp_path))(
        TrialEnded(t=1.0, trial="00003", outcome="failed", reason="r", error="e")
    )
    assert (tmp_path / "trials").is_file()


def test_a_trial_in_its_second_run_is_known_after_a_restart(tmp_path: Path) -> None:
    slot = Slot(tmp_path, small_sweep(), FIFORule(max_resource=6))
    next(slot.run())
    slot.emitter.retried("00000", {"cpu": 2}, "MemoryError", TRACEBACK)
    again = Slot(tmp_path, small_sweep(), FIFORule(max_resource=6))
    trial = again.record.trials["00000"]
    assert (trial.status, trial.resources, again.searcher.waiting) == ("paused", {"cpu": 2}, {"00000"})
    assert again.rule.state() == slot.rule.state()
    assert [type(event) for event in read_events(tmp_path / "journal")].count(TrialRetried) == 1


@pytest.mark.parametrize(
    ("more", "had", "words"),
    [
        (
            None,
            None,
            "MemoryError; set resources_per_trial.on_oom to run such a trial once more with more resources",
        ),
        ({"cpu": 2}, {"cpu": 2}, "MemoryError; also with cpu 2"),
    ],
)
def test_an_infeasible_trial_says_what_was_tried(
    tmp_path: Path, more: dict[str, Any] | None, had: dict[str, Any] | None, words: str
) -> None:
    slot = Slot(tmp_path, small_sweep(), FIFORule(max_resource=6))
    slot.controller.plan = replace(slot.controller.plan, oom_resources=more)
    next(slot.run())
    assert slot.controller.share_after_oom("00000") == more
    if had:
        slot.emitter.retried("00000", had, "MemoryError", "")
        assert slot.controller.share_after_oom("00000") is None
    slot.emitter.ended("00000", "oom", "MemoryError")
    trial = fold(read_events(tmp_path / "journal")).trials["00000"]
    assert (trial.outcome, trial.reason) == ("infeasible", words)


def test_a_silent_trial_is_overdue_and_one_that_waits_is_not() -> None:
    now = 0.0
    dog = Watchdog(10.0, clock=lambda: now)
    assert dog.overdue(["a", "b"]) == []
    now = 9.0
    dog.heard("b")
    now = 11.0
    assert dog.overdue(["a", "b"]) == ["a"]
    assert dog.overdue(["b"]) == []  # a waits now
    now = 15.0
    assert dog.overdue(["a", "b"]) == []  # its silence counts from when it runs again
    assert Watchdog(None, clock=lambda: now).overdue(["a"]) == []


def test_the_kernels_kills_are_counted_from_the_start_on(tmp_path: Path) -> None:
    file = tmp_path / "memory.events"
    file.write_text("low 0\noom 5\noom_kill 2\noom_group_kill 0\n")
    kills = KernelKills(file)
    assert not kills.any_new()
    file.write_text("low 0\noom 6\noom_kill 3\noom_group_kill 0\n")
    assert [kills.any_new(), kills.any_new()] == [True, False]
    assert not KernelKills(tmp_path / "absent").any_new()


def test_what_failed_before_a_resume_is_not_held_against_it(tmp_path: Path) -> None:
    """Else a study over its limit could never be carried on."""
    sweep = small_sweep(max_failures=1)
    first = Slot(tmp_path, sweep, FIFORule(max_resource=6))
    first.controller.begin()
    for _ in range(2):
        name, _ = first.controller.ask()  # type: ignore[misc]
        first.emitter.ended(name, "failed", "KeyError", f"{TRACEBACK}KeyError: 'price'")
    first.controller.check_limits()
    assert first.controller.stop.reason == "2 trials failed, max_failures is 1"
    again = Slot(tmp_path, sweep, FIFORule(max_resource=6))
    again.controller.begin()
    again.controller.check_limits()
    assert not again.controller.stop.requested


def test_the_same_error_in_three_trials_stops_the_study_with_exit_5(tmp_path: Path) -> None:
    slot = Slot(tmp_path, small_sweep(max_failures=None), FIFORule(max_resource=6))
    slot.controller.begin()
    for _ in range(3):
        assert not slot.controller.stop.requested
        name, _ = slot.controller.ask()  # type: ignore[misc]
        slot.emitter.ended(name, "failed", "KeyError", f"{TRACEBACK}KeyError: 'price'")
        slot.controller.check_limits()
    finish = slot.controller.close()
    assert (finish.exit_code, finish.reason) == (
        5,
        "the same error in 3 trials in a row: KeyError: 'price'",
    )


def test_a_worker_lost_three_times_says_so(tmp_path: Path) -> None:
    slot = Slot(tmp_path, small_sweep(), FIFORule(max_resource=6))
    next(slot.run())
    slot.emitter.ended("00000", "failed", "gone", "The actor died", ReasonCode.WORKER_LOST)
    assert slot.record.trials["00000"].reason == "lost its worker 3 times without a new epoch"


def falls(*reasons: str) -> StudyRecord:
    """Trials that fail one after the other and wait to go on as another's copy."""
    record = StudyRecord()
    for number, reason in enumerate(reasons):
        trial = f"{number:05d}"
        asked(record, trial)
        record.apply(
            TrialFailedAwaitingExploit(t=10.0 + number, trial=trial, outcome="failed", reason=reason)
        )
    return record


def test_a_failure_that_was_mended_counts_and_three_alike_are_no_accident() -> None:
    record = falls(*["KeyError: 'price'"] * 3)
    assert record.failures == 3
    assert repeated_error(record, since=0.0) == "KeyError: 'price'"
    assert common_failures(record.trials.values())[0]["trials"] == 3


def test_a_failure_that_ends_a_trial_without_a_donor_is_counted_once() -> None:
    record = falls("boom", "boom")
    record.apply(
        TrialEnded(t=20.0, trial="00000", outcome="failed", reason="boom; no donor was left to copy")
    )
    assert (record.failures, record.trials["00000"].outcome) == (2, "failed")
    assert [cause["trials"] for cause in common_failures(record.trials.values())] == [2]


def test_a_copy_that_fails_is_another_failure() -> None:
    record = falls("boom")
    record.apply(TrialPromoted(t=20.0, trial="00000", epoch=4, reason="copies trial 00001"))
    record.apply(TrialEnded(t=21.0, trial="00000", outcome="failed", reason="boom again"))
    assert record.failures == 2
    assert {cause["error"] for cause in common_failures(record.trials.values())} == {"boom", "boom again"}
