"""The learning rate over time: a warmup, then any torch-style scheduler, per step or per epoch."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR, ReduceLROnPlateau

from trainables.imports import call, parameters, resolve
from trainables.optimizers import why_unusable
from trainables.param_groups import FACTOR
from trainables.run_config import SCHEDULE_KEYS, RunConfig, RunError

PER_STEP = (OneCycleLR, CyclicLR)


class Schedule:
    """Sets the learning rate of every parameter group as training goes on.

    First a linear warmup, counted in optimizer steps, up to the first rate of the schedule; then the
    schedule: stepped once an epoch with the epoch's val_loss (ReduceLROnPlateau) or without, or after
    every optimizer step (OneCycleLR, CyclicLR, and any other with `scheduler_config.interval: step`).
    An epoch that begins within the warmup does not count for a per-epoch schedule.

    `total_steps`, `T_max` and OneCycle's `max_lr` (the optimizer's lr), if the class has such parameters
    and the config does not set them, are filled in so that the schedule ends with the training.

    Args:
        run: its `scheduler`, `scheduler_config`, `warmup` and `epochs` are used.
        optimizer: a fresh one; its groups hold the base learning rates.
        steps_per_epoch: optimizer steps per epoch.

    Raises:
        RunError: if there is no such scheduler or its keywords do not fit.
    """

    def __init__(self, run: RunConfig, optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> None:
        self.optimizer = optimizer
        self.steps_per_epoch = steps_per_epoch
        self.warmup_steps = round(run.warmup_epochs * steps_per_epoch)
        self.steps = 0  # optimizer steps so far
        self.losses: list[float] = []  # val_loss of every epoch so far, for plateaus
        self.scheduler: Any = None
        self.per_step = False
        if run.scheduler is not None:
            if reason := why_unusable(run.scheduler):
                raise RunError(f"scheduler: {run.scheduler} cannot be used here: {reason}")
            target = resolve(run.scheduler)
            interval = run.scheduler_config.get("interval")
            if interval not in (None, "step", "epoch"):
                raise RunError(f"scheduler_config.interval: 'step' or 'epoch', not {interval!r}")
            is_per_step = inspect.isclass(target) and issubclass(target, PER_STEP)
            self.per_step = interval == "step" or (interval is None and is_per_step)
            given = {key: value for key, value in run.scheduler_config.items() if key not in SCHEDULE_KEYS}
            self.scheduler = call(
                run.scheduler, optimizer, given=given, offered=self._lengths(run, target, given)
            )
            self._check_factors(run)
        self.peak = [float(group.get("lr", math.nan)) for group in optimizer.param_groups]
        self._warm()

    def _check_factors(self, run: RunConfig) -> None:
        """Check that the schedule keeps different learning rates of groups.

        Raises:
            RunError: if it has set all to the same rate.
        """
        factors = {group.get(FACTOR, 1.0) for group in self.optimizer.param_groups}
        rates = {group.get("lr") for group in self.optimizer.param_groups}
        if len(factors) > 1 and len(rates) == 1:
            raise RunError(
                f"param_groups: {run.scheduler} gives all groups one learning rate, so "
                "lr_factor has no effect; leave max_lr (base_lr) out, or give a list, one rate a group"
            )

    def after_step(self) -> None:
        """Note one optimizer step."""
        self.steps += 1
        if self.steps <= self.warmup_steps:
            self._warm()
        elif self.per_step:
            self.scheduler.step()

    def after_epoch(self, val_loss: float) -> None:
        """Note the end of an epoch and its validation loss."""
        self.losses.append(val_loss)
        warm_before = self.steps - self.steps_per_epoch >= self.warmup_steps
        if self.scheduler is None or self.per_step or not warm_before:
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(val_loss)
        else:
            self.scheduler.step()

    def replay(self, losses: list[float]) -> None:
        """Bring a fresh schedule to its state after epochs with these val_losses."""
        with warnings.catch_warnings():
            # torch warns when a scheduler is stepped before its optimizer; here that is intended.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            for loss in losses:
                for _ in range(self.steps_per_epoch):
                    self.after_step()
                self.after_epoch(loss)

    def state_dict(self) -> dict[str, Any]:
        """Position and the scheduler's own state, as plain data."""
        inner = None if self.scheduler is None else self._state(self.scheduler)
        return {"steps": self.steps, "losses": self.losses, "scheduler": inner}

    def _state(self, scheduler: Any) -> dict[str, Any]:
        """The scheduler's state; without a `state_dict`, all attributes but the optimizer."""
        if hasattr(scheduler, "state_dict"):
            state: dict[str, Any] = scheduler.state_dict()
        else:
            state = {key: value for key, value in vars(scheduler).items() if key != "optimizer"}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state saved under the same config."""
        self.steps, self.losses = state["steps"], list(state["losses"])
        if self.scheduler is not None:
            if hasattr(self.scheduler, "load_state_dict"):
                self.scheduler.load_state_dict(state["scheduler"])
            else:
                vars(self.scheduler).update(state["scheduler"])

    def _warm(self) -> None:
        """Set the learning rate of the next step during the warmup, up to its peak."""
        if self.warmup_steps:
            share = min(1.0, (self.steps + 1) / self.warmup_steps)
            for group, peak in zip(self.optimizer.param_groups, self.peak, strict=True):
                group["lr"] = peak * share

    def _lengths(self, run: RunConfig, target: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments by which a scheduler may learn the length of the training."""
        epochs = run.epochs - math.ceil(self.warmup_steps / self.steps_per_epoch)
        steps = run.epochs * self.steps_per_epoch - self.warmup_steps
        length = max(1, steps if self.per_step else epochs)
        accepted = parameters(target)
        offered: dict[str, Any] = {"T_max": length, "t_max": length}
        if not {"epochs", "steps_per_epoch"} & set(given):
            offered["total_steps"] = length
        elif "epochs" in given:
            offered["steps_per_epoch"] = self.steps_per_epoch
        if "max_lr" in accepted and accepted["max_lr"].default is inspect.Parameter.empty:
            rates = [float(group.get("lr", math.nan)) for group in self.optimizer.param_groups]
            offered["max_lr"] = rates if len(rates) > 1 else rates[0]
        return offered
