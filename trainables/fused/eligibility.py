"""Determines which learners can be fused with which, and why a learner cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from trainables.fused.layer_chain import NotFusible as NotFusible
from trainables.fused.layer_chain import read_chain
from trainables.fused.vmap_engine import check_vmap
from trainables.learner import Learner

EngineName = Literal["chain", "vmap"]


@dataclass(frozen=True, slots=True)
class FusionKey:
    """What the learners of a group have in common.

    Attributes:
        engine: "chain": on the CPU bit-equal to each learner alone; "vmap": equal within float32's rounding.
        shapes: of rows, batches and layers.
        run: values of the run config that must be equal. Learning rate, weight decay, betas, dropout,
            activation, depth, clipping, schedule and seed are not among them.
    """

    engine: EngineName
    shapes: tuple[Any, ...]
    run: tuple[str, ...]


def fusion_key(learner: Learner, *, exact: bool = True) -> FusionKey:
    """The fusion key of a learner, which is equal for all learners of a `FusedGroup`.

    Args:
        learner: at any epoch; it is not changed.
        exact: whether only the chain engine may be used.

    Raises:
        NotFusible: if it must be trained alone; with the reason in one line.
    """
    _check_learner(learner)
    run, feed = learner.run, learner.feed
    assert feed.tensors is not None  # _check_learner
    x, y = feed.tensors
    values = (run.optimizer, run.criterion, json.dumps(learner.criterion_config, sort_keys=True, default=str))
    rows = (
        str(learner.device),
        feed.rows,
        feed.batch_size,
        *(tuple(t.shape[1:]) for t in (x, y)),
        x.dtype,
        y.dtype,
    )
    try:
        chain = read_chain(learner.net, x.ndim - 1)
    except NotFusible:
        if exact:
            raise
        check_vmap(learner)
        net = (run.net, json.dumps(run.net_config, sort_keys=True, default=str))
        return FusionKey("vmap", rows, values + net)
    return FusionKey("chain", (*rows, *chain.shape()), values)


def fusion_obstacle(learner: Learner, *, exact: bool = True) -> str:
    """Why a learner cannot be fused with any other, in one line; empty if it can."""
    try:
        fusion_key(learner, exact=exact)
    except NotFusible as reason:
        return str(reason)
    return ""


def _check_learner(learner: Learner) -> None:
    """Raise NotFusible if neither engine can train a learner."""
    run = learner.run
    if run.precision != "fp32":
        raise NotFusible(f"precision {run.precision} is not stacked")
    if run.deterministic:
        raise NotFusible("deterministic algorithms are set for the whole process")
    if run.accumulate > 1:
        raise NotFusible("its gradients are accumulated over several batches")
    if learner.needs_closure:
        raise NotFusible(f"{run.optimizer} computes the loss again within its step")
    if learner.data.is_lazy:
        raise NotFusible("its rows are loaded by a Dataset or DataLoader as they are needed")
    if not learner.feed.resident:
        raise NotFusible("its rows are streamed, as they do not fit on the device")
    if learner.call.fields:
        raise NotFusible("its net takes several named inputs")
