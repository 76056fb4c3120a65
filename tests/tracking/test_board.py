"""The sweep's own run, where several metrics count."""

from __future__ import annotations

import json

from service.study.events import Asked, Begun, Ended, Event, Reported
from service.study.record import fold
from service.tracking.board import front_tag, table
from service.tracking.runs import SweepFacts

FACTS = SweepFacts("digits", "project", others={"parameters": 1}, parameters=("lr",))


def events(*values: tuple[float, float]) -> list[Event]:
    told: list[Event] = [Begun(t=0.0, attempt=1, slots=1, trials=len(values))]
    for number, (loss, size) in enumerate(values):
        name, metrics = f"{number:05d}", {"val_loss": loss, "parameters": size}
        told += [
            Asked(t=1.0, trial=name, config={"lr": 0.1}, source="sampler"),
            Reported(
                t=2.0, trial=name, generation=0, epoch=1, work=1, loss=loss, metrics=metrics, decision="stop"
            ),
            Ended(t=3.0, trial=name, outcome="completed", reason="finished"),
        ]
    return told


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
