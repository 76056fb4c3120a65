"""How a GPU is shared and how it fails, by torch's errors; without computing on one (`-m gpu` does)."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainables.samples import BASE
from trainables import device
from trainables import trial as trial_module
from trainables.device import CONTEXT_MB, is_lost, is_out_of_memory, memory_cap, settle_process, utilisation
from trainables.run_config import RunError
from trainables.trial import Trial
from trainables.tune import TorchTrainable

CUDA = torch.device("cuda:0")
ASSERTED = (
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported at some "
    "other API call\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)


class NVMLError(Exception):
    """As pynvml's: not a RuntimeError."""


@pytest.mark.parametrize(
    "error", [NVMLError("Not Supported"), RuntimeError("no driver"), ModuleNotFoundError("pynvml"), OSError()]
)
def test_a_figure_that_the_driver_cannot_tell_ends_no_trial(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> int:
        raise error

    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    assert utilisation(CUDA) is None


@pytest.mark.parametrize(
    ("error", "oom"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("HIP error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
            True,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE"), False),
        (RuntimeError(ASSERTED), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_known_by_whichever_library_says_so(error: Exception, oom: bool) -> None:
    assert is_out_of_memory(error) is oom


@given(st.integers(1, 40), st.floats(2048, 200_000))
def test_trials_with_their_contexts_fit_into_the_gpu_they_share(trials: int, total_mb: float) -> None:
    share = 1 / trials
    if share * total_mb <= CONTEXT_MB:
        with pytest.raises(RunError, match="give each trial a larger share"):
            memory_cap(share, total_mb)
    else:
        assert trials * (memory_cap(share, total_mb) * total_mb + CONTEXT_MB) <= total_mb * (1 + 1e-9)


@pytest.mark.parametrize(("share", "capped"), [(0.25, 0.25 - 512 / 16384), (1.0, 1.0), (2.0, 1.0)])
def test_a_share_caps_tensors_below_it_and_a_whole_gpu_is_all_there_is(
    share: float, capped: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    caps: list[float] = []
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", "7.0")  # ROCm is used through the same calls
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    properties = SimpleNamespace(total_memory=16384 * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda cap, _: caps.append(cap))
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)
    assert device.device_for(share) == CUDA
    assert caps == [capped]


@pytest.mark.parametrize(("before", "after"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_a_training_process_has_cublas_repeat_itself_unless_told_otherwise(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if before is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before)
    settle_process()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == after


def broken_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of CUDA raises, as after a failed assertion."""

    def refuse(*_: object) -> None:
        raise torch.AcceleratorError(ASSERTED)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", refuse)
    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)


def test_a_gpu_is_lost_when_it_refuses_to_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_lost(CUDA)  # never used: nothing can be wrong
    broken_gpu(monkeypatch)
    assert is_lost(CUDA)
    assert not is_lost(torch.device("cpu"))


def test_clearing_up_after_a_lost_gpu_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    broken_gpu(monkeypatch)
    device.free_memory()


def test_an_error_of_the_gpu_is_told_by_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line is debugging advice, the same for every error."""

    def begin(*_: object, **__: object) -> None:
        raise torch.AcceleratorError(ASSERTED)

    monkeypatch.setattr(trial_module, "start_custom_loop", begin)
    trial = Trial()
    trial.begin({**BASE, "trial": {"seed": 3}}, 0.0)
    assert trial.step()["reason"] == "AcceleratorError: CUDA error: device-side assert triggered"


def test_a_process_without_its_gpu_tells_its_outcome_and_takes_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup({**BASE, "trial": {"seed": 3}, "net": "no.such.Net"}, None)
    monkeypatch.setattr(Trial, "device_lost", property(lambda _: True))
    made._termination._former = lambda *_: None  # as in an actor, where SIGTERM is taken over
    assert made.step()["outcome"] == "failed"
    assert made._termination.requested
    made._termination.cancel()
    with pytest.raises(SystemExit):
        made.reset_config({**BASE, "trial": {"seed": 4}})


def test_a_process_whose_gpu_is_lost_after_a_sound_trial_takes_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error of an earlier kernel may be raised later, by an unrelated call."""
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup({**BASE, "trial": {"seed": 3}}, None)
    assert "outcome" not in made.step()
    monkeypatch.setattr(Trial, "device_lost", property(lambda _: True))
    with pytest.raises(SystemExit):
        made.reset_config({**BASE, "trial": {"seed": 4}})
