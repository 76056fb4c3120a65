"""The stages of a sweep file: each is checked as the sweep that it will be, at its own lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.config import SweepError, read_sweep
from raysweep.config.stage import Stage, tuned
from tests.config.test_sweep import problems_of, warnings_of

HEAD = """\
trials: 20
time_budget_s: 60
run: {data: trainables.data.load_digits, criterion: torch.nn.CrossEntropyLoss, scheduler: null, epochs: 9}
search_space:
  optimizer_config: {lr: {type: float, min: 1e-4, max: 1.0, log: true}}
  net_config: {nodes: {type: int, min: 8, max: 64}}
stages:
"""
EXPLORE = "  - explore\n"


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        ("  - explor\n", "8: stages[0].kind: missing; say what it does: 'kind: explore'"),
        ("  - {name: a, kind: refin}\n", "8: stages[0].kind: 'refin' is not 'lr_range', 'explore'"),
        ("  - {name: a/b, kind: explore}\n", "8: stages[0].name: 'a/b' cannot be a folder's name"),
        ("  - {kind: explore, trails: 3}\n", "8: stages[0].trails: unknown; did you mean 'trials'?"),
        ("  - {kind: explore, trials: 0}\n", "8: stages[0].trials: 0 is not allowed; it must be at"),
        ("  - {kind: explore, trials: '4'}\n", "8: stages[0].trials: '4' is not a whole number;"),
        ("  - {kind: explore, run: 3}\n", "8: stages[0].run: 3 is not a mapping"),
        (
            "  - kind: explore\n    run: {epcohs: 5}\n",
            "9: stages[0].run.epcohs: unknown; did you mean 'epochs'?",
        ),
        ("  - {kind: explore, run: {epochs: 0}}\n", "8: stages[0].run.epochs: 0 is not allowed"),
        (
            "  - {kind: explore, run: {optimizer_config: {lrr: 3}}}\n",
            "8: stages[0].run.optimizer_config.lrr: unknown to SPlus; did you mean 'lr'?",
        ),
        (
            "  - {kind: explore, sampler: optuna.samplers.GridSamplr}\n",
            "8: stages[0].sampler: 'GridSamplr' is not in optuna.samplers; did you mean",
        ),
        (
            "  - kind: explore\n    trial_scheduler: {name: schedulers.ASHA, kwargs: {grace_period: 30}}\n",
            "9: stages[0].trial_scheduler.kwargs.grace_period: grace_period (30)",
        ),
        (
            f"{EXPLORE}  - kind: refine\n    tune: [optimizer_config.lrr]\n",
            "10: stages[1].tune[0]: 'optimizer_config.lrr' is not searched; did you mean",
        ),
        ("  - {kind: explore, tune: []}\n", "8: stages[0].tune: is empty; give at least one"),
        ("  - {kind: explore, margin: 1}\n", "8: stages[0].margin: means nothing to a stage of kind"),
        (f"{EXPLORE}{EXPLORE}", "9: stages[1].name: 'explore' is the name of an earlier stage; give it"),
        ("  - refine\n", "8: stages[0]: nothing was searched before it; put an 'explore' before it"),
        ("  - validate\n", "7: stages: no stage searches; begin with an 'explore'"),
        ("  - lr_range\n", "7: stages: no stage searches; begin with an 'explore'"),
        (
            f"{EXPLORE}  - validate\n  - refine\n",
            "10: stages[2]: comes after a validation, which must be the last stage",
        ),
        (
            f"{EXPLORE}  - {{kind: validate, seeds: 1}}\n",
            "9: stages[1].seeds: seeds (1) is less than 2: chance would decide",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_stage_is_reported_at_its_line(stages: str, line: str, tmp_path: Path) -> None:
    assert any(place.startswith(f"sweep.yaml:{line}") for place in problems_of(HEAD + stages, tmp_path))


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        (
            f"{EXPLORE}  - {{kind: refine, top: 20}}\n",
            "9: stages[1].top: top (20) is not below the 20 trials of 'explore'",
        ),
        (
            "  - {kind: explore, tune: [net_config]}\n  - {kind: refine, tune: [optimizer_config.lr]}\n",
            "9: stages[1]: 'explore' searched nothing that it searches: there is nothing to narrow",
        ),
        (
            "  - {kind: explore, tune: [net_config]}\n",
            "5: search_space.optimizer_config.lr: no stage searches it",
        ),
        (
            f"{EXPLORE}  - lr_range\n",
            "9: stages[1]: no stage after it searches optimizer_config.lr: its result is never",
        ),
        (
            "  - {kind: explore, time_budget_s: 60}\n",
            "8: stages[0].time_budget_s: 60 s is not below the sweep's own time_budget_s (60): it",
        ),
        (
            f"{EXPLORE}  - {{kind: validate, top: 30}}\n",
            "9: stages[1].top: top (30) is more than the 20 trials of 'explore'",
        ),
    ],
)
def test_what_can_never_act_is_named(stages: str, line: str, tmp_path: Path) -> None:
    warnings = warnings_of(HEAD + stages, tmp_path)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"sweep.yaml:{line}")


LOG_RATE = "{type: float, min: 1e-4, max: 1.0, log: true}"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (f"lr: {LOG_RATE}", "weight_decay: {type: float, min: 0, max: 1}", "is not searched, so there is no"),
        (LOG_RATE, "{type: float, min: 1e-4, max: 1.0}", "sets one range of {type: float, log: true}"),
        (LOG_RATE, "{type: float, min: 0.1, max: 0.5, log: true}", "spans less than a decade"),
        (
            "  net_config:",
            "  optimizer: {type: categorical, choices: [torch.optim.SGD, torch.optim.AdamW]}\n  net_config:",
            "tests the run's own optimizer, but 'optimizer' is searched",
        ),
    ],
)
def test_a_range_test_needs_a_range_that_it_can_set(old: str, new: str, line: str, tmp_path: Path) -> None:
    problems = problems_of(HEAD.replace(old, new) + "  - lr_range\n" + EXPLORE, tmp_path)
    assert len(problems) == 1
    assert line in problems[0]


def read(tmp_path: Path, stages: str, *overrides: str) -> list[tuple[str, int | None, int]]:
    """Name, trials and epochs of every stage as it would be run."""
    file = tmp_path / "sweep.yaml"
    file.write_text(HEAD + stages)
    sweep = read_sweep(file, overrides=overrides).sweep
    return [
        (each.name, sweep.in_stage(each).trials, sweep.in_stage(each).run.epochs) for each in sweep.stages
    ]


STAGES = "  - {name: wide, kind: explore, trials: 12, run: {epochs: 3}}\n  - {kind: refine, top: 2}\n"


@pytest.mark.parametrize(
    ("overrides", "seen"),
    [
        ([], [("wide", 12, 3), ("refine", 20, 9)]),
        (["trials=4", "epochs=2"], [("wide", 4, 2), ("refine", 4, 2)]),  # everywhere
        (["stages.wide.trials=4", "stages.refine.run.epochs=5"], [("wide", 4, 3), ("refine", 20, 5)]),
        (["stages[1].trials=5"], [("wide", 12, 3), ("refine", 5, 9)]),
        (["stages=[explore]"], [("explore", 20, 9)]),
        (["stages=[explore, refine]", "stages.refine.trials=6"], [("explore", 20, 9), ("refine", 6, 9)]),
    ],
)
def test_an_override_reaches_every_stage_or_the_one_it_names(
    overrides: list[str], seen: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    assert read(tmp_path, STAGES, *overrides) == seen


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("stages.narrow.trials=3", "--set stages.narrow.trials: 'stages' has no 'narrow'"),
        ("stages.wide.trials=0", "--set stages.wide.trials: 0 is not allowed"),
        ("stages.wide.run.epochs=x", "--set stages.wide.run.epochs: 'x' is not a whole number"),
    ],
)
def test_an_override_of_a_stage_that_cannot_be_is_one_line(override: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(SweepError) as caught:
        read(tmp_path, STAGES, override)
    assert str(caught.value).startswith(line)
    assert len(caught.value.problems) == 1


def test_conditions_are_held_against_what_a_stage_searches(tmp_path: Path) -> None:
    """What a parameter waits for may be fixed in one stage and searched in the next."""
    space = "  net_config: {norm: {type: categorical, choices: [batch, none]}, "
    space += "dropout: {type: float, min: 0, max: 0.5, when: {net_config.norm: none}}}\n"
    head = "baseline: false\n" + HEAD.replace("  net_config: {nodes: {type: int, min: 8, max: 64}}\n", space)
    stages = "  - {name: one, kind: explore, tune: [net_config.dropout, optimizer_config.lr]}\n"
    assert warnings_of(head + stages + "  - {name: all, kind: explore}\n", tmp_path) == []


def test_what_a_stage_tunes_is_named_by_parameter_or_group() -> None:
    keys = ("batch_size", "net_config.nodes", "net_config.layers", "optimizer_config.lr")
    assert tuned(Stage(name="explore", kind="explore"), keys) == keys
    assert tuned(Stage(name="a", kind="explore", tune=("net_config", "batch_size")), keys) == keys[:3]
    assert tuned(Stage(name="a", kind="explore", tune=("optimizer_config.lr",)), keys) == keys[3:]
