"""A study on a real Ray: the contract of `run_tuner`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.cluster.embedded import embedded_ray
from raysweep.config import Sweep
from raysweep.study.execution.controller import Finish
from raysweep.study.execution.extend import as_overrides, check_extension, revised
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.journal.events import (
    CheckpointSaved,
    EpochReported,
    Event,
    Subscriber,
    TrialExploited,
    TrialRecovered,
    TrialRetried,
    TrialStarted,
)
from raysweep.study.journal.log import read_events
from raysweep.study.storage.layout import StudyFolder
from schedulers.fifo import FIFORule
from schedulers.tune.train_ahead import TrainAhead
from tests.builders import LR, small_sweep
from trainables.data import load

pytestmark = pytest.mark.ray
RUN = {
    "data": "trainables.data.load_diabetes",
    "train": "tests.study.toy.train",
    "epochs": 4,
    "optimizer_config": {"lr": 0.1},
}
CLOCKED = ("epoch_s", "peak_memory_mb")
KIND = {"net_config.kind": {"type": "categorical", "choices": ["sound", "raises", "oom", "nan"]}}


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with embedded_ray():
        yield


Conduct = Callable[..., Finish]


@pytest.fixture
def conduct(tmp_path: Path) -> Conduct:
    """Run a small sweep with this test's words; called again with the same name it resumes."""
    from raysweep.study.execution.run_plan import RunPlan
    from raysweep.study.execution.tuner import run_tuner

    def run(
        name: str = "toy",
        *,
        stop: StopSignal | None = None,
        ears: Any = (),
        slots: int = 2,
        on_oom: Any = None,
        data: Any = None,
        **words: Any,
    ) -> Finish:
        sweep = toy_sweep(**words)
        folder = StudyFolder(tmp_path / name)
        if not folder.meta_file.exists():
            StudyFolder.create(tmp_path, name, sweep, "")
        plan = RunPlan(sweep, folder, slots, {"cpu": 1}, oom_resources=on_oom, data=data)
        return run_tuner(plan, stop=stop or StopSignal(), subscribers=list(ears))

    return run


def toy_sweep(trials: int = 4, run: dict[str, Any] | None = None, **words: Any) -> Sweep:
    sampler = {"name": "optuna.samplers.RandomSampler"}
    merged = {**RUN, **(run or {})}
    paths = [str(Path(__file__).parents[2])]
    return small_sweep(trials, **{"sampler": sampler, "run": merged, "import_paths": paths, **words})


def events_of(folder: Path) -> list[Any]:
    return list(read_events(folder / "journal"))


def test_every_slot_has_its_own_process_and_both_get_their_share(tmp_path: Path, conduct: Conduct) -> None:
    finish = conduct(trials=40, run={"epochs": 3, "net_config": {"step_s": 0.05}})
    assert finish.exit_code == 0
    epochs = Counter(e.worker for e in events_of(tmp_path / "toy") if isinstance(e, EpochReported))
    assert len(epochs) == 2
    assert min(epochs.values()) >= 0.3 * sum(epochs.values())


def test_ray_keeps_neither_averages_nor_a_snapshot_of_a_trial(tmp_path: Path, conduct: Conduct) -> None:
    """The journal has it; Ray's, which is never read, cost the driver 50 KB a trial."""
    conduct(trials=3)
    [snapshot] = (tmp_path / "toy/ray/attempt-1").glob("experiment_state-*.json")
    assert json.loads(snapshot.read_text())["trial_data"] == [["{}", "{}"]] * 3


def test_each_end_has_its_own_name_and_an_error_keeps_its_traceback(tmp_path: Path, conduct: Conduct) -> None:
    points = [{"net_config.kind": kind, LR: 0.1} for kind in ("raises", "oom", "nan", "sound")]
    space = {LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True}, **KIND}
    finish = conduct(search_space=space, points_to_evaluate=points, baseline=False)
    trials = list(finish.record.trials.values())
    assert [trial.outcome for trial in trials] == ["failed", "infeasible", "diverged", "completed"]
    assert trials[0].reason == "KeyError: 'no such column'"
    assert 'raise KeyError("no such column")' in trials[0].error
    assert finish.exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        pytest.param(
            {"trials": 2, "run": {"net_config": {"kind": "raises"}}},
            4,
            "no trial succeeded",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            {"run": {"net_config": {"kind": "raises"}}},
            5,
            "the same error in 3 trials in a row: KeyError: 'no such column'",
            marks=pytest.mark.nightly,
        ),
        (
            {"run": {"net_config": {"kind": "raises"}}, "max_failures": 1},
            5,
            "2 trials failed, max_failures is 1",
        ),
        (
            {"run": {"epochs": 1000}, "time_budget_s": 1.0},
            7,
            "time budget of 1 s used up",
        ),
    ],
)
def test_a_sweep_without_a_winner_says_why_by_its_exit_code(
    conduct: Conduct, words: dict[str, Any], code: int, reason: str
) -> None:
    finish = conduct(**{"trials": 6, **words})
    assert (finish.exit_code, finish.reason) == (code, reason)


def test_a_stopped_sweep_continues_from_checkpoints_without_repeats(tmp_path: Path, conduct: Conduct) -> None:
    stop = StopSignal()

    def after_five_epochs(event: Event) -> None:
        if isinstance(event, EpochReported) and event.work >= 5:
            stop.request("interrupted by SIGINT")

    words = {"trials": 3, "run": {"epochs": 12, "net_config": {"step_s": 0.2}}}
    ears: list[Subscriber] = [after_five_epochs]
    first = conduct(stop=stop, ears=ears, **words)
    assert (first.exit_code, first.reason) == (130, "interrupted by SIGINT")
    assert {trial.status for trial in first.record.unfinished()} == {"paused"}
    second = conduct(**words)
    assert second.exit_code == 0
    epochs = [(e.trial, e.epoch) for e in events_of(tmp_path / "toy") if isinstance(e, EpochReported)]
    assert sorted(epochs) == [(f"0000{n}", epoch) for n in range(3) for epoch in range(1, 13)]


def test_a_journal_of_full_loads_is_that_of_single_epochs_but_for_times(
    tmp_path: Path, conduct: Conduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under PBT, which pauses and copies; on one slot, where the order of reports is no accident."""
    rule = {"name": "schedulers.PBT", "kwargs": {"perturbation_interval": 4}}
    words = {"slots": 1, "trial_scheduler": rule, "run": {"epochs": 8, "net_config": {"step_s": 0}}}
    stories, loads = [], []
    limits = TrainAhead.limits
    monkeypatch.setattr(TrainAhead, "limits", lambda self, trial: loads.append(1) or limits(self, trial))  # type: ignore[func-returns-value]
    for name, seconds in (("single", 0.0), ("full", 0.5)):
        monkeypatch.setattr("raysweep.study.execution.tuner.AHEAD_S", seconds)
        conduct(name, trials=3, **words)
        stories.append([_timeless(event) for event in events_of(tmp_path / name)])
    assert stories[0] == stories[1]
    epochs = sum(event["kind"] == "reported" for event in stories[1])
    assert len(loads) < 0.7 * epochs


def _timeless(event: Event) -> dict[str, Any]:
    """An event without what depends on the clock, the process, or the folder of its study."""
    fields = {"kind": event.kind, **dataclasses.asdict(event)}
    metrics = {key: value for key, value in fields.get("metrics", {}).items() if key not in CLOCKED}
    timeless = {key: value for key, value in fields.items() if key not in ("t", "worker")}
    return timeless | {"metrics": {key: repr(value) for key, value in metrics.items()}}  # nan is not nan


def test_a_killed_worker_costs_the_trial_nothing(tmp_path: Path, conduct: Conduct) -> None:
    finish = conduct(trials=2, run={"net_config": {"kind": "kills", "mark": str(tmp_path / "mark")}})
    events = events_of(tmp_path / "toy")
    assert finish.record.counts() == {"completed": 2}
    assert len([event for event in events if isinstance(event, TrialRecovered)]) == 1
    assert len([event for event in events if isinstance(event, TrialStarted)]) == 3


@pytest.mark.faults
def test_out_of_memory_and_hanging_are_told_apart_and_each_has_its_cure(
    tmp_path: Path, conduct: Conduct
) -> None:
    kinds = ("oom", "hangs", "oom_once", "sound")
    space = {
        LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True},
        "net_config.kind": {"type": "categorical", "choices": list(kinds)},
    }
    finish = conduct(
        search_space=space,
        points_to_evaluate=[{"net_config.kind": kind, LR: 0.1} for kind in kinds],
        baseline=False,
        trial_timeout_s=6,
        data=load(toy_sweep().run),  # else each process begins with the import of scikit-learn
        on_oom={"cpu": 2, "gpu": 0},
        run={"net_config": {"mark": str(tmp_path / "mark")}},
    )
    trials = list(finish.record.trials.values())
    assert [trial.outcome for trial in trials] == ["infeasible", "failed", "completed", "completed"]
    assert trials[0].reason == "MemoryError: out of memory; also with cpu 2, gpu 0"
    assert trials[1].reason.startswith("no epoch in 6 s (trial_timeout_s)")
    retried = [event for event in events_of(tmp_path / "toy") if isinstance(event, TrialRetried)]
    assert [(event.trial, event.resources["cpu"]) for event in retried] == [("00000", 2), ("00002", 2)]
    assert (tmp_path / "toy/trials/00000/error.txt").read_text().endswith("MemoryError: out of memory\n")
    [hung, short] = json.loads((tmp_path / "toy/status.json").read_text())["failures"]
    assert {hung["outcome"], short["outcome"]} == {"failed", "infeasible"}


def test_an_extended_study_continues_with_more_epochs_and_trials(tmp_path: Path, conduct: Conduct) -> None:
    words: dict[str, Any] = {"checkpoint_config": {"enabled": True}, "scheduler": None}
    first = conduct(trials=2, slots=1, run={**words, "epochs": 3})
    folder = StudyFolder(tmp_path / "toy")
    new = revised(folder, [*as_overrides(folder.stored_sweep(), "+1", 5), f"search_space.{LR}.max=2.0"])
    extension = check_extension(folder, new, first.record, FIFORule(max_resource=3))
    assert (extension.reopened, extension.again) == (("00000", "00001"), 0)
    folder.revise(new, extension.changes, time.time())
    finish = conduct(
        trials=3, slots=1, run={**words, "epochs": 5}, search_space=new.model_dump()["search_space"]
    )
    assert finish.record.counts() == {"completed": 3}
    assert [trial.revision for trial in finish.record.trials.values()] == [0, 0, 1]
    epochs = [
        (e.trial, e.epoch, e.again) for e in events_of(tmp_path / "toy") if isinstance(e, EpochReported)
    ]
    assert sorted(epochs) == [(f"0000{n}", epoch, False) for n in range(3) for epoch in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "kwargs", "each"),
    [
        ("PBT", {"perturbation_interval": 2}, 2),  # its newest, and at the milestone where it may be copied
        pytest.param("ASHA", {"reduction_factor": 2, "variant": "promotion"}, 1, marks=pytest.mark.nightly),
    ],
)
def test_the_disk_never_holds_more_checkpoints_than_can_be_needed(
    tmp_path: Path, conduct: Conduct, name: str, kwargs: dict[str, Any], each: int
) -> None:
    """With `keep_last_k: 1`; in the end the last of each that was completed."""
    most = 0

    def count(event: Event) -> None:
        nonlocal most
        if isinstance(event, CheckpointSaved):
            most = max(most, len(list(tmp_path.glob("toy/ray/attempt-1/*/checkpoint_*"))))

    keep = {"enabled": True, "save_every_n_epochs": 1, "keep_last_k": 1, "save_best": False}
    words = {"epochs": 8, "checkpoint_config": keep}
    scheduler = {"name": f"schedulers.{name}", "kwargs": kwargs}
    finish = conduct(trials=4, run=words, trial_scheduler=scheduler, ears=[count])
    made = [event for event in events_of(tmp_path / "toy") if isinstance(event, CheckpointSaved)]
    assert len(made) > 6
    assert most <= 4 * each + 2  # each of two slots may have one in the making
    left = list(tmp_path.glob("toy/ray/attempt-1/*/checkpoint_*"))
    assert len(left) == max(1, finish.record.counts()["completed"])  # where none was, the best one's


def test_the_perturbed_rate_of_an_exploit_governs_the_next_epoch(tmp_path: Path, conduct: Conduct) -> None:
    conduct(
        trials=4,
        run={"epochs": 8},
        trial_scheduler={"name": "schedulers.PBT", "kwargs": {"perturbation_interval": 2}},
    )
    record: dict[tuple[Any, ...], float] = {}
    for event in events_of(tmp_path / "toy"):
        if isinstance(event, EpochReported):
            record[event.trial, event.epoch] = event.metrics["lr"]
        elif isinstance(event, TrialExploited):
            record[event.trial, "copied at", event.epoch] = event.config[LR]
    copied = {key: lr for key, lr in record.items() if len(key) == 3}
    assert copied
    for (trial, _, epoch), lr in copied.items():
        assert record[trial, epoch + 1] == lr


def test_best_yaml_and_status_json_say_what_the_record_says(tmp_path: Path, conduct: Conduct) -> None:
    finish = conduct()
    best = finish.record.best()
    assert best is not None
    run = yaml.safe_load((tmp_path / "toy/best.yaml").read_text())
    status = json.loads((tmp_path / "toy/status.json").read_text())
    assert run["optimizer_config"]["lr"] == best.config[LR]
    assert (status["state"], status["best"]["trial"], status["exit_code"]) == ("done", best.trial, 0)
    assert status["trials"] == {"wanted": 4, "asked": 4, "completed": 4}


@pytest.mark.faults
def test_failed_members_of_a_population_are_replaced_by_copies_and_counted(
    tmp_path: Path, conduct: Conduct
) -> None:
    """One raises, one takes its worker with it three times running: both go on from another's weights."""
    finish = conduct(
        trials=4,
        run={"epochs": 6, "net_config": {"raises_at": 0.5, "kills_at": 0.25}},
        points_to_evaluate=[{LR: lr} for lr in (0.5, 0.25, 0.1, 0.2)],
        baseline=False,
        trial_scheduler={"name": "schedulers.PBT", "kwargs": {"perturbation_interval": 3}},
    )
    trials = list(finish.record.trials.values())
    assert (finish.exit_code, finish.record.counts()) == (0, {"completed": 4})
    assert [[fall.reason for fall in trial.failures_before_copy] for trial in trials] == [
        ["KeyError: 'no such column'"],
        ["lost its worker 3 times without a new epoch"],
        [],
        [],
    ]
    assert finish.record.failures == 2
    assert all(trial.lineage[0].donor in ("00002", "00003") for trial in trials[:2])
    assert len([e for e in events_of(tmp_path / "toy") if isinstance(e, TrialRecovered)]) == 2
