"""Findings about stopping, the space and the search: a study that raises each, and a near miss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from raysweep.config.sweep import SEED_KEY
from raysweep.report.findings import findings
from raysweep.report.findings.evidence import Evidence
from raysweep.report.importance import Importance, Share
from raysweep.report.noise import noise_of
from raysweep.report.tables import tables
from raysweep.study.storage.files import write_json
from tests.report import curves, stories

LR, LAYERS = stories.LR, stories.LAYERS


def found(tmp_path: Path, events: Any, importance: Importance | None = None, **kwargs: Any) -> Any:
    subject = stories.subject(tmp_path, events, stories.sweep(**kwargs))
    seen = Evidence(subject, tables(subject, 10), (), importance or Importance(), noise_of(subject))
    return {finding.name: finding for finding in findings(seen)}


def outcomes(completed: int, stopped: int) -> list[Any]:
    events = []
    for number in range(completed + stopped):
        stop = {"outcome": "stopped", "epochs": 2, "reason": "worse"} if number >= completed else {}
        events += stories.trial(number, 0.1 + 0.01 * number, stories.config(number), **stop)
    return events


def rule(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"trial_scheduler": {"name": f"schedulers.{name}", "kwargs": kwargs}}


STOPPING = ("stops_too_many", "stopper_never_acts", "stopper_always_acts")


@pytest.mark.parametrize(
    ("scheduler", "completed", "stopped", "expected"),
    [
        (rule("ClassicPFL"), 10, 10, {}),
        (rule("ClassicPFL"), 4, 16, {}),  # 80 %
        (rule("ClassicPFL"), 3, 17, {"stops_too_many": "advice"}),
        (rule("MedianStopping"), 1, 29, {"stops_too_many": "problem"}),  # 97 %
        (rule("ASHA"), 3, 17, {}),  # 85 %: three quarters at the first rung alone
        (rule("ASHA"), 1, 29, {"stops_too_many": "problem"}),
        (rule("ClassicPFL"), 10, 0, {"stopper_never_acts": "advice"}),
        (rule("ClassicPFL"), 9, 0, {}),
        (rule("FIFO"), 20, 0, {}),
        (rule("Patience"), 20, 0, {}),
        (rule("ASHA"), 0, 10, {"stopper_always_acts": "problem"}),
        (rule("ASHA"), 0, 9, {}),
    ],
)
def test_the_stopped_share_is_held_against_the_rules_design(
    tmp_path: Path,
    scheduler: dict[str, Any],
    completed: int,
    stopped: int,
    expected: Any,
) -> None:
    seen = found(tmp_path, outcomes(completed, stopped), **scheduler)
    assert {name: seen[name].severity for name in STOPPING if name in seen} == expected


def test_a_milder_rule_is_the_mend(tmp_path: Path) -> None:
    seen = found(tmp_path, outcomes(3, 17), **rule("ClassicPFL", top_k=5))
    assert seen["stops_too_many"].fix.endswith("--set trial_scheduler.kwargs.top_k=10")


@pytest.mark.parametrize(
    ("died", "lived", "there"),
    [
        ([0.5, 0.6, 0.9], [0.001 * step for step in range(1, 11)], True),
        ([0.5, 0.6], [0.001 * step for step in range(1, 11)], False),
        ([0.5, 0.6, 0.9], [0.7, *(0.001 * step for step in range(1, 10))], False),  # one lived up there
        ([0.001, 0.002, 0.003, 0.4, 0.5, 0.6], [0.01, 0.02, 0.03], False),  # so clean a cut is chance
    ],
)
def test_everything_diverges_above_a_learning_rate(
    tmp_path: Path, died: list[float], lived: list[float], there: bool
) -> None:
    events = []
    for number, rate in enumerate([*died, *lived]):
        bad = {"outcome": "diverged", "epochs": 1} if number < len(died) else {}
        events += stories.trial(number, 0.1 + 0.02 * number, {LR: rate, LAYERS: 1 + number % 6}, **bad)
    seen = found(tmp_path, events)
    assert ("diverges_above" in seen) is there
    if there:
        assert seen["diverges_above"].fix.endswith(f"--set search_space.{LR}.max=0.071")


@pytest.mark.parametrize(
    ("fanova", "caution", "there"),
    [(0.71, "", True), (0.70, "", False), (0.9, "too few trials to say", False)],
)
def test_one_parameter_explains_more_than_seven_tenths(
    tmp_path: Path, fanova: float, caution: str, there: bool
) -> None:
    shares = tuple(
        Share(name, share, share - 0.1, share + 0.1, share, 0.0, 1.0)
        for name, share in ((LR, fanova), (LAYERS, 1 - fanova))
    )
    seen = found(tmp_path, outcomes(12, 0), Importance(shares, (), 40, (), caution))
    assert ("one_parameter_rules" in seen) is there


@pytest.mark.parametrize(
    ("count", "layers", "there"),
    [(20, [3] * 5, True), (19, [3] * 5, False), (20, [3, 3, 3, 3, 4], False)],
)
def test_the_best_agree_on_a_value(tmp_path: Path, count: int, layers: list[int], there: bool) -> None:
    events = []
    for number in range(count):
        chosen = stories.config(number, layers[number] if number < len(layers) else None)
        events += stories.trial(number, 0.1 + 0.01 * number, chosen)
    seen = found(tmp_path, events)
    assert ("top_agrees" in seen) is there
    if there:
        assert f"search_space.{LAYERS}.min=2 --set search_space.{LAYERS}.max=4" in seen["top_agrees"].fix


@pytest.mark.parametrize(
    ("losses", "severity"),
    [
        ([0.1] + [0.5] * 19, None),  # twenty trials, nineteen since the best
        ([0.1] + [0.5] * 20, "note"),
        ([0.1] + [0.5] * 30, "advice"),
        ([0.5 * 0.9995**step for step in range(30)], "note"),  # 0.05 % a trial
        ([0.5 * 0.9980**step for step in range(30)], None),
    ],
)
def test_a_search_that_has_settled(tmp_path: Path, losses: list[float], severity: str | None) -> None:
    events = [
        event
        for number, loss in enumerate(losses)
        for event in stories.trial(number, loss, stories.config(number))
    ]
    seen = found(tmp_path, events).get("search_has_settled")
    assert (seen and seen.severity) == severity


def test_trials_that_waited_and_ended_together_say_nothing_of_the_order(tmp_path: Path) -> None:
    """A pausing rule ends the losers at the end of the sweep, after the best, whenever they were sampled."""
    trials = [stories.trial(n, 0.1 if n == 45 else 0.5, stories.config(n)) for n in range(50)]
    asked = [events[0] for events in trials]
    events = asked + trials[45][1:] + [event for n in range(50) if n != 45 for event in trials[n][1:]]
    assert "search_has_settled" not in found(tmp_path, events)


def replicated(lead: float) -> list[Any]:
    """A winner that leads a rival by `lead`, and one configuration with two seeds, 0.02 apart."""
    events = stories.trial(0, 0.1, stories.config(0)) + stories.trial(1, 0.1 + lead, stories.config(1))
    for number, loss in ((2, 0.50), (3, 0.52)):
        events += stories.trial(number, loss, stories.config(2) | {SEED_KEY: number})
    return events


@pytest.mark.parametrize(("lead", "there"), [(0.019, True), (0.021, False)])
def test_a_lead_below_what_seeds_make_is_luck(tmp_path: Path, lead: float, there: bool) -> None:
    """Two results 0.02 apart: s = 0.0141, and two results differ by s times the root of 2."""
    seen = found(tmp_path, replicated(lead))
    assert ("winner_within_noise" in seen) is there
    if there:
        assert seen["winner_within_noise"].severity == "advice"
        assert seen["winner_within_noise"].fix == (
            f"python launch.py retrain {tmp_path / 'told'} --top-k 2 --seeds 5"
        )


def test_the_retrainings_seeds_come_before_replicates(tmp_path: Path) -> None:
    subject = stories.subject(tmp_path, replicated(0.1))
    (subject.folder / "retrain").mkdir()  # type: ignore[operator]
    retraining = {
        "version": 1,
        "standings": [{"seeds": {"1": 1.0, "2": 3.0, "3": None}}, {"seeds": {"1": 7.0}}],
    }
    write_json(subject.folder / "retrain" / "retrain.json", "retraining", retraining)  # type: ignore[operator]
    assert noise_of(subject).std == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(("wobble", "there"), [(0.02, True), (0.0001, False)])
def test_without_seeds_the_last_epochs_hint_at_the_noise(tmp_path: Path, wobble: float, there: bool) -> None:
    events = []
    for number, end in enumerate((0.10, 0.11, 0.12)):
        events += curves.trial(number, [0.5, *(end + wobble * (epoch % 2) for epoch in range(5)), end])
    seen = found(tmp_path, events)
    assert ("winner_within_noise" in seen) is there
    if there:
        assert seen["winner_within_noise"].severity == "note"
        assert "without other seeds" in seen["winner_within_noise"].evidence
