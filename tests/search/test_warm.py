"""What earlier studies give: observations where the spaces agree, points where not."""

from __future__ import annotations

from typing import Any

from raysweep.search.initial_points import Proposal
from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.warm_start import TOP, EarlierTrial, WarmStart, warm_start_from
from schedulers.space import Categorical, Float, Int
from schedulers.trial_id import trial_id as trial_name

TPE, CMAES = "optuna.samplers.TPESampler", "optuna.samplers.CmaEsSampler"
OURS = OptunaSpace({"lr": Float(0.0, 1.0), "layers": Int(1, 4)})
WIDER = OptunaSpace({"lr": Float(0.0, 2.0), "layers": Int(1, 4), "norm": Categorical(("a", "b"))})


def earlier_trials(count: int, best: float = 0.3, scale: float = 1.0, space: OptunaSpace = OURS) -> list[Any]:
    """Trials of an earlier study whose best learning rate was `best`."""
    trials = []
    for number in range(count):
        config = {"lr": (number * 0.37) % 1.0, "layers": 1 + number % 4}
        if "norm" in space.domains:
            config |= {"norm": "a", "lr": 2 * (number * 0.37 % 1.0)}  # type: ignore[dict-item]
        trials.append(EarlierTrial(config, scale * (config["lr"] - best) ** 2, 3, number % 3 > 0))
    return trials


def test_where_the_spaces_agree_the_trials_become_observations() -> None:
    warm = warm_start_from("old", earlier_trials(9), OURS, OURS, TPE)
    assert (len(warm.observed), warm.points) == (9, ())
    assert warm.notes == ("old: the same space; 9 trials are known to the sampler",)


def test_in_a_part_of_the_old_space_its_trials_become_observations() -> None:
    inner = OptunaSpace({"lr": Float(0.0, 0.5), "layers": Int(1, 4)})
    warm = warm_start_from("old", earlier_trials(9), OURS, inner, TPE)
    assert warm.points == ()
    assert len(warm.observed) == sum(trial.config["lr"] <= 0.5 for trial in earlier_trials(9))
    assert warm.notes == (f"old: a part of its space; {len(warm.observed)} trials are known to the sampler",)


def test_on_another_scale_a_range_is_no_part_of_another() -> None:
    inner = OptunaSpace({"lr": Float(0.1, 0.5, log=True), "layers": Int(1, 4)})
    assert warm_start_from("old", earlier_trials(9), OURS, inner, TPE).observed == ()


def test_where_spaces_overlap_the_best_become_points_as_far_as_they_fit() -> None:
    warm = warm_start_from("old", earlier_trials(40, best=1.9, space=WIDER), WIDER, OURS, TPE)
    assert warm.observed == ()
    assert 0 < len(warm.points) <= TOP
    assert all(set(point) == {"layers"} for point in warm.points)  # lr beyond 1, norm not searched
    assert "without lr, norm (not searched here, or out of range)" in warm.notes[0]


def test_a_sampler_that_goes_by_its_own_trials_gets_points() -> None:
    warm = warm_start_from("old", earlier_trials(9), OURS, OURS, CMAES)
    assert warm.observed == ()
    assert "this search can learn from its own trials only" in warm.notes[0]


def test_losses_of_other_data_are_no_observations() -> None:
    warm = warm_start_from("old", earlier_trials(9), OURS, OURS, TPE, same_task=False)
    assert warm.observed == ()
    assert warm.points
    assert "other data or another criterion" in warm.notes[0]


def test_completed_trials_are_better_than_stopped_ones() -> None:
    stopped = EarlierTrial({"lr": 0.5, "layers": 1}, 0.0, 1, completed=False)
    assert (
        stopped.config not in warm_start_from("old", [stopped, *earlier_trials(12)], OURS, OURS, CMAES).points
    )


def test_a_study_that_reported_nothing_gives_nothing() -> None:
    assert warm_start_from("old", [], OURS, OURS, TPE).points == ()


def late(warm: WarmStart | None, trials: int = 8, scale: float = 1.0) -> list[float]:
    """Learning rates that are asked for, where 0.3 is best."""
    searcher, asked = OptunaSearcher(OURS, warm=warm, seed=5), []
    for number in range(trials):
        proposal = searcher.ask(number)
        assert isinstance(proposal, Proposal)
        asked.append(proposal.config["lr"])
        searcher.tell(trial_name(number), "completed", scale * (asked[-1] - 0.3) ** 2)
    return asked


def test_observations_spare_the_sampler_its_random_start() -> None:
    warm = warm_start_from("old", earlier_trials(40), OURS, OURS, TPE)
    near = [sum(abs(lr - 0.3) < 0.15 for lr in late(each)) for each in (warm, None)]
    assert near[0] >= 5 > near[1]


def test_losses_of_another_scale_are_compared_by_rank() -> None:
    """An earlier study with losses a thousand times smaller would else be better than anything of ours."""
    searcher = OptunaSearcher(
        OURS, warm=warm_start_from("old", earlier_trials(40, scale=1e-3), OURS, OURS, TPE)
    )
    for number in range(4):
        searcher.ask(number)
        searcher.tell(trial_name(number), "completed", 1.0 + number)
    _, earlier = searcher._make_view()
    values = [trial.value for trial in earlier if trial.value is not None]
    assert 1.0 <= min(values) <= max(values) <= 4.0


def test_each_trial_of_its_own_takes_the_place_of_an_earlier_one() -> None:
    searcher = OptunaSearcher(OURS, warm=warm_start_from("old", earlier_trials(6), OURS, OURS, TPE))
    left = []
    for number in range(8):
        searcher.ask(number)
        searcher.tell(trial_name(number), "completed", 0.5)
        left.append(len(searcher._make_view()[1]))
    assert left == [5, 4, 3, 2, 1, 0, 0, 0]


def test_the_study_holds_its_own_trials_only() -> None:
    searcher = OptunaSearcher(OURS, warm=warm_start_from("old", earlier_trials(6), OURS, OURS, TPE))
    searcher.ask(0)
    assert [trial.number for trial in searcher.study.trials] == [0]
