"""The template's predicted-final-loss rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulers import ClassicPFLRule, Continue, Report, Stop
from schedulers.classic_pfl import log_loss


def run(rule: ClassicPFLRule, trial: str, loss_at: Callable[..., Any], epochs: int | None = None) -> Any:
    """Report a curve until it is stopped; returns the last decision and its epoch."""
    for epoch in range(1, (epochs or rule.max_resource) + 1):
        decision = rule.report(Report(trial, epoch, loss_at(epoch)))
        if isinstance(decision, Stop):
            break
    return decision, epoch


def small(**settings: Any) -> ClassicPFLRule:
    return ClassicPFLRule(
        **{"max_resource": 10, "n_startup_trials": 2, "n_warmup_epochs": 3, "top_k": 2, **settings}
    )


@given(a=st.floats(1e-3, 1e3), k=st.floats(-1, 1), epochs=st.integers(2, 30), target=st.integers(1, 100))
def test_an_exponential_curve_is_predicted_exactly(a: float, k: float, epochs: int, target: int) -> None:
    """A·exp(Kt) is fitted, so such a curve is predicted without error."""
    points = [(t, math.log(a) + k * t) for t in range(1, epochs + 1)]
    sums = [sum(term) for term in zip(*((1, t, t * t, y, t * y) for t, y in points), strict=True)]
    assert log_loss(sums, target) == pytest.approx(math.log(a) + k * target, rel=1e-6, abs=1e-6)  # type: ignore[arg-type]


def test_a_trial_predicted_worse_than_all_references_stops_after_warm_up() -> None:
    rule = small()
    for n, rate in enumerate((0.5, 0.3)):
        assert run(rule, f"{n:05d}", lambda t, rate=rate: math.exp(-rate * t))[0].ending == "completed"
    decision, epoch = run(rule, "00002", lambda t: math.exp(-0.1 * t))
    assert epoch == 4
    assert decision == Stop(
        "predicted final loss 0.367879 (PFL 0.4343) at epoch 4; "
        "worst of the top 2 finished: 0.0497871 (PFL 1.303)"
    )


def test_a_better_trial_runs_on_and_enters_the_reference_set() -> None:
    rule = small()
    for n, rate in enumerate((0.5, 0.3, 0.4)):
        assert run(rule, f"{n:05d}", lambda t, rate=rate: math.exp(-rate * t))[0].ending == "completed"
    assert rule.top == pytest.approx([4 / math.log(10), 5 / math.log(10)])


def test_the_first_trials_run_to_the_end_whatever_they_promise() -> None:
    rule = small(n_startup_trials=3)
    for n, rate in enumerate((0.5, 0.3, -0.2)):
        assert run(rule, f"{n:05d}", lambda t, rate=rate: math.exp(-rate * t))[1] == 10


def test_nobody_is_stopped_before_the_reference_trials_have_finished() -> None:
    """With enough workers all start at once, and there is nothing to compare with yet."""
    rule = small()
    for epoch in range(1, 10):
        for n, rate in enumerate((0.5, 0.3, -0.5)):
            assert isinstance(rule.report(Report(f"{n:05d}", epoch, math.exp(-rate * epoch))), Continue)


def test_a_warm_up_as_long_as_the_run_never_stops_anybody() -> None:
    """The template's own example: epochs 10, n_warmup_epochs 10."""
    rule = small(n_warmup_epochs=10)
    for n, rate in enumerate((0.5, 0.3, -0.5)):
        assert run(rule, f"{n:05d}", lambda t, rate=rate: math.exp(-rate * t))[1] == 10


def test_a_loss_without_a_logarithm_is_neither_predicted_nor_a_reference() -> None:
    rule = small()
    for n in range(2):
        run(rule, f"{n:05d}", lambda t: math.exp(-0.5 * t))
    assert run(rule, "00002", lambda t: 3.0 - t)[0].ending == "completed"
    assert len(rule.top) == 2


def test_a_trial_ended_by_its_own_patience_is_a_reference_too() -> None:
    rule = small(n_startup_trials=1)
    run(rule, "00000", lambda t: math.exp(-0.5 * t), epochs=5)
    rule.end("00000", "completed")
    assert rule.top == pytest.approx([5 / math.log(10)])
    assert isinstance(run(rule, "00001", lambda t: math.exp(-0.1 * t))[0], Stop)


def test_state_is_bounded_by_the_running_trials_and_k() -> None:
    rule = small()
    for n in range(50):
        run(rule, f"{n:05d}", lambda t: math.exp(-0.5 * t))
    assert (len(rule.sums), len(rule.top)) == (0, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 0}, "top_k (0) must be at least 1"),
        ({"n_startup_trials": -1}, "n_startup_trials (-1) must be at least 0"),
        ({"target_epoch": 0}, "target_epoch (0) must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_say_why(settings: dict[str, Any], message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        small(**settings)
    assert str(error.value) == message
