"""On a real GPU: `pytest -m gpu`. Skipped, by the `cuda` fixture, only where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.samples import BASE, OPTIMIZERS, data_of, numbers, run_of
from trainables import device, tune
from trainables.training import Training, train
from trainables.tune import TorchTrainable

pytestmark = pytest.mark.gpu

TRIAL = {"trial": {"seed": 3}}


@pytest.fixture(autouse=True)
def _whole_gpu_again(cuda: Any) -> Iterator[None]:
    """A cap set by one test is lifted after it."""
    yield
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0, cuda)


def trainable(monkeypatch: pytest.MonkeyPatch, share: Any, **fields: Any) -> Any:
    monkeypatch.setattr(tune, "_gpu_share", lambda: share)
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | TRIAL | fields, None)
    return made


def test_parameters_moments_and_rows_are_on_the_gpu(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainable(monkeypatch, 1.0)
    result = made.step()
    learner = made.trial.training.learners[0]
    assert "outcome" not in result
    assert result["peak_memory_mb"] > 0
    assert {parameter.device for parameter in learner.net.parameters()} == {cuda}
    moments = [state["momentum"] for state in learner.optimizer.state.values()]
    assert {moment.device for moment in moments} == {cuda}
    assert {tensor.device for tensor in learner.feed.tensors} == {cuda}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_cut_at_any_epoch_goes_on_to_the_last_bit_on_the_gpu(
    cuda: Any, optimizer: Any, tmp_path: Path
) -> None:
    run = run_of(**OPTIMIZERS[optimizer], net_config={"nodes": 32, "layers": 2, "dropout": 0.2})
    data = data_of(run)
    device.device_for(1.0)
    whole = [numbers(epoch) for epoch in train(run, data, device=cuda)]
    for cut in range(1, run.epochs):
        first = Training(run, data, device=cuda)
        before = [numbers(next(first)) for _ in range(cut)]
        first.save(tmp_path / str(cut))
        torch.rand(7, device=cuda)
        after = [numbers(epoch) for epoch in train(run, data, device=cuda, resume=tmp_path / str(cut))]
        assert before + after == whole


def test_a_trial_beyond_its_share_of_the_memory_is_out_of_memory(
    cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundredth of the GPU is the cap; the net asks for a fiftieth."""
    made = trainable(monkeypatch, 0.01, net="tests.trainables.samples.Greedy", net_config={"share": 0.02})
    result = made.step()
    assert result["outcome"] == "oom"


def test_memory_is_flat_over_fifty_trials_in_one_actor(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainable(monkeypatch, 1.0)
    allocated = []
    for _ in range(50):
        assert "outcome" not in made.step()
        made.reset_config(BASE | TRIAL)
        allocated.append(torch.cuda.memory_allocated(cuda))
    assert max(allocated[5:]) <= allocated[5]


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_four_trials_of_a_quarter_gpu_overlap_in_time(cuda: Any, tmp_path: Path) -> None:
    import ray
    from ray import tune as ray_tune

    spans: dict[Any, Any] = {}

    class Spans(ray_tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, iteration: Any, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            spans.setdefault(trial.trial_id, []).append(time.time())

    ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        ray_tune.Tuner(
            ray_tune.with_resources(TorchTrainable, {"cpu": 1, "gpu": 0.25}),
            param_space=BASE | {"epochs": 2000, "optimizer_config": {"lr": ray_tune.grid_search([0.1] * 4)}},
            run_config=ray_tune.RunConfig(storage_path=str(tmp_path), verbose=0, callbacks=[Spans()]),
        ).fit()
    finally:
        ray.shutdown()
    assert len(spans) == 4
    assert max(times[0] for times in spans.values()) < min(times[-1] for times in spans.values())
