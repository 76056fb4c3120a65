"""Trains one net on one part of the data, an epoch at a time."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainables.averages import AveragedWeights
from trainables.batches import Batch, BatchLoader, device_budget
from trainables.build import build_criterion, build_net, build_optimizer, hyperparameters, needs_closure
from trainables.checkpoint import CheckpointError
from trainables.class_weights import with_class_weights
from trainables.criterion_fit import meaning_of
from trainables.data import AnySplit, Data, DataPart
from trainables.imports import resolve
from trainables.lazy_batches import LazyBatchLoader
from trainables.lr_schedule import Schedule
from trainables.named_metrics import call_metric
from trainables.net_call import NetCall
from trainables.net_cost import measure
from trainables.optimizers import DECOMPOSES
from trainables.plain_state import from_plain, package_of, to_plain
from trainables.precision import AUTOCAST, LossScaler, autocast
from trainables.run_config import RunConfig, RunError
from trainables.user_errors import wrap_user_errors

LINALG_ERROR: type[RuntimeError] = vars(torch.linalg)["LinAlgError"]  # public, yet not in its __all__
NORM_EVERY = 4  # steps; measuring every fourth gives the mean gradient norm at a quarter of the cost
STATISTICS_ROWS = 4096  # training rows that determine batch norm's statistics to about 2 %
RAW_LOSS = "val_loss_raw"  # of the trained weights, if val_loss is of their average


class InvalidLoss(Exception):
    """The loss of a batch is not finite."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Statistics of one epoch of one learner; see `trainables.training.Epoch`."""

    train_loss: float
    val_loss: float
    metrics: dict[str, float]
    lr: float
    grad_norm: float


class Learner:
    """A net, its optimizer and schedule, and the rows it learns from.

    Args:
        run: what to build and how to train it.
        data: gives the task and the sizes.
        part: the rows.
        device: the device of the net.
        seed: of the order in which rows are drawn.

    Raises:
        RunError: if the run config cannot be built.
    """

    def __init__(self, run: RunConfig, data: Data, part: DataPart, device: torch.device, seed: int) -> None:
        self.run, self.data, self.part, self.device, self.seed = run, data, part, device, seed
        self.metrics = {name: resolve(dotted) for name, dotted in run.metrics.items()}
        self.net = build_net(run, data, device)
        weighted = with_class_weights(run, data, part)
        self.criterion, self.criterion_config = build_criterion(weighted, device), weighted.criterion_config
        self.meaning = meaning_of(run, data, self.criterion)
        self.call = NetCall.of(self.net, data, device)
        self.feed: BatchLoader | LazyBatchLoader
        if data.is_lazy:
            self.feed = LazyBatchLoader(part, device, run.batch_size, seed, dtype=self.call.dtype)
        else:
            room = device_budget(device) // len(data.parts)  # folds are trained side by side
            self.feed = BatchLoader(part, device, run.batch_size, seed, room, dtype=self.call.dtype)
        self.checked = False  # whether outputs were checked against the criterion
        steps = math.ceil(len(self.feed) / run.accumulate)
        self.optimizer = build_optimizer(run, self.net, rows=len(part.train), steps=run.epochs * steps)
        self.averages = AveragedWeights(self.net, self.optimizer)
        self.needs_closure = needs_closure(self.optimizer)
        self.decomposes = type(self.optimizer).__name__ in DECOMPOSES
        self.scaler = LossScaler(run, device, closure=self.needs_closure)
        self.packages = frozenset({package_of(self.net), package_of(self.optimizer)})
        self.schedule = Schedule(run, self.optimizer, steps)

    def epoch(self) -> Scores:
        """Train on every row once, then validate."""
        try:
            train_loss, grad_norm, lr = self._train()
        except (LINALG_ERROR, InvalidLoss):
            # Matrix optimizers (SPlus, SOAP) cannot decompose overflown gradients: a divergence.
            return self.scores_of_divergence()
        return self.finish_epoch(train_loss, grad_norm, lr)

    def scores_of_divergence(self) -> Scores:
        """Scores of an epoch in which training diverged."""
        return Scores(math.nan, math.nan, {}, self.current_lr(), math.nan)

    def finish_epoch(self, train_loss: torch.Tensor, grad_norm: torch.Tensor, lr: float) -> Scores:
        """Validate after a pass over the training rows, and move the schedule on.

        Args:
            train_loss: mean over the rows, a float64 scalar.
            grad_norm: mean over the steps at which it was measured, a scalar.
            lr: learning rate of the last step.
        """
        with self._evaluating():
            outputs, targets = self._outputs(self.feed.validation_batches())
            scores = {"val": self.criterion_loss(outputs, targets), **self._metrics(outputs, targets)}
        if self.averages.exist:
            with self._evaluating(averaged=False):
                raw = self._outputs(self.feed.validation_batches())
                scores[RAW_LOSS] = self.criterion_loss(*raw)
        # One transfer from the device for the whole epoch.
        values = torch.stack([value.double() for value in (train_loss, grad_norm, *scores.values())]).tolist()
        train, norm, val, *rest = values
        self.schedule.after_epoch(val)
        return Scores(train, val, dict(zip(list(scores)[1:], rest, strict=True)), lr, norm)

    def evaluate(self, split: AnySplit) -> dict[str, float]:
        """`loss` and the metrics on some rows, with the weights for inference."""
        return self.scores(*self.answers(split))

    def answers(self, split: AnySplit) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and targets of some rows, with the weights for inference."""
        with self._evaluating():
            return self._outputs(self.feed.all_of(split))

    def scores(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        """`loss` and the metrics of these outputs."""
        scores = {"loss": self.criterion_loss(outputs, targets), **self._metrics(outputs, targets)}
        return {name: float(value) for name, value in scores.items()}

    def costs(self) -> dict[str, float]:
        """The costs in `run.costs`, measured on the first validation row."""
        if not self.run.costs:
            return {}
        row = self.feed.first_input()
        with self._evaluating():
            return measure(self.run.costs, self.net, lambda: self._answer(row), self.device)

    def gradients(self, batches: Sequence[Batch]) -> dict[str, torch.Tensor | None]:
        """Compute every parameter's gradient on a step's batches, for `step`; None if it has none."""
        self.net.train()
        self.optimizer.zero_grad()
        for _, loss in self._shares_of_loss(batches):
            loss.backward()  # type: ignore[no-untyped-call]
        return {name: parameter.grad for name, parameter in self.net.named_parameters()}

    def doubt(self, x: torch.Tensor) -> str:
        """What looks wrong with the outputs for a batch, in one line; empty if nothing does."""
        with self._evaluating():
            return self.meaning.doubt(self._answer(x))

    def weights(self) -> dict[str, torch.Tensor]:
        """The net's state dict for inference, on the CPU."""
        with self._evaluating():
            return {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Net, optimizer, schedule and data order, in plain values.

        Raises:
            CheckpointError: if the state of the optimizer or the net cannot be written.
        """
        return {
            "net": to_plain(self.net.state_dict(), self.packages, f"net: {self.run.net}"),
            "optimizer": to_plain(self._optimizer_state(), self.packages, f"optimizer: {self.run.optimizer}"),
            "schedule": self.schedule.state_dict(),
            "order": self.feed.generator.get_state(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], saved_run: RunConfig) -> None:
        """Go on from a saved state; call it on a new learner.

        With the same run config the state is restored exactly. With another one (PBT), the weights, the
        optimizer's moments and the position in the schedule are the saved ones, and every hyperparameter is
        this config's: the state dicts of an optimizer and a scheduler would restore the saved rates and
        silently drop the new ones.

        Raises:
            CheckpointError: if the saved net is another one.
        """
        try:
            self.net.load_state_dict(from_plain(state["net"], self.packages))
        except RuntimeError as error:
            reasons = " ".join(str(error).split())
            raise CheckpointError(f"the checkpoint is of another net: {reasons[:300]}") from error
        self.feed.generator.set_state(state["order"])
        self.scaler.load_state_dict(state.get("scaler", {}))
        saved = self._with_settings(from_plain(state["optimizer"], self.packages))
        if saved_run == self.run:
            self.optimizer.load_state_dict(saved)
            self.schedule.load_state_dict(state["schedule"])
            return
        self.schedule.replay(state["schedule"]["losses"])
        if saved_run.optimizer != self.run.optimizer:
            return  # the moments of one optimizer mean nothing to another
        own_settings = [
            {key: group[key] for key in hyperparameters(self.run, group)}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(saved)
        for group, settings in zip(self.optimizer.param_groups, own_settings, strict=True):
            for key in hyperparameters(self.run, group) - settings.keys():
                del group[key]  # set by the saved run's schedule
            group.update(settings)

    def _optimizer_state(self) -> dict[str, Any]:
        """The optimizer's state, without settings that are functions, which cannot be saved."""
        state = self.optimizer.state_dict()
        if "param_groups" not in state:  # of a wrapper
            return state
        groups = [
            {key: value for key, value in group.items() if not (key in settings and callable(value))}
            for group in state["param_groups"]
            for settings in [hyperparameters(self.run, group)]
        ]
        return {**state, "param_groups": groups}

    def _with_settings(self, saved: dict[str, Any]) -> dict[str, Any]:
        """A saved optimizer state, completed by the settings of this optimizer's groups."""
        if "param_groups" not in saved:
            return saved
        fresh = self.optimizer.state_dict().get("param_groups", [])
        if len(fresh) != len(saved["param_groups"]):
            return saved
        return {
            **saved,
            "param_groups": [new | old for new, old in zip(fresh, saved["param_groups"], strict=True)],
        }

    def step(self, batches: Sequence[Batch]) -> None:
        """Take an optimizer step with the present gradients, which are those of `batches`."""
        if not self.needs_closure:
            self.scaler.step(self.optimizer)
            return

        def closure() -> torch.Tensor:
            shares = []
            with torch.enable_grad():
                self.optimizer.zero_grad()
                for _, loss in self._shares_of_loss(batches):
                    loss.backward()  # type: ignore[no-untyped-call]
                    shares.append(loss)
            if self.run.grad_clip is not None:
                nn.utils.clip_grad_norm_(self.net.parameters(), self.run.grad_clip)
            return sum(shares[1:], start=shares[0])

        self.optimizer.step(closure)  # type: ignore[arg-type]  # a loss is a tensor

    def take_step(
        self, batches: Sequence[Batch], step: int
    ) -> tuple[list[torch.Tensor], torch.Tensor | None, float]:
        """Train one step; returns each batch's loss, the gradients' norm if measured, the learning rate.

        Args:
            batches: inputs (batch, ...) and targets (batch, ...) of each batch of the step.
            step: its number in its epoch, from 0.

        Raises:
            InvalidLoss: if a loss is not finite and the optimizer decomposes matrices.
        """
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for parameter in parameters:
            parameter.grad = None  # zero_grad's bookkeeping costs a few percent of a small step
        losses = []
        for loss, share in self._shares_of_loss(batches):
            if self.decomposes and not math.isfinite(loss.item()):
                raise InvalidLoss
            self.scaler.backward(share)
            losses.append(loss.detach())
        self.scaler.unscale(self.optimizer)
        norm = None
        if self.run.grad_clip is not None:
            norm = nn.utils.clip_grad_norm_(parameters, self.run.grad_clip)
        elif step % NORM_EVERY == 0:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        lr = self.current_lr()
        self.step(batches)
        self.schedule.after_step()
        return losses, norm, lr

    def _train(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Train on all rows once; returns mean loss, mean gradient norm and the last learning rate."""
        losses, sizes, norms, lr = [], [], [], self.current_lr()
        self.net.train()
        self.feed.epoch = len(self.schedule.losses)
        for step, batches in enumerate(self.steps_of(self.feed.batches())):
            step_losses, norm, lr = self.take_step(batches, step)
            losses += step_losses
            sizes += [len(y) for _, y in batches]
            if norm is not None:
                norms.append(norm)
        return self.mean_loss(torch.stack(losses), sizes), torch.stack(norms).mean(), lr

    def mean_loss(self, losses: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        """The mean over the rows of an epoch, float64, from its batches' mean losses."""
        rows = torch.tensor(sizes, dtype=torch.float64, device=self.device)
        return losses.double() @ rows / rows.sum()

    def steps_of(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """The batches of each optimizer step; the last step may have fewer."""
        remaining = iter(batches)
        while step := list(itertools.islice(remaining, self.run.accumulate)):
            yield step

    def _shares_of_loss(self, batches: Sequence[Batch]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The loss of each batch, and its share of the loss of one batch of all their rows.

        The shares add up to that loss, whether it is a sum, a mean or a weighted mean.
        """
        if len(batches) == 1:
            loss = self._loss(*batches[0])
            yield loss, loss
            return
        shares = [1.0] * len(batches)
        if self.run.criterion_config.get("reduction") != "sum":
            divisors = [self._divisor(y) for _, y in batches]
            shares = [each / sum(divisors) for each in divisors]
        for (x, y), share in zip(batches, shares, strict=True):
            loss = self._loss(x, y)
            yield loss, loss * share

    def _divisor(self, y: torch.Tensor) -> float:
        """The divisor of a mean loss of these targets: rows, or the sum of their classes' weights."""
        if not isinstance(self.criterion, (nn.CrossEntropyLoss, nn.NLLLoss)) or y.is_floating_point():
            return float(len(y))
        counted = y[y != self.criterion.ignore_index]
        weight = self.criterion.weight
        return float(counted.numel() if weight is None else weight[counted].sum())

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss of one batch."""
        outputs, targets = self.meaning.pair(self._answer(x), y)
        if not self.checked:
            self.check_outputs(outputs)
        return self.criterion_loss(outputs, targets)

    def criterion_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of some outputs.

        Raises:
            RunError: if the criterion does not accept the outputs, and it is known why.
        """
        try:
            loss = self.criterion(outputs, targets)
        except RuntimeError:
            self.check_outputs(outputs)
            raise
        if loss.ndim:
            if loss.numel() > 1:
                raise RunError(
                    f"criterion: {self.run.criterion} gives a loss of shape {tuple(loss.shape)}, and "
                    "training needs one number; take its mean (torch's do by reduction: mean)"
                )
            return loss.reshape(())
        return loss

    def check_outputs(self, outputs: torch.Tensor) -> None:
        """Check outputs, as a criterion computes a loss from any numbers.

        Raises:
            RunError: if they are not what the criterion takes.
        """
        if torch.is_grad_enabled() and not outputs.requires_grad:
            raise RunError(
                f"net: no gradient reaches any parameter of {self.run.net}: its outputs depend on none that "
                "is trained; is something detached, or everything frozen?"
            )
        if self.meaning.layout == "classes" and outputs.shape[1] < self.data.classes:
            what = f"{outputs.shape[1]} outputs for {self.data.classes} classes"
            raise RunError(f"net: {self.run.net} has {what}; `out_features` is filled in with their number")
        problem = self.meaning.misuse(outputs.detach())
        if problem:
            raise RunError(f"net: {self.run.net} with {self.run.criterion}: {problem}")
        self.checked = True

    def _answer(self, x: torch.Tensor) -> torch.Tensor:
        """The net's outputs in the run's precision, as float32."""
        if self.run.precision not in AUTOCAST:
            return self.call.answer(self.net, x)
        with autocast(self.run.precision, self.device):
            return self.call.answer(self.net, x).float()

    def _outputs(self, batches: Iterable[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and targets of all rows of these batches."""
        outputs, targets = [], []
        for x, y in batches:
            batch_outputs, batch_targets = self.meaning.pair(self._answer(x), y)
            outputs.append(batch_outputs)
            targets.append(batch_targets)
        return torch.cat(outputs), torch.cat(targets)

    def _metrics(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """`accuracy` or `r2`, and the metrics of the run config."""
        scores = self.meaning.scores(outputs, targets)
        part = self.part
        for name, metric in self.metrics.items():
            with wrap_user_errors(f"run.metrics.{name}"):
                value = call_metric(
                    metric, name, self.meaning, outputs, targets, mean=part.mean, std=part.std
                )
            scores[name] = torch.tensor(value, device=self.device)
        return scores

    @contextlib.contextmanager
    def _evaluating(self, *, averaged: bool = True) -> Iterator[None]:
        """Evaluate within the block: without gradients and dropout, with averaged weights if there are any.

        Args:
            averaged: whether to use the averaged weights rather than the trained ones.
        """
        is_swapped = averaged and self.averages.exist
        with self.averages.applied(self._forward_some) if is_swapped else contextlib.nullcontext():
            self.net.eval()
            try:
                with torch.no_grad():
                    yield
            finally:
                self.net.train()

    def _forward_some(self) -> None:
        """Pass training rows through the net, in batches of the training's size, always the same."""
        for x in self.feed.some_inputs(STATISTICS_ROWS, self.seed):
            self._answer(x)

    def current_lr(self) -> float:
        """The learning rate of the first parameter group; NaN for an optimizer without one."""
        return float(self.optimizer.param_groups[0].get("lr", math.nan))
