"""Builds the net, the criterion and the optimizer of a run config."""

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
from trainables.outputs import OutputMeaning
from trainables.param_groups import FACTOR, apply_lr_factors, named_groups
from trainables.run_config import RunConfig, RunError
from trainables.user_errors import wrap_user_errors

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_net(run: RunConfig, data: Data, device: torch.device) -> nn.Module:
    """The net, initialised and on the device.

    `in_features`/`out_features` (numbers per row) and `input_size`/`output_size` are filled in from
    the data if the net's signature has them and `net_config` does not. A net whose first parameter
    is `hparams` is called as in the template, `net(hparams, device)`, with them in `hparams`.

    Raises:
        RunError: if there is no such net or its keywords do not fit.
    """
    target = resolve(run.net)
    by_label = check_criterion(run, data).layout == "labels"
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

    Numbers and lists become tensors for parameters that are tensors (`weight`, `pos_weight`); `balanced`
    weights must have been replaced by numbers (`trainables.class_weights`).

    Raises:
        RunError: if there is no such class, its keywords do not fit, or it takes more than outputs and
        targets.
    """
    what, fix = unusable(run.criterion, run.criterion_config)
    if what:
        raise RunError(f"criterion: {what}; {fix}")
    signature = parameters(resolve(run.criterion))
    given = {
        name: torch.tensor(value, dtype=torch.float32)
        if isinstance(value, (int, float, list)) and _is_tensor(signature.get(name))
        else value
        for name, value in run.criterion_config.items()
    }
    with wrap_user_errors(f"criterion: {run.criterion}"):
        criterion: Criterion = call(run.criterion, given=given)
    if not callable(criterion):
        raise RunError(
            f"criterion: {run.criterion} made a {type(criterion).__name__}, which cannot be called"
        )
    if isinstance(criterion, nn.Module):
        _check_forward(criterion, run.criterion)
        criterion.to(device)
    return criterion


def check_criterion(run: RunConfig, data: Data) -> OutputMeaning:
    """What the outputs of a run mean, by its criterion and data.

    Raises:
        RunError: if the criterion cannot be built, or does not fit the data.
    """
    return meaning_of(run, data, build_criterion(with_class_weights(run, data, data.parts[0])))


def _is_tensor(parameter: inspect.Parameter | None) -> bool:
    """Whether a parameter is annotated as a tensor, or as an optional one."""
    return parameter is not None and "Tensor" in str(parameter.annotation)


def _check_forward(criterion: nn.Module, path: str) -> None:
    """Check that a criterion can be called with outputs and targets.

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

    If its class offers a fused step and the config does not choose, the fused one is used: the same
    update in one kernel (AdamW: a quarter of the time per step). An optimizer that wraps another
    (Lookahead, SAM) gets the class given under `optimizer` or `base_optimizer`; one that takes the net
    gets the net; one of the Muon family gets the matrices in one group and the rest in another.
    `run.param_groups` are groups of their own.

    Args:
        run: its `optimizer` and `optimizer_config` are used.
        net: the net to train.
        rows: rows of an epoch, for constructors with a parameter `num_data`.
        steps: optimizer steps of the whole training, for constructors with a parameter `num_iterations`.

    Raises:
        RunError: if there is no such class, its keywords do not fit, or it cannot be used for training.
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
    with wrap_user_errors(f"optimizer: {run.optimizer}"):
        optimizer: torch.optim.Optimizer = call(run.optimizer, first, given=given, offered=offered)
    if getattr(optimizer, "train_mode", True) is False:  # schedule-free: some begin in evaluation
        optimizer.train()  # type: ignore[attr-defined]
    apply_lr_factors(optimizer)
    return optimizer


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step computes the loss again: it requires a `closure`, by its signature or by `CLOSURES`."""
    closure = parameters(optimizer.step).get("closure")
    is_required = closure is not None and closure.default is inspect.Parameter.empty
    is_listed = type(optimizer).__name__ in CLOSURES and type(optimizer).__module__.startswith(LIBRARIES)
    return is_required or is_listed


def _groups(run: RunConfig, target: Any, net: nn.Module) -> list[Any]:
    """The constructor's first argument: a list of parameters, or of parameter groups.

    For the Muon family, the matrices of a group and the rest of it are separate groups, unless the group
    itself has `use_muon`.
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
    """`optimizer_config`, with the path of a wrapped optimizer replaced by its class."""
    kwargs, accepted = dict(run.optimizer_config), parameters(resolve(run.optimizer))
    for key in WRAPPED:
        if key not in accepted:
            continue
        if not isinstance(kwargs.get(key), str):
            raise RunError(
                f"optimizer: {run.optimizer} wraps another optimizer; say which one, "
                f"optimizer_config: {{{key}: torch.optim.AdamW}}"
            )
        kwargs[key] = resolve(kwargs[key])
    return kwargs


def hyperparameters(run: RunConfig, group: Mapping[str, Any]) -> set[str]:
    """The keys of a parameter group that are set by the config, and are not state of the training.

    These are the parameters of the optimizer's constructor, and what a schedule adds (`initial_lr`,
    `max_lr`); other keys (`step`, `train_mode`, `weight_sum`) are state.
    """
    names = set(parameters(resolve(run.optimizer)))
    for key in WRAPPED:
        if isinstance(run.optimizer_config.get(key), str):
            names |= set(parameters(resolve(run.optimizer_config[key])))
    names |= {FACTOR}.union(*(group.optimizer_config for group in run.param_groups.values()))
    scheduled = {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"}
    return set(group) & (names | scheduled)
