"""A budget chooses trials, epochs and the trial scheduler; what is set stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raysweep.advice import advise
from raysweep.config import Sweep, SweepError, read_sweep
from raysweep.planning.budget import fit_budget
from raysweep.planning.plan import Costs
from tests.sound_sweep import ReadText

OPEN = """\
run:
  data: trainables.data.load_digits
  optimizer: torch.optim.AdamW
  optimizer_config: {lr: 1e-3}
  scheduler: null
  criterion: torch.nn.CrossEntropyLoss
search_space: {optimizer_config: {lr: {type: float, min: 1e-4, max: 1e-2, log: true}}}
"""
COSTS = Costs((1.0,), slots=2)


def ranked(trials: int, epochs: int, rng: np.random.Generator) -> list[list[float]]:
    """Trials whose ranks never change."""
    return [[float(rank)] * epochs for rank in rng.permutation(trials)]


def chosen(sweep: Sweep) -> Sweep:
    return fit_budget(sweep, COSTS, ranked, "s.yaml").sweep


@pytest.mark.parametrize(
    ("settings", "trials", "epochs", "stopper"),
    [
        ("budget: {epochs: 100000}", 64, 81, "FIFO"),  # all there is, for one parameter
        ("budget: {epochs: 5000}", 64, 81, "ASHA"),
        ("budget: {epochs: 1500}", 64, 27, "ASHA"),
        ("budget: {epochs: 720}", 64, 9, "FIFO"),
        ("budget: {epochs: 500}", 64, 9, "ASHA"),
        ("budget: {hours: 100}", 64, 81, "FIFO"),
        ("budget: {hours: 0.25}", 64, 27, "ASHA"),
        ("budget: {epochs: 5000}\ntrials: 12", 12, 81, "FIFO"),
        ("budget: {epochs: 2000}\ntrial_scheduler: schedulers.MedianStopping", 64, 27, "MedianStopping"),
    ],
)
def test_a_budget_fills_what_the_file_leaves_open(
    read_text: ReadText, settings: str, trials: int, epochs: int, stopper: str
) -> None:
    sweep = chosen(read_text(f"{settings}\n{OPEN}").sweep)
    assert (sweep.trials, sweep.run.epochs) == (trials, epochs)
    assert sweep.trial_scheduler.name == f"schedulers.{stopper}"
    assert sweep.budget is None


def test_no_advice_about_trials_that_a_budget_will_choose(read_text: ReadText) -> None:
    names = [one.name for one in advise(read_text("budget: {hours: 1}\n" + OPEN))]
    assert not [name for name in names if "trials" in name and "startup" not in name]


def test_given_epochs_stay(read_text: ReadText) -> None:
    sweep = chosen(read_text("budget: {epochs: 2000}\n" + OPEN.replace("run:", "run:\n  epochs: 20")).sweep)
    assert sweep.run.epochs == 20


def test_hours_end_where_the_retraining_starts(read_text: ReadText) -> None:
    """15 trainings, two in parallel; a sweep that takes longer than planned is cut there."""
    fitted = fit_budget(read_text("budget: {hours: 1}\n" + OPEN).sweep, COSTS, ranked, "s.yaml")
    assert fitted.reserve > 8 * fitted.sweep.run.epochs
    assert fitted.sweep.time_budget_s == 3600 - fitted.reserve


def test_the_user_s_own_limit_stays(read_text: ReadText) -> None:
    assert chosen(read_text("budget: {hours: 1}\ntime_budget_s: 60\n" + OPEN).sweep).time_budget_s == 60


def test_set_trials_that_do_not_fit_are_run_and_reported(read_text: ReadText) -> None:
    fitted = fit_budget(read_text("budget: {epochs: 100}\ntrials: 60\n" + OPEN).sweep, COSTS, ranked, "s")
    assert fitted.sweep.trials == 60
    assert "would fit, but `trials` is given" in fitted.why


def test_a_budget_for_nothing_is_refused(read_text: ReadText) -> None:
    with pytest.raises(SweepError, match=r"s\.yaml: budget: budget of 0\.001 h leaves no room"):
        fit_budget(read_text("budget: {hours: 0.001}\n" + OPEN).sweep, COSTS, ranked, "s.yaml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("budget: {}", "needs one of hours and epochs"),
        ("budget: {hours: 1, epochs: 3}", "needs one of hours and epochs"),
        ("budget: {hours: 1}\ntrials: 5\ntrial_scheduler: schedulers.FIFO", "nothing is left to choose"),
        ("budget: {hours: 0}", "it must be more than 0"),
        ("budget: {days: 1}", "days: unknown"),
    ],
)
def test_a_budget_that_says_nothing_is_an_error_in_its_line(
    read_text: ReadText, settings: str, message: Any
) -> None:
    with pytest.raises(SweepError, match=message) as caught:
        read_text(settings + "\n" + OPEN.replace("run:", "run:\n  epochs: 20"))
    assert "well.yaml:" in str(caught.value)


@settings(max_examples=6)
@given(st.integers(4, 20_000))
@example(4)
@example(20_000)
def test_what_is_expected_to_run_never_exceeds_the_budget(epochs: int) -> None:
    """Including the retraining; with curves whose order never changes."""
    sweep = read_sweep("sweeps/random.yaml", overrides=["run.epochs=3"]).sweep
    left = sweep.model_dump(mode="json") | {"budget": {"epochs": epochs}}
    del left["trials"], left["trial_scheduler"]
    try:
        fitted = fit_budget(Sweep.model_validate(left), COSTS, ranked, "s.yaml")
    except SweepError:
        assert epochs < 10
        return
    run = fitted.share * fitted.sweep.trials * fitted.sweep.run.epochs
    assert run + fitted.reserve <= epochs + 1e-6
