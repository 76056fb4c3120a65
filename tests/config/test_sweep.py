"""A sweep file is read whole: every slip in one line with its position, all of them at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raysweep.config import Metric, Sweep, SweepError, read_sweep
from schedulers.space import Float, Int

FILES = Path(__file__).parent / "files"
CLONE = Path(__file__).parents[2]
SHIPPED = sorted((CLONE / "sweeps").glob("*.yaml"))

RUN = """
run:
  data: trainables.data.load_synthetic
  epochs: 10
  scheduler: null
"""


def problems_of(text: str, folder: Path, **options: object) -> list[str]:
    file = folder / "sweep.yaml"
    file.write_text(text)
    with pytest.raises(SweepError) as caught:
        read_sweep(file, **options)  # type: ignore[arg-type]  # the options vary
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def warnings_of(text: str, folder: Path) -> list[str]:
    file = folder / "sweep.yaml"
    file.write_text(text)
    return [str(problem).removeprefix(f"{folder}/") for problem in read_sweep(file).warnings]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_sweep_is_sound_without_a_warning(file: Path) -> None:
    assert read_sweep(file).warnings == ()


@pytest.mark.parametrize("file", [*SHIPPED, FILES / "full.yaml"], ids=lambda file: file.stem)
def test_a_sweep_written_out_and_read_again_is_the_same(file: Path) -> None:
    sweep = read_sweep(file).sweep
    assert Sweep.model_validate(json.loads(json.dumps(sweep.model_dump(mode="json")))) == sweep


def test_the_templates_two_files_are_read_unchanged() -> None:
    reading = read_sweep(FILES / "run.yaml", optimize_config=FILES / "opt.yaml")
    sweep = reading.sweep
    assert (sweep.study_name, sweep.trials, sweep.metric, sweep.direction) == (
        "MyProject_HPO",
        50,
        "val_loss",
        "minimize",
    )
    assert sweep.trial_scheduler.name == "schedulers.ClassicPFL"
    assert sweep.trial_scheduler.kwargs == {
        "n_startup_trials": 10,
        "n_warmup_epochs": 10,
        "top_k": 10,
        "target_epoch": 10,
    }
    assert sweep.space == {
        "net_config.layers": Int(3, 6),
        "optimizer_config.lr": Float(1e-3, 1.0, log=True),
        "scheduler_config.min_lr": Float(1e-7, 1e-3, log=True),
    }
    assert sweep.run.optimizer_config == {"lr": 0.1, "eps": 1e-10}


def test_what_the_templates_files_say_that_cannot_act_is_noted() -> None:
    warnings = read_sweep(FILES / "run.yaml", optimize_config=FILES / "opt.yaml").warnings
    folder = f"{FILES}/"
    assert [str(warning).removeprefix(folder) for warning in warnings] == [
        "opt.yaml:10: pruner.name: 'pruner.PFLPruner' is schedulers.ClassicPFL here",
        "opt.yaml:13: pruner.kwargs.n_warmup_epochs: n_warmup_epochs (10) is not below epochs (10): "
        "no trial can ever be stopped; try 3",
        "run.yaml:3: device: 'cuda:0' means any GPU: Ray decides which one a trial gets; "
        "set resources_per_trial.gpu to say how much of one",
        "run.yaml:28: wandb: ignored; trials are tracked in MLflow; see 'tracking'",
        "run.yaml:30: logging: ignored; trials are tracked in MLflow; see 'tracking'",
    ]


def test_the_templates_own_modules_are_looked_for_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text((FILES / "best.yaml").read_text())
    with pytest.raises(SweepError) as caught:
        read_sweep(tmp_path / "best.yaml")
    assert [(problem.key, problem.fix) for problem in caught.value.problems] == [
        ("net", "trainables.mlp.MLP offers the same here"),
        ("data", "trainables.data.load_synthetic offers the same here"),
    ]
    (tmp_path / "model.py").write_text("class MLP:\n    def __init__(self, hparams, device='cpu'): ...\n")
    (tmp_path / "util.py").write_text("def load_data(): ...\n")
    assert read_sweep(tmp_path / "best.yaml").sweep.run.net == "model.MLP"


def test_a_run_config_alone_is_a_sweep_that_trains_it_once(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text(
        "project: P\ndata: trainables.data.load_digits\nscheduler: null\nepochs: 3\n"
    )
    sweep = read_sweep(tmp_path / "best.yaml", overrides=["epochs=2"]).sweep
    assert (sweep.study_name, sweep.trials, sweep.search_space, sweep.run.epochs) == ("P_best", 1, {}, 2)
    assert sweep.trial_scheduler.name == "schedulers.FIFO"


def test_run_may_be_a_files_path_beside_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("data: trainables.data.load_digits\nscheduler: null\nepochz: 3\n")
    assert (
        problems_of("run: run.yaml\n", tmp_path)[0] == "run.yaml:3: epochz: unknown; did you mean 'epochs'?"
    )


def test_modules_are_found_beside_the_file_then_here_then_in_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "sweep.yaml").write_text(RUN)
    sweep = read_sweep(tmp_path / "sweep.yaml").sweep
    assert sweep.import_paths == (str(tmp_path), str(tmp_path / "here"), str(CLONE))


def slips() -> list[tuple[str, list[str]]]:
    """Blocks of `files/slips.txt`: the lines of a sweep file, then what is said of it."""
    blocks = (FILES / "slips.txt").read_text().strip().split("\n\n")
    split = [(block.splitlines(), len(block.split("\n> ")) - 1) for block in blocks]
    return [
        ("\n".join(lines[:-message]), [line.removeprefix("> ") for line in lines[-message:]])
        for lines, message in split
    ]


@pytest.mark.parametrize(("text", "said"), slips())
def test_a_slip_is_one_line_with_its_position_and_its_remedy(
    text: str, said: list[str], tmp_path: Path
) -> None:
    """What a block does not say of the run is `RUN`'s."""
    if not any(line.startswith("run:") for line in text.splitlines()):
        text += RUN
    assert problems_of(text, tmp_path) == [f"sweep.yaml:{line}" for line in said]


def test_all_slips_of_a_file_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "trals: 3\nmetric: val_los\nsampler: {name: a.b}\n"
    text += "run:\n  epochs: 0\n  data: trainables.data.load_digit\n"
    text += "search_space:\n  optimizer_config:\n    lr: {type: flot}\n"
    assert [line.split(": ")[0] for line in problems_of(text, tmp_path)] == [
        f"sweep.yaml:{line}" for line in (1, 2, 3, 4, 5, 6, 9)
    ]


def test_settings_of_no_learning_rate_scheduler_have_no_effect(tmp_path: Path) -> None:
    text = RUN + "  scheduler_config: {gamma: 0.5}\n"
    text += "search_space: {scheduler_config: {gamma: {type: float, min: 0.1, max: 0.9}}, batch_size: "
    text += "{type: int, min: 8, max: 64}}\nbaseline: false\n"
    fix = "has no effect: run.scheduler is null; name a class in run.scheduler, or drop these settings"
    assert [line.partition(": ")[2] for line in warnings_of(text, tmp_path)] == [
        f"run.scheduler_config: {fix}",
        f"search_space.scheduler_config.gamma: {fix}",
    ]


def test_upper_bound_below_total_steps_is_an_error(tmp_path: Path) -> None:
    """The contract of ExpHyperbolicLR; the searched range's worst corner counts."""
    text = (
        "run:\n  data: trainables.data.load_synthetic\n  epochs: 10\n  scheduler_config: {upper_bound: 5}\n"
    )
    assert problems_of(text, tmp_path) == [
        "sweep.yaml:4: run.scheduler_config.upper_bound: upper_bound (5) is below total_steps (10); "
        "raise upper_bound: the schedule ends before it"
    ]


@pytest.mark.parametrize(
    ("scheduler", "word"),
    [
        ("pytorch_scheduler.CosineWithWarmupScheduler", "total_steps"),
        ("torch.optim.lr_scheduler.CosineAnnealingLR", "T_max"),
    ],
)
def test_a_schedule_that_is_not_as_long_as_the_training_is_a_warning(
    scheduler: str, word: str, tmp_path: Path
) -> None:
    text = f"trials: 1\n{RUN.lstrip()}".replace("null", f"{scheduler}\n  scheduler_config: {{{word}: 50}}")
    (warning,) = warnings_of(text, tmp_path)
    assert warning.startswith(f"sweep.yaml:6: run.scheduler_config.{word}: {word} (50) is not epochs (10)")


def test_a_patience_as_long_as_the_study_is_a_warning(tmp_path: Path) -> None:
    """It could end nothing."""
    text = "baseline: false\ntrials: 9\nstop: {no_improvement: {trials: 9}}\n"
    text += "search_space: {optimizer_config.lr: {type: float, min: 1e-3, max: 1}}"
    (warning,) = warnings_of(text + RUN, tmp_path)
    assert warning == (
        "sweep.yaml:3: stop.no_improvement.trials: no_improvement.trials (9) is not below trials (9); "
        "it has no effect; try 3"
    )


def test_a_number_in_quotes_is_a_warning(tmp_path: Path) -> None:
    run = RUN.strip() + '\n  optimizer_config: {lr: "1e-3"}'
    file = tmp_path / "sweep.yaml"
    file.write_text(f"search_space: {{optimizer_config.lr: {{type: float, min: 1e-4, max: 1}}}}\n{run}\n")
    (warning,) = read_sweep(file).warnings
    assert str(warning).endswith("lr: '1e-3' is text, not a number; remove the quotes")


@pytest.mark.parametrize("section", ["early_stopping_config", "checkpoint_config"])
def test_settings_of_something_that_is_not_enabled_are_a_warning(section: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(f"trials: 1\n{RUN.strip()}\n  {section}: {{monitor: r2}}\n")
    (warning,) = read_sweep(tmp_path / "sweep.yaml").warnings
    assert str(warning).endswith(f"run.{section}: has no effect; write 'enabled: true' in it")


def test_stop_with_nothing_behind_it_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(f"trials: 1\nstop:\n{RUN}")
    stop = read_sweep(tmp_path / "sweep.yaml").sweep.stop
    assert (stop.target, stop.no_improvement) == (None, None)


def test_a_rules_own_complaint_stands_at_the_word_it_speaks_of(tmp_path: Path) -> None:
    text = "trial_scheduler:\n  name: schedulers.ASHA\n  kwargs:\n    grace_period: 30\n" + RUN.lstrip()
    (problem,) = problems_of(text, tmp_path)
    assert problem.startswith("sweep.yaml:4: trial_scheduler.kwargs.grace_period: grace_period (30) ")


def test_a_searched_optimizer_gets_only_the_keywords_meant_for_it(tmp_path: Path) -> None:
    space = """
search_space:
  optimizer: {type: categorical, choices: [torch.optim.AdamW, torch.optim.SGD]}
  optimizer_config:
    momentum: {type: float, min: 0, max: 1, when: {optimizer: torch.optim.SGD}}
"""
    assert warnings_of(RUN + space, tmp_path) == []
    (problem,) = problems_of(RUN + space.replace(", when: {optimizer: torch.optim.SGD}", ""), tmp_path)
    assert problem.startswith("sweep.yaml:10: search_space.optimizer_config.momentum: unknown to AdamW")


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    text = RUN.lstrip().replace("synthetic", "table") + "  data_config: {path: none.csv, target: y}\n"
    assert problems_of(text, tmp_path) == [
        "sweep.yaml:5: run.data_config.path: there is no file 'none.csv' beside the sweep file, "
        "in the working directory or in the clone; fix the path"
    ]


def test_a_target_that_is_no_column_of_the_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "houses.csv").write_text("rooms,price\n3,1e5\n")
    text = RUN.lstrip().replace("synthetic", "table") + "  data_config: {path: houses.csv, target: pric}\n"
    assert problems_of(text, tmp_path) == [
        "sweep.yaml:5: run.data_config.target: houses.csv has no column 'pric'; did you mean 'price'?"
    ]


def test_device_cpu_asks_for_no_gpu(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("trials: 1\n" + RUN + "  device: cpu\n")
    assert read_sweep(tmp_path / "sweep.yaml").sweep.resources_per_trial.gpu == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials=0", "--set trials: 0 is not allowed; it must be at least 1"),
        ("run.epochs=x", "--set run.epochs: 'x' is not a whole number"),
        ("epochz=3", "--set epochz: unknown; "),
        ("run.net_config.layer=3", "--set run.net_config.layer: unknown to MLP; did you mean 'layers'?"),
        ("run.optimizer_config={le: 3}", "--set run.optimizer_config: le: unknown to SPlus; did you mean"),
        ("trials", "--set trials: is no key=value; write --set run.epochs=5"),
        ("trials=[1", "--set trials: a bracket is not closed with ']' (or a ',' is missing); close it"),
        ("run.seeds.7=1", "--set run.seeds.7: 'run.seeds' has no '7'; name an existing key, or an item"),
        ("trials.x=1", "--set trials.x: 'trials' has no 'x'; name an existing key, or an item's number"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_override_is_reported_for_the_override(
    override: str, message: str, tmp_path: Path
) -> None:
    (problem,) = problems_of("trials: 3\n" + RUN + "  seeds: [1]\n", tmp_path, overrides=[override])
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trial=10", "--set trial: unknown; did you mean 'trials'?"),  # though the file has `trials`
        ("num_samples=10", "--set num_samples: unknown; did you mean 'trials'?"),
        ("max_epochs=10", "--set max_epochs: unknown; did you mean 'run.epochs'?"),
        ("epoch=10", "--set epoch: unknown; did you mean 'run.epochs'?"),
        ("lr=0.1", "--set lr: unknown; did you mean 'run.optimizer_config.lr'?"),
        ("run.lr=0.1", "--set run.lr: unknown; did you mean 'run.optimizer_config.lr'?"),
        ("grad_clip=0,5", "--set grad_clip: '0,5' is not a number; write 0.5, with a decimal point"),
        (
            "search_space.optimizer_config.lr.max=0,5",
            "--set search_space.optimizer_config.lr.max: '0,5' is not a number; "
            "write 0.5, with a decimal point",
        ),
        (
            "trial_scheduler=ASHAScheduler",
            "--set trial_scheduler: 'ASHAScheduler' is no dotted path; did you mean 'schedulers.ASHA'?",
        ),
    ],
)
def test_another_tools_habit_gets_the_word_used_here(override: str, message: str) -> None:
    with pytest.raises(SweepError) as caught:
        read_sweep(CLONE / "sweeps/asha.yaml", overrides=[override])
    assert [str(problem) for problem in caught.value.problems] == [message]


def test_a_module_that_an_installed_one_hides_is_reported(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("")
    (tmp_path / "random.py").write_text("class Net: ...")
    (tmp_path / "mine.py").write_text("import queue\n\ndef load(): ...\n")
    text = "trials: 1" + RUN.replace("trainables.data.load_synthetic", "mine.load")
    assert warnings_of(text, tmp_path) == [
        f"sweep.yaml:1: {tmp_path}/queue.py is not used: 'queue' is an installed module, and those come "
        "first; give the file another name"
    ]
    assert problems_of(text + "  net: random.Net\n", tmp_path) == [
        "sweep.yaml:6: run.net: 'Net' is not in random; an installed module comes before "
        f"{tmp_path}/random.py: give that file another name"
    ]


def test_a_top_level_key_that_begins_with_x_is_a_home_for_anchors(tmp_path: Path) -> None:
    text = f"x-common: &common {{lr: 0.5}}\n{RUN}  optimizer_config: *common\n"
    (tmp_path / "sweep.yaml").write_text(text)
    assert read_sweep(tmp_path / "sweep.yaml").sweep.run.optimizer_config == {"lr": 0.5}


def test_overrides_lie_over_the_file_and_are_read_as_yaml(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text((FILES / "full.yaml").read_text())
    sweep = read_sweep(
        tmp_path / "sweep.yaml",
        overrides=[
            "trials=5",
            "epochs=4",
            "run.seeds[1]=9",
            "run.optimizer_config.lr=1e-2",
            "search_space.optimizer_config.lr.max=1",
            "trial_scheduler.kwargs.grace_period=1",
        ],
    ).sweep
    assert (sweep.trials, sweep.run.epochs, sweep.run.seeds) == (5, 4, [1, 9])
    assert sweep.run.optimizer_config["lr"] == 0.01
    assert sweep.space["optimizer_config.lr"] == Float(1e-4, 1.0, log=True)


def test_metric_and_direction_are_short_for_the_first_of_metrics() -> None:
    sweep = read_sweep(FILES / "full.yaml").sweep
    assert sweep.metrics == (Metric(name="r2", direction="maximize"), Metric(name="val_loss"))
    assert (sweep.metric, sweep.direction) == ("r2", "maximize")


def test_points_are_flat_and_may_be_partial() -> None:
    points = read_sweep(FILES / "full.yaml").sweep.points_to_evaluate
    assert points == ({"optimizer_config.lr": 0.01}, {"net_config.layers": 3})


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"none\.yaml: cannot be read: No such file or directory"):
        read_sweep(tmp_path / "none.yaml")


def test_a_sweep_is_checked_without_importing_what_it_names() -> None:
    """torch, ray, optuna and mlflow take seconds; nets.py beside full.yaml raises when imported."""
    code = (
        "import sys\n"
        "from raysweep.config import read_sweep\n"
        f"read_sweep({str(FILES / 'full.yaml')!r},"
        " overrides=['net=nets.Inherits', 'run.net_config={width: 3}',"
        " 'search_space.net_config={depth: {type: int, min: 1, max: 2}}', 'points_to_evaluate=[]'])\n"
        "print(sorted({'torch', 'ray', 'optuna', 'mlflow', 'pandas', 'nets'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CLONE, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("optimizer", "sound"),
    [
        ("pytorch_optimizer.SPlus", True),
        ("pytorch_optimizer.ScheduleFreeAdamW", True),
        ("torch.optim.AdamW", False),
    ],
)
def test_the_trained_weights_loss_decides_where_there_is_an_average(
    optimizer: str, sound: bool, tmp_path: Path
) -> None:
    text = f"trials: 1\nmetric: val_loss_raw\n{RUN.lstrip()}  optimizer: {optimizer}\n"
    if sound:
        assert warnings_of(text, tmp_path) == []
    else:
        (problem,) = problems_of(text, tmp_path)
        assert problem.startswith("sweep.yaml:2: metric: no trial reports 'val_loss_raw'")


@pytest.mark.parametrize("lanes", ["many", "0", "2.5"])
def test_lanes_are_a_number_or_auto_and_anything_else_is_one_line(tmp_path: Path, lanes: str) -> None:
    text = (FILES.parents[2] / "sweeps/pbt.yaml").read_text()
    (tmp_path / "sweep.yaml").write_text(text + f"\nresources_per_trial: {{cpu: 0.25, lanes: {lanes}}}\n")
    with pytest.raises(SweepError) as caught:
        read_sweep(tmp_path / "sweep.yaml")
    shown = repr(lanes) if lanes == "many" else lanes
    assert [problem.what for problem in caught.value.problems] == [f"{shown} is no number of trials"]


def test_keywords_of_a_wrapped_optimizer_are_known(tmp_path: Path) -> None:
    config = "{optimizer: torch.optim.AdamW, lr: 0.01, weight_decay: 0.1}"
    optimizer = f"  optimizer: pytorch_optimizer.ScheduleFreeWrapper\n  optimizer_config: {config}\n"
    (tmp_path / "sweep.yaml").write_text(f"trials: 1\n{RUN.strip()}\n{optimizer}")
    assert read_sweep(tmp_path / "sweep.yaml").warnings == ()


def test_an_unknown_key_of_an_override_is_said_of_the_override() -> None:
    with pytest.raises(SweepError, match=r"^--set nope\.x: unknown; known here: "):
        read_sweep(CLONE / "sweeps/asha.yaml", overrides=["nope.x=1"])
