"""The parameters of all lanes in one tensor for each shape; a learner's parameters are views of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from trainables.fused.batched_ops import aligned_empty


class ParameterBank:
    """All parameters of one shape, of all lanes and layers.

    Attributes:
        shape: of each parameter.
        lanes: the lane of each row.
        owners: the parameter of each row.
        value: values of the parameters, (rows, *shape).
        grad: their gradients, (rows, *shape).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.lanes: list[int] = []
        self.owners: list[torch.Tensor] = []
        self.value = self.grad = torch.empty(0)
        self._lane_numbers = torch.empty(0)

    def allocate(self) -> None:
        """Copy the parameters' values into rows, and make the parameters views of them."""
        self.value = self.new_rows(self.shape)
        self.grad = self.new_rows(self.shape)
        self._lane_numbers = torch.tensor(self.lanes, device=self.value.device)
        for row, parameter in enumerate(self.owners):
            self.value[row].copy_(parameter.detach())
            parameter.data = self.value[row]

    def replace(self, old: torch.Tensor, new: torch.Tensor) -> None:
        """Give the row of a parameter to another one, with its value."""
        row = next(row for row, owner in enumerate(self.owners) if owner is old)
        self.value[row].copy_(new.detach())
        new.data = self.value[row]
        self.owners[row] = new

    def new_rows(self, shape: Sequence[int]) -> torch.Tensor:
        """Zeros of `shape` for each row, (rows, *shape)."""
        return aligned_empty(len(self.owners), shape, self.owners[0].detach()).zero_()

    def attach_gradients(self) -> None:
        """Make every parameter's `grad` a view of its row of `grad`."""
        for row, parameter in enumerate(self.owners):
            parameter.grad = self.grad[row]

    def holds_parameters(self) -> bool:
        """Whether every parameter is still a view of its row."""
        step = self.value.stride(0) * self.value.element_size()
        start = self.value.data_ptr()
        return all(owner.data_ptr() == start + row * step for row, owner in enumerate(self.owners))

    def column(self, values: Sequence[float]) -> torch.Tensor:
        """One number per lane as a factor for every row, (rows, 1, ...)."""
        return self.spread(torch.tensor(values, dtype=torch.float64).to(self.value))

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """A tensor of one number per lane as a factor for every row, (rows, 1, ...)."""
        return values[self._lane_numbers].view(-1, *(1 for _ in self.shape))


class ParameterBanks:
    """The banks of one stack of lanes, by shape."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[int, ...], ParameterBank] = {}

    def add(self, lane: int, parameter: torch.Tensor) -> tuple[ParameterBank, int]:
        """Add a parameter; returns its bank and the number of its row."""
        shape = tuple(parameter.shape)
        bank = self._by_shape.setdefault(shape, ParameterBank(shape))
        bank.lanes.append(lane)
        bank.owners.append(parameter)
        return bank, len(bank.owners) - 1

    def replace(self, old: torch.Tensor, new: torch.Tensor) -> None:
        """Give the row of a parameter to another one of its shape, with its value."""
        self._by_shape[tuple(old.shape)].replace(old, new)

    def __iter__(self) -> Iterator[ParameterBank]:
        return iter(self._by_shape.values())


def own_memory(parameter: torch.Tensor) -> None:
    """Give a parameter memory of its own, with its current value."""
    parameter.data = parameter.detach().clone()
    parameter.grad = None
