"""The training loop: a run config and data in, one `Epoch` after another out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainables import checkpoint
from trainables.data import Data, Split, subsample
from trainables.learner import Learner, Scores
from trainables.rng_state import RngState
from trainables.run_config import EarlyStopping, RunConfig, settings_at


@dataclass(frozen=True, slots=True)
class Epoch:
    """Statistics of one training epoch.

    Attributes:
        number: 1 for the first.
        train_loss: mean over the training rows, each before its step.
        val_loss: over the validation rows, after the epoch; not finite if training has diverged.
        metrics: `accuracy` or `r2`, and the user's own; if the optimizer validates with an average of its
            weights, also `val_loss_raw`: `val_loss` of the trained weights.
        lr: learning rate of the epoch's last step, first parameter group.
        grad_norm: mean total norm of the gradients, before clipping.
        seconds: wall time of the epoch.
    """

    number: int
    train_loss: float
    val_loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    lr: float = math.nan
    grad_norm: float = math.nan
    seconds: float = math.nan

    def value(self, name: str) -> float:
        """A loss or metric by its name; NaN if there is none."""
        losses = {"val_loss": self.val_loss, "train_loss": self.train_loss}
        return losses.get(name, self.metrics.get(name, math.nan))

    @property
    def losses(self) -> dict[str, float]:
        """The losses by name, which must be finite for the training to go on."""
        return {"train_loss": self.train_loss, "val_loss": self.val_loss}

    @property
    def finite(self) -> bool:
        """Whether all losses are finite."""
        return all(map(math.isfinite, self.losses.values()))


@dataclass(frozen=True, slots=True)
class FusedEpoch:
    """An epoch of a learner that was trained together with others.

    Attributes:
        scores: the result of `Learner.epoch`, or the exception that it would have raised.
        seconds: this learner's share of the time.
    """

    scores: Scores | Exception
    seconds: float


def train(
    run: RunConfig,
    data: Data,
    *,
    device: torch.device | str = "cpu",
    seed: int | None = None,
    resume: str | Path | None = None,
) -> Iterator[Epoch]:
    """Train, and yield every epoch when it is done.

    The same run, data, seed and kind of device give the same numbers to the last bit, with or without
    resuming after any epoch (if `torch.set_num_threads` is the same).

    Args:
        run: what to train.
        data: what to train on, see `trainables.data.load`.
        device: where.
        seed: of initial weights, dropout and data order; the first of `run.seeds` if None.
        resume: a directory that `Training.save` has written.

    Raises:
        RunError: if the run config cannot be built.
        CheckpointError: if `resume` cannot be read.
    """
    training = Training(run, data, device=device, seed=seed)
    if resume is not None:
        training.load(resume)
    yield from training


class Training(Iterator[Epoch]):
    """A training that can be saved and loaded between epochs.

    With folds it trains one net per fold side by side, and an epoch is the mean over them.

    Attributes:
        number: epochs done.
        ended: why there is no further epoch, or "".
        fused: the next epoch, if the only learner was already trained together with others.
    """

    def __init__(
        self, run: RunConfig, data: Data, *, device: torch.device | str = "cpu", seed: int | None = None
    ) -> None:
        self.run, self.data = run, subsample(data, run)
        self.device = torch.device(device)
        self.seed = run.seeds[0] if seed is None else seed
        self.random = RngState(self.seed, self.device)
        with self.random.own():
            self.learners = self._learners(settings_at(run, 0))
        self.patience = Patience(run.early_stopping_config)
        self.number = 0
        self.ended = ""
        self.fused: FusedEpoch | None = None

    def __next__(self) -> Epoch:
        """Train one more epoch.

        Raises:
            StopIteration: after the last one; `ended` says why.
        """
        if not self.ended and self.number >= self.run.epochs:
            self.ended = f"finished all {self.run.epochs} epochs"
        if self.ended:
            raise StopIteration
        started = time.perf_counter()
        self._follow_schedule()
        scores, fused_s = self._train()
        self.number += 1
        epoch = mean(self.number, scores, time.perf_counter() - started + fused_s)
        if not epoch.finite:
            self.ended = f"loss is not finite at epoch {epoch.number}"
        else:
            self.ended = self.patience.ends(epoch)
        return epoch

    def _train(self) -> tuple[list[Scores], float]:
        """Train each learner for an epoch; or take the fused epoch, with its seconds."""
        fused, self.fused = self.fused, None
        if fused is None:
            with self.random.own():
                return [learner.epoch() for learner in self.learners], 0.0
        if isinstance(fused.scores, Exception):
            raise fused.scores
        return [fused.scores], fused.seconds

    def _learners(self, settings: RunConfig) -> list[Learner]:
        """New learners, one per part, with the current settings."""
        return [
            Learner(settings, self.data, part, self.device, self.seed + fold)
            for fold, part in enumerate(self.data.parts)
        ]

    def _follow_schedule(self) -> None:
        """Change the settings if `run.schedule` does so here, as PBT does for a copy."""
        if all(change.after_epoch != self.number for change in self.run.schedule):
            return
        before = self.random.state_dict()
        with self.random.own():
            learners = self._learners(settings_at(self.run, self.number))
        self.random.load_state_dict(before)  # building nets has drawn from it
        for old, new in zip(self.learners, learners, strict=True):
            new.load_state_dict(old.state_dict(), old.run)
        self.learners = learners

    def costs(self) -> dict[str, float]:
        """The costs in `run.costs`, of the first learner's net."""
        return self.learners[0].costs()

    def evaluate(self, split: Split) -> dict[str, float]:
        """`loss` and metrics on other rows (a test split), by the first learner."""
        return self.learners[0].evaluate(split)

    def weights(self) -> dict[str, torch.Tensor]:
        """The first learner's state dict for inference, on the CPU."""
        return self.learners[0].weights()

    def save(self, directory: str | Path) -> None:
        """Write all that the next epoch depends on, and the run config."""
        state: dict[str, Any] = {
            "run": self.run.model_dump_json(),
            "number": self.number,
            "ended": self.ended,
            "patience": {"best": self.patience.best, "at": self.patience.at},
            "random": self.random.state_dict(),
            "learners": [learner.state_dict() for learner in self.learners],
        }
        checkpoint.save(directory, state)

    def load(self, directory: str | Path) -> None:
        """Go on from what `save` wrote; call it on a new training.

        With the same run config the training goes on to the last bit; with another one see
        `Learner.load_state_dict`.

        Raises:
            CheckpointError: if it is damaged, or of another net or number of folds.
        """
        state = checkpoint.load(directory)
        if len(state["learners"]) != len(self.learners):
            folds = f"{len(state['learners'])} folds, the data {len(self.learners)}"
            raise checkpoint.CheckpointError(f"{directory}: the checkpoint has {folds}")
        saved_run = RunConfig.model_validate_json(state["run"])
        is_same = RunConfig.model_validate_json(self.run.model_dump_json()) == saved_run
        self.number = state["number"]
        last = max(self.number - 1, 0)  # a change after the saved epoch is yet to come
        if self.run.schedule:
            self.learners = self._learners(settings_at(self.run, last))
        for learner, saved in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(saved, learner.run if is_same else settings_at(saved_run, last))
        self.random.load_state_dict(state["random"])
        self.patience.best, self.patience.at = state["patience"]["best"], state["patience"]["at"]
        self.ended = state["ended"] if is_same else ""


class Patience:
    """Early stopping: counts the epochs without a better value of `monitor`.

    Args:
        config: the early stopping of the run config.
    """

    def __init__(self, config: EarlyStopping) -> None:
        self.config = config
        self.best = math.inf  # best value, or its negative for mode "max"
        self.at = 0  # epoch of the best value

    def ends(self, epoch: Epoch) -> str:
        """Why training ends after this epoch, or ""."""
        if not self.config.enabled:
            return ""
        loss = self.config.sign * epoch.value(self.config.monitor)
        if loss < self.best - self.config.min_delta:
            self.best, self.at = loss, epoch.number
        if epoch.number - self.at < self.config.patience:
            return ""
        return (
            f"no better {self.config.monitor} than {self.config.sign * self.best:.6g} (epoch {self.at}) "
            f"for {self.config.patience} epochs"
        )


def mean(number: int, scores: Sequence[Scores], seconds: float) -> Epoch:
    """The epoch with the mean of the folds' scores."""
    count = len(scores)
    names = set.intersection(*(set(score.metrics) for score in scores))
    return Epoch(
        number,
        sum(score.train_loss for score in scores) / count,
        sum(score.val_loss for score in scores) / count,
        {name: sum(score.metrics[name] for score in scores) / count for name in sorted(names)},
        sum(score.lr for score in scores) / count,
        sum(score.grad_norm for score in scores) / count,
        seconds,
    )
