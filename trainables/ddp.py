"""Trains one net on several devices: `train: trainables.ddp.DistributedTraining`.

    resources_per_trial: {cpu: 4, gpu: 2}
    run: {train: trainables.ddp.DistributedTraining, ...}

Each GPU of the trial has a process (DistributedDataParallel over NCCL); without a GPU there are two on the
CPU (gloo). An example of a custom loop, small enough to be changed. Each process trains on its part of the
rows and of `batch_size`; all validate on the same rows.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import tempfile
import traceback
import weakref
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from trainables import checkpoint
from trainables.data import Data, Split
from trainables.learner import Learner
from trainables.precision import apply_arithmetic
from trainables.rng_state import RngState
from trainables.run_config import RunConfig, RunError
from trainables.training import Epoch

CPU_PROCESSES = 2
ENDS_S = 10.0  # for a process to end after its pipe is closed


class DistributedTraining:
    """A training whose batches are shared by the devices of a trial; see `trainables.custom_loop`.

    Raises:
        RunError: for folds, lazy rows, or fewer rows in a batch than processes.
        RuntimeError: for an error in a process, with its traceback.
    """

    def __init__(
        self, run: RunConfig, data: Data, *, device: torch.device, devices: list[torch.device], seed: int
    ) -> None:
        devices = devices if device.type == "cuda" else [device] * CPU_PROCESSES
        if len(data.parts) > 1:
            raise RunError("run.train: trainables.ddp trains one net; drop data_config.folds")
        if data.is_lazy:
            raise RunError(
                "run.train: trainables.ddp divides rows that are in memory, and these are a stream"
            )
        if run.batch_size < len(devices):
            raise RunError(f"run.batch_size: {run.batch_size} rows for {len(devices)} processes; raise it")
        self.run, self.number = run, 0
        folder = tempfile.mkdtemp(prefix="ddp-")
        self.pipes: list[Connection] = []
        processes: list[BaseProcess] = []
        context = multiprocessing.get_context("spawn")
        for rank, own_device in enumerate(devices):
            pipe, child_pipe = context.Pipe()
            plan = _ShardPlan(run, data, own_device, seed, rank, len(devices), f"file://{folder}/meeting")
            process = context.Process(target=_serve, args=(child_pipe, plan), daemon=True)
            process.start()
            child_pipe.close()
            self.pipes.append(pipe)
            processes.append(process)
        self._end = weakref.finalize(self, _end_processes, self.pipes, processes, folder)

    def __iter__(self) -> Iterator[Epoch]:
        """The remaining epochs."""
        while self.number < self.run.epochs:
            answers = self._call("epoch")
            self.number += 1
            yield replace(answers[0], number=self.number)

    def save(self, directory: str) -> None:
        """Write what the next epoch depends on; each process keeps its own random numbers and order."""
        states = self._call("state")
        checkpoint.save(directory, {"number": self.number, "processes": states})

    def load(self, directory: str) -> None:
        """Go on from what `save` wrote.

        Raises:
            RunError: if it was written by another number of processes.
        """
        state = checkpoint.load(directory)
        if len(state["processes"]) != len(self.pipes):
            raise RunError(
                f"{directory}: saved by {len(state['processes'])} processes, not {len(self.pipes)}"
            )
        self._call("load", *state["processes"])
        self.number = state["number"]

    def _call(self, method: str, *values: Any) -> list[Any]:
        """Call a method of every process's shard in parallel, and return the answers."""
        for rank, pipe in enumerate(self.pipes):
            pipe.send((method, values[rank] if values else None))
        answers = []
        for pipe in self.pipes:
            try:
                succeeded, answer = pipe.recv()
            except EOFError:
                succeeded, answer = False, "a process of the trial ended without an error message"
            if not succeeded:
                self._end()
                raise RuntimeError(answer)
            answers.append(answer)
        return answers


def _end_processes(pipes: list[Connection], processes: list[BaseProcess], folder: str) -> None:
    for pipe in pipes:
        pipe.close()  # a process that waits for a call ends then
    for process in processes:
        process.join(ENDS_S)
        process.kill()
        process.join()
        process.close()
    shutil.rmtree(folder, ignore_errors=True)


class _ShardPlan(NamedTuple):
    """The arguments of one process; all `world` processes find each other at the URL `meeting`."""

    run: RunConfig
    data: Data
    device: torch.device
    seed: int
    rank: int
    world: int
    meeting: str


def _serve(pipe: Connection, plan: _ShardPlan) -> None:
    """Answer calls in a process of the training until the trial's own process has gone."""
    try:
        shard = _Shard(plan)
        while True:
            method, value = pipe.recv()
            pipe.send((True, getattr(shard, method)(value)))
    except (EOFError, ConnectionError):
        return
    except Exception:
        with contextlib.suppress(OSError):  # another process failed first, and the pipe is closed
            pipe.send((False, traceback.format_exc()))


class _Shard:
    """A part of the rows, and this process's replica of the net."""

    def __init__(self, plan: _ShardPlan) -> None:
        run, data, device, seed, rank, world, meeting = plan
        torch.set_num_threads(1)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the processes of one trial are on one node
        apply_arithmetic(run)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=world)
        whole = data.parts[0]
        rows = len(whole.train.x) // world * world  # equally many for each, so that all take the same steps
        mine = slice(rank, rows, world)
        part = replace(whole, train=Split(whole.train.x[mine], whole.train.y[mine]))
        own_run = run.model_copy(update={"batch_size": run.batch_size // world})
        self.random = RngState(seed, device)
        with self.random.own():
            self.learner = Learner(own_run, data, part, device, seed)
        self.net = self.learner.net
        self.random = RngState(seed + rank, device)  # dropout differs from process to process
        device_ids = [device] if device.type == "cuda" else None
        self.learner.net = DistributedDataParallel(self.net, device_ids=device_ids)

    def epoch(self, _: None) -> Epoch:
        """Train on this part once, with gradients averaged over all parts; then validate."""
        with self.random.own():
            scores = self.learner.epoch()
        loss = torch.tensor(scores.train_loss, dtype=torch.float64, device=self.learner.device)
        distributed.all_reduce(loss)
        mean = float(loss) / distributed.get_world_size()
        return Epoch(1, mean, scores.val_loss, scores.metrics, scores.lr, scores.grad_norm)

    def state(self, _: None) -> dict[str, Any]:
        """All that the next epoch depends on in this process."""
        with self._unwrap():
            return {"learner": self.learner.state_dict(), "random": self.random.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        with self._unwrap():
            self.learner.load_state_dict(state["learner"], self.learner.run)
        self.random.load_state_dict(state["random"])

    @contextlib.contextmanager
    def _unwrap(self) -> Iterator[None]:
        """Give the learner the unwrapped net, with its own parameter names, within the block."""
        wrapped, self.learner.net = self.learner.net, self.net
        try:
            yield
        finally:
            self.learner.net = wrapped
