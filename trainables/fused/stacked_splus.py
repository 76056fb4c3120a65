"""SPlus for all lanes: the operations of pytorch_optimizer's `SPlus.step`, in the same order.

Frans et al., A Stable Whitening Optimizer for Efficient Neural Network Training, 2025, arXiv:2506.07254.
Settings that differ from lane to lane (learning rate, weight decay, betas) are numbers for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from trainables.fused.batched_ops import BatchedOp, add_scaled, lerp_rows
from trainables.fused.parameter_bank import ParameterBank, ParameterBanks
from trainables.learner import LINALG_ERROR


class StackedSPlus:
    """Steps SPlus for all banks; momentum, average and matrices become rows of its own tensors.

    Args:
        optimizers: one of each lane; see `takes`.
        banks: the banks of their parameters.
    """

    def __init__(self, optimizers: Sequence[Optimizer], banks: ParameterBanks) -> None:
        self._optimizers = optimizers
        self._groups: list[dict[str, Any]] = []
        self._banks = [
            _MatrixState(bank, optimizers) if len(bank.shape) == 2 else _VectorState(bank, optimizers)
            for bank in banks
        ]
        self._settings: list[tuple[float, float]] = []
        self._without_state: set[int] = set()

    @staticmethod
    def takes(optimizers: Sequence[Optimizer]) -> bool:
        """Whether all are SPlus, with settings that the stacked step supports."""
        return all(map(_is_supported, optimizers))

    def begin_epoch(self) -> None:
        """Adopt state that was loaded into a learner since the last epoch."""
        self._groups = [optimizer.param_groups[0] for optimizer in self._optimizers]
        self._without_state = set().union(*(bank.adopt() for bank in self._banks))
        self._settings = []

    def step(self, lanes: Sequence[int]) -> dict[int, Exception]:
        """Step these lanes; returns the errors by lane. Other lanes may change, too."""
        for lane in lanes:
            group = self._groups[lane]
            group["step"] = group.get("step", 0) + 1
        for lane in self._without_state.intersection(lanes):
            for bank in self._banks:
                bank.publish(lane)
        self._without_state.difference_update(lanes)
        settings = [(group["lr"], group["weight_decay"]) for group in self._groups]
        if settings != self._settings:
            self._settings = settings
            for bank in self._banks:
                bank.set_rates(self._groups)
        due = {lane for lane in lanes if _renews_bases(self._groups[lane])}
        errors: dict[int, Exception] = {}
        for bank in self._banks:
            errors |= bank.step(self._groups, due - errors.keys())
        return errors


def _renews_bases(group: dict[str, Any]) -> bool:
    return bool(group["step"] == 1 or group["step"] % group["inverse_steps"] == 0)


def _is_supported(optimizer: Optimizer) -> bool:
    kind = type(optimizer)
    if (kind.__module__.partition(".")[0], kind.__name__) != ("pytorch_optimizer", "SPlus"):
        return False
    group, *others = optimizer.param_groups
    numbers = (group["lr"], group["weight_decay"])
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    return (
        not others
        and not any(hooks)
        and not getattr(optimizer, "maximize", True)
        and bool(group["weight_decouple"])
        and bool(group["train_mode"])
        and all(isinstance(number, (int, float)) for number in numbers)
        and all(max(p.shape, default=0) < group["max_dim"] for p in group["params"])
    )


class _VectorState:
    """State of SPlus for a bank of parameters other than matrices, which follow the sign of the momentum."""

    def __init__(self, bank: ParameterBank, optimizers: Sequence[Optimizer]) -> None:
        self.bank = bank
        self._optimizers = optimizers
        self.momentum, self.ema = bank.new_rows(bank.shape), bank.new_rows(bank.shape)
        self._update = bank.new_rows(bank.shape)
        self._steps = self._decays = torch.empty(0)

    def rows_of(self, row: int) -> dict[str, Any]:
        """The state of a row, under SPlus's names."""
        return {"momentum": self.momentum[row], "ema": self.ema[row]}

    def adopt(self) -> set[int]:
        """Copy each parameter's state into its row, unless it is there; returns the lanes without state."""
        stateless: set[int] = set()
        for row, (parameter, lane) in enumerate(zip(self.bank.owners, self.bank.lanes, strict=True)):
            state = self._optimizers[lane].state.get(parameter)
            rows = self.rows_of(row)
            if not state:
                _zero(rows)
                stateless.add(lane)
            elif not _is_same_memory(state, rows):
                _copy(state, rows)
                state.update(rows)
        return stateless

    def publish(self, lane: int) -> None:
        """Give a lane's optimizer its state, at its first step."""
        for row, (parameter, owner) in enumerate(zip(self.bank.owners, self.bank.lanes, strict=True)):
            if owner == lane and not self._optimizers[lane].state.get(parameter):
                self._optimizers[lane].state[parameter] = self.rows_of(row)

    def set_rates(self, groups: Sequence[dict[str, Any]]) -> None:
        """Set the learning rates and weight decays of the lanes' groups."""
        rates = [group["lr"] * self._scale(group) for group in groups]
        decays = [
            1.0 - group["weight_decay"] * (1.0 if group["fixed_decay"] else rate)
            for rate, group in zip(rates, groups, strict=True)
        ]
        self._steps = self.bank.column([-rate for rate in rates])
        self._decays = self.bank.column(decays)

    def step(self, groups: Sequence[dict[str, Any]], due: set[int]) -> dict[int, Exception]:
        """Step every row; the lanes in `due` renew their bases of eigenvectors."""
        rows = [groups[lane] for lane in self.bank.lanes]
        lerp_rows(self.momentum, self.bank.grad, [1.0 - group["betas"][0] for group in rows])
        errors = self._find_update(rows, due)
        add_scaled(self.bank.value, self._update, self._steps)
        lerp_rows(self.ema, self.bank.value, [1.0 - group["ema_rate"] for group in rows])
        self.bank.value.mul_(self._decays)
        return errors

    def _scale(self, group: dict[str, Any]) -> float:
        return float(group["nonstandard_constant"])

    def _find_update(self, rows: Sequence[dict[str, Any]], due: set[int]) -> dict[int, Exception]:
        torch.sign(self.momentum, out=self._update)
        return {}


class _MatrixState(_VectorState):
    """State of SPlus for matrices: also the second moments of both sides, and their eigenvectors.

    The bases are stored column by column, as `eigh` returns them.
    """

    def __init__(self, bank: ParameterBank, optimizers: Sequence[Optimizer]) -> None:
        super().__init__(bank, optimizers)
        squares = [(size, size) for size in bank.shape]
        self.sides = [bank.new_rows(square) for square in squares]
        self.bases = [bank.new_rows(square).transpose(1, 2) for square in squares]
        self._outer = [bank.new_rows(square) for square in squares]
        self._rotated = [bank.new_rows(bank.shape) for _ in range(2)]
        self._product = BatchedOp("bmm")

    def rows_of(self, row: int) -> dict[str, Any]:
        sides, bases = ([each[row] for each in both] for both in (self.sides, self.bases))
        return super().rows_of(row) | {"sides": sides, "q_sides": bases}

    def _scale(self, group: dict[str, Any]) -> float:
        return 2.0 / sum(self.bank.shape)

    def _find_update(self, rows: Sequence[dict[str, Any]], due: set[int]) -> dict[int, Exception]:
        """Compute the update: the sign of the momentum in the basis of the eigenvectors, rotated back."""
        g, (left, right), (half, whole) = self.bank.grad, self.bases, self._rotated
        self._product("to the left basis", left.transpose(1, 2), self.momentum, out=half)
        self._product("to the right basis", half, right, out=whole)
        transposed = g.transpose(1, 2)
        pairs = ((g, transposed), (transposed, g))
        for number, (side, outer, pair) in enumerate(zip(self.sides, self._outer, pairs, strict=True)):
            self._product(number, *pair, out=outer)
            lerp_rows(side, outer, [1.0 - group["betas"][1] for group in rows])
        torch.sign(whole, out=whole)
        self._product("from the left basis", left, whole, out=half)
        self._product("from the right basis", half, right.transpose(1, 2), out=self._update)
        return self._renew_bases(rows, due)

    def _renew_bases(self, rows: Sequence[dict[str, Any]], due: set[int]) -> dict[int, Exception]:
        """Renew the eigenvectors of some lanes, matrix by matrix; returns the errors of decompositions."""
        errors: dict[int, Exception] = {}
        for row, lane in enumerate(self.bank.lanes):
            if lane not in due:
                continue
            for side, basis in zip(self.sides, self.bases, strict=True):
                size = side.shape[1]
                damped = side[row] + torch.eye(size, device=side.device).mul_(rows[row]["eps"])
                try:
                    basis[row].copy_(torch.linalg.eigh(damped)[1])
                except LINALG_ERROR as error:
                    errors[lane] = error
        return errors


def _is_same_memory(state: dict[str, Any], rows: dict[str, Any]) -> bool:
    pairs = zip(_tensors(state, rows), _tensors(rows, rows), strict=True)
    return all(tensor.data_ptr() == row.data_ptr() for tensor, row in pairs)


def _copy(state: dict[str, Any], rows: dict[str, Any]) -> None:
    for tensor, row in zip(_tensors(state, rows), _tensors(rows, rows), strict=True):
        row.copy_(tensor)


def _zero(rows: dict[str, Any]) -> None:
    """Set the initial state of SPlus: zeros, and identity matrices as bases."""
    for tensor in _tensors(rows, rows):
        tensor.zero_()
    for basis in rows.get("q_sides", ()):
        basis.fill_diagonal_(1.0)


def _tensors(state: dict[str, Any], names: dict[str, Any]) -> list[torch.Tensor]:
    """The tensors under these names, in their order."""
    return [
        tensor
        for name in names
        for tensor in (state[name] if isinstance(state[name], list) else [state[name]])
    ]
