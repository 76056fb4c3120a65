"""The state of the global random generators for each trial.

This package draws from generators of its own. Nets do not: `nn.Linear` initialises and `nn.Dropout` masks
from torch's global generator, and a user's code may use numpy's or Python's. So each trial has its own
states of all of them, which are set around its work, so that trials that share a process do not disturb
each other and an interrupted one goes on with the same random numbers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class RngState:
    """One trial's states of torch's, CUDA's, numpy's and Python's global generators.

    Args:
        seed: any integer; for numpy modulo 2³².
        device: the trial's device; the state of its CUDA generator is kept, too.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        outside = self._read()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - users' code reads the global generator
        random.seed(seed)
        self.inside = self._read()
        self._write(outside)

    @contextmanager
    def own(self) -> Iterator[None]:
        """Set the global generators to the trial's states within the block."""
        outside = self._read()
        self._write(self.inside)
        try:
            yield
        finally:
            self.inside = self._read()
            self._write(outside)

    def torch_generator(self) -> torch.Generator:
        """A generator that draws the same numbers as torch's global one on the trial's device."""
        generator = torch.Generator(self.device)
        generator.set_state(self.inside[self._torch_key])
        return generator

    def adopt_torch_state(self, generator: torch.Generator) -> None:
        """Set the trial's state of torch's generator to that of this one."""
        self.inside[self._torch_key] = generator.get_state()

    @property
    def _torch_key(self) -> str:
        return "cuda" if self.device.type == "cuda" else "torch"

    def state_dict(self) -> dict[str, Any]:
        """The states as tensors, lists and numbers (what `torch.load(weights_only=True)` reads)."""
        return dict(self.inside)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; the CUDA generator is not restored from another kind of device."""
        self.inside |= {name: value for name, value in state.items() if name in self.inside}

    def _read(self) -> dict[str, Any]:
        name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - as above
        state = {
            "torch": torch.get_rng_state(),
            "numpy": (str(name), torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss),
            "python": random.getstate(),
        }
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _write(self, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(state["torch"])
        name, keys, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
        random.setstate(state["python"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
