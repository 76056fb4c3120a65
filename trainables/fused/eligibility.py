"""Which learners can be fused with which; of one that cannot, why."""

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
    """What learners of one group have in common.

    Attributes:
        engine: "chain": on the CPU with the bits of each learner alone; "vmap": within float32's rounding.
        shapes: of rows, batches and layers.
        run: words of the run config that must be equal. Learning rate, weight decay, betas, dropout,
            activation, depth, clipping, schedule and seed are not among them.
    """

    engine: EngineName
    shapes: tuple[Any, ...]
    run: tuple[str, ...]


def fusion_key(learner: Learner, *, exact: bool = True) -> FusionKey:
    """Equal for learners that one `FusedGroup` can hold. Changes nothing about the learner.

    Args:
        learner: at any epoch.
        exact: whether only the chain engine will do.

    Raises:
        NotFusible: if it must be trained alone; the reason, one line.
    """
    _check_learner(learner)
    run, feed = learner.run, learner.feed
    assert feed.tensors is not None  # _check_learner
    x, y = feed.tensors
    words = (run.optimizer, run.criterion, json.dumps(learner.criterion_config, sort_keys=True, default=str))
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
        return FusionKey("vmap", rows, words + net)
    return FusionKey("chain", (*rows, *chain.shape()), words)


def fusion_obstacle(learner: Learner, *, exact: bool = True) -> str:
    """Why a learner cannot be fused with any other, one line; empty if it can."""
    try:
        fusion_key(learner, exact=exact)
    except NotFusible as reason:
        return str(reason)
    return ""


def _check_learner(learner: Learner) -> None:
    """Raise NotFusible for what neither engine can do."""
    run = learner.run
    if run.precision != "fp32":
        raise NotFusible(f"precision {run.precision} is not stacked")
    if run.deterministic:
        raise NotFusible("deterministic algorithms are the whole process's")
    if run.accumulate > 1:
        raise NotFusible("its gradients are accumulated over several batches")
    if learner.needs_closure:
        raise NotFusible(f"{run.optimizer} computes the loss anew within its step")
    if learner.data.is_lazy:
        raise NotFusible("its rows are loaded by a Dataset or DataLoader as they are needed")
    if not learner.feed.resident:
        raise NotFusible("its rows are streamed, as they do not fit on the device")
    if learner.call.fields:
        raise NotFusible("its net takes several named inputs")
