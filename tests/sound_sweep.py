"""A sweep of which no rule of thumb has anything to say, and what changes to it raise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from raysweep.config import LoadedSweep, read_sweep

WELL = """\
study_name: well
trials: 60
seed: 42
sampler: {name: optuna.samplers.TPESampler, kwargs: {n_startup_trials: 10}}
trial_scheduler: {name: schedulers.ASHA, kwargs: {grace_period: 3}}
run:
  data: trainables.data.load_digits
  net_config: {nodes: 32, layers: 2, dropout: 0.1}
  optimizer: torch.optim.AdamW
  optimizer_config: {lr: 1e-3, weight_decay: 1e-2}
  scheduler: null
  criterion: torch.nn.CrossEntropyLoss
  epochs: 20
search_space:
  optimizer_config:
    lr: {type: float, min: 1e-4, max: 1e-2, log: true}
"""

Read = Callable[[Sequence[str]], LoadedSweep]
ReadText = Callable[[str], LoadedSweep]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads the sweep above with `--set` assignments laid over it."""
    file = tmp_path / "well.yaml"
    file.write_text(WELL)
    return lambda sets: read_sweep(file, overrides=list(sets))


@pytest.fixture
def read_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadText:
    """Reads a text as `well.yaml` in the working directory."""
    monkeypatch.chdir(tmp_path)

    def reading(text: str) -> LoadedSweep:
        Path("well.yaml").write_text(text)
        return read_sweep("well.yaml")

    return reading
