"""What a stage is made of: the sweep, and what the stages before it have found. No file, no Ray."""

from __future__ import annotations

from typing import Any

import pytest

from raysweep.config import Sweep
from raysweep.config.stage import LR
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.stages.derive import StageResult, best_config, derive, name_of, race_candidates, seed_of
from schedulers.space import Float

NODES, DECAY = "net_config.nodes", "optimizer_config.weight_decay"
EXPLORE = {"name": "explore", "trials": 8, "run": {"epochs": 5}}


def staged(*stages: Any, **words: Any) -> Sweep:
    return Sweep.model_validate(
        {
            "study_name": "whole",
            "trials": 20,
            "time_budget_s": 60,
            "run": {
                "data": "trainables.data.load_digits",
                "net_config": {"nodes": 64},
                "optimizer_config": {"lr": 0.1, "weight_decay": 0.01},
                "epochs": 10,
            },
            "search_space": {
                LR: {"type": "float", "min": 1e-4, "max": 1.0, "log": True},
                NODES: {"type": "int", "min": 8, "max": 256},
                DECAY: {"type": "float", "min": 0.0, "max": 0.1},
            },
            "stages": stages,
            **words,
        }
    )


def ran(
    sweep: Sweep, place: int, past: list[StageResult], *trials: tuple[float, dict[str, Any]]
) -> StageResult:
    """A stage that is over, with these trials: loss and configuration."""
    derived = derive(sweep, sweep.stages[place], past)
    record = StudyRecord()
    for number, (loss, config) in enumerate(trials):
        name = f"{number:05d}"
        trial = TrialRecord(number, name, config, "sampler", 0.0, outcome="completed", status="completed")
        trial.first_config, trial.last_loss, trial.best_loss = config, loss, loss
        record.trials[name] = trial
    return StageResult(sweep.stages[place], derived.fixed, derived.sweep, record)


def config(lr: float, nodes: int = 64, decay: float = 0.01) -> dict[str, Any]:
    return {LR: lr, NODES: nodes, DECAY: decay}


WIDE = [(0.1, config(1e-2, 100)), (0.2, config(1e-1, 120)), (0.9, config(1e-3, 8)), (0.3, config(3e-2, 110))]


def test_the_first_search_is_the_sweep_with_the_stages_own_words() -> None:
    sweep = staged(EXPLORE, warm_start=["old"], points_to_evaluate=[{LR: 0.5}])
    derived = derive(sweep, sweep.stages[0], [])
    assert (derived.sweep.trials, derived.sweep.run.epochs, derived.sweep.stages) == (8, 5, ())
    assert derived.sweep.search_space == sweep.search_space
    assert derived.sweep.run.optimizer_config == sweep.run.optimizer_config
    assert (derived.sweep.warm_start, derived.sweep.points_to_evaluate) == (("old",), ({LR: 0.5},))
    assert derived.sweep.time_budget_s is None, "the time of the whole is the driver's to share out"
    assert (derived.fixed, derived.lines) == ({}, ())


def test_a_refinement_is_drawn_around_the_best_and_knows_the_rest() -> None:
    sweep = staged(EXPLORE, {"name": "refine", "top": 3, "margin": 0.0})
    past = [ran(sweep, 0, [], *WIDE)]
    derived = derive(sweep, sweep.stages[1], past)
    space = derived.sweep.space
    assert (space[LR], space[NODES]) == (Float(1e-2, 1e-1, log=True), derived.sweep.space[NODES])
    assert (getattr(space[NODES], "low", 0), getattr(space[NODES], "high", 0)) == (100, 120)
    assert derived.sweep.run.optimizer_config["lr"] == 1e-2
    assert (derived.sweep.baseline, derived.sweep.warm_start) == (True, ("explore",))
    assert derived.sweep.run.epochs == 10
    assert derived.lines[0] == f"{LR}: 0.0001..1 log -> 0.01..0.1 log, around the best 3"


def test_a_stage_of_one_group_leaves_the_others_at_the_best_so_far() -> None:
    sweep = staged(
        {"name": "rate", "kind": "explore", "tune": [LR]},
        {"name": "shape", "kind": "explore", "tune": ["net_config"]},
        {"name": "refine", "tune": [LR, "net_config"], "top": 1, "margin": 0.0},
    )
    rate = ran(sweep, 0, [], (0.2, {LR: 1e-3}), (0.1, {LR: 1e-2}))
    assert (list(rate.sweep.search_space), rate.fixed) == ([LR], {NODES: 64, DECAY: 0.01})
    shape = ran(sweep, 1, [rate], (0.05, {NODES: 200}), (0.06, {NODES: 8}))
    assert shape.fixed == {LR: 1e-2, DECAY: 0.01}
    derived = derive(sweep, sweep.stages[2], [rate, shape])
    assert derived.sweep.run.net_config["nodes"] == 200
    assert derived.sources == {DECAY: "as in the run"}
    assert derived.lines == (
        f"{DECAY} = 0.01, as in the run",
        f"{LR}: 0.0001..1 log -> 0.01..0.01 log, around the best 1",
        f"{NODES}: 8..256 -> 200..200, around the best 1",
    ), "each around the trials of the stage that searched it last"
    assert derive(sweep, sweep.stages[1], [rate]).sources[LR] == "trial 1 of rate"


def test_a_range_test_sets_the_rates_after_it_within_the_declared_ones() -> None:
    sweep = staged("lr_range", EXPLORE, {"name": "shape", "kind": "explore", "tune": ["net_config"]})
    tested = StageResult(sweep.stages[0], rates=(1e-5, 0.3, 0.02))
    derived = derive(sweep, sweep.stages[1], [tested])
    assert derived.sweep.space[LR] == Float(1e-4, 0.3, log=True)
    assert derived.sweep.run.optimizer_config["lr"] == 0.02
    assert derived.lines == (f"{LR}: 0.0001..1 log -> 0.0001..0.3 log, by the range test",)
    fixed = derive(sweep, sweep.stages[2], [tested])
    assert fixed.sources[LR] == "the steepest point of lr_range"


def test_of_an_incumbent_only_what_is_active_is_taken_over() -> None:
    """The momentum of an earlier best under SGD is none of AdamW's."""
    momentum = "optimizer_config.momentum"
    space = {
        "optimizer": {"type": "categorical", "choices": ["torch.optim.SGD", "torch.optim.AdamW"]},
        momentum: {"type": "float", "min": 0, "max": 0.9, "when": {"optimizer": "torch.optim.SGD"}},
    }
    sweep = staged(EXPLORE, {"name": "more", "kind": "explore"}, search_space=space)
    first = ran(sweep, 0, [], (0.1, {"optimizer": "torch.optim.SGD", momentum: 0.5}))
    assert best_config(sweep, [first]) == {"optimizer": "torch.optim.SGD", momentum: 0.5}
    second = ran(sweep, 1, [first], (0.05, {"optimizer": "torch.optim.AdamW"}))
    assert best_config(sweep, [first, second]) == {"optimizer": "torch.optim.AdamW"}


def test_a_validation_trains_the_best_and_the_run_as_it_was() -> None:
    sweep = staged(
        EXPLORE,
        {"name": "shape", "kind": "explore", "tune": [NODES]},
        {"name": "validate", "top": 2, "seeds": 3, "run": {"epochs": 7, "batch_size": 32}},
    )
    first = ran(sweep, 0, [], *WIDE)
    shape = ran(sweep, 1, [first], (0.3, {NODES: 9}), (0.1, {NODES: 10}), (0.2, {NODES: 11}))
    derived = derive(sweep, sweep.stages[2], [first, shape])
    race = derived.sweep.sampler.kwargs
    assert [(each["name"], each["config"]) for each in race["candidates"]] == [
        ("t1", {LR: 1e-2, DECAY: 0.01, NODES: 10}),
        ("t2", {LR: 1e-2, DECAY: 0.01, NODES: 11}),
        ("baseline", config(0.1)),
    ]
    assert race["candidates"][0]["what"] == "trial 1 of shape"
    assert (derived.sweep.trials, derived.sweep.run.epochs, derived.sweep.run.batch_size) == (9, 7, 32)
    assert len(set(race["seeds"]) - {sweep.run.seeds[0]}) == 3
    assert derived.sweep.trial_scheduler.name == "schedulers.Racing"


def test_a_stages_own_baseline_that_wins_is_a_trial_like_any_other() -> None:
    sweep = staged(EXPLORE, {"name": "refine", "top": 1})
    past = [ran(sweep, 0, [], *WIDE)]
    again = ran(sweep, 1, past, (0.01, config(1e-2, 100)))
    assert again.record is not None
    again.record.trials["00000"].source = "baseline"
    chosen = race_candidates(sweep, [*past, again], 1)[2]
    assert [(each.name, each.what) for each in chosen] == [
        ("t0", "trial 0 of refine"),
        ("baseline", "the run as it was"),
    ]


def test_the_same_sweep_and_records_give_the_same_stage() -> None:
    sweep = staged(EXPLORE, {"name": "refine", "top": 2})
    past = [ran(sweep, 0, [], *WIDE)]
    assert derive(sweep, sweep.stages[1], past) == derive(sweep, sweep.stages[1], past)


def test_every_stage_has_its_own_seed_whatever_comes_before_it() -> None:
    sweep, longer = staged(EXPLORE, "refine"), staged("lr_range", EXPLORE, "refine")
    assert seed_of(sweep, sweep.stages[0]) != seed_of(sweep, sweep.stages[1])
    assert seed_of(sweep, sweep.stages[1]) == seed_of(longer, longer.stages[2])
    assert seed_of(sweep, sweep.stages[0]) != seed_of(sweep.model_copy(update={"seed": 7}), sweep.stages[0])
    assert name_of(staged(EXPLORE, study_name="x" * 100), sweep.stages[1]) == "x" * 93 + "_refine"


@pytest.mark.parametrize("kind", ["explore", "refine"])
def test_a_derived_sweep_is_written_out_and_read_again_the_same(kind: str) -> None:
    sweep = staged(EXPLORE, {"name": "next", "kind": kind, "sampler": "optuna.samplers.RandomSampler"})
    derived = derive(sweep, sweep.stages[1], [ran(sweep, 0, [], *WIDE)]).sweep
    assert Sweep.model_validate(derived.model_dump(mode="json")) == derived
    assert derived.sampler.name == "optuna.samplers.RandomSampler"
