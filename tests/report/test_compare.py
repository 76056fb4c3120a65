"""Comparing sweeps: best at equal budget, intervals, agreement, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from launch import main
from raysweep.report.agreement import agreement, common, distances, in_unit
from raysweep.report.compare import as_json, compare
from raysweep.report.compare_sections import sections, write
from raysweep.report.equal_budget import Obstacle, Procedure
from raysweep.report.errors import CannotReport, NothingFound
from raysweep.report.retrained_comparison import compare_retrained
from raysweep.report.subject import Subject
from raysweep.report.trajectory import Trajectory, at_budget, precedence, resampled, trajectory, within
from raysweep.study.journal.events import AttemptStarted
from raysweep.study.results.finalize import VERSION as RETRAINED_VERSION
from raysweep.study.storage.files import write_json
from schedulers.space import Categorical, Float, Int
from tests.report import curves, stories

LR, LAYERS = stories.LR, stories.LAYERS
WHERE = {LR: 0.03, LAYERS: 3}
RANDOM = {"sampler": "optuna.samplers.RandomSampler", "trial_scheduler": "schedulers.FIFO"}


def study(
    root: Path,
    losses: Any,
    rates: list[float] | None = None,
    epochs: int = 4,
    **kwargs: Any,
) -> Subject:
    """A study of sampled trials with these final losses; the same learning rates unless given."""
    events = []
    for number, loss in enumerate(losses):
        chosen = {LR: rates[number] if rates else 0.001 * 1.1**number, LAYERS: 1 + number % 6}
        curve = [loss + 0.01 * (epochs - epoch) for epoch in range(1, epochs + 1)]
        events += curves.trial(number, curve, config=chosen)
    return stories.subject(root, events, stories.sweep(**kwargs))


def spread(low: float, high: float, count: int = 30) -> list[Any]:
    return list(np.random.default_rng(1).permutation(np.linspace(low, high, count)))


def sweeps(root: Path, bests: list[float], **kwargs: Any) -> list[Any]:
    """Sweeps of one method, each with its own seed, with these best losses."""
    return [
        study(root / str(seed), [0.9, best, 0.8], seed=seed, **kwargs)
        for seed, best in enumerate(bests, start=1)
    ]


def test_a_clear_lead_of_random_search_is_reported(tmp_path: Path) -> None:
    good = study(tmp_path / "a", spread(0.1, 0.2), **RANDOM)  # type: ignore[arg-type]
    bad = study(tmp_path / "b", spread(0.5, 0.9), **RANDOM)  # type: ignore[arg-type]
    (duel,) = compare([[good], [bad]]).duels
    assert (duel.procedure, duel.obstacle) == (Procedure.PRECEDENCE, Obstacle.NONE)
    assert duel.better == str(good.folder)
    assert duel.ahead == 30
    assert duel.p < 1e-9  # type: ignore[operator]
    assert duel.lead == pytest.approx(0.4)


def test_two_random_searches_alike_are_not_distinguishable(tmp_path: Path) -> None:
    """Not even if the best of one is a little better than that of the other."""
    one = study(tmp_path / "a", spread(0.100, 0.9), **RANDOM)  # type: ignore[arg-type]
    other = study(tmp_path / "b", spread(0.102, 0.9), **RANDOM)  # type: ignore[arg-type]
    (duel,) = compare([[one], [other]]).duels
    assert duel.better == ""
    leads = f"the best 1 of {one.folder} beat the best of {other.folder}"
    assert duel.verdict == f"not distinguishable: {leads}, p = 1 (needs 0.05)"


@pytest.mark.parametrize(
    "kwargs",
    [
        {},  # TPE and a stopper
        {"trial_scheduler": "schedulers.FIFO"},
        {"sampler": "optuna.samplers.RandomSampler", "trial_scheduler": "schedulers.ASHA"},
        RANDOM | {"stop": {"target": 0.01}},
        RANDOM | {"stop": {"no_improvement": {"trials": 5}}},
    ],
)
def test_one_sweep_a_side_of_dependent_trials_is_described_only(tmp_path: Path, kwargs: Any) -> None:
    good = study(tmp_path / "a", spread(0.1, 0.2), **kwargs)
    bad = study(tmp_path / "b", spread(0.5, 0.9), **kwargs)
    comparison = compare([[good], [bad]])
    (duel,) = comparison.duels
    assert (duel.procedure, duel.obstacle) == (Procedure.DESCRIPTION, Obstacle.ONE_SWEEP_A_SIDE)
    assert (duel.p, duel.reachable_p, duel.better) == (None, None, "")
    assert duel.verdict.startswith(
        f"{good.folder} is ahead by 0.4; two trainings of one configuration differ by "
    )
    assert "compare A1 A2 A3 A4 -- B1 B2 B3 B4" in comparison.how_to_test


def test_trials_that_no_sampler_drew_have_no_part_in_the_test(tmp_path: Path) -> None:
    """The baseline of the first is best of all; of the sampled trials, the second's are all better."""
    events = curves.trial(0, [0.3, 0.01], source="baseline")
    for number in range(1, 10):
        events += curves.trial(number, [0.9, 0.8])
    one = stories.subject(tmp_path / "a", events, stories.sweep(**RANDOM))
    other = study(tmp_path / "b", [0.5] * 9, epochs=2, **RANDOM)  # type: ignore[arg-type]
    (duel,) = compare([[one], [other]]).duels
    assert (duel.ahead, duel.better) == (9, str(other.folder))
    assert duel.values == ((0.01,), (0.5,))


@pytest.mark.parametrize(
    ("one", "other", "p", "better"),
    [
        ([0.10, 0.11, 0.12, 0.13], [0.20, 0.21, 0.22, 0.23], 2 / 70, "A"),
        ([0.20, 0.21, 0.22, 0.23], [0.10, 0.11, 0.12, 0.13], 2 / 70, "B"),
        ([0.10, 0.12, 0.14, 0.16], [0.11, 0.13, 0.15, 0.17], 48 / 70, ""),
    ],
)
def test_several_sweeps_a_side_are_tested_by_rank(
    tmp_path: Path, one: list[float], other: list[float], p: float, better: str
) -> None:
    comparison = compare([sweeps(tmp_path / "a", one), sweeps(tmp_path / "b", other)])
    (duel,) = comparison.duels
    assert (duel.one, duel.other, duel.procedure) == ("A", "B", Procedure.RANK_TEST)
    assert duel.p == pytest.approx(p)
    assert duel.reachable_p == pytest.approx(2 / 70)
    assert duel.better == better
    assert (list(duel.values[0]), list(duel.values[1])) == (one, other)
    assert (comparison.agreements, comparison.how_to_test) == ((), "")


def test_sides_too_small_for_a_test_say_how_many_are_needed(tmp_path: Path) -> None:
    one, other = sweeps(tmp_path / "a", [0.10, 0.11, 0.12]), sweeps(tmp_path / "b", [0.2, 0.3, 0.4])
    (duel,) = compare([one, other]).duels
    assert duel.better == ""
    assert duel.verdict == (
        "not distinguishable: p = 0.1; 3 sweeps against 3 can reach 0.1 at best, "
        "4 per side are the least for 5 %"
    )
    assert (duel.lead, duel.low, duel.high) == pytest.approx((0.19, 0.08, 0.30))
    assert duel.confidence == pytest.approx(0.9)


def test_sweeps_of_one_side_with_the_same_seed_are_not_tested(tmp_path: Path) -> None:
    one, other = sweeps(tmp_path / "a", [0.1, 0.11]), sweeps(tmp_path / "b", [0.2, 0.3])
    twin = study(tmp_path / "c", [0.9, 0.1, 0.8], seed=1)
    (duel,) = compare([[*one, twin], other]).duels
    assert (duel.obstacle, duel.p, duel.better) == (Obstacle.SAME_SEED, None, "")
    assert f"{one[0].folder} and {twin.folder} of one side have the same seed" in duel.verdict


def test_the_budget_of_several_sweeps_is_the_least_that_any_has_run(tmp_path: Path) -> None:
    """The best of the longer sweep came later, and does not count."""
    long = study(tmp_path / "long", [0.9, 0.8, 0.7, 0.1], seed=9)
    (duel,) = compare([[long], sweeps(tmp_path / "b", [0.2, 0.3])]).duels
    assert duel.epochs == 12
    assert duel.values == ((0.7,), (0.2, 0.3))


def test_all_pairs_of_three_share_the_level(tmp_path: Path) -> None:
    duels = compare([[each] for each in sweeps(tmp_path / "a", [0.1, 0.2, 0.3])]).duels
    assert [duel.level for duel in duels] == pytest.approx([0.05 / 3] * 3)


def test_other_data_are_not_compared(tmp_path: Path) -> None:
    def trained_on(fingerprint: str, root: Path) -> Subject:
        begun = AttemptStarted(
            t=0.0, attempt=1, slots=2, trials=1, provenance={"data_fingerprint": fingerprint}
        )
        return stories.subject(root, [begun, *curves.trial(0, [0.3, 0.2])], stories.sweep(**RANDOM))

    comparison = compare([[trained_on("x", tmp_path / "a")], [trained_on("y", tmp_path / "b")]])
    (duel,) = comparison.duels
    assert (duel.obstacle, duel.better, comparison.retrained) == (Obstacle.OTHER_DATA, "", ())


def retraining(*candidates: Any) -> dict[str, Any]:
    """The content of `retrain.json` for candidates with these values over seeds, the winner first."""
    standings = [
        {"name": str(place), "what": f"trial {place}", "seeds": dict(zip("123456", values, strict=False))}
        for place, values in enumerate(candidates)
    ]
    return {"version": RETRAINED_VERSION, "standings": standings, "winner": "0"}


def retrained(subject: Subject, *candidates: Any) -> None:
    """Give a study a retraining."""
    (subject.folder / "retrain").mkdir()  # type: ignore[operator]
    write_json(subject.folder / "retrain/retrain.json", "retraining", retraining(*candidates))  # type: ignore[operator]


def test_retrained_winners_are_compared_by_welchs_t_over_their_seeds(tmp_path: Path) -> None:
    one, other = study(tmp_path / "a", [0.1, 0.2]), study(tmp_path / "b", [0.3, 0.4])
    retrained(one, [0.10, 0.12, 0.11], [0.13, 0.16, 0.15])
    retrained(other, [0.20, 0.22, 0.24])
    (duel,) = compare([[one], [other]]).retrained
    plain = ttest_ind([0.20, 0.22, 0.24], [0.10, 0.12, 0.11], equal_var=False)
    assert duel.p == pytest.approx(2 * plain.pvalue)
    assert (duel.low, duel.high) == pytest.approx(plain.confidence_interval(0.975))
    assert duel.better == str(one.folder)
    assert [(winner.seeds, winner.candidates) for winner in duel.winners] == [(3, 2), (3, 1)]


@pytest.mark.parametrize("others", [[], [[0.2]], [[0.1, 0.1]]])
def test_without_seeds_that_differ_winners_are_not_compared(tmp_path: Path, others: Any) -> None:
    one, other = study(tmp_path / "a", [0.1, 0.2]), study(tmp_path / "b", [0.3, 0.4])
    retrained(one, [0.1, 0.1])
    if others:
        retrained(other, *others)
    assert compare([[one], [other]]).retrained == ()


@pytest.mark.parametrize("candidates", [(1, 1), (3, 3), (4, 1)])
def test_equal_retrained_winners_are_distinguished_once_in_twenty_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candidates: tuple[Any, ...]
) -> None:
    """At most, although each was chosen by the seeds that it is judged by."""
    rng, wrong = np.random.default_rng(0), 0
    one, other = study(tmp_path / "a", [0.1]), study(tmp_path / "b", [0.1])
    for _ in range(300):
        retrainings = (
            retraining(*sorted(rng.normal(size=(count, 5)).tolist(), key=np.mean)) for count in candidates
        )
        monkeypatch.setattr(
            "raysweep.report.retrained_comparison.retraining_of",
            lambda _, retrainings=retrainings: next(retrainings),
        )
        wrong += compare_retrained("a", "b", one, other, 0.05).better != ""
    assert wrong / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("counts", [(10, 10), (30, 10), (8, 40)])
def test_equal_searches_are_distinguished_once_in_twenty_times(counts: tuple[Any, ...]) -> None:
    """At most: the test is exact, and its steps are coarse."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(2000):
        one, other = (rng.random(count) for count in counts)
        pair = (one, other) if one.min() < other.min() else (other, one)
        wrong += precedence(*pair)[1] <= 0.05
    assert wrong / 2000 <= 0.06


def test_a_lead_below_seed_noise_is_none(tmp_path: Path) -> None:
    """All trials of the first are better; yet two trainings differ by more."""

    def rough(root: Path, end: float) -> Subject:
        events = []
        for number in range(20):
            tail = [end + 0.2 * (epoch % 2) for epoch in range(5)]
            events += curves.trial(number, [*tail, end], config={LR: 0.01, LAYERS: 1})
        return stories.subject(root, events, stories.sweep(**RANDOM))

    (duel,) = compare([[rough(tmp_path / "a", 0.10)], [rough(tmp_path / "b", 0.11)]]).duels
    assert (duel.p < 0.05, duel.better) == (True, "")  # type: ignore[operator]
    assert "two trainings by" in duel.verdict


def test_budgets_are_made_equal_in_epochs(tmp_path: Path) -> None:
    """The longer study's winner came after the budget of the shorter: it does not count."""
    short = study(tmp_path / "a", [0.5] * 10)
    long = study(tmp_path / "b", [0.6] * 10 + [0.1])
    (duel,) = compare([[short], [long]]).duels
    assert (duel.epochs, duel.values, duel.medians) == (40, ((0.5,), (0.6,)), ((0.5,), (0.6,)))


def test_every_figure_of_the_tables_is_that_of_the_journals_lines(tmp_path: Path) -> None:
    """What each has run and found, and what both had when the smaller budget was used up."""
    one = stories.subject(tmp_path / "a")
    other = stories.subject(tmp_path / "b", stories.some_trials(9))
    comparison = compare([[one], [other]])
    trial_ends = [ends(each.subject.folder / "journal/000001.jsonl") for each in comparison.sweeps]  # type: ignore[operator]
    for each, trials in zip(comparison.sweeps, trial_ends, strict=True):
        assert (each.trials, each.epochs) == (len(trials), sum(epochs for epochs, _ in trials))
        assert each.best.value == min(loss for _, loss in trials)
    (duel,) = comparison.duels
    assert duel.epochs == min(each.epochs for each in comparison.sweeps)
    assert duel.values == tuple((best_after(trials, duel.epochs),) for trials in trial_ends)
    cells = [row[2:6] for row in sections(comparison)[0].rows]
    assert [(trials, epochs) for _, _, trials, epochs in cells] == [
        (str(len(trials)), str(sum(epochs for epochs, _ in trials))) for trials in trial_ends
    ]


def ends(journal: Path) -> list[Any]:
    """(epochs, last loss) of each trial in the order of their ends; infinite if it was not completed."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    curves: dict[Any, Any] = {line["trial"]: [] for line in lines if line["event"] == "trial_created"}
    for line in lines:
        if line["event"] == "reported":
            curves[line["trial"]].append(line["loss"])
    over = sorted((line for line in lines if line["event"] == "trial_ended"), key=lambda line: line["t"])
    return [
        (len(curve := curves[line["trial"]]), curve[-1] if line["outcome"] == "completed" else math.inf)
        for line in over
    ]


def best_after(trials: list[Any], budget: int) -> float:
    spent = np.cumsum([epochs for epochs, _ in trials])
    return min(loss for (_, loss), total in zip(trials, spent, strict=True) if total <= budget)


def test_maximised_values_stay_in_the_users_direction(tmp_path: Path) -> None:
    kwargs = {"metric": "val_loss", "direction": "maximize", "metrics": None, **RANDOM}
    good = study(tmp_path / "a", [-loss for loss in spread(0.8, 0.9)], **kwargs)  # type: ignore[arg-type]
    bad = study(tmp_path / "b", [-loss for loss in spread(0.1, 0.2)], **kwargs)  # type: ignore[arg-type]
    comparison = compare([[good], [bad]])
    curve = comparison.sweeps[0].by_trials
    assert comparison.sweeps[0].best.value == pytest.approx(0.9)
    assert comparison.duels[0].better == str(good.folder)
    assert all(low <= high for low, high in zip(curve.low, curve.high, strict=True))
    assert list(curve.best) == sorted(curve.best)


@pytest.mark.parametrize(("budget", "best"), [(3, math.inf), (4, 0.5), (9, 0.5), (10, 0.4), (100, 0.3)])
def test_a_trial_counts_once_its_epochs_are_spent(budget: int, best: float) -> None:
    seen = np.array([[0.5, 0.4, 0.3]]), np.array([[4.0, 10.0, 12.0]])
    assert at_budget(*seen, budget)[0] == best


def test_before_a_budgets_first_trial_there_is_nothing() -> None:
    seen = within(Trajectory(np.array([0.3, 0.1]), np.array([4.0, 4.0])), 3.0)
    best, spent = resampled(seen, 0)
    assert np.isinf(at_budget(best, spent, 3.0)).all()


def test_resampled_orders_spend_and_gain_step_by_step() -> None:
    best, spent = resampled(Trajectory(np.array([0.3, math.inf, 0.1]), np.array([4.0, 1.0, 4.0])), 0)
    assert (np.diff(best[np.isfinite(best).all(axis=1)], axis=1) <= 0).all()
    assert (np.diff(spent, axis=1) > 0).all()


def test_stopped_trials_cost_epochs_and_win_nothing(tmp_path: Path) -> None:
    events = curves.trial(0, [0.5] * 4) + curves.trial(1, [0.1] * 2, outcome="stopped")
    seen = trajectory(stories.subject(tmp_path, events))
    assert list(seen.losses) == [0.5, math.inf]
    assert list(seen.epochs) == [4.0, 2.0]


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"metrics": [{"name": "accuracy"}]}, "metric"),
        ({"metrics": [{"name": "val_loss", "direction": "maximize"}]}, "direction"),
        ({"objective": "best"}, "objective"),
    ],
)
def test_studies_judged_by_different_things_are_refused(tmp_path: Path, kwargs: Any, named: str) -> None:
    one, other = study(tmp_path / "a", [0.1]), study(tmp_path / "b", [0.1], **kwargs)
    with pytest.raises(CannotReport, match=f"has {named} "):
        compare([[one], [other]])


def test_one_study_is_not_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(CannotReport, match="two studies or more"):
        compare([[study(tmp_path, [0.1])]])


def test_a_study_is_not_held_against_itself(tmp_path: Path) -> None:
    subject = study(tmp_path, [0.1])
    with pytest.raises(CannotReport, match="named twice"):
        compare([[subject], [subject]])


def test_a_study_without_a_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingFound, match="told: no trial has a result"):
        compare([[study(tmp_path / "a", [0.1])], [stories.subject(tmp_path / "b", [])]])


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ([0.03, *[0.5] * 9], [0.031, *[0.9] * 9], True),
        ([0.001, *[0.5] * 9], [0.9, *[0.002] * 9], False),
        ([0.03, *[0.5] * 9], [0.03, *[0.9] * 9], False),  # the same draw: not independent
    ],
)
def test_independent_searches_agree_on_a_winner(
    tmp_path: Path, one: list[float], other: list[float], agree: bool
) -> None:
    losses = [0.1 + 0.01 * number for number in range(10)]
    subjects = study(tmp_path / "a", losses, one), study(tmp_path / "b", losses, other)
    result = agreement("a", "b", *subjects)
    assert result.agree is agree
    assert ("not independent" in result.sentence) is (one[0] == other[0])


def test_the_nearest_configuration_and_its_rank_are_named(tmp_path: Path) -> None:
    one = study(tmp_path / "a", [0.1, 0.2], [0.03, 0.5])
    other = study(tmp_path / "b", [0.4, 0.1, 0.3], [0.032, 0.9, 0.8])
    number, gap, rank = agreement("a", "b", one, other).nearest  # type: ignore[misc]
    assert (number, rank) == (0, 3)
    assert gap < 0.05


def test_ranges_are_joined_and_unlike_parameters_left_out() -> None:
    one = {"lr": Float(1e-3, 1e-1, log=True), "layers": Int(1, 4), "x": Float(0.0, 1.0), "f": Float(1, 1)}
    other = {
        "lr": Float(1e-2, 1.0, log=True),
        "layers": Int(2, 8),
        "x": Categorical((1, 2)),
        "f": Float(1, 1),
    }
    assert common(one, other) == {"lr": Float(1e-3, 1.0, log=True), "layers": Float(1.0, 8.0)}  # type: ignore[arg-type]


def test_distances_are_shares_of_the_space() -> None:
    domains = {"x": Float(0.0, 2.0), "net": Categorical(("a", "b", "c"))}
    points = in_unit(domains, [{"x": 0.0, "net": "a"}, {"x": 2.0, "net": "b"}, {"x": 0.0}])  # type: ignore[arg-type]
    apart = distances(points, points, np.array([False, True]))
    assert apart[0] == pytest.approx([0.0, 1.0, math.sqrt(0.5)])
    assert apart == pytest.approx(apart.T)


def test_all_forms_say_the_same(tmp_path: Path) -> None:
    one, other = study(tmp_path / "a", spread(0.1, 0.2)), study(tmp_path / "b", spread(0.5, 0.9))
    retrained(one, [0.1, 0.12])
    retrained(other, [0.3, 0.32])
    comparison = compare([[one], [other]])
    verdict = comparison.duels[0].verdict
    page, text, data = (path.read_text() for path in write(comparison, tmp_path / "out"))
    assert verdict in page
    assert verdict in text
    assert json.loads(data)["at_equal_budget"][0]["verdict"] == verdict
    assert json.loads(data) == json.loads(json.dumps(as_json(comparison)))
    assert comparison.retrained[0].verdict in text
    assert {part.name for part in sections(comparison)} == {
        *("sweeps", "budget", "retrained", "regret", "agreement", "winners")
    }


def test_the_command_takes_sides_apart_at_two_dashes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = sweeps(tmp_path / "a", [0.1, 0.2]), sweeps(tmp_path / "b", [0.3, 0.4])
    args = [*(str(each.folder) for each in one), "--", *(str(each.folder) for each in other)]
    assert main(["compare", *args, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [each["side"] for each in result["sweeps"]] == ["A", "A", "B", "B"]
    assert result["at_equal_budget"][0]["procedure"] == "rank_test"
    assert main(["compare", *args[:2], "--"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_prints_json_and_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = study(tmp_path / "a", [0.1, 0.2]), study(tmp_path / "b", [0.3, 0.4], objective="best")
    alike = study(tmp_path / "c", [0.3, 0.4])
    assert main(["compare", str(good.folder), str(alike.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metric"] == "val_loss"
    assert main(["compare", str(good.folder), str(bad.folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
