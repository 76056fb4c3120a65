"""The baseline is the run without a search: a keyword left out has its constructor's default."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.config import read_sweep
from raysweep.config.baseline import baseline_of
from raysweep.config.sweep import Sweep
from raysweep.study.execution.searcher_factory import make_searcher

RUN = """
run:
  data: trainables.data.load_digits
  criterion: torch.nn.CrossEntropyLoss
  scheduler: null
  optimizer: {optimizer}
  net: {net}
  optimizer_config: {{{config}}}
search_space:
  optimizer_config: {{lr: {{type: float, min: 1e-4, max: 1}}}}
"""
OWN = """
import torch

EPS = 1e-3

class Mine(torch.optim.SGD):
    def __init__(self, params, lr{default}, eps=EPS):
        super().__init__(params, lr=lr)
"""


def sweep_of(
    tmp_path: Path, config: str = "", optimizer: str = "torch.optim.AdamW", default: str = "=0.5"
) -> Sweep:
    (tmp_path / "mine.py").write_text(OWN.format(default=default))
    file = tmp_path / "sweep.yaml"
    file.write_text(RUN.format(optimizer=optimizer, net="trainables.mlp.MLP", config=config))
    return read_sweep(file).sweep


@pytest.mark.parametrize(
    ("config", "optimizer", "lr"),
    [
        ("lr: 0.25", "torch.optim.AdamW", 0.25),
        ("", "torch.optim.AdamW", 1e-3),
        ("", "pytorch_optimizer.SPlus", 0.1),
        ("", "mine.Mine", 0.5),
    ],
)
def test_the_first_trial_is_the_run_with_its_defaults(
    config: str, optimizer: str, lr: float, tmp_path: Path
) -> None:
    sweep = sweep_of(tmp_path, config, optimizer)
    assert baseline_of(sweep)["optimizer_config.lr"] == lr
    first = make_searcher(sweep).ask(0)
    assert (first.source, first.config) == ("baseline", {"optimizer_config.lr": lr})


@pytest.mark.parametrize(
    ("default", "said"),
    [
        (
            "",
            "the run has no optimizer_config.lr, so no baseline is tried first; set ",
        ),
        ("=EPS", "the run has no optimizer_config.lr, so no baseline is tried first; set "),
        ("=5", "the run leaves optimizer_config.lr at its default 5, which is never searched; set "),
        ("=0.5", ""),
    ],
)
def test_a_baseline_that_cannot_be_tried_is_reported(default: str, said: str, tmp_path: Path) -> None:
    """`eps` stands for what the source gives no plain value of."""
    sweep_of(tmp_path, "", "mine.Mine", default)
    warnings = [str(each) for each in read_sweep(tmp_path / "sweep.yaml").warnings]
    assert [said in each for each in warnings if "baseline" in each] == ([True] if said else [])
