"""From the words of a run config to a net, a criterion and an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from trainables.class_weights import with_class_weights
from trainables.criteria import unusable
from trainables.criterion_fit import meaning_of
from trainables.data import Data
from trainables.imports import call, parameters, resolve, takes
from trainables.optimizers import CLOSURES, GROUP_OF_MATRICES, LIBRARIES, MATRICES_BY, WRAPPED, why_unusable
from trainables.param_groups import FACTOR, apply_lr_factors, named_groups
from trainables.run_config import RunConfig, RunError

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_net(run: RunConfig, data: Data, device: torch.device) -> nn.Module:
    """The net, initialised and on the device.

    `in_features`/`out_features` (numbers per row) and `input_size`/`output_size` are filled in from
    the data where the net's signature has them and `net_config` does not. A net whose first parameter
    is `hparams` is called the template's way, `net(hparams, device)`, with them in `hparams`.

    Raises:
        RunError: if there is no such net or its keywords do not fit.
    """
    target = resolve(run.net)
    criterion = build_criterion(with_class_weights(run, data, data.parts[0]))
    by_label = meaning_of(run, data, criterion).layout == "labels"
    outputs = (data.labels or 1) if by_label else data.out_features
    sizes = {
        "in_features": data.in_features,
        "out_features": outputs,
        "input_size": int(data.example.shape[-1]),
        "output_size": outputs,
    }
    names = list(parameters(target))
    if names[:1] == ["hparams"]:
        hparams = sizes | run.net_config
        net = target(hparams, device) if len(names) > 1 else target(hparams)
    else:
        net = call(run.net, given=run.net_config, offered=sizes)
    if not isinstance(net, nn.Module):
        raise RunError(f"net: {run.net} made a {type(net).__name__}, not a torch.nn.Module")
    if run.init is not None:
        initialise = resolve(run.init)
        for parameter in net.parameters():
            if parameter.ndim >= 2:  # biases and norm layers keep what their module gave them
                initialise(parameter)
    return net.to(device)


def build_criterion(run: RunConfig, device: torch.device | None = None) -> Criterion:
    """The loss function, its weights on the device.

    Numbers and lists become tensors for parameters that are tensors (`weight`, `pos_weight`); `balanced` ones
    are to be numbers by then (`trainables.class_weights`).

    Raises:
        RunError: if there is no such class, its keywords do not fit, or it takes more than outputs and
        targets.
    """
    why, way = unusable(run.criterion, run.criterion_config)
    if why:
        raise RunError(f"criterion: {why}; {way}")
    signature = parameters(resolve(run.criterion))
    given = {
        name: torch.tensor(value, dtype=torch.float32)
        if isinstance(value, (int, float, list)) and _is_tensor(signature.get(name))
        else value
        for name, value in run.criterion_config.items()
    }
    criterion: Criterion = call(run.criterion, given=given)
    if not callable(criterion):
        raise RunError(
            f"criterion: {run.criterion} made a {type(criterion).__name__}, which cannot be called"
        )
    if isinstance(criterion, nn.Module):
        _check_forward(criterion, run.criterion)
        criterion.to(device)
    return criterion


def _is_tensor(parameter: inspect.Parameter | None) -> bool:
    """Whether a parameter is annotated as a tensor, or as one or None."""
    return parameter is not None and "Tensor" in str(parameter.annotation)


def _check_forward(criterion: nn.Module, path: str) -> None:
    """Nothing, if a criterion can be called with outputs and targets.

    Raises:
        RunError: if it takes more.
    """
    try:
        inspect.signature(criterion.forward).bind(None, None)
    except TypeError as error:
        raise RunError(
            f"criterion: {path} is called with outputs and targets: {error}; give it these two, or train by "
            "a loop of your own (`train:`)"
        ) from None


def build_optimizer(run: RunConfig, net: nn.Module, *, rows: int, steps: int) -> torch.optim.Optimizer:
    """The optimizer over the parameters that are trained.

    Where its class offers a fused step and the config does not choose, the fused one is taken: the
    same update in one kernel (AdamW: a quarter of the time per step). One that wraps another
    (Lookahead, SAM) finds that one's path under `optimizer` or `base_optimizer`; one that wants the net
    itself gets it; one of the Muon family gets the matrices in one group and the rest in another.
    `run.param_groups` are groups of their own.

    Args:
        run: its `optimizer` and `optimizer_config`.
        net: whose parameters are trained.
        rows: trained on in an epoch, for constructors that ask for `num_data`.
        steps: of the whole training, for those that ask for `num_iterations`.

    Raises:
        RunError: if there is no such class, its keywords do not fit, or it cannot be trained with.
    """
    reason = why_unusable(run.optimizer)
    if reason:
        raise RunError(f"optimizer: {run.optimizer} cannot be used here: {reason}")
    target = resolve(run.optimizer)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    offered: dict[str, Any] = {"num_data": rows, "num_iterations": steps}
    chosen = {"fused", "foreach", "differentiable", "capturable"} & set(run.optimizer_config)
    if takes(target, "fused") and not chosen and all(parameter.is_floating_point() for parameter in trained):
        offered["fused"] = True
    given = _with_wrapped(run)
    first: Any = _groups(run, target, net)
    if run.param_groups and next(iter(parameters(target)), "") == "model":
        raise RunError(f"param_groups: {run.optimizer} takes the net as a whole; leave them out")
    match next(iter(parameters(target)), ""):
        case "model":
            if takes(target, "params"):
                offered["params"] = first
            first = net
        case "optimizer":
            first, given = given.pop("optimizer"), given | {"params": first}
    optimizer: torch.optim.Optimizer = call(run.optimizer, first, given=given, offered=offered)
    if getattr(optimizer, "train_mode", True) is False:  # schedule-free: some begin in evaluation
        optimizer.train()  # type: ignore[attr-defined]
    apply_lr_factors(optimizer)
    return optimizer


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step computes the loss anew: its `closure` is required, or it is known to refuse without."""
    closure = parameters(optimizer.step).get("closure")
    required = closure is not None and closure.default is inspect.Parameter.empty
    known = type(optimizer).__name__ in CLOSURES and type(optimizer).__module__.startswith(LIBRARIES)
    return required or known


def _groups(run: RunConfig, target: Any, net: nn.Module) -> list[Any]:
    """What the constructor takes as its parameters: a list of them, or of groups of them.

    One of the Muon family takes the matrices of a group and the rest of it apart, unless the group says
    by `use_muon` how all of it is trained.
    """
    groups = named_groups(net, run.param_groups)
    if takes(target, MATRICES_BY):
        return [part for group in groups for part in _matrices_apart(group)]
    return groups if run.param_groups else groups[0]["params"]


def _matrices_apart(group: dict[str, Any]) -> list[dict[str, Any]]:
    if GROUP_OF_MATRICES in group:
        return [group]
    halves = {
        matrices: [p for p in group["params"] if (p.ndim >= 2) is matrices] for matrices in (True, False)
    }
    return [
        group | {"params": half, GROUP_OF_MATRICES: matrices} for matrices, half in halves.items() if half
    ]


def _with_wrapped(run: RunConfig) -> dict[str, Any]:
    """`optimizer_config`, with the class of the optimizer to be wrapped for its dotted path."""
    given, wanted = dict(run.optimizer_config), parameters(resolve(run.optimizer))
    for word in WRAPPED:
        if word not in wanted:
            continue
        if not isinstance(given.get(word), str):
            raise RunError(
                f"optimizer: {run.optimizer} wraps another optimizer; say which one, "
                f"optimizer_config: {{{word}: torch.optim.AdamW}}"
            )
        given[word] = resolve(given[word])
    return given


def hyperparameters(run: RunConfig, group: Mapping[str, Any]) -> set[str]:
    """The keys of a parameter group that the config decides, as against what training has counted.

    An optimizer's constructor takes its hyperparameters by name; what else stands in a group (`step`,
    `train_mode`, `weight_sum`) is state. What a schedule adds (`initial_lr`, `max_lr`) is decided by
    the config too.
    """
    named = set(parameters(resolve(run.optimizer)))
    for word in WRAPPED:
        if isinstance(run.optimizer_config.get(word), str):
            named |= set(parameters(resolve(run.optimizer_config[word])))
    named |= {FACTOR}.union(*(group.optimizer_config for group in run.param_groups.values()))
    scheduled = {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"}
    return set(group) & (named | scheduled)
