"""Findings from learning curves: for each rule a study that raises it and a near miss that does not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raysweep.report.findings import findings
from raysweep.report.findings.evidence import Evidence, Finding
from raysweep.report.findings.training import by_halfway, spikes, still_falling
from raysweep.report.importance import Importance
from raysweep.report.tables import tables
from tests.report import curves, stories

EPOCHS = 10
FAST = [0.1 + math.exp(-epoch) for epoch in range(EPOCHS)]
STRAIGHT = [1.0 - 0.08 * epoch for epoch in range(EPOCHS)]
BENT = [0.1 + math.exp(-0.25 * epoch) for epoch in range(EPOCHS)]  # four fifths by halfway, and falling
HIGH = [1.0 - 0.3 * (1 - math.exp(-epoch)) for epoch in range(EPOCHS)]
SPIKY = [0.5 + (0.3 if epoch % 3 == 2 else 0.0) - 0.02 * epoch for epoch in range(EPOCHS)]
WAVY = [0.5 + (0.03 if epoch % 3 == 2 else 0.0) - 0.02 * epoch for epoch in range(EPOCHS)]


def found(tmp_path: Path, events: list[Any], **kwargs: Any) -> dict[str, Finding] | dict[str, Any]:
    run = stories.sweep().run.model_dump(mode="json") | {"epochs": EPOCHS} | kwargs.pop("run", {})
    wanted = stories.sweep(run=run, **kwargs)
    subject = stories.subject(tmp_path, events, wanted)
    seen = Evidence(subject, tables(subject, 10), (), Importance())
    return {finding.name: finding for finding in findings(seen)}


def alike(val: list[float], train: list[float] | None = None, count: int = 4, **kwargs: Any) -> list[Any]:
    """Trials with curves of one shape, each a little worse than the one before."""
    events = []
    for number in range(count):
        worse = [loss * (1 + 0.05 * number) for loss in val]
        events += curves.trial(number, worse, worse if train is None else train, **kwargs)
    return events


@pytest.mark.parametrize(
    ("val", "train", "names"),
    [
        (FAST, FAST, set()),
        (FAST, SPIKY, {"noisy_training"}),
        (FAST, WAVY, set()),
        (STRAIGHT, STRAIGHT, {"slow_convergence"}),
        (BENT, BENT, {"epochs_run_out"}),
        (FAST, [0.3 * loss for loss in FAST], set()),  # far apart, but next to nothing of what was gained
        ([0.4 + loss for loss in FAST], FAST, {"overfits"}),
        (HIGH, HIGH, {"lacks_capacity"}),
        ([loss - 0.25 for loss in HIGH], [loss - 0.25 for loss in HIGH], {"lacks_capacity"}),
        ([loss - 0.6 for loss in HIGH], [loss - 0.6 for loss in HIGH], set()),
        (HIGH, [0.8 * loss for loss in HIGH], set()),  # high, but not alike
    ],
)
def test_what_curves_tell(
    tmp_path: Path, val: list[float], train: list[float], names: set[Any] | set[str]
) -> None:
    about_curves = {"noisy_training", "slow_convergence", "epochs_run_out", "overfits", "lacks_capacity"}
    assert set(found(tmp_path, alike(val, train))) & about_curves == names


BUNDLED = json.loads((Path(__file__).parent / "bundled_curves.json").read_text())


@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("digits, one node", {"lacks_capacity"}),  # 1.73; two layers of 32 nodes reach 0.24
        ("synthetic, one node", {"lacks_capacity"}),  # 0.61; they reach 0.10
        ("noise", {"lacks_capacity"}),  # the data hold no more, which the finding grants
        ("digits", {"overfits"}),
        ("cancer", {"overfits"}),  # 0.11; in twice the epochs 0.17
        ("cancer, SGD", {"overfits"}),
        ("diabetes, large", {"overfits"}),  # 0.64; with dropout and decay 0.52
        ("diabetes, small", set()),
        ("synthetic, SGD", set()),
        ("digits, short", {"epochs_run_out"}),  # 0.47; in twice the epochs 0.30
        ("digits, slow", {"slow_convergence"}),
        ("cancer, slow", {"slow_convergence"}),
        ("diabetes, slow", {"slow_convergence"}),
        ("digits, slow and annealed", set()),  # high, alike and flat, yet only the rate is too low
        ("cancer, slow and annealed", set()),
        ("diabetes, slow and annealed", set()),
    ],
)
def test_findings_on_the_bundled_data_say_what_is_so(
    tmp_path: Path, case: str, names: set[Any] | set[str]
) -> None:
    """Curves recorded by benchmarks/bundled_curves.py; its --truth shows what is true of them."""
    about = {"epochs_run_out", "slow_convergence", "overfits", "lacks_capacity"}
    trials, events = BUNDLED[case], []
    for number, curve in enumerate(trials):
        config = {stories.LR: curve["lr"], stories.LAYERS: 2}
        events += curves.trial(number, curve["val"], curve["train"], config)
    run = {"epochs": len(trials[0]["val"])}
    assert set(found(tmp_path, events, run=run)) & about == names


def test_every_recorded_case_is_judged() -> None:
    (table,) = test_findings_on_the_bundled_data_say_what_is_so.pytestmark
    assert {case for case, _ in table.args[1]} == set(BUNDLED)


@pytest.mark.parametrize(("best", "others", "fires"), [(6, 2, True), (3, 3, True), (2, 6, False)])
def test_no_larger_net_is_advised_where_larger_ones_did_no_better(
    tmp_path: Path, best: int, others: int, fires: bool
) -> None:
    """With the size searched and ten trials; all of one size say nothing."""
    events = []
    for number in range(10):
        worse = [loss * (1 + 0.01 * number) for loss in HIGH]
        config = {stories.LR: 0.1, stories.LAYERS: best if number < 5 else others}
        events += curves.trial(number, worse, worse, config)
    assert ("lacks_capacity" in found(tmp_path, events)) is fires


LAGGING = [0.1 + math.exp(-0.25 * epoch) for epoch in range(EPOCHS)]  # ends at 0.2, FAST at 0.1
SPLUS = {"optimizer": "pytorch_optimizer.SPlus"}


@pytest.mark.parametrize(
    ("val", "raw", "train", "names"),
    [
        (
            LAGGING,
            FAST,
            FAST,
            {"average_lags"},
        ),  # neither overfits nor falls: the trained weights have arrived
        (
            FAST,
            LAGGING,
            LAGGING,
            {"epochs_run_out"},
        ),  # an average that is better is no lag; training falls on
        ([loss + 0.019 for loss in FAST], FAST, FAST, set()),  # a fifth is 0.02
        ([loss + 0.15 for loss in FAST], FAST, FAST, {"average_lags"}),
        ([loss + 0.4 for loss in FAST], [loss + 0.4 for loss in FAST], FAST, {"overfits"}),
    ],
)
def test_trained_weights_are_compared_with_trained_weights(
    tmp_path: Path, val: list[float], raw: list[float], train: list[float], names: set[Any] | set[str]
) -> None:
    """train_loss and val_loss_raw are of the trained weights, val_loss of their average."""
    about = {"average_lags", "epochs_run_out", "slow_convergence", "overfits", "lacks_capacity"}
    events = [event for number in range(4) for event in curves.trial(number, val, train, raw=raw)]
    assert set(found(tmp_path, events)) & about == names


@pytest.mark.parametrize(
    ("run", "fix"),
    [
        (SPLUS, "--name told-2 --set run.optimizer_config.ema_rate=0.97"),
        (SPLUS | {"optimizer_config": {"ema_rate": 0.99}}, "--set run.optimizer_config.ema_rate=0.7"),
        (SPLUS | {"optimizer_config": {"ema_rate": 0.9}}, "--set run.optimizer_config.ema_rate=0.5"),
        (
            {"optimizer": "pytorch_optimizer.ScheduleFreeAdamW"},
            "Use an optimizer that averages over fewer steps, or none.",
        ),
    ],
)
def test_an_average_that_lags_is_given_a_shorter_window(
    tmp_path: Path, run: dict[str, dict[str, float] | str] | dict[str, str], fix: Any
) -> None:
    events = [event for number in range(4) for event in curves.trial(number, LAGGING, FAST, raw=FAST)]
    finding = found(tmp_path, events, run=run)["average_lags"]
    assert finding.fix.endswith(fix)
    assert (finding.severity, finding.evidence) == (
        "problem",
        "in 4 of the best 4 trials val_loss, of the averaged weights, ends at 0.205399, val_loss_raw, of "
        "the trained ones, at 0.100123",
    )


def test_the_epochs_that_a_finding_counts_are_said_as_a_number(tmp_path: Path) -> None:
    """Of eight epochs two are the last fifth, rounded; a reader who takes 1.6 gets another share."""
    events, run = alike(BENT[:8]), {"epochs": 8}
    evidence = found(tmp_path, events, run=run)["epochs_run_out"].evidence
    assert evidence.startswith("in 4 of the best 4 trials the last 2 of the 8 epochs still brought ")


def test_two_trials_are_no_most_of_them(tmp_path: Path) -> None:
    assert "slow_convergence" not in found(tmp_path, alike(STRAIGHT, count=2))


@pytest.mark.parametrize(
    ("deaths", "after", "severity"),
    [(3, 1, "advice"), (9, 1, "problem"), (2, 1, None), (3, 2, None)],
)
def test_trials_that_die_in_their_first_epoch(
    tmp_path: Path, deaths: int, after: int, severity: str | None
) -> None:
    events = alike(FAST, count=8)
    for number in range(8, 8 + deaths):
        events += curves.trial(number, [math.nan] * after, outcome="diverged")
    seen = found(tmp_path, events).get("dies_in_first_epoch")
    assert (seen and seen.severity) == severity


def test_code_that_fails_is_distinguished_from_a_rate_that_is_too_high(tmp_path: Path) -> None:
    events = alike(FAST)
    for number in range(4, 8):
        events += curves.trial(number, [], outcome="failed", reason="KeyError: 'x'")
    seen = found(tmp_path, events)["dies_in_first_epoch"]
    assert "KeyError" in seen.reading
    assert "trials/00004" in seen.fix


def test_a_mend_moves_the_searched_rate_on_the_line_that_ran_the_sweep(tmp_path: Path) -> None:
    fix = found(tmp_path, alike(FAST, SPIKY))["noisy_training"].fix
    assert fix == (
        "python launch.py sweeps/told.yaml --set seed=3 --name told-2 "
        "--set search_space.optimizer_config.lr.min=0.0001 --set search_space.optimizer_config.lr.max=0.1"
    )


@pytest.mark.parametrize("measure", [spikes, by_halfway, still_falling])
@pytest.mark.parametrize("curve", [FAST, STRAIGHT, SPIKY, [1.0] * 8, [0.0] * 8, [1.0, 2.0, 3.0]])
def test_measures_are_shares_of_any_curve(measure: Callable[..., Any], curve: list[float]) -> None:
    assert 0 <= measure(curve) <= 1


@pytest.mark.parametrize("measure", [spikes, by_halfway, still_falling])
def test_measures_do_not_depend_on_the_losss_unit(measure: Callable[..., Any]) -> None:
    assert measure([1000 * loss for loss in SPIKY]) == pytest.approx(measure(SPIKY))
