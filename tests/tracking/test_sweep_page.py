"""The sweep's own run, where several metrics count."""

from __future__ import annotations

import json

from raysweep.study.journal.events import AttemptStarted, Event
from raysweep.study.journal.records import fold
from raysweep.tracking.runs import SweepFacts
from raysweep.tracking.sweep_page import front_tag, table
from tests.builders import epoch_reported, trial_created, trial_ended

FACTS = SweepFacts("digits", "project", others={"parameters": 1}, parameters=("lr",))


def events(*values: tuple[float, float]) -> list[Event]:
    story: list[Event] = [AttemptStarted(t=0.0, attempt=1, slots=1, trials=len(values))]
    for number, (loss, size) in enumerate(values):
        name, metrics = f"{number:05d}", {"val_loss": loss, "parameters": size}
        story += [
            trial_created(name, {"lr": 0.1}),
            epoch_reported(name, 1, loss, metrics=metrics, decision="stop"),
            trial_ended(name, "completed", "finished"),
        ]
    return story


def test_the_leaderboard_shows_every_metric_and_who_is_on_the_front() -> None:
    shown = json.loads(table(fold(events((0.5, 10), (0.4, 20), (0.6, 30))), FACTS))
    assert shown["columns"][:4] == ["trial", "last val_loss", "parameters", "front"]
    assert [row[:4] for row in shown["data"]] == [
        ["00001", "0.4", "20", "yes"],
        ["00000", "0.5", "10", "yes"],
        ["00002", "0.6", "30", ""],
    ]


def test_the_sweeps_run_names_the_front() -> None:
    record = fold(events((0.5, 10), (0.4, 20), (0.6, 30)))
    assert front_tag(record, FACTS) == {"front": "00001, 00000"}
    assert front_tag(record, SweepFacts("digits", "project")) == {}


def test_a_leaderboards_column_has_no_dot() -> None:
    """MLflow's table takes a dot for a path into the cell, and shows an empty column."""
    facts = SweepFacts("digits", "project", parameters=("net_config.eps", "optimizer_config.eps", "a.lr"))
    shown = json.loads(table(fold(events((0.5, 10))), facts))
    assert shown["columns"][4:7] == ["net_config/eps", "optimizer_config/eps", "lr"]
