"""What the Optuna study is told, what is tried first, and both by Ray's names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from raysweep.search.export import export_file
from raysweep.search.initial_points import InitialPoints, Proposal
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.ray_optuna_search import RayOptunaSearch
from raysweep.search.samplers import quiet
from schedulers.space import Categorical, Domain, Float, Int
from tests.search.scripted import CONDITIONAL, LISTED, MIXED, TPE, WHEN, play, script, sweep

SPACE: dict[str, Domain] = {"lr": Float(0.0, 1.0), "net.layers": Int(1, 4)}
GRID = "optuna.samplers.GridSampler"
NAN, INF = math.nan, math.inf


def make_search(**more: Any) -> RayOptunaSearch:
    searcher = RayOptunaSearch(SPACE, metric="loss", mode="min", **more)
    searcher.ask(0)
    return searcher


def asked_of(searcher: RayOptunaSearch, number: int) -> dict[str, Any]:
    proposal = searcher.ask(number)
    assert proposal is not None
    return proposal.config


def first(searcher: RayOptunaSearch) -> FrozenTrial:
    trial: FrozenTrial = searcher.study.trials[0]
    return trial


@pytest.mark.parametrize(
    ("outcome", "worth", "state", "value"),
    [
        ("completed", 0.2, TrialState.COMPLETE, 0.2),
        ("completed", NAN, TrialState.FAIL, None),
        ("completed", None, TrialState.FAIL, None),
        ("completed", INF, TrialState.FAIL, None),
        ("stopped", 0.2, TrialState.PRUNED, 0.4),  # by its last report
        ("stopped", None, TrialState.PRUNED, 0.4),
        ("diverged", NAN, TrialState.FAIL, None),
        ("failed", 0.2, TrialState.FAIL, None),
        ("infeasible", None, TrialState.FAIL, None),
    ],
)
def test_a_trial_is_told_with_its_outcome(
    outcome: str, worth: float | None, state: TrialState, value: float | None
) -> None:
    searcher = make_search()
    searcher.report("00000", 1, 0.9)
    searcher.report("00000", 3, 0.4)
    searcher.tell("00000", outcome, worth, "rank 9 of 12")
    trial = first(searcher)
    assert (trial.state, trial.value) == (state, value)
    assert trial.intermediate_values == {1: 0.9, 3: 0.4}
    assert trial.user_attrs == {"source": "sampler", "outcome": outcome, "reason": "rank 9 of 12"}


@pytest.mark.parametrize("loss", [NAN, INF, -INF, None])
def test_a_loss_that_is_no_number_is_not_reported(loss: float | None) -> None:
    searcher = make_search()
    searcher.report("00000", 1, loss)
    assert first(searcher).intermediate_values == {}


def test_a_step_reported_twice_counts_once() -> None:
    searcher = make_search()
    searcher.report("00000", 1, 0.5)
    searcher.report("00000", 1, 0.7)
    assert first(searcher).intermediate_values == {1: 0.5}


def test_unknown_and_ended_trials_are_passed_over() -> None:
    searcher = make_search()
    searcher.tell("00000", "completed", 0.5)
    searcher.tell("00000", "failed", None)
    searcher.report("00000", 2, 0.1)
    searcher.report("99999", 1, 0.1)
    searcher.tell("99999", "completed", 0.1)
    assert (first(searcher).state, first(searcher).value) == (TrialState.COMPLETE, 0.5)


def test_trials_are_asked_in_the_order_of_their_numbers() -> None:
    with pytest.raises(ValueError, match="trial 3 is out of turn: the next one is 1"):
        make_search().ask(3)


def test_the_baseline_comes_first_then_the_points_then_the_sampler() -> None:
    searcher = RayOptunaSearch(
        SPACE,
        baseline={"lr": 0.5, "net.layers": 2, "epochs": 10},
        points_to_evaluate=[{"lr": 0.25}, {"lr": 0.1, "net": {"layers": 4}}],
    )
    answers = [searcher.ask(number) for number in range(4)]
    assert [answer[1] for answer in answers if answer] == ["baseline", "point", "point", "sampler"]
    configs = [answer[0] for answer in answers if answer]
    assert configs[0] == {"lr": 0.5, "net.layers": 2}
    assert configs[1]["lr"] == 0.25  # the sampler gave it its layers
    assert configs[2] == {"lr": 0.1, "net.layers": 4}


@pytest.mark.parametrize(
    ("once", "lrs"), [(True, [0.5, 0.25, 0.25, 0.1]), (False, [0.5, 0.5, 0.25, 0.25, 0.1, 0.1])]
)
def test_where_duplicates_are_skipped_a_whole_point_is_tried_once(once: bool, lrs: list[float]) -> None:
    """Also one that equals the baseline: a refining stage begins with its best twice over."""
    points: list[dict[str, Any]] = [{"lr": 0.5, "net.layers": 2}, {"lr": 0.25}, {"lr": 0.25}]
    points += [{"lr": 0.1, "net.layers": 4}] * 2
    first = InitialPoints(OptunaSpace(SPACE), {"lr": 0.5, "net.layers": 2}, points, once)
    taken = []
    for number in range(len(lrs)):
        fixed = first.take(first.source(number))
        assert fixed is not None
        taken.append(fixed["lr"])
    assert (taken, first.source(99)) == (lrs, "sampler")


@pytest.mark.parametrize(
    ("baseline", "note"),
    [
        ({"lr": 2.0, "net.layers": 2}, "the baseline is skipped: lr is searched, but never 2.0"),
        ({"lr": 0.5}, "the baseline is skipped: it has no net.layers"),
    ],
)
def test_a_baseline_outside_the_space_is_skipped_with_a_note(baseline: dict[str, Any], note: str) -> None:
    searcher = RayOptunaSearch(SPACE, baseline=baseline)
    assert searcher.notes == (note,)
    assert searcher.ask(0)[1] == "sampler"  # type: ignore[index]


def test_of_a_conditional_space_the_baseline_takes_what_is_active() -> None:
    run = {"opt.name": "adamw", "opt.beta2": 0.99, "opt.momentum": 0.5, "opt.lr": 0.1}
    searcher = RayOptunaSearch(CONDITIONAL, when=WHEN, baseline=run)
    assert searcher.ask(0) == Proposal({"opt.name": "adamw", "opt.beta2": 0.99, "opt.lr": 0.1}, "baseline")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"lr": 2.0}, r"points_to_evaluate: lr is never 2\.0; widen its range or drop the point"),
        ({"learning": 0.1}, "points_to_evaluate: learning is not searched; drop it"),
    ],
)
def test_a_point_outside_the_space_is_refused(point: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RayOptunaSearch(SPACE, points_to_evaluate=[point])


@pytest.mark.parametrize("name", ["Grid", "BruteForce"])
def test_an_exhaustive_sampler_tries_every_cell_once_and_is_finished(name: str) -> None:
    searcher = sweep(name)
    answers: dict[Any, Any] = {}
    play(searcher, script(25, at_once=4), answers)
    configs = [tuple(answer[0].values()) for answer in answers.values() if answer]
    assert len(configs) == len(set(configs)) == 4 * 3 * 2
    assert answers[24] is None


def test_brute_force_counts_the_baseline_as_a_cell() -> None:
    baseline = {"opt.lr": 0.3, "net.layers": 2, "net.norm": None}
    searcher = sweep("BruteForce", baseline=baseline)
    answers: dict[Any, Any] = {}
    play(searcher, script(25, at_once=2), answers)
    configs = [tuple(answer[0].values()) for answer in answers.values() if answer]
    assert configs[0] == (0.3, 2, None)
    assert len(configs) == len(set(configs)) == 24


def test_a_grid_has_neither_baseline_nor_points_of_its_own() -> None:
    searcher = RayOptunaSearch(LISTED, sampler=GRID, baseline={"opt.lr": 0.3})
    assert searcher.notes == ("the baseline is skipped: only the grid is tried",)
    with pytest.raises(ValueError, match="drop points_to_evaluate, or use"):
        RayOptunaSearch(LISTED, sampler=GRID, points_to_evaluate=[{"opt.lr": 0.3}])


def test_where_nothing_is_searched_every_trial_is_the_run_itself() -> None:
    searcher = RayOptunaSearch({}, baseline={"lr": 0.5})
    assert [searcher.ask(number) for number in range(2)] == [
        Proposal({}, "baseline"),
        Proposal({}, "sampler"),
    ]


def test_a_trial_outside_the_space_keeps_its_number_and_teaches_nothing() -> None:
    searcher = RayOptunaSearch(SPACE)
    searcher.replay_asked(0, {"lr": 7.0, "net.layers": 2}, "sampler")
    searcher.report("00000", 1, 0.1)
    searcher.tell("00000", "completed", 0.1)
    assert first(searcher).state is TrialState.FAIL
    assert searcher.ask(1) is not None


def test_a_point_replayed_is_not_asked_again() -> None:
    searcher = RayOptunaSearch(SPACE, points_to_evaluate=[{"lr": 0.25}, {"lr": 0.75}])
    searcher.replay_asked(0, {"lr": 0.25, "net.layers": 1}, "point")
    answer = searcher.ask(1)
    assert answer is not None
    assert answer[0]["lr"] == 0.75


def test_the_export_opens_in_plain_optuna_with_every_trial(tmp_path: Path) -> None:
    searcher = sweep("CMA-ES", study_name="digits")
    answers: dict[Any, Any] = {}
    play(searcher, script(12), answers)
    path = tmp_path / "optuna.db"
    for _ in range(2):  # an earlier export is replaced
        export_file(searcher.study, path)
    with quiet():
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        opened = optuna.load_study(study_name="digits", storage=storage)
        live = searcher.study.trials
        assert [(t.number, t.state, t.params, t.value) for t in opened.trials] == [
            (t.number, t.state, t.params, t.value) for t in live
        ]
        assert opened.best_value == searcher.study.best_value
        storage.remove_session()
        storage.engine.dispose()
    assert [entry.name for entry in tmp_path.iterdir()] == ["optuna.db"]


# -- Ray's words ---------------------------------------------------------------------------------


def frozen_trial_after(
    searcher: RayOptunaSearch, *results: dict[str, Any], error: bool = False
) -> FrozenTrial:
    """A trial as Ray's controller tells it: the last result goes to on_trial_complete alone."""
    searcher.suggest("a1b2_00000")
    for result in results[:-1]:
        searcher.on_trial_result("a1b2_00000", result)
    searcher.on_trial_complete("a1b2_00000", results[-1] if results else None, error=error)
    return first(searcher)


def at(step: int, loss: float | None, **more: Any) -> dict[str, Any]:
    return {"training_iteration": step, "done": True, **({} if loss is None else {"loss": loss}), **more}


@pytest.mark.parametrize(
    ("results", "error", "state"),
    [
        ([at(1, 0.5), at(2, 0.4)], False, TrialState.PRUNED),  # a scheduler stopped it short of 3
        ([at(1, 0.5), at(2, 0.4), at(3, 0.3)], False, TrialState.COMPLETE),
        ([at(1, 0.5), at(1, 0.5)], False, TrialState.COMPLETE),  # a function returned after a result
        ([at(1, NAN)], False, TrialState.FAIL),
        ([at(1, 0.5), at(2, 0.4)], True, TrialState.FAIL),
        ([], True, TrialState.FAIL),
        ([], False, TrialState.FAIL),
        ([at(1, 0.5), at(2, None)], False, TrialState.FAIL),  # without its metric
        ([at(1, 0.5, outcome="completed")], False, TrialState.COMPLETE),
        ([at(3, 0.5, outcome="oom")], False, TrialState.FAIL),
    ],
)
def test_ray_tells_stopped_trials_as_pruned_and_lost_ones_as_failed(
    results: list[Any], error: bool, state: TrialState
) -> None:
    searcher = RayOptunaSearch(SPACE, metric="loss", mode="min", max_resource=3)
    assert frozen_trial_after(searcher, *results, error=error).state is state


def test_without_max_resource_a_shorter_trial_counts_as_stopped() -> None:
    searcher = RayOptunaSearch(SPACE, metric="loss", mode="min")
    frozen_trial_after(searcher, at(1, 0.5), at(2, 0.4))
    searcher.suggest("a1b2_00001")
    searcher.on_trial_complete("a1b2_00001", at(1, 0.1))
    assert [trial.state for trial in searcher.study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]


def test_maximize_is_flipped_once() -> None:
    searcher = RayOptunaSearch(SPACE, metric="loss", mode="max", max_resource=2)
    trial = frozen_trial_after(searcher, at(1, 0.5), at(2, 0.75))
    assert (trial.value, trial.intermediate_values) == (-0.75, {1: -0.5, 2: -0.75})


def test_suggestions_for_ray_are_nested_and_end_with_finished() -> None:
    searcher = RayOptunaSearch({"net.layers": Int(1, 1)}, sampler=GRID, metric="loss", mode="min")
    assert searcher.suggest("a") == {"net": {"layers": 1}}
    assert searcher.suggest("b") == searcher.FINISHED


def test_an_evaluated_point_is_learnt_from() -> None:
    searcher = RayOptunaSearch(SPACE, metric="acc", mode="max")
    searcher.add_evaluated_point({"lr": 0.5, "net": {"layers": 2}}, 0.9)
    assert (first(searcher).value, first(searcher).params) == (-0.9, {"lr": 0.5, "net.layers": 2})


def test_a_searcher_without_space_or_metric_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="search space"):
        RayOptunaSearch(metric="loss", mode="min").suggest("a")
    with pytest.raises(RuntimeError, match="metric"):
        RayOptunaSearch(SPACE).suggest("a")


def test_rays_own_domains_become_the_space_where_none_was_given() -> None:
    tune = pytest.importorskip("ray.tune")
    searcher = RayOptunaSearch(sampler=TPE)
    config = {
        "opt": {"lr": tune.loguniform(1e-3, 1e-1)},
        "layers": tune.randint(1, 4),
        "c": tune.choice("ab"),
    }
    assert searcher.set_search_properties("loss", "min", config)
    assert searcher.space is not None
    assert dict(searcher.space.domains) == {
        "opt.lr": Float(1e-3, 1e-1, log=True),
        "layers": Int(1, 3),
        "c": Categorical(("a", "b")),
    }
    assert not searcher.set_search_properties("loss", "min", config)


def test_prefers_what_it_is_told_is_good() -> None:
    """TPE proposes near the good half of MIXED once it knows which half that is."""
    searcher = RayOptunaSearch(MIXED, seed=3)
    answers: dict[Any, Any] = {}
    play(searcher, script(60), answers)
    late = [answers[number][0]["opt.lr"] for number in range(40, 60)]
    near = [lr for lr in late if 10**-1.75 < lr < 10**-0.25]  # half of the log range, around 0.1
    assert len(near) > 14


def test_a_sampler_learns_from_waiting_trials_as_from_stopped_ones() -> None:
    """Under Hyperband and ASHA promotion nearly all are paused: TPE must see their results."""
    drawn: dict[str, list[Any]] = {}
    for way in ("runs", "waits", "is stopped"):
        searcher = RayOptunaSearch({"lr": Float(0.0, 1.0)}, seed=1, sampler_kwargs={"n_startup_trials": 5})
        for number in range(20):
            name = f"{number:05d}"
            config = asked_of(searcher, number)
            drawn.setdefault(way, []).append(config["lr"])
            searcher.report(name, 1, (config["lr"] - 0.3) ** 2)
            if way == "waits":
                searcher.paused(name)
            elif way == "is stopped":
                searcher.tell(name, "stopped", None)
    assert drawn["waits"] == drawn["is stopped"] != drawn["runs"]


def test_a_resumed_trial_is_running_again() -> None:
    searcher = make_search()
    searcher.report("00000", 1, 0.9)
    searcher.paused("00000")
    seen: list[list[TrialState]] = []
    with searcher._storage_of_study.showing(searcher._make_view):
        seen.append([trial.state for trial in searcher.study.get_trials()])
    searcher.resumed("00000")
    searcher.ask(1)
    seen.append([trial.state for trial in searcher.study.get_trials()])
    assert seen == [[TrialState.PRUNED], [TrialState.RUNNING, TrialState.RUNNING]]
