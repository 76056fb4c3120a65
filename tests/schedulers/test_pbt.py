"""PBT's milestones, copies and replacements, and that no member waits for ever."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedulers import Continue, Exploit, Float, Pause, PBTRule, Report, Resume, Stop

SPACE = {"lr": Float(1e-3, 1.0, log=True)}
LR = [0.01, 0.02, 0.03, 0.04]


def population(**settings: Any) -> PBTRule:
    """Four members, milestones at 4 and 8 of 12."""
    defaults = {"max_resource": 12, "perturbation_interval": 4, "population_size": 4, "space": SPACE}
    return PBTRule(**{**defaults, **settings})


def report(rule: PBTRule, n: int, epoch: int, loss: float | None) -> Any:
    return rule.report(Report(f"{n:05d}", epoch, loss, {"lr": LR[n % 4]}))


def name(n: int) -> str:
    return f"{n:05d}"


def test_a_milestone_is_waited_for_by_pause_and_the_worst_copies_the_best() -> None:
    rule = population()
    for n, loss in enumerate((0.1, 0.2, 0.4)):
        assert report(rule, n, 4, loss) == Pause(f"waits at epoch 4: {n + 1} of 4 are there")
    assert rule.resume([name(0), name(1), name(2)]) is None
    assert report(rule, 3, 4, 0.3) == Continue("the population is complete at epoch 4", milestone=True)
    resumes = []
    paused = [name(0), name(1), name(2)]
    while (resume := rule.resume(paused)) is not None:
        rule.resumed(resume)
        paused.remove(resume.trial_id)
        resumes.append(resume)
    assert [resume.trial_id for resume in resumes] == [name(0), name(1), name(2)]
    assert [resume.exploit is None for resume in resumes] == [True, True, False]
    exploit = resumes[2].exploit
    assert (exploit.donor, exploit.resource) == (name(0), 4)
    assert exploit.config["lr"] != LR[0]
    assert exploit.reason == "loss 0.4 ranks 4 of 4 at epoch 4; copies trial 00000 (loss 0.1 at epoch 4)"


def test_the_last_to_come_copies_without_waiting() -> None:
    rule = population()
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    decision = report(rule, 3, 4, 0.9)
    assert isinstance(decision, Exploit)
    assert decision.donor == name(0)


def test_after_the_last_milestone_nobody_copies() -> None:
    """At R all members end: 12 is a multiple of 4, but no milestone."""
    rule = population()
    assert report(rule, 0, 12, 0.9) == Stop("finished all 12 epochs", "completed")


def test_asynchronously_nobody_goes_on_before_every_member_has_begun() -> None:
    """Two slots, four members: otherwise two would train to the end and be compared only with each other."""
    rule = population(synchronous=False)
    report(rule, 0, 4, 0.2)
    report(rule, 1, 4, 0.1)
    assert rule.resume([name(0), name(1)]) is None
    report(rule, 2, 1, 0.3)
    assert rule.resume([name(0), name(1)]) is None
    report(rule, 3, 1, 0.3)
    assert rule.resume([name(0), name(1)]).trial_id == name(0)


def test_asynchronously_a_member_that_failed_to_begin_is_not_waited_for() -> None:
    rule = population(synchronous=False)
    for n in range(3):
        report(rule, n, 4, 0.3 - 0.1 * n)
    rule.end(name(3), "failed")
    assert rule.resume([name(0)]).trial_id == name(0)


@pytest.mark.parametrize("how", ["failed", "stopped", "completed"])
def test_nobody_waits_for_a_member_that_ended(how: str) -> None:
    rule = population()
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    assert rule.resume([name(0), name(1), name(2)]) is None
    rule.end(name(3), how)
    assert rule.resume([name(0), name(1), name(2)]).trial_id == name(0)


def test_nobody_waits_for_a_member_that_passes_a_milestone_by() -> None:
    """It reports every third epoch, so at 4 it is never compared."""
    rule = population()
    report(rule, 3, 3, 0.5)
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    report(rule, 3, 6, 0.5)
    assert rule.resume([name(0), name(1), name(2)]).trial_id == name(0)


def test_nobody_waits_for_a_member_that_will_never_be() -> None:
    rule = population(population_size=10)
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    rule.no_more_trials([name(0), name(1), name(2)])
    assert rule.resume([name(0), name(1), name(2)]).trial_id == name(0)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, None])
def test_a_diverged_member_waits_to_be_replaced_first(loss: float | None) -> None:
    """It ranks worst, so it copies, and its epoch advances to the donor's."""
    rule = population()
    decision = report(rule, 0, 2, loss)
    assert decision == Pause(f"loss is {loss} at epoch 2; waits at epoch 4: 1 of 4 are there", save=False)
    for n in (1, 2):
        report(rule, n, 4, 0.1 * n)
    assert isinstance(report(rule, 3, 4, 0.3), Continue)
    resume = rule.resume([name(0)])
    assert (resume.exploit.donor, resume.exploit.resource) == (name(1), 4)
    rule.resumed(resume)  # type: ignore[arg-type]
    assert report(rule, 0, 5, 0.1) == Continue()


def test_a_population_of_diverged_members_ends_as_diverged() -> None:
    rule = population()
    for n in range(3):
        report(rule, n, 4, math.nan)
    assert report(rule, 3, 4, math.nan) == Stop(
        "loss is nan at epoch 4; no donor was left to copy", "diverged"
    )
    assert rule.resume([name(0), name(1), name(2)]) is None
    assert rule.last_decision(name(0)).ending == "diverged"


def test_a_member_that_diverges_after_the_last_milestone_stops() -> None:
    assert report(population(), 0, 9, math.nan) == Stop("loss is nan at epoch 9", "diverged")


def test_asynchronous_members_are_ranked_among_those_before_them() -> None:
    """At least half the population, 2 of 4, is ranked."""
    rule = population(synchronous=False)
    assert report(rule, 0, 4, 0.9) == Continue("loss 0.9 ranks 1 of 1 at epoch 4", milestone=True)
    assert report(rule, 1, 4, 0.1) == Continue("loss 0.1 ranks 1 of 2 at epoch 4", milestone=True)
    assert report(rule, 2, 4, 0.5) == Continue("loss 0.5 ranks 2 of 3 at epoch 4", milestone=True)
    decision = report(rule, 3, 4, 1.0)
    assert isinstance(decision, Exploit)
    assert decision.donor == name(1)


def test_asynchronous_scores_are_compared_at_equal_resource_only() -> None:
    """A member at epoch 8 with a tiny loss is not compared with one at epoch 4."""
    rule = population(synchronous=False)
    for n in (0, 1):
        report(rule, n, 8, 1e-6)
    assert report(rule, 2, 4, 0.9) == Continue("loss 0.9 ranks 1 of 1 at epoch 4", milestone=True)


def test_an_asynchronous_diverged_member_needs_one_donor_only() -> None:
    rule = population(synchronous=False)
    assert report(rule, 0, 2, math.nan) == Pause(
        "loss is nan at epoch 2; waits for a donor at epoch 4", save=False
    )
    assert rule.resume([name(0)]) is None
    report(rule, 1, 4, 0.3)
    assert rule.resume([name(0)]).exploit.donor == name(1)
    assert isinstance(report(rule, 2, 3, math.nan), Exploit)


def test_a_copy_lost_before_it_was_made_is_ordered_again() -> None:
    """The loser's worker died meanwhile: it reports the same epoch again."""
    rule = population()
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    decision = report(rule, 3, 4, 0.9)
    assert report(rule, 3, 4, 0.9) == decision


def test_a_copy_is_worth_what_its_donor_was() -> None:
    rule = population(objective="best")
    report(rule, 3, 1, 0.05)  # its best came early, and its weights are gone with the copy
    for n in range(3):
        report(rule, n, 4, 0.01 * (n + 1))
    rule.report(Report(name(3), 4, 0.9))
    rule.resumed(rule.resume([name(3)]))  # type: ignore[arg-type]
    assert rule.objective_loss[name(3)] == 0.01


def test_the_whole_space_is_explored_and_what_is_not_searched_is_copied() -> None:
    rule = population(space={"lr": Float(0.0, 1.0), "absent": Float(0.0, 1.0)}, resample_probability=0.0)
    config = rule.explore({"lr": 0.5, "nodes": 64}, np.random.default_rng(0))
    assert config in ({"lr": 0.4, "nodes": 64}, {"lr": 0.6, "nodes": 64})


@settings(max_examples=50)
@given(data=st.data(), synchronous=st.booleans(), size=st.integers(2, 12), slots=st.integers(1, 4))
def test_no_two_members_ever_wait_for_each_other(
    data: st.DataObject, synchronous: bool, size: int, slots: int
) -> None:
    """Any order, any divergence and any failure: every member comes to an end."""
    rule = population(population_size=size, synchronous=synchronous, quantile_fraction=0.5)
    epoch = dict.fromkeys(map(name, range(size)), 0)
    fresh = list(epoch)
    running: list[Any] = []
    paused: list[Any] = []
    over: set[Any] = set()
    while len(over) < size:
        while len(running) < slots:
            resume = rule.resume(sorted(paused))
            if resume is not None:
                rule.resumed(resume)
                paused.remove(resume.trial_id)
                if resume.exploit is not None:
                    assert resume.exploit.resource >= epoch[resume.trial_id]
                    epoch[resume.trial_id] = resume.exploit.resource
                running.append(resume.trial_id)
            elif fresh:
                running.append(fresh.pop(0))
            else:
                break
        if not running:
            assert all(rule.last_decision(trial).ending == "diverged" for trial in paused)
            return
        trial = data.draw(st.sampled_from(running))
        if data.draw(st.integers(0, 30)) == 0:
            rule.end(trial, "failed")
            running.remove(trial)
            over.add(trial)
            continue
        epoch[trial] += 1
        loss = math.nan if data.draw(st.integers(0, 20)) == 0 else data.draw(st.floats(0, 1))
        decision = rule.report(Report(trial, epoch[trial], loss, {"lr": 0.1}))
        if isinstance(decision, Pause | Exploit):
            running.remove(trial)
            paused.append(trial)
        elif isinstance(decision, Stop):
            running.remove(trial)
            over.add(trial)
        if isinstance(decision, Exploit):
            assert SPACE["lr"].contains(decision.config["lr"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"perturbation_interval": 0}, "perturbation_interval (0) must be at least 1"),
        ({"population_size": 1}, "population_size (1) must be at least 2: a member cannot copy itself"),
        ({"quantile_fraction": 0.6}, "quantile_fraction (0.6) must lie in (0, 0.5]"),
        ({"resample_probability": 2}, "resample_probability (2) must lie in [0, 1]"),
        ({"perturbation_factors": ()}, "perturbation_factors (()) must be positive, and at least one"),
    ],
)
def test_settings_that_make_no_sense_say_why(settings: Any, message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        population(**settings)
    assert str(error.value) == message


def test_a_failed_member_is_replaced_first_at_the_next_milestone() -> None:
    """It ranks last, whatever its loss was."""
    rule = population()
    report(rule, 3, 1, 0.0)
    waits = rule.failed(name(3), "boom")
    assert waits == Pause("failed in epoch 2: boom; waits at epoch 4: 1 of 4 are there", save=False)
    for n, loss in enumerate((0.1, 0.2)):
        report(rule, n, 4, loss)
    assert rule.resume([name(3)]) is None
    assert report(rule, 2, 4, 0.3) == Continue("the population is complete at epoch 4", milestone=True)
    resume = rule.resume([name(3)])
    assert (resume.exploit.donor, resume.exploit.resource) == (name(0), 4)
    assert resume.reason == "failed in epoch 2: boom; copies trial 00000 (loss 0.1 at epoch 4)"


@pytest.mark.parametrize("synchronous", [True, False])
def test_the_last_to_fail_goes_on_as_a_copy_at_once(synchronous: bool) -> None:
    rule = population(synchronous=synchronous)
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    copy = rule.failed(name(3), "boom")
    assert isinstance(copy, Exploit)
    assert copy.donor == name(0)


def test_a_copy_that_fails_before_its_first_epoch_is_not_replaced_again() -> None:
    rule = population()
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    copy = rule.failed(name(3), "boom")
    rule.resumed(Resume(name(3), copy.reason, copy))  # type: ignore[arg-type]
    assert rule.failed(name(3), "boom") is None


def test_a_copy_that_has_trained_since_is_replaced_again() -> None:
    rule = population()
    for n in range(3):
        report(rule, n, 4, 0.1 * n)
    copy = rule.failed(name(3), "boom")
    rule.resumed(Resume(name(3), copy.reason, copy))  # type: ignore[arg-type]
    report(rule, 3, 5, 0.1)
    assert rule.failed(name(3), "boom").reason.startswith("failed in epoch 6: boom; waits at epoch 8")


def test_past_the_last_milestone_a_failure_is_the_end() -> None:
    rule = population()
    report(rule, 0, 8, 0.1)
    assert rule.failed(name(0), "boom") is None


def test_where_nobody_is_sound_nobody_is_replaced_and_all_end_as_failed() -> None:
    rule = population()
    answers = [rule.failed(name(n), "boom") for n in range(4)]
    assert [type(answer) for answer in answers] == [Pause, Pause, Pause, type(None)]
    rule.end(name(3), "failed")
    assert rule.resume([name(n) for n in range(3)]) is None
    assert rule.last_decision(name(0)) == Stop("failed in epoch 1: boom; no donor was left to copy", "failed")
