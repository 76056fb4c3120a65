"""A study's recorded curves under another trial scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from raysweep.study.journal.events import AttemptStarted, Event, TrialExploited
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.results.counterfactual import (
    CannotReplay,
    StudyReplay,
    as_json,
    parse_kwargs,
    replay_study,
)
from tests.builders import LR, epoch_reported, small_sweep, trial_created, trial_ended

R = 4
SWEEP = small_sweep(trials=9, epochs=R)
HALVING = {"grace_period": 2, "reduction_factor": 2}  # one rung, at epoch 2; the better half goes on


def record_of(*trials: tuple[str, list[float]], slots: int = 1, copied: int | None = None) -> StudyRecord:
    """A study whose trials ended so, with these losses."""
    events: list[Event] = [AttemptStarted(t=0, attempt=1, slots=slots, trials=len(trials))]
    for number, (outcome, losses) in enumerate(trials):
        name = f"{number:05d}"
        events.append(trial_created(name, {LR: 0.1}))
        events += [epoch_reported(name, epoch, loss) for epoch, loss in enumerate(losses, start=1)]
        if number == copied:
            word: dict[str, Any] = {
                "donor": "00000",
                "epoch": 2,
                "generation": 1,
                "config": {LR: 0.2},
                "reason": "",
            }
            events.append(TrialExploited(t=0, trial=name, **word))
        if outcome != "running":
            events.append(trial_ended(name, outcome))
    return fold(events)


def flat(loss: float) -> tuple[str, list[float]]:
    return "completed", [loss] * R


def replayed(record: StudyRecord, **words: Any) -> StudyReplay:
    return replay_study(SWEEP, record, "schedulers.ASHA", {**HALVING, **words})


def test_when_trials_would_have_ended_and_what_that_saves() -> None:
    seen = replayed(record_of(flat(0.5), flat(0.9), flat(0.4)))
    assert seen.finished == ("00000", "00002")
    assert seen.stopped == {"00001": (2, "rung 2: loss 0.9 ranks 2 of 2, top 1 goes on")}
    assert (seen.epochs_whole, seen.epochs_run) == (12, 10)
    assert seen.saved == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("late", "found", "regret"),
    [
        ([0.4, 0.4, 0.4, 0.4], "00001", 0.0),
        ([0.9, 0.9, 0.4, 0.3], "00000", 0.2),  # the best was still behind at the rung
        ([0.9, 0.9, 0.6, 0.5], "00000", 0.0),  # stopped, but no better in the end
    ],
)
def test_whether_the_best_would_have_been_lost_and_the_regret(
    late: list[float], found: str, regret: float
) -> None:
    seen = replayed(record_of(flat(0.5), ("completed", late)))
    assert (seen.found, seen.regret) == (found, pytest.approx(regret))


def test_only_curves_of_known_end_are_replayed_and_the_others_counted() -> None:
    record = record_of(
        flat(0.5),
        flat(0.6),
        ("stopped", [0.7]),
        ("stopped", [0.7, 0.7]),
        ("failed", [0.7]),
        ("running", [0.7]),
        ("completed", [0.7, 0.6]),
        ("completed", [0.7] * R),
        ("diverged", [0.7, float("nan")]),
        copied=7,
    )
    seen = replayed(record)
    assert seen.replayed == ("00000", "00001", "00008")
    assert seen.left_out == {
        "stopped early": 2,
        "failed": 1,
        "unfinished": 1,
        "ended by their own patience, or reported only now and then": 1,
        "went on from another's weights": 1,
    }
    assert seen.stopped["00008"] == (2, "loss is nan at epoch 2")
    assert seen.epochs_whole == 2 * R + 2


def test_by_default_as_many_run_at_once_as_in_the_study() -> None:
    record = record_of(flat(0.5), flat(0.4), slots=3)
    assert replayed(record).workers == 3
    assert replay_study(SWEEP, record, "FIFO", {}, 5).workers == 5


def test_an_objective_of_best_compares_the_best_epochs() -> None:
    dips = [0.9, 0.9, 0.1, 0.9]
    record = record_of(flat(0.5), ("completed", dips))
    record.objective = "best"
    seen = replay_study(SWEEP.model_copy(update={"objective": "best"}), record, "ASHA", HALVING)
    assert (seen.best, seen.found, seen.regret) == ("00001", "00000", pytest.approx(0.4))


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("schedulers.ASHAA", {}, "--trial-scheduler: 'ASHAA' is not in schedulers; did you mean"),
        ("schedulers.ASHA", {"eta": 3}, "--kwargs eta: unknown to ASHA; "),
        ("schedulers.ASHA", {"grace_period": 9}, "--kwargs: schedulers.ASHA: grace_period (9) must lie"),
        ("schedulers.ASHA", {"grace_period": "x"}, "--kwargs: schedulers.ASHA: "),
        (
            "schedulers.PBT",
            {"perturbation_interval": 1},
            "schedulers.PBT: recorded curves cannot be replayed",
        ),
        ("schedulers.PBT", {}, "--trial-scheduler: PBT needs 'perturbation_interval'"),
        ("schedulers.rule.Report", {}, "--trial-scheduler: Report needs"),
        ("math.tau", {}, "--trial-scheduler: math.tau has no rule to replay"),
    ],
)
def test_what_cannot_be_replayed_is_reported_in_one_line(
    name: str, kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(CannotReplay) as raised:
        replay_study(SWEEP, record_of(flat(0.5), flat(0.4)), name, kwargs)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_a_study_without_complete_curves_says_how_to_record_them() -> None:
    with pytest.raises(CannotReplay) as raised:
        replayed(record_of(flat(0.5), ("stopped", [0.7]), ("diverged", [float("nan")])))
    assert str(raised.value) == (
        "1 of 3 recorded curves are complete (1 stopped early, 1 diverged), but a replay needs 2; "
        "record more with schedulers.FIFO, or with an audit_fraction"
    )


def test_settings_are_yaml_and_a_mapping() -> None:
    assert parse_kwargs("{grace_period: 3, variant: promotion}") == {
        "grace_period": 3,
        "variant": "promotion",
    }
    assert parse_kwargs("") == {}
    with pytest.raises(CannotReplay, match="--kwargs 3: not a mapping"):
        parse_kwargs("3")


def test_as_json_has_no_infinity() -> None:
    """JSON knows none."""
    seen = replayed(record_of(flat(0.5), ("completed", [0.9, 0.9, 0.4, 0.3])))
    assert as_json(seen)["best"] == {
        "trial": "00001",
        "kept": False,
        "found": "00000",
        "regret": pytest.approx(0.2),
    }
    assert as_json(seen)["stopped"] == [
        {"trial": "00001", "epoch": 2, "reason": "rung 2: loss 0.9 ranks 2 of 2, top 1 goes on"}
    ]
