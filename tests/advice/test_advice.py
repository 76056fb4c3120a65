"""Every rule of thumb: a sweep that violates it, one that just does not, and a fix that resolves it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from raysweep.advice import RULES, AdviceRule, advise, headline
from raysweep.advice.catalog import NAMES
from raysweep.config import SweepError, read_sweep
from raysweep.preflight.preflight import read_data
from tests.sound_sweep import WELL, Read, ReadText

CLONE = Path(__file__).parents[2]
SHIPPED = sorted((CLONE / "sweeps").glob("*.yaml"))
FILES = CLONE / "tests" / "config" / "files"

LR = "search_space.optimizer_config.lr"
DECAY = "search_space.optimizer_config.weight_decay"
NET = "search_space.net_config"
RULE = "trial_scheduler"
GRID = "sampler=optuna.samplers.GridSampler"
BATCHES = "search_space.batch_size={type: int, min: 16, max: 1024, log: true}"

# (rule, assignments that raise it, assignments that just do not)
ONE_CYCLE = "run.scheduler=torch.optim.lr_scheduler.OneCycleLR"
CYCLIC = [
    "run.scheduler=torch.optim.lr_scheduler.CyclicLR",
    "run.scheduler_config={base_lr: 1e-4, max_lr: 1e-2}",
]

CASES: list[tuple[str, list[str], list[str]]] = [
    (
        "lr_overruled",
        [ONE_CYCLE, "run.scheduler_config={max_lr: 1e-2}"],
        [ONE_CYCLE, "run.scheduler_config={}"],
    ),
    (
        "lr_overruled",
        [
            ONE_CYCLE,
            "run.scheduler_config={}",
            "search_space.scheduler_config.max_lr={type: float, min: 1e-4, max: 1e-2, log: true}",
        ],
        [ONE_CYCLE, "run.scheduler_config={}"],
    ),
    ("lr_overruled", CYCLIC, ["run.scheduler=null", "run.scheduler_config={}"]),
    ("log_scale", [f"{LR}.log=false"], []),
    (
        "log_scale",
        [DECAY + "={type: float, min: 0, max: 0.1}"],
        [DECAY + "={type: float, min: 1e-5, max: 0.1, log: true}"],
    ),
    (
        "log_scale",
        [DECAY + "={type: float, min: 1e-3, max: 0.1, step: 1e-3}"],
        [NET + ".dropout={type: float, min: 0, max: 0.5}"],
    ),
    (
        "log_scale",
        ["search_space.grad_clip={type: float, min: 0.1, max: 11}"],
        ["search_space.grad_clip={type: float, min: 0.1, max: 10}"],
    ),
    ("lr_region", [f"{LR}.min=1e-2", f"{LR}.max=1"], [f"{LR}.min=1e-3", f"{LR}.max=1e-1"]),
    (
        "lr_region",
        ["run.optimizer=pytorch_optimizer.SPlus", f"{LR}.min=1e-5"],
        ["run.optimizer=pytorch_optimizer.SPlus", f"{LR}.min=1e-3", f"{LR}.max=1"],
    ),
    ("lr_region", ["run.optimizer=torch.optim.SGD"], ["run.optimizer=torch.optim.SGD", f"{LR}.max=1e-1"]),
    (
        "lr_region",
        ["run.optimizer=torch.optim.SGD", LR + "={type: categorical, choices: [1e-5, 1e-4]}"],
        ["run.optimizer=torch.optim.Adadelta", "run.optimizer_config={lr: 1}", f"{LR}.max=1"],
    ),
    ("narrow_lr", [f"{LR}.min=1e-3", f"{LR}.max=3e-3"], [f"{LR}.min=1e-3", f"{LR}.max=3.1e-3"]),
    (
        "high_dropout",
        [NET + ".dropout={type: float, min: 0, max: 0.9}"],
        [NET + ".dropout={type: float, min: 0, max: 0.8}"],
    ),
    ("high_dropout", ["run.net_config.dropout=0.95"], ["run.net_config.dropout=0.8"]),
    (
        "numbers_as_choices",
        ["search_space.batch_size={type: categorical, choices: [32, 64, 128]}"],
        ["search_space.batch_size={type: categorical, choices: [32, 64]}"],
    ),
    (
        "numbers_as_choices",
        ["search_space.batch_size={type: categorical, choices: [32, 64, 256]}"],
        ["search_space.batch_size={type: categorical, choices: [32, 64, 256], ordered: true}"],
    ),
    (
        "numbers_as_choices",
        [NET + ".dropout={type: categorical, choices: [0.0, 0.2, 0.4]}"],
        [NET + ".activation={type: categorical, choices: [relu, gelu, tanh]}"],
    ),
    (
        "width_and_depth",
        [NET + ".nodes={type: int, min: 16, max: 64}", NET + ".layers={type: int, min: 1, max: 4}"],
        [NET + ".layers={type: int, min: 1, max: 4}"],
    ),
    (
        "architecture_before_lr",
        ["search_space={net_config.layers: {type: int, min: 1, max: 4}}"],
        ["search_space={optimizer_config.weight_decay: {type: float, min: 1e-5, max: 0.1, log: true}}"],
    ),
    (
        "batch_size_without_lr",
        ["search_space={batch_size: {type: int, min: 16, max: 64, log: true}}"],
        [BATCHES],
    ),
    (
        "lr_narrower_than_batch",
        [BATCHES, f"{LR}.min=1e-3", f"{LR}.max=7e-3"],
        [BATCHES, f"{LR}.min=1e-3", f"{LR}.max=8e-3"],
    ),
    (
        "adam_weight_decay",
        ["run.optimizer=torch.optim.Adam"],
        ["run.optimizer=torch.optim.Adam", "run.optimizer_config.weight_decay=0"],
    ),
    (
        "adam_weight_decay",
        ["run.optimizer=torch.optim.NAdam", DECAY + "={type: float, min: 1e-5, max: 0.1, log: true}"],
        ["run.optimizer=torch.optim.NAdam", "run.optimizer_config.decoupled_weight_decay=true"],
    ),
    (
        "grid_of_a_continuum",
        [GRID, LR + "={type: categorical, choices: [1e-4, 1e-3]}"],
        [GRID, LR + "={type: categorical, choices: [1, 2]}"],
    ),
    (
        "grid_of_a_continuum",
        [GRID, LR + "={type: float, min: 0.1, max: 0.3, step: 0.1}"],
        [LR + "={type: float, min: 0.1, max: 0.3, log: true}"],
    ),
    (
        "large_grid",
        [GRID, "search_space={batch_size: {type: int, min: 1, max: 101}}"],
        [GRID, "search_space={batch_size: {type: int, min: 1, max: 100}}"],
    ),
    ("few_startup_trials", ["sampler.kwargs.n_startup_trials=9"], ["sampler.kwargs.n_startup_trials=10"]),
    ("few_startup_trials", [BATCHES], [BATCHES, "sampler.kwargs.n_startup_trials=20"]),
    (
        "few_startup_trials",
        [BATCHES, "sampler.kwargs={}"],
        [BATCHES, "sampler=optuna.samplers.RandomSampler"],
    ),
    ("few_trials", ["trials=59"], ["trials=60"]),
    (
        "few_trials",
        ["sampler=optuna.samplers.RandomSampler", BATCHES, "trials=59"],
        ["sampler=optuna.samplers.RandomSampler", BATCHES],
    ),
    ("several_seeds", ["run.seeds=[1, 2]"], ["run.seeds=[1]"]),
    (
        "no_baseline",
        ["baseline=false"],
        ["baseline=false", "points_to_evaluate=[{optimizer_config.lr: 1e-3}]"],
    ),
    (
        "schedule_geometry",
        [
            "run.scheduler=torch.optim.lr_scheduler.CosineAnnealingLR",
            "search_space.scheduler_config.T_max={type: int, min: 10, max: 20}",
        ],
        [
            "run.scheduler=torch.optim.lr_scheduler.CosineAnnealingLR",
            "search_space.scheduler_config.eta_min={type: float, min: 1e-6, max: 1e-5, log: true}",
        ],
    ),
    ("warmup_share", ["run.warmup=0.2"], ["run.warmup=0.1"]),
    ("warmup_share", ["run.warmup=3"], ["run.warmup=2"]),
    ("warmup_share", ["run.epochs=60", "run.warmup=1"], ["run.epochs=39", "run.warmup=1"]),
    ("never_acts", [f"{RULE}.kwargs.grace_period=20"], [f"{RULE}.kwargs.grace_period=19"]),
    (
        "never_acts",
        [RULE + "={name: schedulers.MedianStopping, kwargs: {n_startup_trials: 60}}"],
        [RULE + "={name: schedulers.MedianStopping, kwargs: {n_startup_trials: 59}}"],
    ),
    (
        "never_acts",
        [RULE + "={name: schedulers.PFL, kwargs: {min_finished: 60}}"],
        [RULE + "=schedulers.PFL"],
    ),
    (
        "never_acts",
        [RULE + "={name: schedulers.Patience, kwargs: {patience: 20}}"],
        [RULE + "=schedulers.Patience"],
    ),
    (
        "never_acts",
        [RULE + "={name: schedulers.PBT, kwargs: {perturbation_interval: 20}}"],
        [RULE + "={name: schedulers.PBT, kwargs: {perturbation_interval: 2}}"],
    ),
    (
        "never_acts",
        ["run.early_stopping_config={enabled: true, patience: 20}"],
        ["run.early_stopping_config={enabled: true, patience: 19}"],
    ),
    ("acts_too_early", ["run.warmup=2", f"{RULE}.kwargs.grace_period=2"], ["run.warmup=2"]),
    (
        "acts_too_early",
        ["run.warmup=2", RULE + "={name: schedulers.MedianStopping, kwargs: {n_warmup_steps: 1}}"],
        ["run.warmup=2", RULE + "={name: schedulers.MedianStopping, kwargs: {n_warmup_steps: 2}}"],
    ),
    (
        "acts_too_early",
        ["run.scheduler=torch.optim.lr_scheduler.OneCycleLR"],
        ["run.scheduler=torch.optim.lr_scheduler.OneCycleLR", "run.scheduler_config.pct_start=0.1"],
    ),
    (
        "small_population",
        [RULE + "={name: schedulers.PBT, kwargs: {perturbation_interval: 2}}", "trials=3"],
        [RULE + "={name: schedulers.PBT, kwargs: {perturbation_interval: 2}}", "trials=4"],
    ),
    (
        "nobody_stopped",
        [RULE + "=schedulers.FIFO", "run.epochs=31"],
        [RULE + "=schedulers.FIFO", "run.epochs=30"],
    ),
    (
        "nobody_stopped",
        [RULE + "=schedulers.FIFO", "run.epochs=50"],
        [RULE + "=schedulers.FIFO", "run.epochs=50", "trials=10"],
    ),
]


def names(read: Read, sets: Sequence[str]) -> list[str]:
    return [advice.name for advice in advise(read(sets))]


def test_a_well_made_sweep_gets_no_advice(read: Read) -> None:
    assert names(read, []) == []


@pytest.mark.parametrize(("rule", "raising", "near"), CASES)
def test_a_rule_is_raised_by_one_sweep_and_not_by_its_neighbour(
    rule: str, raising: list[str], near: list[str], read: Read
) -> None:
    assert rule in names(read, raising)
    assert rule not in names(read, near)


@pytest.mark.parametrize(("rule", "raising", "near"), CASES)
def test_what_the_mend_sets_silences_the_rule(
    rule: str, raising: list[str], near: list[str], read: Read
) -> None:
    """The suggested `--set`s can be pasted after the file as they are."""
    sets = [text for advice in advise(read(raising)) if advice.name == rule for text in advice.sets]
    if sets:
        assert rule not in names(read, [*raising, *sets])


def test_more_than_five_parameters_are_too_many(read_text: ReadText) -> None:
    """The five that matter most are kept: document 003 ranks them."""
    more = "".join(
        f"  net_config.{word}: {{type: categorical, choices: [a, b]}}\n"
        for word in ("layers", "dropout", "norm", "activation")
    )
    assert "many_parameters" not in [advice.name for advice in advise(read_text(WELL + more))]
    one_more = more + "  batch_size: {type: int, min: 16, max: 64}\n"
    (finding,) = [a for a in advise(read_text(WELL + one_more)) if a.name == "many_parameters"]
    assert str(finding.problem) == (
        "well.yaml:14: search_space: 6 parameters are searched; the trials they need grow exponentially; "
        "keep 5: those that matter least are net_config.activation"
    )


def test_every_rule_is_in_the_table() -> None:
    assert {rule for rule, _, _ in CASES} | {"many_parameters"} == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_says_what_it_holds_and_where_it_is_from(rule: AdviceRule) -> None:
    assert rule.message.endswith(".")
    assert rule.source


def test_advice_names_the_line_it_is_about(read_text: ReadText) -> None:
    (advice,) = advise(read_text(WELL.replace(", log: true", "")))
    assert str(advice) == (
        "well.yaml:16: search_space.optimizer_config.lr: 0.0001 to 0.01, drawn uniformly, "
        "although it acts by its order of magnitude; "
        "try --set search_space.optimizer_config.lr.log=true [log_scale]"
    )


def test_a_flat_space_is_advised_on_where_it_stands(read_text: ReadText) -> None:
    head, _, _ = WELL.partition("  optimizer_config:\n    lr:")
    (advice,) = advise(read_text(head + "  optimizer_config.lr: {type: float, min: 1e-4, max: 1e-2}\n"))
    assert (advice.problem.line, advice.problem.key) == (15, "search_space.optimizer_config.lr")


def test_advice_is_silenced_by_its_name(read: Read) -> None:
    assert names(read, ["trials=59", "ignore_advice=[few_trials]"]) == []


def test_an_unknown_name_is_an_error_with_a_suggestion(read: Read) -> None:
    with pytest.raises(SweepError, match=r"unknown advice; did you mean 'few_trials'\?"):
        advise(read(["ignore_advice=[few_trial]"]))


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_a_log_range_with_0_is_an_error_instead_of_advice(read: Read) -> None:
    with pytest.raises(SweepError, match=r"a log range needs min > 0, not 0\.0; raise min or drop log"):
        read([f"{LR}.min=0"])


def test_the_templates_example_raises_exactly_what_is_wrong_with_it() -> None:
    """Its PFL can never act, and 50 trials with 10 of start-up are few; `lr` and `layers` are fine."""
    reading = read_sweep(FILES / "run.yaml", optimize_config=FILES / "opt.yaml")
    assert [advice.name for advice in advise(reading)] == ["few_trials", "few_startup_trials"]
    stuck = "n_warmup_epochs (10) is not below epochs (10): no trial can ever be stopped"
    assert [problem.what for problem in reading.warnings if "ever" in problem.what] == [stuck]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_sweep_is_well_made_or_says_why_not(file: Path) -> None:
    assert [str(advice) for advice in advise(read_sweep(file))] == []


@pytest.mark.parametrize("name", ["pfl", "conditional"])
def test_shipped_averages_of_weights_keep_up_with_their_runs(name: str) -> None:
    reading = read_sweep(CLONE / "sweeps" / f"{name}.yaml")
    _, facts = read_data(reading.sweep)
    assert [advice.name for advice in advise(reading, facts) if advice.name == "averaging_window"] == []


def test_advice_is_in_the_order_of_the_file_and_its_headline_counts(read_text: ReadText) -> None:
    text = WELL.replace("trials: 60", "trials: 59").replace("epochs: 20", "epochs: 20\n  seeds: [1, 2]")
    findings = advise(read_text(text))
    assert headline(findings) == "2 pieces of advice (few_trials, several_seeds)"
    assert [advice.problem.line for advice in findings] == [2, 14]
