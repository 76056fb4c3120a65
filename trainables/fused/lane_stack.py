"""Lanes arranged for one engine: their batches, and one step of all of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from trainables.fused.batched_ops import aligned_empty
from trainables.fused.captured_passes import RECORDERS, CapturedEngine
from trainables.fused.chain_engine import ChainEngine, Engine
from trainables.fused.eligibility import FusionKey
from trainables.fused.layer_chain import LayerChain, read_chain
from trainables.fused.parameter_bank import ParameterBanks, own_memory
from trainables.fused.stacked_losses import ExactLoss, stacked_loss
from trainables.fused.stacked_optimizers import stacked_optimizer
from trainables.fused.vmap_engine import VmapEngine
from trainables.learner import NORM_EVERY, Learner
from trainables.rng_state import RngState

CHUNK_BYTES = 2**28
"""Bytes of shuffled inputs in memory at once, unless `CHUNK_BATCHES` batches take more."""

CHUNK_BATCHES = 16
"""Batches of the smallest chunk: after so many, a batch has the alignment of the first one."""


@dataclass(eq=False)
class Lane:
    """A learner, and the generators that its net draws from."""

    learner: Learner
    random: RngState

    @functools.cached_property
    def chain(self) -> LayerChain:
        """The layers of its net."""
        return read_chain(self.learner.net, _tensors(self.learner)[0].ndim - 1)

    @functools.cached_property
    def layout(self) -> tuple[int, str]:
        """Sort key for the chain engine: by decreasing depth, with equal layers side by side."""
        layers = [self.chain.stem, *(block.followers for block in self.chain.blocks)]
        return -len(self.chain.hidden), str(layers)


@dataclass
class LaneEpoch:
    """Results of a lane's steps in one epoch.

    Attributes:
        losses: of each batch, scalars.
        norms: of the gradients, at the steps at which they were measured.
        lr: of the last step.
        error: the error of the lane, which takes no further steps then.
    """

    losses: list[torch.Tensor] = field(default_factory=list)
    norms: list[torch.Tensor] = field(default_factory=list)
    lr: float = float("nan")
    error: Exception | None = None


class LaneStack:
    """Lanes in a fixed arrangement, whose parameters are views of banks until `release`.

    Args:
        lanes: lanes with the same fusion key.
        key: the fusion key.
    """

    def __init__(self, lanes: Sequence[Lane], key: FusionKey) -> None:
        is_chain = key.engine == "chain"
        self.lanes = sorted(lanes, key=lambda lane: lane.layout) if is_chain else list(lanes)
        self._learners = [lane.learner for lane in self.lanes]
        self._generators = [lane.random.torch_generator() for lane in self.lanes]
        self._banks = ParameterBanks()
        self._loss = stacked_loss(self._learners)
        self._engine, self._draws = self._build_chain_engine() if is_chain else self._build_vmap_engine()
        try:
            for bank in self._banks:
                bank.allocate()
            self._optimizer = stacked_optimizer(self._learners, self._banks)
        except Exception:  # not enough memory for all
            for lane in self.lanes:
                self.release(lane)
            raise
        self._clipped = [learner.run.grad_clip for learner in self._learners]
        self.epochs: list[LaneEpoch] = []

    def _build_vmap_engine(self) -> tuple[Engine, bool]:
        return VmapEngine(self._learners, self._banks), False

    def _build_chain_engine(self) -> tuple[Engine, bool]:
        """The engine, and whether it draws from the lanes' generators."""
        chains = [lane.chain for lane in self.lanes]
        engine = ChainEngine(chains, self._generators, self._banks, self._loss)
        draws = any(chain.draws() for chain in chains)
        record = RECORDERS.get(self._learners[0].device.type)
        if record is None:
            return engine, draws
        return CapturedEngine(engine, self._generators if draws else [], record), draws

    def adopt(self, lanes: Sequence[Lane]) -> bool:
        """Give the places of lanes that have left to others of the same layout; the engine stays as it is.

        Args:
            lanes: those that the stack shall hold; their fusion key is the stack's.

        Returns:
            Whether it holds exactly these. If not, another stack must be built.
        """
        joined = [lane for lane in lanes if lane not in self.lanes]
        free = [number for number, lane in enumerate(self.lanes) if lane not in lanes]
        if len(joined) != len(free) or (joined and not self._may_replace()):
            return False
        places = {}
        for lane in joined:
            place = next((n for n in free if self.lanes[n].layout == lane.layout), None)
            if place is None:
                return False
            free.remove(place)
            places[place] = lane
        for place, lane in places.items():
            self._replace(place, lane)
        if places:
            self._optimizer = stacked_optimizer(self._learners, self._banks)
        return all(bank.holds_parameters() for bank in self._banks)

    def _may_replace(self) -> bool:
        """Whether nothing but the banks belongs to single lanes; captured criteria may have tensors."""
        if isinstance(self._engine, CapturedEngine):
            return isinstance(self._loss, ExactLoss)
        return isinstance(self._engine, ChainEngine)

    def _replace(self, place: int, lane: Lane) -> None:
        for old, new in zip(self.lanes[place].chain.parameters(), lane.chain.parameters(), strict=True):
            self._banks.replace(old, new)
        self.lanes[place], self._learners[place] = lane, lane.learner
        self._clipped[place] = lane.learner.run.grad_clip

    def release(self, lane: Lane) -> None:
        """Give a lane's parameters and optimizer state memory of their own."""
        number = self.lanes.index(lane)
        for bank in self._banks:
            for owner, parameter in zip(bank.lanes, bank.owners, strict=True):
                if owner == number:
                    own_memory(parameter)
        states = lane.learner.optimizer.state
        for parameter in list(states):
            states[parameter] = {name: _copy_tensors(value) for name, value in states[parameter].items()}

    def train_steps(self) -> Iterator[None]:
        """One pass of each lane over its rows; a step of all lanes for each `next`."""
        self._begin_epoch()
        try:
            for step, (x, y) in enumerate(self._batches()):
                self._take_step(step, x, y)
                yield
        finally:
            for lane, generator in zip(self.lanes, self._generators, strict=True):
                lane.random.adopt_torch_state(generator)

    def _begin_epoch(self) -> None:
        self.epochs = [LaneEpoch(lr=learner.current_lr()) for learner in self._learners]
        for lane, generator in zip(self.lanes, self._generators, strict=True):
            generator.set_state(lane.random.torch_generator().get_state())
        self._learners[0].net.train()  # used by the vmap engine; the chain engine always trains
        for learner in self._learners:
            # torch's schedulers warn if their optimizer was never called, as by a stacked step.
            learner.optimizer._opt_called = True  # type: ignore[attr-defined]
        self._attach_gradients()
        self._optimizer.begin_epoch()

    def _attach_gradients(self) -> None:
        for bank in self._banks:
            bank.attach_gradients()
        gradients = [
            [
                p.grad
                for group in learner.optimizer.param_groups
                for p in group["params"]
                if p.grad is not None
            ]
            for learner in self._learners
        ]
        self._gradients = gradients

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and targets of all lanes for each step, (lanes, batch, ...), each lane in its own order."""
        feeds = [learner.feed for learner in self._learners]
        orders = [
            torch.randperm(len(feed.train.x), generator=feed.generator)[: feed.rows].to(feed.device)
            for feed in feeds
        ]
        first = feeds[0]
        batches = CHUNK_BATCHES * max(1, CHUNK_BYTES // (CHUNK_BATCHES * self._batch_bytes()))
        for begin in range(0, first.rows, batches * first.batch_size):
            chunk = slice(begin, begin + batches * first.batch_size)
            x, y = self._shuffle([order[chunk] for order in orders])
            for start in range(0, x.shape[1], first.batch_size):
                batch = slice(start, start + first.batch_size)
                yield x[:, batch], y[:, batch]

    def _batch_bytes(self) -> int:
        """Bytes of the inputs of one batch of all lanes."""
        x, _ = _tensors(self._learners[0])
        return len(self.lanes) * self._learners[0].run.batch_size * max(1, x[0].numel()) * x.element_size()

    def _shuffle(self, orders: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of all lanes in these orders; each lane has the memory layout of rows of its own."""
        like, targets = _tensors(self._learners[0])
        x = aligned_empty(len(orders), (len(orders[0]), *like.shape[1:]), like)
        y = targets.new_empty(len(orders), len(orders[0]), *targets.shape[1:])
        for learner, order, *lane in zip(self._learners, orders, x, y, strict=True):
            for rows, out in zip(_tensors(learner), lane, strict=True):
                torch.index_select(rows, 0, order, out=out)
        return (x if isinstance(self._engine, VmapEngine) else x.flatten(2)), y

    @torch.no_grad()
    def _take_step(self, step: int, x: torch.Tensor, y: torch.Tensor) -> None:
        before = [generator.get_state() for generator in self._generators] if self._draws else []
        try:
            losses, outputs = self._engine.losses(x, y)
        except Exception:  # taking the step lane by lane shows which lane raises it
            for generator, state in zip(self._generators, before, strict=bool(before)):
                generator.set_state(state)
            self._step_lane_by_lane(step, x, y)
            return
        self._check_first_outputs(outputs, y)
        active = self._active()
        self._measure_norms(step, active)
        for lane in active:
            self.epochs[lane].lr = self._learners[lane].current_lr()
        for lane, error in self._optimizer.step(active).items():
            self.epochs[lane].error = error
        for lane, loss in zip(self._active(), losses[self._active()], strict=True):
            self._learners[lane].schedule.after_step()
            self.epochs[lane].losses.append(loss)

    def _active(self) -> list[int]:
        """The lanes without an error."""
        return [lane for lane, epoch in enumerate(self.epochs) if epoch.error is None]

    def _check_first_outputs(self, outputs: torch.Tensor, y: torch.Tensor) -> None:
        for lane in self._active():
            learner = self._learners[lane]
            if not learner.checked:
                try:
                    learner.check_outputs(learner.meaning.pair(outputs[lane], y[lane])[0])
                except Exception as error:  # of this lane's user; the others go on
                    self.epochs[lane].error = error

    def _measure_norms(self, step: int, active: Sequence[int]) -> None:
        """Measure the norms of the gradients of all lanes, or of those that are clipped, and clip these."""
        measured = [lane for lane in active if self._clipped[lane] is not None or step % NORM_EVERY == 0]
        gradients = [gradient for lane in measured for gradient in self._gradients[lane]]
        if not gradients:
            return
        norms = torch.stack(torch._foreach_norm(gradients, 2.0))
        factors: dict[int, torch.Tensor] = {}
        begin = 0
        for lane in measured:
            end = begin + len(self._gradients[lane])
            norm = torch.linalg.vector_norm(norms[begin:end], 2.0)
            begin = end
            self.epochs[lane].norms.append(norm)
            limit = self._clipped[lane]
            if limit is not None:  # as in torch's clip_grads_with_norm_
                factors[lane] = torch.clamp(limit / (norm + 1e-6), max=1.0)
        if factors:
            one = torch.ones_like(norms[0])
            every = torch.stack([factors.get(lane, one) for lane in range(len(self.lanes))])
            for bank in self._banks:
                bank.grad.mul_(bank.spread(every))

    def _step_lane_by_lane(self, step: int, x: torch.Tensor, y: torch.Tensor) -> None:
        """Take the step with each learner alone, to find the lane with the error."""
        for number in self._active():
            lane, generator, epoch = self.lanes[number], self._generators[number], self.epochs[number]
            lane.random.adopt_torch_state(generator)
            lane.learner.net.train()
            rows = x[number].reshape(-1, *_tensors(lane.learner)[0].shape[1:])
            try:
                with torch.enable_grad(), lane.random.own():
                    (loss,), norm, epoch.lr = lane.learner.take_step([(rows, y[number])], step)
            except Exception as error:
                epoch.error = error
                continue
            generator.set_state(lane.random.torch_generator().get_state())
            epoch.losses.append(loss)
            if norm is not None:
                epoch.norms.append(norm)
        self._attach_gradients()
        self._optimizer.begin_epoch()


def _tensors(learner: Learner) -> tuple[torch.Tensor, torch.Tensor]:
    """A learner's training rows on the device: inputs and targets."""
    assert learner.feed.tensors is not None  # a condition of the fusion key
    return learner.feed.tensors


def _copy_tensors(value: object) -> object:
    """A copy of a state's tensor, or list of tensors; any other value unchanged."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return [_copy_tensors(each) for each in value] if isinstance(value, list) else value
