"""The trainable, without a cluster: whatever happens is a result."""

from __future__ import annotations

import errno
import math
import os
import pickle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from tests.trainables.samples import BASE, data_of, run_of
from trainables import device, trial, tune
from trainables.checkpoint_integrity import STATE, CorruptCheckpoint
from trainables.data import Data
from trainables.first_step_failed import FirstStepFailed
from trainables.run_config import RunError
from trainables.tune import TorchTrainable

SAMPLES = "tests.trainables.samples."
TRIAL = {"trial": {"seed": 3}}


def trainable(given: Data | None = None, **fields: Any) -> TorchTrainable:
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | TRIAL | fields, given)
    return made


def clock_free(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what depends on the machine."""
    return {
        key: value for key, value in result.items() if key not in ("epoch_s", "peak_memory_mb", "process")
    }


def test_a_result_is_an_epoch() -> None:
    made = trainable()
    assert made.step()["process"] == {"torch": torch.__version__, "gpu": ""}
    result = made.step()
    assert set(result) == {
        *("epoch", "val_loss", "val_loss_raw", "train_loss", "lr", "grad_norm", "epoch_s"),
        *("r2", "peak_memory_mb"),
    }
    assert result["epoch"] == 2
    assert all(math.isfinite(value) for value in result.values())


@pytest.mark.parametrize(
    ("fields", "outcome", "reason"),
    [
        ({"net": SAMPLES + "Failing", "net_config": {}}, "failed", "KeyError: 'no such feature'"),
        ({"net": SAMPLES + "Quitting", "net_config": {}}, "failed", "SystemExit: 3"),
        ({"net": SAMPLES + "Hungry", "net_config": {}}, "oom", "MemoryError: out of everything"),
        ({"net": "no.such.Net"}, "failed", "no.such.Net: no module 'no'"),
        ({"net_config": {"layer": 2}}, "failed", "got an unexpected keyword argument 'layer'"),
        ({"epochs": 0}, "failed", "run.epochs: Input should be greater than or equal to 1; it is 0"),
        ({"data": SAMPLES + "nonsense", "data_config": {}}, "failed", "returned str"),
        ({"optimizer_config": {"lr": -1.0}}, "failed", "NegativeLRError"),
        ({"train": SAMPLES + "wrong"}, "failed", "yields dict"),
    ],
)
def test_whatever_fails_is_an_outcome_with_its_reason_and_traceback(
    fields: Any, outcome: str, reason: str
) -> None:
    made = trainable(**fields)
    result = made.step()
    assert result["outcome"] == outcome
    assert reason in result["reason"]
    assert "\n" not in result["reason"]
    assert result["error"].startswith("Traceback")
    assert math.isnan(result["val_loss"])


def test_a_failure_has_a_value_for_every_metric_a_scheduler_may_look_for() -> None:
    """Ray ends the whole experiment if a result lacks the metric."""
    result = trainable(net="no.such.Net", metrics={"auc": "math.tau"}).step()
    assert math.isnan(result["auc"])


def test_divergence_is_an_outcome_with_its_epoch() -> None:
    sgd = {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 1e20}, "scheduler": None}
    made = trainable(**sgd)  # type: ignore[arg-type]
    results = [made.step()]
    while "outcome" not in results[-1]:
        results.append(made.step())
    assert results[-1]["outcome"] == "diverged"
    assert f"at epoch {results[-1]['epoch']}" in results[-1]["reason"]


def test_a_trial_ended_by_patience_is_complete_and_keeps_its_last_epoch() -> None:
    made = trainable(early_stopping_config={"enabled": True, "patience": 1, "min_delta": 100})
    assert "outcome" not in made.step()
    last = made.step()
    assert (last["outcome"], last["epoch"]) == ("completed", 2)
    assert math.isfinite(last["val_loss"])


def test_a_loop_of_the_users_that_ends_by_itself_is_complete() -> None:
    made = trainable(train=SAMPLES + "short")
    assert "outcome" not in made.step()
    assert made.step()["outcome"] == "completed"


def test_in_a_plain_program_the_last_epoch_is_done() -> None:
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | {"epochs": 2}, None)
    assert ["done" in made.step() for _ in range(2)] == [False, True]


def test_under_the_service_nothing_is_ever_done() -> None:
    """With a service, a trial's end is always a rule's decision."""
    made = trainable(epochs=1)
    assert not any("done" in made.step() for _ in range(3))


def test_a_reused_actor_gives_the_curve_of_a_fresh_one(tmp_path: Path) -> None:
    fresh = trainable()
    expected = [clock_free(fresh.step()) for _ in range(4)]
    reused = trainable(net_config={"nodes": 32, "dropout": 0.5})
    reused.step()
    assert reused.reset_config(BASE | TRIAL)
    assert [clock_free(reused.step()) for _ in range(4)] == expected


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_trial_restored_in_a_reused_actor_goes_on_to_the_last_bit(cut: int, tmp_path: Path) -> None:
    fresh = trainable()
    expected = [clock_free(fresh.step()) for _ in range(4)]
    first = trainable()
    for _ in range(cut):
        first.step()
    first.save_checkpoint(str(tmp_path))
    other = trainable(net_config={"nodes": 32})
    other.step()
    other.reset_config(BASE | TRIAL)
    other.load_checkpoint(str(tmp_path))
    assert [clock_free(other.step()) for _ in range(cut, 4)] == expected[cut:]


def test_a_failure_does_not_outlive_the_trial_that_had_it() -> None:
    made = trainable(net="no.such.Net")
    assert made.step()["outcome"] == "failed"
    made.reset_config(BASE | TRIAL)
    assert "outcome" not in made.step()


def test_the_seed_of_the_trial_wins_over_the_run_configs() -> None:
    one, same, other = (trainable(trial={"seed": seed}, seeds=[7]).step()["val_loss"] for seed in (1, 1, 2))
    assert one == same != other


def test_data_given_are_not_loaded_again() -> None:
    data = data_of(run_of())
    with patch.object(trial, "load", side_effect=AssertionError("loaded")):
        assert "outcome" not in trainable(data).step()


def test_data_that_the_trial_changes_are_loaded_and_kept_for_the_next() -> None:
    data = data_of(run_of())
    with patch.object(trial, "load", wraps=trial.load) as loads:  # type: ignore[attr-defined]
        made = trainable(data, data_config={"rows": 200})
        made.step()
        assert made.reset_config(BASE | TRIAL | {"data_config": {"rows": 200}})
        assert "outcome" not in made.step()
    assert loads.call_count == 1


def test_nothing_of_the_users_runs_before_the_first_step() -> None:
    """A net that hangs while it is built must look like a running trial, so that the time limit applies."""
    with patch.object(trial, "start_custom_loop", wraps=trial.start_custom_loop) as begins:  # type: ignore[attr-defined]
        made = trainable()
        assert made.reset_config(BASE | TRIAL)
        assert begins.call_count == 0
        made.step()
    assert begins.call_count == 1


def test_modules_are_found_in_the_import_paths(tmp_path: Path) -> None:
    (tmp_path / "net_beside_the_sweep.py").write_text("from torch.nn import Linear as Net\n")
    made = trainable(net="net_beside_the_sweep.Net", net_config={}, import_paths=[str(tmp_path)])
    assert "outcome" not in made.step()


@pytest.mark.parametrize(
    ("config", "epochs"),
    [
        ({}, []),
        ({"enabled": True, "save_every_n_epochs": 2, "save_best": False}, [2, 4]),
        ({"enabled": True, "save_every_n_epochs": 3, "monitor": "epoch", "mode": "max"}, [1, 2, 3, 4]),
        ({"enabled": True, "save_every_n_epochs": 3, "monitor": "epoch", "mode": "min"}, [1, 3, 4]),
    ],
)
def test_checkpoint_config_says_when_to_save(config: Any, epochs: Any) -> None:
    made = trainable(checkpoint_config=config)
    asked = [result["epoch"] for result in (made.step() for _ in range(4)) if result.get("should_checkpoint")]
    assert asked == epochs


def test_a_long_trial_asks_for_a_checkpoint_by_the_clock() -> None:
    made = trainable()
    made.step()
    made.trial.saved_at -= trial.CHECKPOINT_S
    assert made.step()["should_checkpoint"]


@pytest.mark.parametrize(
    ("cuda_build", "rocm_build", "sentence"),
    [
        (None, None, "is built without CUDA or ROCm"),
        ("13.0", None, "sees no GPU"),
        (None, "7.0", "sees no GPU"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_an_error_never_a_silent_cpu(
    cuda_build: str | None, rocm_build: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda_build)
    monkeypatch.setattr(torch.version, "hip", rocm_build)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match=sentence):
        device.device_for(0.25)


def test_such_a_gpu_is_the_trials_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(tune, "_gpu_share", lambda: 0.25)
    result = trainable().step()
    assert result["outcome"] == "failed"
    assert "the trial was given 0.25 GPU, but torch" in result["reason"]


def test_a_device_in_the_run_config_is_noted_only() -> None:
    """`cuda:0` means "a GPU": Ray allocates which one, if any."""
    assert "outcome" not in trainable(device="cuda:0").step()


def test_torchs_cpu_allocator_running_out_is_out_of_memory() -> None:
    assert trainable(net=SAMPLES + "Greedy", net_config={}).step()["outcome"] == "oom"


@pytest.mark.parametrize(
    ("number", "goes_on"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOENT, False)]
)
def test_a_refused_checkpoint_is_told_by_the_next_result_and_ends_nothing(number: int, goes_on: bool) -> None:
    """A missing file is a bug of the code that saves, not an error of the disk."""
    made = trainable()
    made._trial_info = None
    made.step()
    with patch("ray.tune.Trainable.save", side_effect=OSError(number, "no")):
        if not goes_on:
            with pytest.raises(OSError, match="no"):
                made.save()
            return
        assert made.save().checkpoint is None
    result = made.step()
    assert result["unsaved"].endswith(f"at epoch 1: no checkpoint could be written: {os.strerror(number)}")
    assert result["epoch"] == 2
    assert "unsaved" not in made.step()


def test_a_damaged_checkpoint_is_raised_and_leaves_the_trial_as_it_was(tmp_path: Path) -> None:
    """The caller may have older ones; an outcome would end the trial."""
    made = trainable()
    made.step()
    made.save_checkpoint(str(tmp_path))
    (tmp_path / STATE).write_bytes(b"torn")
    with pytest.raises(CorruptCheckpoint, match="the checkpoint is damaged"):
        made.load_checkpoint(str(tmp_path))
    assert made.step()["epoch"] == 2


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, ()),
        ({"scheduler": "torch.optim.lr_scheduler.ConstantLR", "scheduler_config": {"factor": 0.0}}, ()),
        ({"train": SAMPLES + "wrong"}, ()),  # a loop of the user's own is not looked into
        ({"net": SAMPLES + "Headless", "net_config": {}}, ()),  # an unused head is a note of preflight's
        (
            {"net": SAMPLES + "Detached", "net_config": {}},
            (
                f"default: failed: net: no gradient reaches any parameter of {SAMPLES}Detached: "
                "its outputs depend on none that is trained; is something detached, or everything frozen?",
            ),
        ),
        (
            {"net": SAMPLES + "Overflowing", "net_config": {}},
            (
                "gradients: default: not finite: layer.weight, layer.bias; "
                "look at the data's scale, the net and the criterion",
            ),
        ),
        (
            {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 1e-30}, "scheduler": None},
            ("optimizer: default: a step changes no parameter; is its rate 0?",),
        ),
        ({"net": SAMPLES + "Failing", "net_config": {}}, ("default: failed: KeyError: 'no such feature'",)),
        ({"net": SAMPLES + "Hungry", "net_config": {}}, ("default: oom: MemoryError: out of everything",)),
    ],
)
def test_a_process_takes_a_step_of_the_default_before_its_first_trial(fields: Any, reasons: Any) -> None:
    """The failure is an error that has crossed processes, not a trial's result."""
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | TRIAL, None, BASE | TRIAL | fields)
    if not reasons:
        assert made.step()["epoch"] == 1
        return
    with pytest.raises(FirstStepFailed) as caught:
        made.step()
    assert pickle.loads(pickle.dumps(caught.value)).reasons == reasons


def test_the_step_before_the_first_trial_changes_nothing_of_it() -> None:
    plain, looked = trainable(), TorchTrainable.__new__(TorchTrainable)
    looked.setup(BASE | TRIAL, None, BASE | TRIAL)
    assert [clock_free(plain.step()) for _ in range(2)] == [clock_free(looked.step()) for _ in range(2)]


# Several epochs in one answer


class Steps(TorchTrainable):
    """Ray's `train` without a Ray."""

    def train(self) -> dict[str, Any]:
        return self.step()


def stepping(**fields: Any) -> Steps:
    made = Steps.__new__(Steps)
    made.setup(BASE | TRIAL | fields, None)
    return made


def epochs_of(results: list[Any]) -> list[Any]:
    return [(result["epoch"], result.get("followed", False)) for result in results]


def test_epochs_handed_over_together_are_those_of_single_steps() -> None:
    alone, together = trainable(), stepping()
    singles = [clock_free(alone.step()) for _ in range(3)]
    results = together.train_buffered(3, 60.0)
    assert epochs_of(results) == [(1, True), (2, True), (3, False)]
    assert [{k: v for k, v in clock_free(r).items() if k != "followed"} for r in results] == singles


def test_only_the_last_of_several_results_has_rays_copy_of_the_config() -> None:
    made = stepping()
    made.train = lambda: made.step() | {"config": made.config}  # type: ignore[method-assign]
    made.config = BASE
    assert ["config" in result for result in made.train_buffered(3, 60.0)] == [False, False, True]


def test_no_epoch_is_begun_after_its_time_but_one_always() -> None:
    made = stepping()
    assert epochs_of(made.train_buffered(5, 0.0)) == [(1, False)]


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        (
            {"checkpoint_config": {"enabled": True, "save_every_n_epochs": 2, "save_best": False}},
            "should_checkpoint",
        ),
        ({"train": SAMPLES + "second_epoch", "net_config": {"kind": "ends"}}, "outcome"),
        ({"train": SAMPLES + "second_epoch", "net_config": {"kind": "diverges"}}, "outcome"),
        ({"train": SAMPLES + "second_epoch", "net_config": {"kind": "fails"}}, "outcome"),
        ({"train": SAMPLES + "second_epoch", "net_config": {"kind": "has no auc"}}, "auc"),
    ],
)
def test_whatever_needs_an_answer_is_the_last_of_its_load(fields: dict[str, Any], last: str) -> None:
    """Of all the loops here something is to be decided at the second result."""
    results = stepping(**fields).train_buffered(4, 60.0)
    assert [result.get("followed", False) for result in results] == [True, False]
    assert last in results[-1]
