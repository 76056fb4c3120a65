"""The predictive rule: a ladder of ranks, and predicted final losses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedulers.curve_model import CROSSED
from schedulers.learning_curves import REFERENCES
from schedulers.pfl import PFLRule
from schedulers.rule import Continue, Outlook, Pause, Report, Resume, Stop
from schedulers.simulate import replay

R = 16


def sweep(seed: int, trials: int = 40, epochs: int = R, offset: float = 0.0) -> list[Any]:
    """Power-law curves with different final losses."""
    rng = np.random.default_rng(seed)
    end = rng.lognormal(-1, 0.5, trials)
    amplitude, rate = end * rng.lognormal(1, 0.3, trials), rng.uniform(0.8, 1.2, trials)
    t = np.arange(1, epochs + 1)
    curves = end[:, None] + amplitude[:, None] * t ** -rate[:, None]
    noisy = curves * np.exp(rng.normal(0, 0.02, curves.shape))
    return (noisy + offset).tolist()


def feed(rule: PFLRule, trial: str, losses: list[float], start: int = 1) -> Any:
    """Report until the decision is not Continue; returns the last decision."""
    decision = Continue()
    for epoch, loss in enumerate(losses, start):
        decision = rule.report(Report(trial, epoch, loss))  # type: ignore[assignment]
        if not isinstance(decision, Continue):
            break
    return decision


def filled(trials: int = 20, population: int = 30) -> PFLRule:
    """A rule after whole trials with final losses 1.00, 1.01 and so on."""
    rule = PFLRule(max_resource=R, population_size=population, early=1.0)
    for number in range(trials):
        for epoch in range(1, R + 1):
            if isinstance(rule.report(Report(f"{number:05d}", epoch, 1 + number / 100 + 1 / epoch)), Pause):
                rule.resumed(type("R", (), {"trial_id": f"{number:05d}"}))  # type: ignore[arg-type]
    return rule


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"keep": 0.0}, r"keep \(0.0\) must lie within \(0, 1\]"),
        ({"min_chance": 2.0}, r"min_chance \(2.0\) must lie within \(0, 1\]"),
        ({"early": -1.0}, r"early \(-1.0\) must lie within \(0, 1\]"),
        ({"min_finished": 0}, r"min_finished \(0\) must be at least 1"),
        ({"population_size": 0}, r"population_size \(0\) must be at least 1"),
        ({"max_resource": 0}, r"max_resource \(0\) must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PFLRule(**{"max_resource": R, **setting})


def test_the_room_is_a_share_for_every_doubling_and_more_early_than_late() -> None:
    """In the middle of the run, at three doublings of six, the share is `keep` per doubling itself."""
    rule = PFLRule(max_resource=64, population_size=100, keep=0.1, min_finished=1)
    rooms = {level: round(rule._room(k), 1) for k, level in enumerate(rule.levels) if level in (8, 16, 32)}
    assert rooms == {8: 30.0, 16: 17.0, 32: 6.4}


def test_the_room_never_closes_below_those_who_must_finish() -> None:
    rule = PFLRule(max_resource=64, population_size=100, min_finished=7)
    assert rule._room(len(rule.levels) - 1) == 7


@pytest.mark.parametrize(
    ("crossed", "room"),
    [(CROSSED, 30.0), (0.5 * CROSSED, 15.0), (0.0, 15.0), (1.2 * CROSSED, 36.0), (1.0, 45.0)],
)
def test_a_room_follows_the_crossings_of_the_sweep_within_bounds(crossed: float, room: float) -> None:
    rule = PFLRule(max_resource=64, population_size=100, keep=0.1, min_finished=1)
    level = rule.levels.index(8)
    shares = [CROSSED for _ in rule.levels]
    shares[level] = crossed
    rule.load({**rule.state(), "crossing_shares": shares})
    assert rule._room(level) == pytest.approx(room)


@pytest.mark.parametrize(("hope", "named"), [(0.99, "00001"), (1.01, None)])
def test_who_has_hope_goes_on_when_no_room_holds_anybody(hope: float, named: str | None) -> None:
    """It ranks last and nothing else runs; its prediction is, or is not, as good as required."""
    rule = PFLRule(max_resource=R, population_size=2, keep=0.01, min_finished=1)
    for epoch in range(1, 5):
        decision = rule.report(Report("00001", epoch, 9.0))
        if isinstance(decision, Pause) and epoch < 4:
            rule.resumed(Resume("00001", ""))
    feed(rule, "00000", [1.0] * R)
    level = rule.paused_at["00001"]
    rule.rungs[level] = [1.0] * 50 + [9.0]
    rule.hope = min(hope * rule._outlook("00001", level).chance, 1.0)
    resume = rule.resume(["00001"])
    assert (resume and resume.trial_id) == named


@pytest.mark.parametrize(
    ("epochs", "first"), [(2, 1), (3, 2), (10, 2), (16, 2), (27, 3), (50, 4), (100, 8), (1000, 91)]
)
def test_the_first_look_comes_at_a_twelfth_but_not_at_epoch_1(epochs: int, first: int) -> None:
    rule = PFLRule(max_resource=epochs)
    assert rule.levels[rule.first_level] == first


@pytest.mark.parametrize(
    ("trials", "least"), [(None, 5), (4, 5), (30, 5), (50, 5), (75, 7), (100, 9), (10_000, 9)]
)
def test_a_tenth_of_the_trials_finishes_from_5_to_9(trials: int | None, least: int) -> None:
    assert PFLRule(max_resource=R, population_size=trials).min_finished == least


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_last_look_goes_back_to_every_level(depth: int) -> None:
    """A trial paused at any level is resumed if its chance is at least `hope`."""
    rule = PFLRule(max_resource=50, population_size=2, keep=0.01, min_finished=1, early=1e-6)
    level = rule.first_level + depth
    for epoch in range(1, rule.levels[level] + 1):
        decision = rule.report(Report("00001", epoch, 9.0))
        if isinstance(decision, Pause) and epoch < rule.levels[level]:
            rule.resumed(Resume("00001", ""))
    rule.min_finished = 10**9  # the room holds it: let the other finish meanwhile
    feed(rule, "00000", [1.0] * 50)
    rule.min_finished = 1
    rule.rungs[level] = [1.0] * 50 + [9.0]
    rule.hope = min(0.99 * rule._outlook("00001", level).chance, 1.0)
    assert rule.paused_at == {"00001": level}
    assert rule.resume(["00001"]).trial_id == "00001"


def test_the_best_of_all_goes_on_and_the_worst_waits() -> None:
    rule = filled()
    assert isinstance(feed(rule, "00100", [1.5, 1.0]), Continue)
    assert isinstance(feed(rule, "00200", [9.0, 9.0]), Pause)


def test_nothing_is_resumed_while_new_trials_are_to_come() -> None:
    rule = PFLRule(max_resource=R, population_size=3)
    feed(rule, "00000", [1.0, 1.0])
    assert isinstance(feed(rule, "00001", [2.0, 2.0]), Pause)
    assert rule.resume(["00001"]) is None


def test_when_all_are_there_the_best_that_waits_is_resumed() -> None:
    rule = PFLRule(max_resource=R, population_size=4, early=0.1, min_finished=1, keep=0.15)
    for number, loss in enumerate([3.0, 1.0, 2.0, 4.0]):
        assert isinstance(feed(rule, f"{number:05d}", [loss, loss]), Pause)
    paused = [f"{number:05d}" for number in range(4)]
    resume = rule.resume(paused)
    assert resume.trial_id == "00001"
    assert resume.reason.startswith("second look: epoch 2: rank 1 of 4, room for 2 of 4; predicted final")
    rule.resumed(resume)  # type: ignore[arg-type]
    assert rule.resume([trial for trial in paused if trial != "00001"]).trial_id == "00002"


@pytest.mark.parametrize("tell", ["population_size", "no_more_trials"])
def test_both_ways_to_learn_that_all_are_there_lead_to_a_second_look(tell: str) -> None:
    rule = PFLRule(
        max_resource=R, population_size=2 if tell == "population_size" else None, early=0.1, min_finished=1
    )
    for number in range(2):
        feed(rule, f"{number:05d}", [1.0 + number] * 2)
    if tell == "no_more_trials":
        assert rule.resume(["00000", "00001"]) is None
        rule.no_more_trials(["00000", "00001"])
    assert rule.resume(["00000", "00001"]).trial_id == "00000"


def test_a_trial_that_failed_before_its_first_report_is_not_waited_for() -> None:
    rule = PFLRule(max_resource=R, population_size=2, early=0.1, min_finished=1)
    feed(rule, "00000", [1.0, 1.0])
    rule.end("00001", "failed")
    rule.end("00001", "failed")
    assert rule.resume(["00000"]).trial_id == "00000"


def test_who_gave_way_to_others_is_let_go_on_at_any_time() -> None:
    rule = PFLRule(max_resource=R, population_size=9)
    rule.report(Report("00003", 1, 1.0))
    rule.paused_at.clear()
    rule.paused_ranks = [[] for _ in rule.levels]
    assert rule.resume(["00003"]).reason == "its turn again"


@pytest.mark.parametrize(("min_chance", "decision"), [(0.01, Pause), (1e-12, Continue)])
def test_a_hopeless_prediction_pauses_a_trial_that_rank_would_let_through(
    min_chance: float, decision: type[Any]
) -> None:
    """Flat at twice the best: it is within the room, but no such trial ever improved that much."""
    rule = PFLRule(
        max_resource=R, population_size=21, keep=1.0, early=1.0, min_finished=10, min_chance=min_chance
    )
    for number in range(10, 15):  # others, still at it: they show how far apart losses lie here
        feed(rule, f"{number:05d}", [1 + number / 5] * 4)
    for number in range(10):
        scale = 1 - number / 1000
        feed(rule, f"{number:05d}", [scale * (1 + 0.5 / epoch) for epoch in range(1, R + 1)])
    assert rule.finishes == 10
    assert type(feed(rule, "00020", [2.0, 2.0, 2.0, 2.0])) is decision


@pytest.mark.parametrize(("epoch", "hopeful"), [(4, True), (8, True), (11, False), (32, False)])
def test_a_prediction_counts_once_about_two_doublings_are_to_come(epoch: int, hopeful: bool) -> None:
    rule = PFLRule(max_resource=50, population_size=100)
    rule.finishes = 10
    rule._outlooks["00000"] = Outlook(2.0, 1.0, 3.0, chance=1e-6)
    assert rule._is_hopeful("00000", level=rule.levels.index(epoch), rank=99.0) is hopeful


@pytest.mark.parametrize(
    ("can_pause", "finishes", "hopeful"), [(True, 10, False), (False, 10, True), (False, 400, False)]
)
def test_a_stop_must_be_surer_than_a_pause(can_pause: bool, finishes: int, hopeful: bool) -> None:
    """A chance of 0.0001 is enough to pause; a stop needs many finished trials that never surprised."""
    rule = PFLRule(max_resource=R, population_size=100, can_pause=can_pause)
    rule.finishes = finishes
    rule._outlooks["00000"] = Outlook(2.0, 1.0, 3.0, chance=1e-4)
    assert rule._is_hopeful("00000", level=4, rank=99.0) is hopeful


def test_every_decision_says_what_is_predicted_and_its_range() -> None:
    rule = filled()
    decision = feed(rule, "00100", [9.0, 9.0, 9.0])
    outlook = decision.outlook
    assert outlook.low < outlook.median < outlook.high
    assert 0 <= outlook.chance < 0.05
    assert (
        f"predicted final loss {outlook.median:.6g} ({outlook.low:.6g} to {outlook.high:.6g}; "
        f"{rule.ranges_held} of {rule.ranges_given} such ranges held), the model's chance to beat 1.0625 is "
        f"{outlook.chance:.2g}" in decision.reason
    )
    assert rule.ranges_given == 15 * (len(rule.levels) - 1 - rule.first_level)  # of all but the first five


def test_no_range_is_told_before_five_predictions_have_come_to_their_end() -> None:
    rule = filled(trials=4)
    decision = feed(rule, "00100", [1.5, 1.0])
    assert (decision.outlook.low, decision.outlook.high) == (None, None)
    assert (
        f"predicted final loss {decision.outlook.median:.6g} (too few have finished to tell a range), "
        in decision.reason
    )


def test_a_range_is_as_wide_as_earlier_predictions_were_off() -> None:
    """Twice the model's own range, if every finished trial ended twice as far from its prediction."""
    rule = filled()
    level = rule.levels.index(3)
    feed(rule, "00100", [1.5, 1.2, 1.1])
    forecast = rule._forecast("00100", level)
    rule.misses[level] = [2.0] * 20
    rule._forget()
    outlook = rule._outlook("00100", level)
    reach = 2 * (forecast.quantile(0.95) - forecast.mean)
    assert math.log(outlook.high) - math.log(outlook.median) == pytest.approx(reach)  # type: ignore[arg-type]
    assert math.log(outlook.median) - math.log(outlook.low) == pytest.approx(reach)  # type: ignore[arg-type]


def test_the_last_word_says_why_it_was_not_resumed() -> None:
    rule = PFLRule(max_resource=R, population_size=2, early=0.1, min_finished=1)
    feed(rule, "00000", [1.0, 1.0])
    assert rule.last_word("00000").startswith("not resumed: epoch 2: rank 1 of 1, room for ")


def test_without_checkpoints_a_trial_is_stopped_and_none_waits() -> None:
    outcome = replay(
        rule := PFLRule(max_resource=R, population_size=40, can_pause=False), sweep(0), workers=4
    )
    assert outcome.pauses == 0
    assert rule.paused_at == {}
    assert outcome.saved > 0.3


def test_who_waits_reports_the_same_epoch_again_and_waits_on() -> None:
    rule = PFLRule(max_resource=R, population_size=9, early=0.1, min_finished=1)
    feed(rule, "00000", [1.0, 1.0])
    assert isinstance(rule.report(Report("00000", 2, 0.0)), Pause)


def test_a_trial_that_reports_rarely_is_looked_at_when_it_does() -> None:
    rule = PFLRule(max_resource=R, population_size=1, min_finished=1)
    rule.report(Report("00000", 5, 2.0))
    assert rule.curves["00000"] == [2.0] * 4  # levels 1, 2, 3 and 4
    rule.report(Report("00000", 9, 1.0))
    assert rule.curves["00000"] == [2.0] * 4 + [1.0] * 2


def test_a_divergence_counts_as_one_more_that_is_worse() -> None:
    rule = PFLRule(max_resource=R, population_size=3)
    assert rule.report(Report("00000", 1, math.nan)) == Stop("loss is nan at epoch 1", "diverged")
    assert "rank 1 of 2" in feed(rule, "00001", [1.0, 1.0]).reason


@pytest.mark.parametrize("workers", [1, 4, 16, 64])
@pytest.mark.parametrize("seed", range(3))
def test_most_epochs_are_saved_and_a_good_trial_finishes(workers: int, seed: int) -> None:
    curves = sweep(seed, trials=60)
    outcome = replay(PFLRule(max_resource=R, population_size=60), curves, workers=workers)
    assert outcome.saved > 0.5
    assert outcome.best <= 1.05 * min(curve[-1] for curve in curves)
    assert len(outcome.finished) >= 5


@pytest.mark.parametrize("workers", [1, 8])
def test_losses_below_zero_are_handled_on_the_raw_scale(workers: int) -> None:
    """An accuracy, say, maximised: the loss is its negative."""
    curves = sweep(1, trials=60, offset=-1.0)
    rule = PFLRule(max_resource=R, population_size=60)
    outcome = replay(rule, curves, workers=workers)
    assert not rule.positive
    assert outcome.saved > 0.5
    best = min(curve[-1] for curve in curves)
    assert outcome.best <= best + 0.05


def test_a_first_loss_below_zero_in_mid_sweep_changes_the_scale_for_all() -> None:
    rule = filled()
    assert feed(rule, "00100", [-0.5, -0.6]).outlook.median < 0
    assert not rule.positive


def test_extreme_losses_are_survived() -> None:
    """Log or raw, 1e300 or 1e-300: no overflow, no warning."""
    rule = PFLRule(max_resource=R, population_size=60)
    curves = sweep(2, trials=57)
    curves += [[1e300] * R, [1e-300] * R, [-1e300] * R]
    order = np.random.default_rng(0).permutation(60).tolist()
    replayed = replay(rule, curves, order=order, workers=3)
    assert len(rule.endings) == 60
    assert replayed.best == -1e300


@settings(max_examples=20)
@given(
    seed=st.integers(0, 99),
    cut=st.integers(0, 400),
    workers=st.integers(1, 8),
    offset=st.sampled_from([0, -1]),
)
def test_a_rule_reloaded_in_mid_sweep_decides_alike(seed: int, cut: int, workers: int, offset: int) -> None:
    """Through JSON, whatever was cached."""

    class Reloading(PFLRule):
        count = 0

        def report(self, report: Report) -> Any:
            Reloading.count += 1
            if Reloading.count == cut:
                fresh = PFLRule(max_resource=R, population_size=25)
                fresh.load(json.loads(json.dumps(self.state())))
                assert fresh.state() == self.state()
                self.load(fresh.state())
            return super().report(report)

    curves = sweep(seed, trials=25, offset=offset)
    Reloading.count = 0
    plain = replay(PFLRule(max_resource=R, population_size=25), curves, workers=workers)
    assert replay(Reloading(max_resource=R, population_size=25), curves, workers=workers) == plain


def test_a_question_asked_often_changes_nothing() -> None:
    class Asked(PFLRule):
        def resume(self, paused: Any) -> Any:
            before = self.state()
            answers = [PFLRule.resume(self, paused) for _ in range(3)]
            assert answers[0] == answers[1] == answers[2]
            assert self.state() == before
            return answers[0]

    curves = sweep(3, trials=20)
    plain = replay(PFLRule(max_resource=R, population_size=20), curves, workers=3)
    assert replay(Asked(max_resource=R, population_size=20), curves, workers=3) == plain


@settings(max_examples=12)
@given(
    seed=st.integers(0, 99),
    workers=st.integers(1, 8),
    min_chance=st.sampled_from([0.01, 0.2, 0.5]),
    offset=st.sampled_from([0, -1]),
)
def test_what_is_remembered_of_the_hopeless_changes_no_answer(
    seed: int, workers: int, min_chance: float, offset: int
) -> None:
    """The reference, one by one: the first paused trial within the room with a promising prediction."""

    class Doubting(PFLRule):
        def one_by_one(self, paused: list[str], alone: bool) -> str | None:
            for level in range(len(self.levels) - 1, -1, -1):
                for _, trial in islice(self.paused_ranks[level], REFERENCES):
                    place = self._rank(trial, level) if alone else self._expected_rank(trial, level)
                    if place > self._room(level):
                        break
                    if trial in paused and self._is_hopeful(trial, level, place):
                        return trial
            return None

        def _pick_within_room(self, paused: list[str], *, alone: bool) -> str | None:  # type: ignore[override]
            spoken_for = paused[::2]  # a rule must not count on those it paused being free to go on
            for some in (spoken_for, paused):
                expected = self.one_by_one(some, alone)
                assert super()._pick_within_room(some, alone=alone) == expected
            return expected

    rule = Doubting(max_resource=R, population_size=30, min_finished=2, min_chance=min_chance, keep=0.2)
    replay(rule, sweep(seed, trials=30, offset=offset), workers=workers)
    assert len(rule.endings) == 30


def test_a_question_does_not_look_through_all_that_wait() -> None:
    """It reads only a few of 1,000 names, so that it can be called many times a second."""

    class Counted(Sequence):  # type: ignore[type-arg]
        def __init__(self, names: list[str]) -> None:
            self.names, self.read = names, 0

        def __len__(self) -> int:
            return len(self.names)

        def __getitem__(self, index: int) -> str:  # type: ignore[override]
            self.read += 1
            return self.names[index]

    names = [f"{number:05d}" for number in range(1000)]
    rule = PFLRule(max_resource=2, population_size=1001, early=1e-6)
    for number, name in enumerate(names):
        assert isinstance(feed(rule, name, [1.0 + number]), Pause)
    paused = Counted(names)
    assert rule.resume(paused) is None
    rule.no_more_trials(names)
    rule.end("01000", "failed")
    assert rule.resume(paused).trial_id == "00000"
    assert paused.read < 20


@given(factor=st.sampled_from([0.01, 7.0, 1e4]))
def test_the_unit_of_a_positive_loss_does_not_matter(factor: float) -> None:
    curves = np.array(sweep(4))
    plain = replay(PFLRule(max_resource=R, population_size=40), curves.tolist(), workers=2)
    scaled = replay(PFLRule(max_resource=R, population_size=40), (factor * curves).tolist(), workers=2)
    assert (plain.finished, plain.epochs) == (scaled.finished, scaled.epochs)


def test_the_curves_looked_at_are_bounded() -> None:
    rule = PFLRule(max_resource=2, keep=1.0, early=1.0)
    for number in range(REFERENCES + 40):
        feed(rule, f"{number:05d}", [1.0 + number / 1e3, 1.0])
        rule.end(f"{number:05d}", "completed")
    for number in range(1000, 1000 + REFERENCES + 40):
        feed(rule, f"{number:05d}", [2.0])
        rule.end(f"{number:05d}", "stopped")
    assert (len(rule.finished_curves), len(rule.partial_curves), len(rule.curves)) == (
        REFERENCES,
        REFERENCES,
        0,
    )
