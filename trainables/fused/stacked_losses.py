"""Criteria of several lanes at once: a loss of each lane, and the gradient of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from trainables.fused.batched_ops import aligned_empty, fills_vectors
from trainables.learner import Learner

aten = torch.ops.aten

StackedLoss = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""(lanes, batch, outputs), targets (lanes, batch, ...) -> losses (lanes,), gradient of the outputs."""

COMPARISONS = 8
"""Number of random outputs for which a stacked criterion is compared with the criterion itself."""


def stacked_loss(learners: Sequence[Learner]) -> StackedLoss:
    """The criterion of learners that have the same one; lane by lane unless there is a stacked version."""
    first = learners[0]
    lane_losses = LaneLosses(learners)
    criterion = first.criterion
    if (
        not isinstance(criterion, nn.Module)
        or type(criterion) not in _STACKED
        or first.meaning.ignored is not None
    ):
        return lane_losses
    return ExactLoss(_STACKED[type(criterion)], lane_losses) if _is_default(criterion) else lane_losses


def _is_default(criterion: nn.Module) -> bool:
    """Whether a criterion is equal to one made without arguments."""
    plain = vars(type(criterion)())
    own = vars(criterion)
    return (
        plain.keys() == own.keys()
        and all(
            own[name] is value or own[name] == value
            for name, value in plain.items()
            if not name.startswith("_")
        )
        and not any(True for _ in criterion.buffers())
    )


class LaneLosses:
    """The criterion of each lane, one after the other.

    Args:
        learners: one of each lane.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        self._learners = learners

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `StackedLoss`."""
        losses, gradient = [], aligned_empty(len(outputs), outputs.shape[1:], outputs)
        for learner, answers, targets, row in zip(self._learners, outputs, y, gradient, strict=True):
            leaf = answers.detach().requires_grad_()
            with torch.enable_grad():
                loss = learner.criterion_loss(*learner.meaning.pair(leaf, targets))
            row.copy_(torch.autograd.grad(loss, leaf)[0])
            losses.append(loss.detach())
        return torch.stack(losses), gradient


class ExactLoss:
    """A stacked criterion if it is bit-equal to the criterion itself, which is used otherwise.

    Args:
        stacked: returns None for outputs and targets that it cannot take.
        lane_losses: the criterion itself.
    """

    def __init__(
        self,
        stacked: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor] | None],
        lane_losses: LaneLosses,
    ) -> None:
        self._stacked, self._lane_losses = stacked, lane_losses
        self._exact: dict[tuple[object, ...], bool] = {}

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `StackedLoss`."""
        key = outputs.shape, outputs.stride(), y.shape, torch.get_num_threads()
        if key not in self._exact:
            self._exact[key] = self._is_exact(outputs, y)
        result = self._stacked(outputs, y) if self._exact[key] else None
        return self._lane_losses(outputs, y) if result is None else result

    def _is_exact(self, outputs: torch.Tensor, y: torch.Tensor) -> bool:
        if self._stacked(outputs, y) is None:
            return False
        if outputs.device.type != "cpu":
            return True
        generator = torch.Generator().manual_seed(0)
        for _ in range(COMPARISONS):
            draw = torch.randn(outputs.shape, generator=generator)
            draw = aligned_empty(len(draw), draw.shape[1:], draw).copy_(draw)
            stacked, single = self._stacked(draw, y), self._lane_losses(draw, y)
            if stacked is None or not all(map(torch.equal, stacked, single)):
                return False
        return True


def mean_squared_errors(outputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """`MSELoss` of each lane: y in the shape of the outputs."""
    if outputs.shape != y.shape:
        return None
    difference = outputs - y
    count = difference[0].numel()
    return (difference * difference).flatten(1).mean(1), difference.mul_(2.0 / count)


def cross_entropies(outputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """`CrossEntropyLoss` of each lane: y (lanes, batch), class numbers."""
    if outputs.ndim != 3 or outputs.shape[2] < 2 or outputs.shape[:2] != y.shape or y.is_floating_point():
        return None
    logs = outputs.log_softmax(2)
    losses = [
        aten.nll_loss_forward(each, classes, None, 1, -100)[0] for each, classes in zip(logs, y, strict=True)
    ]
    gradient = torch.zeros_like(logs).scatter_(2, y[:, :, None], -1.0 / y.shape[1])
    return torch.stack(losses), aten._log_softmax_backward_data(gradient, logs, 2, logs.dtype)


def binary_cross_entropies(
    outputs: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """`BCEWithLogitsLoss` of each lane: y in the shape of the outputs, or (lanes, batch), classes 0 and 1."""
    targets = y if y.is_floating_point() else y.reshape(*y.shape, 1).to(outputs.dtype)
    if outputs.shape != targets.shape or not fills_vectors(outputs):
        return None
    losses = nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    return losses.flatten(1).mean(1), outputs.sigmoid().sub_(targets).div_(outputs[0].numel())


_STACKED = {
    nn.MSELoss: mean_squared_errors,
    nn.CrossEntropyLoss: cross_entropies,
    nn.BCEWithLogitsLoss: binary_cross_entropies,
}
