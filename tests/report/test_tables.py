"""The numbers of a report, each recomputed from the raw lines of the journal."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raysweep.report.series import copies, progress
from raysweep.report.tables import stops, tables
from raysweep.study.journal.events import EpochReported, TrialCreated
from tests.report import stories


@pytest.fixture
def study(tmp_path: Path) -> tuple[Any, ...]:
    """The subject, and the journal's lines as plain JSON."""
    subject = stories.subject(tmp_path)
    text = (tmp_path / "told/journal/000001.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return subject, lines


def of_kind(lines: list[Any], kind: str) -> Any:
    return [line for line in lines if line["event"] == kind]


def completed(lines: list[Any]) -> list[Any]:
    """(last loss, trial) of the completed, best first."""
    last = {line["trial"]: line["loss"] for line in of_kind(lines, "reported")}
    ends = {line["trial"]: line["outcome"] for line in of_kind(lines, "trial_ended")}
    return sorted((loss, trial) for trial, loss in last.items() if ends[trial] == "completed")


def test_trials_are_counted_by_outcome(study: tuple[Any, ...]) -> None:
    subject, lines = study
    assert tables(subject, 5).statistics.counts == Counter(
        line["outcome"] for line in of_kind(lines, "trial_ended")
    )


def test_epochs_run_are_reports_and_epochs_saved_what_the_stopped_lack(
    study: tuple[Any, ...],
) -> None:
    subject, lines = study
    facts = tables(subject, 5).statistics
    reports = of_kind(lines, "reported")
    stopped = {line["trial"] for line in of_kind(lines, "trial_ended") if line["outcome"] == "stopped"}
    given = sum(line["trial"] in stopped for line in reports)
    assert facts.epochs_run == len(reports)
    assert facts.epochs_whole == len(of_kind(lines, "trial_created")) * stories.EPOCHS
    assert facts.epochs_saved == len(stopped) * stories.EPOCHS - given


def test_hours_are_gaps_between_reports_and_saved_ones_at_their_mean(
    study: tuple[Any, ...],
) -> None:
    subject, lines = study
    facts = tables(subject, 5).statistics
    assert facts.busy_s == 2.0 * facts.epochs_run
    assert facts.saved_s == 2.0 * facts.epochs_saved
    assert facts.wall_s == max(line["t"] for line in lines[1:])


def test_slots_are_busy_by_the_share_of_their_wall_clock_that_was_training(
    study: tuple[Any, ...],
) -> None:
    subject, lines = study
    facts = tables(subject, 5).statistics
    slots = of_kind(lines, "attempt_started")[0]["slots"]
    assert facts.utilisation == pytest.approx(facts.busy_s / (facts.wall_s * slots))


def test_gpu_seconds_are_training_times_the_gpus_of_a_trial(tmp_path: Path) -> None:
    wanted = stories.sweep(resources_per_trial={"cpu": 1, "gpu": 0.25})
    facts = tables(stories.subject(tmp_path, wanted=wanted), 5).statistics
    assert facts.gpu_s == 0.25 * facts.busy_s


def test_the_top_table_is_the_completed_trials_in_order_of_their_last_loss(
    study: tuple[Any, ...],
) -> None:
    subject, lines = study
    best = tables(subject, 3).top
    assert [(row.value, row.number) for row in best] == [
        (loss, int(name)) for loss, name in completed(lines)
    ][:3]
    configs = {int(line["trial"]): line["config"] for line in of_kind(lines, "trial_created")}
    assert all(row.config == configs[row.number] for row in best)


def test_the_stopped_share_is_of_those_completed_or_stopped(
    study: tuple[Any, ...],
) -> None:
    subject, lines = study
    ends = Counter(line["outcome"] for line in of_kind(lines, "trial_ended"))
    assert stops(subject).share == ends["stopped"] / (ends["stopped"] + ends["completed"])


def test_reasons_that_differ_in_numbers_only_are_one(study: tuple[Any, ...]) -> None:
    subject, lines = study
    kinds = {(cause.outcome, cause.count) for cause in tables(subject, 5).causes}
    assert kinds == set(Counter(line["outcome"] for line in of_kind(lines, "trial_ended")).items())


def test_the_baseline_stands_against_the_best_that_was_searched(
    study: tuple[Any, ...],
) -> None:
    subject, lines = study
    own = {line["trial"] for line in of_kind(lines, "trial_created") if line["source"] == "baseline"}
    seen = tables(subject, 5).baseline
    assert seen.value == next(loss for loss, trial in completed(lines) if trial in own)
    assert seen.best == next(loss for loss, trial in completed(lines) if trial not in own)
    assert seen.gain == seen.value - seen.best


def test_a_baseline_that_copied_another_trial_is_none(tmp_path: Path) -> None:
    events = [
        replace(event, source="baseline")
        if isinstance(event, TrialCreated) and event.trial == "00001"
        else event
        for event in stories.population()
    ]
    assert tables(stories.subject(tmp_path, events), 5).baseline is None


def test_regret_ends_at_nought_and_never_grows(study: tuple[Any, ...]) -> None:
    subject, lines = study
    steps = progress(subject)
    regrets = [step.regret for step in steps]
    assert regrets == sorted(regrets, reverse=True)
    assert regrets[-1] == 0
    assert steps[-1].epochs == len(of_kind(lines, "reported"))
    assert steps[-1].best == completed(lines)[0][0]


@pytest.mark.parametrize(
    ("scheduler", "share", "verdict"),
    [
        ({"name": "schedulers.ClassicPFL"}, 0.5, "healthy"),
        ({"name": "schedulers.ClassicPFL"}, 0.25, "low"),
        ({"name": "schedulers.MedianStopping"}, 0.85, "high"),
        ({"name": "schedulers.MedianStopping"}, 0.96, "extreme"),
        ({"name": "schedulers.ASHA", "kwargs": {"reduction_factor": 4}}, 0.75, "healthy"),
        ({"name": "schedulers.ASHA", "kwargs": {"reduction_factor": 4}}, 0.25, "low"),
        ({"name": "schedulers.PFL"}, 0.9, "healthy"),
        ({"name": "schedulers.PFL"}, 0.5, "low"),
        ({"name": "schedulers.Margin"}, 0.9, "none"),
        ({"name": "schedulers.Margin"}, 0.96, "extreme"),
        ({"name": "schedulers.FIFO"}, 0.0, "none"),
    ],
)
def test_a_rule_is_held_against_what_it_stops_by_design(
    tmp_path: Path, scheduler: Any, share: float, verdict: str
) -> None:
    """ASHA with eta = 4 stops three quarters; the same share would be too much for the median rule."""
    events = []
    for number in range(100):
        stopped = number < 100 * share
        fields = {"outcome": "stopped", "reason": "rank"} if stopped else {}
        events += stories.trial(number, 0.1, stories.config(number), epochs=1, **fields)
    stop_test = stops(stories.subject(tmp_path, events, stories.sweep(trial_scheduler=scheduler)))
    assert (stop_test.share, stop_test.verdict) == (share, verdict)


def test_of_few_trials_no_share_says_anything(tmp_path: Path) -> None:
    events = [event for number in range(9) for event in stories.trial(number, 0.1, stories.config(number))]
    stop_test = stops(stories.subject(tmp_path, events))
    assert (stop_test.share, stop_test.verdict, stop_test.sentence) == (
        0.0,
        "few",
        "0 of 9 stopped; too few to judge ClassicPFL",
    )


def test_a_populations_schedule_and_copies_are_those_of_the_journal(tmp_path: Path) -> None:
    subject = stories.subject(
        tmp_path, stories.population(), stories.sweep(trial_scheduler={"name": "schedulers.PBT"})
    )
    assert [(copy.epoch, copy.trial, copy.donor) for copy in copies(subject)] == [(2, 1, 0)]
    assert tables(subject, 5).schedule == ()  # the winner copied no other


def test_a_winner_that_copied_shows_the_settings_its_weights_had(tmp_path: Path) -> None:
    """The donor's settings up to the copy's epoch, then those of the copy, as in the journal."""
    events = stories.population()
    for place, event in enumerate(events):  # who copies becomes the best
        if isinstance(event, EpochReported) and event.trial == "00001":
            events[place] = replace(event, loss=event.loss - 0.8)  # type: ignore[operator]
    wanted = stories.sweep(trial_scheduler={"name": "schedulers.PBT"})
    subject = stories.subject(tmp_path, events, wanted)
    text = (tmp_path / "told/journal/000001.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    donor = next(line["config"] for line in of_kind(lines, "trial_created") if line["trial"] == "00000")
    copied = of_kind(lines, "exploited")[0]
    seen = tables(subject, 5)
    assert seen.best.number == int(copied["trial"])
    assert [(step.after_epoch, step.config) for step in seen.schedule] == [
        (0, donor),
        (copied["epoch"], copied["config"]),
    ]


def test_a_maximised_metric_is_shown_in_the_users_direction(tmp_path: Path) -> None:
    wanted = stories.sweep(metric="accuracy", direction="maximize")
    subject = stories.subject(tmp_path, stories.trial(0, -0.9, stories.config(0)), wanted)
    assert tables(subject, 5).best.value == 0.9
