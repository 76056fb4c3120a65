"""Process-wide settings of one trial's code never affect the next trial, or the code around trials."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainables.samples import BASE, data_of, run_of
from trainables.data import Data
from trainables.process_state import ProcessState, _read
from trainables.trial import Trial

SETTERS = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "determinism": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "threads": lambda: torch.set_num_threads(2),
    "denormals": lambda: torch.set_flush_denormal(True),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "autocast dtype": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "cuDNN benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cuDNN determinism": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "cuDNN tf32": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "attention": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "forward hook": lambda: nn.modules.module.register_module_forward_hook(lambda *_: _[-1] * 2),
    "buffer hook": lambda: nn.modules.module.register_module_buffer_registration_hook(lambda *_: None),
    "backward hook": lambda: nn.modules.module.register_module_full_backward_hook(lambda *_: None),
    "working directory": lambda: os.chdir("/"),
    "environment": lambda: os.environ.update(HOME="/nowhere", A_NEW_NAME="1"),
    "lost environment": lambda: os.environ.pop("PATH"),
    "import path": lambda: sys.path.insert(0, "/nowhere"),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "numpy errors": lambda: np.seterr(all="raise"),
    "recursion limit": lambda: sys.setrecursionlimit(5000),
    "garbage collection": gc.disable,
    "streams": lambda: setattr(sys, "stdout", sys.stderr),
    "signals": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
}


class Setting(nn.Linear):
    """A net that sets something for the process when it is built or when it is used, and may fail then."""

    def __init__(
        self, in_features: int, out_features: int, what: str, when: str = "init", fails: bool = False
    ) -> None:
        super().__init__(in_features, out_features)
        self.what, self.when, self.fails = what, when, fails
        self._set("init")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._set("forward")
        return super().forward(x)

    def _set(self, now: str) -> None:
        if now == self.when:
            SETTERS[self.what]()  # type: ignore[no-untyped-call]
            if self.fails:
                raise ValueError("after it was set")


@pytest.fixture(scope="module")
def data() -> Data:
    return data_of(run_of())


@pytest.fixture(scope="module")
def fresh(data: Data) -> list[Any]:
    """The result of a trial in a process without changed settings."""
    return curve(Trial(data))


def curve(trial: Trial) -> list[Any]:
    trial.begin(BASE | {"net_config": {"nodes": 4, "layers": 1, "dropout": 0.2}, "trial": {"seed": 5}}, 0)
    results = [trial.step() for _ in range(2)]
    return [{name: each for name, each in result.items() if name not in CLOCKS} for result in results]


CLOCKS = ("epoch_s", "peak_memory_mb")


def setting_net(what: str, **fields: Any) -> dict[str, Any]:
    fields = {"net": f"{__name__}.Setting", "net_config": {"what": what} | fields, "trial": {"seed": 1}}
    return BASE | fields


@pytest.mark.parametrize(
    "fields", [{}, {"when": "forward"}, {"fails": True}], ids=["init", "forward", "fails"]
)
@pytest.mark.parametrize("what", SETTERS)
def test_what_a_net_sets_reaches_neither_the_next_trial_nor_the_process(
    what: str, fields: Any, data: Data, fresh: list[Any]
) -> None:
    before, trial = _read(), Trial(data)
    trial.begin(setting_net(what, **fields), 0)
    trial.step()
    assert _read() == before
    assert curve(trial) == fresh
    assert _read() == before


@pytest.mark.parametrize("what", SETTERS)
def test_every_setter_of_the_table_sets_something(what: str) -> None:
    state = ProcessState()
    with state.own():
        before = _read()
        SETTERS[what]()  # type: ignore[no-untyped-call]
        assert _read() != before


def test_a_trial_keeps_what_it_has_set_from_one_step_to_the_next(data: Data, tmp_path: Path) -> None:
    states = []
    state = ProcessState()
    with state.own():
        torch.set_default_dtype(torch.float64)
        os.chdir(tmp_path)
    states.append((torch.get_default_dtype(), Path.cwd() == tmp_path))
    with state.own():
        states.append((torch.get_default_dtype(), Path.cwd() == tmp_path))
    assert states == [(torch.float32, False), (torch.float64, True)]


def test_two_trials_of_one_process_may_take_turns() -> None:
    one, other = ProcessState(), ProcessState()
    with one.own():
        os.environ["WHOSE"] = "one"
    with other.own():
        os.environ["WHOSE"] = "other"
    for state, name in ((one, "one"), (other, "other"), (one, "one")):
        with state.own():
            assert os.environ["WHOSE"] == name
    assert "WHOSE" not in os.environ


MODULE = """
    import os, warnings, torch
    torch.set_default_dtype(torch.float64)
    os.environ["SET_BY_AN_IMPORT"] = "1"
    warnings.simplefilter("ignore", UserWarning)

    class Net(torch.nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            assert os.environ["SET_BY_AN_IMPORT"] == "1"
            self.line = torch.nn.Linear(in_features, out_features)

        def forward(self, x):
            return self.line(x.double())
"""


def test_what_importing_a_module_sets_holds_for_every_trial_that_uses_it(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: list[Any]
) -> None:
    """Python imports it once per process; later trials would train in another precision."""
    (tmp_path / "sets_at_import.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    fields = BASE | {"net": "sets_at_import.Net", "net_config": {}, "criterion": "torch.nn.L1Loss"}
    trial, curves, dtypes = Trial(data), [], []
    for _ in range(2):
        trial.begin(fields | {"trial": {"seed": 3}}, 0)
        assert trial.outcome is None
        dtypes.append(trial.training.learners[0].net.line.weight.dtype)
        curves.append([trial.step()["val_loss"] for _ in range(2)])
        assert curve(trial) == fresh
    assert dtypes == [torch.float64, torch.float64]
    assert curves[0] == curves[1]
    assert "SET_BY_AN_IMPORT" not in os.environ


def test_what_a_data_function_sets_stays_in_its_call(fresh: list[Any]) -> None:
    """A trial whose data come from the driver never calls it."""
    fields = {"data": f"{__name__}.data_that_sets", "data_config": {}, "net_config": {}}
    trial, before = Trial(), _read()
    trial.begin(BASE | fields | {"trial": {"seed": 3}}, 0)
    assert trial.training.learners[0].net is not None
    assert _read() == before


def data_that_sets() -> tuple[Any, ...]:
    torch.set_default_dtype(torch.float64)
    logging.getLogger(__name__)
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), rng.normal(size=60)


def test_two_trials_compute_alike_unless_one_has_set_something_of_torchs() -> None:
    plain, warns, double = ProcessState(), ProcessState(), ProcessState()
    with warns.own():
        warnings.simplefilter("ignore")
    with double.own():
        torch.set_default_dtype(torch.float64)
    assert plain.computes_like(warns)
    assert not plain.computes_like(double)
