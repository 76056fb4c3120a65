"""The Python API: what it passes to the runner, and what it says about a study."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import raysweep
from raysweep.api.calls import overrides, target_of
from raysweep.api.tuning import write_module
from raysweep.cluster.errors import ClusterError
from raysweep.config import Sweep, read_sweep
from raysweep.runner import revise_study, run_or_resume
from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    EpochReported,
    TrialCreated,
    TrialEnded,
    TrialStarted,
)
from raysweep.study.journal.log import Journal
from raysweep.study.results.best_config import NoWinner
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from raysweep.study.storage.trust import NotTrusted
from trainables.imports import add_paths, resolve

LR = "optimizer_config.lr"
CALLED = "it must take one or two: train(config), or train(config, state)"


def at_the_top_of_a_module(config: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    yield {"score": config["lr"]}


def make_study(root: Path, outcome: Any = "completed") -> raysweep.Study:
    """Trials 0 and 1 with two epochs each; accuracy is maximised and the second is better."""
    sweep = Sweep.model_validate(
        {
            "study_name": "small",
            "trials": 2,
            "metric": "accuracy",
            "direction": "maximize",
            "run": {"data": "trainables.data.load_digits", "scheduler": None},
            "search_space": {LR: {"type": "float", "min": 1e-5, "max": 1.0, "log": True}},
        }
    )
    folder = StudyFolder.create(root, "small", sweep, "")
    journal = Journal(folder.journal_dir, "small")
    journal.append(AttemptStarted(t=0, attempt=1, slots=1, trials=2))
    for number, lr in enumerate((1e-2, 1e-1)):
        name = f"0000{number}"
        journal.append(TrialCreated(t=1, trial=name, config={LR: lr}, source="sampler"))
        journal.append(TrialStarted(t=2, trial=name, attempt=1))
        for epoch in (1, 2):
            accuracy = (number + epoch) / 10
            journal.append(
                EpochReported(
                    t=2 + epoch,
                    trial=name,
                    generation=0,
                    epoch=epoch,
                    work=epoch,
                    loss=-accuracy,
                    metrics={"accuracy": accuracy, "val_loss": 1 - accuracy},
                    decision="continue",
                )
            )
        journal.append(TrialEnded(t=9, trial=name, outcome=outcome, reason="finished"))
    journal.append(AttemptEnded(t=10, attempt=1, exit_code=0, reason=""))
    journal.close()
    return raysweep.open(folder.path)


@pytest.fixture
def study(tmp_path: Path) -> raysweep.Study:
    return make_study(tmp_path)


def test_every_public_name_is_there() -> None:
    assert {name: getattr(raysweep, name).__name__ for name in raysweep.__all__} == {
        name: name for name in raysweep.__all__
    }


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'raysweep' has no attribute 'nothing'"):
        _ = raysweep.nothing


def test_importing_it_imports_no_large_library() -> None:
    large = "{'ray', 'torch', 'mlflow', 'optuna', 'pandas', 'numpy'}"
    code = f"import raysweep, sys; print(sorted({large} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_best_is_in_the_users_direction_with_its_run_config(study: raysweep.Study) -> None:
    best = study.best
    assert (best.number, best.value, best.metric, best.epoch) == (1, 0.3, "accuracy", 2)
    assert best.config == {LR: 0.1}
    assert best.metrics == {"accuracy": 0.3, "val_loss": 0.7}
    assert best.run["optimizer_config"] == {"lr": 0.1}


def test_without_a_success_there_is_no_best(tmp_path: Path) -> None:
    with pytest.raises(NoWinner, match="small: no trial has succeeded"):
        _ = make_study(tmp_path, "failed").best


def test_trials_are_a_row_each(study: raysweep.Study) -> None:
    frame = study.trials()
    assert frame.loc[1, ["trial", "status", "value", "epoch", LR, "accuracy", "reason"]].to_list() == [
        *(1, "completed", 0.3, 2, 0.1, 0.3),
        "finished",
    ]
    assert frame["duration_s"].to_list() == [7.0, 7.0]
    assert frame["started"].iloc[0] == pd.Timestamp(2, unit="s", tz="UTC")


def test_curves_are_a_row_an_epoch(study: raysweep.Study) -> None:
    frame = study.curves()
    assert frame[["trial", "epoch", "accuracy"]].to_numpy().tolist() == [
        [0, 1, 0.1],
        [0, 2, 0.2],
        [1, 1, 0.2],
        [1, 2, 0.3],
    ]


def test_optunas_study_knows_trials_and_direction(study: raysweep.Study) -> None:
    exported = study.optuna()
    assert (exported.best_value, exported.best_trial.number, exported.direction.name) == (0.3, 1, "MAXIMIZE")


def test_it_says_what_it_is(study: raysweep.Study) -> None:
    assert repr(study) == f"<Study small: {study.state}, {study.path}>"
    assert "<b>small</b>" in study._repr_html_()


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAStudy, match="holds no study 'gone'; it has none"):
        raysweep.open("gone", runs=tmp_path)


def test_settings_become_arguments_of_set(tmp_path: Path) -> None:
    """For every value: the same `--set` as from a shell, read by the same reader."""
    file = tmp_path / "a.yaml"
    file.write_text("run: {data: trainables.data.load_digits, scheduler: null}\n")
    given = {"trials": 3, "run.optimizer_config": {"lr": 1e-5}, "run.warmup": 0.1, "study_name": "12"}
    sweep = read_sweep(file, overrides=overrides(given)).sweep
    assert (sweep.trials, sweep.run.optimizer_config["lr"], sweep.run.warmup, sweep.study_name) == (
        *(3, 1e-5, 0.1),
        "12",
    )


def test_problems_of_a_sweep_in_python_name_no_file() -> None:
    with pytest.raises(raysweep.RaysweepError) as caught:
        raysweep.run({"run": {"data": "trainables.data.load_digits", "epoch": 3, "scheduler": None}})
    assert str(caught.value) == "sweep: run.epoch: unknown; did you mean 'epochs'?"


def test_a_cluster_that_takes_jobs_is_refused_in_a_line() -> None:
    with pytest.raises(ClusterError) as caught:
        target_of("http://head:8265")
    assert str(caught.value) == (
        "http://head:8265: takes only jobs, but a call from Python runs in this process; "
        "submit a sweep file with `launch.py run`, or use `address='local'` to run here"
    )


def local(offset: float, stateful: bool) -> Any:
    def plain(settings: Mapping[str, Any]) -> Iterator[dict[str, float]]:
        yield {"score": settings["lr"] + offset}

    def with_state(settings: Mapping[str, Any], before: Any = None) -> Iterator[Any]:
        yield {"score": settings["lr"] + offset}, before

    return with_state if stateful else plain


@pytest.mark.parametrize(
    ("function", "parameters", "score"),
    [
        (at_the_top_of_a_module, ["config"], 1.0),
        (local(10.0, stateful=False), ["config"], 11.0),
        (local(10.0, stateful=True), ["config", "state"], 11.0),
        (lambda config: iter([{"score": config["lr"]}]), ["config"], 1.0),
    ],
    ids=["module", "closure", "closure with a state", "lambda"],
)
def test_a_function_becomes_a_module_that_needs_no_notebook(
    function: Any, parameters: list[str], score: float, tmp_path: Path
) -> None:
    from inspect import signature

    name = write_module(function, tmp_path)
    add_paths([tmp_path])
    importlib.invalidate_caches()
    train = resolve(f"{name}.train")
    assert list(signature(train).parameters) == parameters
    result = next(iter(train({"lr": 1.0})))
    assert (result[0] if isinstance(result, tuple) else result) == {"score": score}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "train is of type int, not a function; give train(config)"),
        (lambda: iter([]), f"<lambda> takes 0 parameters; {CALLED}"),
        (lambda a, b, c: iter([]), f"<lambda> takes 3 parameters; {CALLED}"),
    ],
)
def test_what_cannot_be_a_training_function_is_a_type_error(
    function: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError) as caught:
        write_module(function, tmp_path)
    assert str(caught.value) == message


@pytest.mark.ray
@pytest.mark.nightly  # the notebook, which .ci/run runs, takes the same way
@pytest.mark.timeout(600)
def test_a_closure_is_tuned_and_its_study_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a running event loop, as in a notebook; then by its name only."""
    import asyncio

    monkeypatch.chdir(tmp_path)
    offset = 1.0

    def train(config: Mapping[str, Any], state: Any = None) -> Iterator[Any]:
        x = 0.0 if state is None else state["x"]
        while True:
            x += config["lr"] * (1 - x)
            yield {"score": x + offset}, {"x": x}

    async def cell() -> raysweep.Study:
        return raysweep.tune(
            train,
            {"lr": raysweep.uniform(0.1, 0.9), "fixed": 3},
            metric="score",
            direction="maximize",
            name="closure",
            trials=3,
            epochs=3,
            progress=False,
        )

    study = asyncio.run(cell())
    assert study.state == "done"
    best = study.best
    assert best.train_config == {"lr": max(study.trials()["train_config.lr"]), "fixed": 3}
    assert best.value == pytest.approx(2 - (1 - best.train_config["lr"]) ** 3)
    again = raysweep.open("closure").extend(trials="+1", progress=False)
    assert len(again.trials()) == 4


def test_trust_that_cannot_be_remembered_holds_for_the_whole_call(
    study: raysweep.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.devnull)
    went_on: list[str] = []
    monkeypatch.setattr(revise_study, "revise_study", lambda *_: None)
    monkeypatch.setattr(run_or_resume, "run_or_resume", lambda sweep, *_: went_on.append(sweep.study_name))
    with pytest.raises(NotTrusted):
        study.extend(trials=3, address="local")
    study.extend(trials=3, address="local", trust=True)
    assert went_on == ["small"]


def test_a_study_of_the_same_name_is_told_in_the_words_of_the_api(study: raysweep.Study) -> None:
    run = {"data": "trainables.data.load_synthetic", "scheduler": None}
    sweep = {"study_name": "small", "trials": 1, "run": run}
    with pytest.raises(raysweep.RaysweepError) as raised:
        raysweep.run(sweep, runs=study.path.parent, address="local")
    told = str(raised.value).removeprefix(f"{study.path} already holds a study: ")
    assert told == "continue it with resume=True, or choose another name="


@pytest.mark.parametrize(
    ("settings", "line"), [({"top_k": 0}, "top_k: 0; give at least 1"), ({"seeds": 1}, "seeds: 1;")]
)
def test_a_retraining_of_nothing_is_refused(
    study: raysweep.Study, settings: dict[str, int], line: str
) -> None:
    with pytest.raises(raysweep.RaysweepError, match=line):
        study.retrain(**settings)  # type: ignore[arg-type]
