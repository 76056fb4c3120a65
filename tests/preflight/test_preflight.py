"""What preflight tries before a sweep, and what it says about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import launch
from raysweep.advice.data import DataFacts
from raysweep.config import read_sweep
from raysweep.config.trial_config import trial_config
from raysweep.preflight.check import NOTE, OK, PROBLEM, PreflightFailed
from raysweep.preflight.concurrency import fit_cpu, fit_gpu
from raysweep.preflight.data_quality import data_checks
from raysweep.preflight.preflight import Preflight, _corners_alike, _writable, dry_run_checks
from raysweep.preflight.probe_configs import probe_configs, size
from tests.sound_sweep import WELL, Read
from trainables.data import Data, DataPart, Split
from trainables.dry_run import gpu_busy
from trainables.dry_run_process import dry_run_all
from trainables.dry_run_report import DryRunReport
from trainables.imports import CLONE
from trainables.memory_limit import available_memory_mb

RAN = DryRunReport(
    "ran", epoch_s=0.1, train_losses=(1.0, 0.5), val_losses=(1.0, 0.6), memory_mb=300, parameters=9
)
SPACE = (
    "search_space.net_config.layers={type: int, min: 1, max: 6}",
    "search_space.net_config.nodes={type: categorical, choices: [16, 256, 64]}",
    "search_space.batch_size={type: int, min: 8, max: 128, log: true}",
)
FACTS = DataFacts(rows=60, val_rows=20, test_rows=20, first_val_rows=20)


def other(number: int, **kwargs: object) -> DryRunReport:
    """A successful dry run; each differs from the others."""
    return replace(RAN, val_losses=(1.0, 0.6 + number), **kwargs)  # type: ignore[arg-type]


def random_ones(*found: DryRunReport) -> dict[str, Any]:
    return {f"random {number}": one for number, one in enumerate(found, 1)}


def names_of(dry_runs: dict[str, Any], state: str) -> list[str]:
    return [check.name for check in dry_run_checks(dry_runs) if check.state == state]


def data_of(x: np.ndarray, y: np.ndarray, classes: int = 2, labels: bool = False) -> Data:
    """Two thirds of the rows to train on, one third to validate on; `labels` makes y two equal columns."""
    cut = 2 * len(x) // 3
    y = np.stack([y, y], 1).astype(np.float32) if labels else y
    part = DataPart(Split(x[:cut], y[:cut]), Split(x[cut:], y[cut:]))
    task = "classification" if classes or labels else "regression"
    return Data((part,), task, classes, "f" * 64, "test", labels=2 * labels)  # type: ignore[arg-type]


def rows(seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(60, 3)).astype(np.float32), (np.arange(60) % 2).astype(np.int64)


@pytest.mark.parametrize(
    ("corner", "ends"),
    [
        ("default", {"batch_size": 128, "net_config.layers": 2, "net_config.nodes": 64}),
        ("largest", {"batch_size": 128, "net_config.layers": 6, "net_config.nodes": 256}),
        ("deepest", {"batch_size": 128, "net_config.layers": 6, "net_config.nodes": 64}),
        ("highest lr", {"optimizer_config.lr": 1e-2, "net_config.layers": 2}),
        ("smallest batch", {"batch_size": 8, "net_config.layers": 2}),
    ],
)
def test_a_corner_is_the_default_with_what_it_is_about_at_its_end(read: Read, corner: str, ends: Any) -> None:
    sweep = read((*SPACE, "run.batch_size=128", "run.net_config.nodes=64")).sweep
    config = probe_configs(sweep)[corner]
    assert {key: pytest.approx(config[key]) for key in ends} == ends


def test_five_random_configurations_depend_on_the_seed_and_differ(read: Read) -> None:
    first, again, other_seed = (probe_configs(read((*SPACE, f"seed={seed}")).sweep) for seed in (1, 1, 2))
    drawn = [config for name, config in first.items() if name.startswith("random")]
    assert first == again != other_seed
    assert len({json.dumps(config) for config in drawn}) == 5


def test_every_searched_optimizer_is_tried_with_a_range_of_its_own() -> None:
    """Otherwise some trial of the night would meet a class that cannot be built."""
    sweep = read_sweep("sweeps/conditional.yaml").sweep
    tried = {config["optimizer"] for name, config in probe_configs(sweep).items() if "random" not in name}
    assert tried == set(sweep.search_space["optimizer"].domain.choices)


def test_without_a_search_space_the_run_itself_is_tried(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(WELL.partition("search_space")[0])
    assert probe_configs(read_sweep(file).sweep) == {"default": {}}


def test_sizes_are_summed_over_layers() -> None:
    assert size([64, [32, 4]]) == 100


@pytest.mark.parametrize(
    ("dry_runs", "problems"),
    [
        (random_ones(*map(other, range(5))), []),
        (random_ones(RAN, RAN, RAN), ["search space"]),  # nothing that is searched acts
        (random_ones(other(1), DryRunReport("diverged", "nan")), []),  # the search's own business
        (random_ones(*[DryRunReport("diverged", "nan")] * 3), ["divergence"]),
        (random_ones(other(1), DryRunReport("oom", "memory")), ["random 2"]),
        (random_ones(other(1), DryRunReport("failed", "TypeError: f")), ["random 2"]),
        (random_ones(other(1), *[DryRunReport("failed", "TypeError: f")] * 2), ["random 2, random 3"]),
        (random_ones(*[DryRunReport("failed", "TypeError: f")] * 3), ["all 3 configurations"]),
        (random_ones(other(1, train_losses=(1.0, 1.1)), other(2, train_losses=(1.0, 1.0))), ["learning"]),
        (random_ones(other(1), other(2, train_losses=(1.0, 1.1))), []),
        (random_ones(other(1, unreached=("head.weight",), tensors=1), other(2)), ["gradients"]),
        (random_ones(other(1, unreached=("head.weight",), tensors=2), other(2)), []),  # layer drop
        (random_ones(other(1, not_finite=("a",)), other(2)), ["gradients"]),
        (random_ones(other(1, still=True), other(2)), ["optimizer"]),
        ({"default": replace(RAN, restored=False)}, ["checkpoint"]),
        ({"default": replace(RAN, restored=True)}, []),
    ],
)
def test_what_would_lose_a_night_is_a_problem(dry_runs: dict[str, Any], problems: Any) -> None:
    assert names_of(dry_runs, PROBLEM) == problems


@pytest.mark.parametrize(
    ("odd", "name"),
    [({"unreached": ("head.weight",), "tensors": 2}, "gradients"), ({"doubt": "odd"}, "outputs")],
)
def test_what_may_be_meant_so_is_noted_once(odd: Any, name: str) -> None:
    assert names_of(random_ones(other(1, **odd), other(2, **odd)), NOTE) == [name]


@pytest.mark.parametrize(
    ("corner", "message"),
    [
        (RAN, ["'highest lr' trains as the default, to the last bit: lr has no effect"]),
        (other(1), []),
        (DryRunReport("diverged", "loss is nan"), []),
    ],
)
def test_a_corner_that_trains_as_the_default_does_is_a_problem(corner: DryRunReport, message: Any) -> None:
    """Like every lr with a OneCycleLR that has its own max_lr."""
    configs = {"default": {"lr": 0.1, "x": 1}, "highest lr": {"lr": 1.0, "x": 1}}
    checks = _corners_alike(configs, {"default": RAN, "highest lr": corner})
    assert [(check.state, check.message) for check in checks] == [(PROBLEM, text) for text in message]


def test_a_slow_configuration_is_noted() -> None:
    assert names_of(random_ones(other(1), DryRunReport("slow", "long")), NOTE) == ["random 2"]


def test_a_preflight_without_problems_lets_the_sweep_run() -> None:
    checks = tuple(dry_run_checks(random_ones(other(1), other(2))))
    Preflight(checks, {}, {}, None, "").require()


def test_a_preflight_with_a_problem_says_which() -> None:
    checks = tuple(dry_run_checks({"default": DryRunReport("failed", "RunError: net")}))
    with pytest.raises(PreflightFailed, match=r"^preflight: default: failed: RunError: net$"):
        Preflight(checks, {}, {}, None, "").require()


X, Y = rows()


@pytest.mark.parametrize(
    ("data", "facts", "name", "state"),
    [
        (data_of(X, Y), FACTS, "leak", OK),
        (data_of(X, Y), FACTS, "classes", OK),
        (data_of(np.where(X > 2, np.nan, X), Y), FACTS, "numbers", PROBLEM),
        (data_of(X * 0, Y), FACTS, "columns", PROBLEM),
        (data_of(X * [0, 1, 1], Y), FACTS, "columns", NOTE),
        (data_of(X * [1e6, 1, 1], Y), FACTS, "columns", NOTE),
        (data_of(X, Y * 0), FACTS, "classes", PROBLEM),
        (data_of(X, (np.arange(60) == 3).astype(np.int64)), FACTS, "classes", NOTE),
        (data_of(X, (np.arange(60) > 40).astype(np.int64)), FACTS, "classes", PROBLEM),
        (data_of(X, X[:, :1] * 0, 0), FACTS, "target", PROBLEM),
        (data_of(X, X[:, :1] * 1e5, 0), FACTS, "target", NOTE),
        (data_of(X, Y), replace(FACTS, untested=(1,)), "test rows", NOTE),
        (data_of(X, np.r_[Y[:40], Y[40:] * 0]), FACTS, "validation rows", NOTE),
        (data_of(X, np.where(np.arange(60) % 7 == 0, -100, Y)), FACTS, "classes", OK),  # what is ignored
        (data_of(X, Y, classes=0, labels=True), FACTS, "labels", OK),
        (data_of(X, Y * 0, classes=0, labels=True), FACTS, "labels", PROBLEM),
        (data_of(X, Y), replace(FACTS, test_in_train=10), "leak", PROBLEM),
        (data_of(X, Y), replace(FACTS, test_in_train=5, tell_apart=False), "leak", NOTE),
        (data_of(X, Y), replace(FACTS, val_in_train=10), "leak", PROBLEM),
    ],
)
def test_data_are_looked_at(data: Data, facts: DataFacts, name: str, state: str) -> None:
    assert (name, state) in [(check.name, check.state) for check in data_checks(data, facts)]


@pytest.mark.parametrize(
    ("memory_mb", "gpus", "share", "slots"),
    [
        (3000, 2, 0.05, 40),
        (30_000, 1, 0.5, 2),
        (60_000, 2, 1.0, 2),
        (90_000, 1, 1.0, 0),
        (18_000, 1, 0.3333, 3),
    ],
)
def test_a_gpu_is_shared_by_as_many_as_its_memory_holds(
    memory_mb: int, gpus: int, share: float, slots: int
) -> None:
    fit = fit_gpu(memory_mb, 80_000, gpus)
    assert (fit.gpu, fit.slots) == (share, slots)


@pytest.mark.parametrize(
    ("available", "slots", "sets"),
    [(4096, 2, ""), (1000, 4, "max_concurrent_trials=2"), (300, 4, "")],
)
def test_memory_limits_how_many_run_at_once(available: int, slots: int, sets: str) -> None:
    assert fit_cpu(400, available).sets(None, slots) == sets


def test_a_process_tells_of_a_run_of_a_fault_and_of_a_net_too_large(read: Read) -> None:
    """One real dry run of each: whatever the configuration does, it is an outcome."""
    from trainables.data import load

    sweep = read(["run.net_config.nodes=8"]).sweep
    configs = [
        trial_config(sweep, flat, "preflight")
        for flat in ({}, {"net_config.norm": "no such"}, {"net_config.nodes": 10_000_000})
    ]
    ran, failed, large = dry_run_all(
        configs,
        load(sweep.run, sweep.import_paths),
        gpu=0.0,
        at_once=2,
        limit_s=60.0,
    )
    assert (ran.outcome, ran.restored, ran.learns, ran.unreached, ran.still) == ("ran", True, True, (), False)
    assert ran.checkpoint_mb > 0
    assert (failed.outcome, large.outcome) == ("failed", "oom")
    assert "norm is None" in failed.reason


def test_a_script_without_a_main_guard_is_not_run_again_by_a_dry_run(tmp_path: Path) -> None:
    """As `raysweep.run("a.yaml", preflight=True)` at the top level of a program."""
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.trainables.samples import data_of, run_of\n"
        "from trainables.dry_run_process import dry_run_all\n"
        "run = run_of()\n"
        "configs, data = [run.model_dump(mode='json')], data_of(run)\n"
        "print(dry_run_all(configs, data, gpu=0.0, at_once=1, limit_s=60.0)[0].outcome)\n"
    )
    environ = os.environ | {"PYTHONPATH": str(CLONE)}
    done = subprocess.run([sys.executable, str(script)], env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_a_storage_of_an_unknown_kind_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    local, remote = _writable("s4://bucket/far")
    assert (local.state, remote.state) == (OK, PROBLEM)
    assert remote.message.startswith("storage: s4://bucket/far: ")


def test_the_command_answers_with_exit_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad data end it before any process is started."""
    file = tmp_path / "bad.yaml"
    file.write_text(
        "study_name: bad\ntrials: 2\nrun:\n  data: trainables.data.load_table\n"
        "  data_config: {path: flat.csv, target: y}\n  scheduler: null\n"
    )
    (tmp_path / "flat.csv").write_text("x,y\n" + "\n".join(f"{row},1.5" for row in range(40)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert launch.main(["preflight", str(file), "--json"]) == 3
    seen = json.loads(capsys.readouterr().out)
    assert "target" in [check["name"] for check in seen["checks"] if check["state"] == "problem"]


def test_a_dry_run_may_take_no_more_memory_than_is_free() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < available_memory_mb() * 2**20 < total


@pytest.mark.parametrize(
    ("result", "busy"),
    [
        ({"epoch_s": 1.2, "gpu_utilisation": 31.0}, 31.0),
        ({"epoch_s": 0.2, "gpu_utilisation": 31.0}, None),
        ({"epoch_s": 1.2}, None),
    ],
)
def test_a_gpus_load_is_read_only_of_an_epoch_as_long_as_it_looks_back(
    result: dict[str, float], busy: float | None
) -> None:
    assert gpu_busy(result) == busy
