"""The table of criteria: which outputs and targets each of torch's criteria takes.

Nothing here imports torch: a sweep file's criterion is checked without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trainables.outputs import THRESHOLDS, OutputMeaning

CRITERIA: Mapping[str, OutputMeaning] = {
    "CrossEntropyLoss": OutputMeaning("classes", "logits"),
    "NLLLoss": OutputMeaning("classes", "log_probabilities"),
    "MultiMarginLoss": OutputMeaning("classes", "scores"),
    "BCEWithLogitsLoss": OutputMeaning("labels", "logits"),
    "BCELoss": OutputMeaning("labels", "probabilities"),
    "MultiLabelSoftMarginLoss": OutputMeaning("labels", "logits"),
    "SoftMarginLoss": OutputMeaning("labels", "logits", signed=True),  # log(1 + exp(-yx)): the logistic loss
    "MSELoss": OutputMeaning("numbers", "numbers"),
    "L1Loss": OutputMeaning("numbers", "numbers"),
    "SmoothL1Loss": OutputMeaning("numbers", "numbers"),
    "HuberLoss": OutputMeaning("numbers", "numbers"),
    "PoissonNLLLoss": OutputMeaning("numbers", "log_numbers", counts=True),
    "KLDivLoss": OutputMeaning("numbers", "log_numbers"),
}
"""Torch's criteria of one output tensor and one target tensor -> their meaning."""

IGNORING = ("CrossEntropyLoss", "NLLLoss")
IGNORED = -100  # torch's default for `ignore_index`

PAIRS = "takes pairs or triplets of inputs", "train such a net in a loop of your own (`train:`)"
OWN_WEIGHTS = "has weights of its own to train", "use torch.nn.CrossEntropyLoss"

UNUSABLE: Mapping[str, tuple[str, str]] = {
    "GaussianNLLLoss": (
        "takes a variance as a third argument",
        "write a criterion class whose forward(outputs, targets) reads mean and log-variance from two "
        "outputs, and set net_config.out_features: 2",
    ),
    "MultiLabelMarginLoss": ("takes lists of class numbers", "use torch.nn.MultiLabelSoftMarginLoss"),
    "HingeEmbeddingLoss": ("takes distances of pairs", "use torch.nn.SoftMarginLoss for two classes"),
    "CosineEmbeddingLoss": PAIRS,
    "MarginRankingLoss": PAIRS,
    "TripletMarginLoss": PAIRS,
    "TripletMarginWithDistanceLoss": PAIRS,
    "CTCLoss": ("takes the lengths of sequences too", PAIRS[1]),
    "AdaptiveLogSoftmaxWithLoss": OWN_WEIGHTS,
    "LinearCrossEntropyLoss": OWN_WEIGHTS,
}
"""Torch's criteria that are not called with one output and one target -> why, and what to use instead."""


def of_criterion(path: str, config: Mapping[str, Any]) -> OutputMeaning | None:
    """The meaning of outputs for the criterion of a dotted path; None if it is not one of torch's.

    >>> of_criterion("torch.nn.BCELoss", {}).outputs
    'probabilities'
    """
    name = _name_in_torch(path)
    return meaning_with_config(name, config) if name else None


def unusable(path: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Why one of torch's criteria cannot be used, and how to fix it; two empty strings if it can.

    >>> unusable("torch.nn.MSELoss", {"reduction": "none"})[0]
    "reduction 'none' leaves a loss per row, and training needs one number"
    """
    name = _name_in_torch(path)
    if name in UNUSABLE:
        what, fix = UNUSABLE[name]
        return f"{path} {what}", fix
    if name and config.get("reduction") == "none":
        return "reduction 'none' leaves a loss per row, and training needs one number", "use mean or sum"
    return "", ""


def _name_in_torch(path: str) -> str:
    home, _, name = path.rpartition(".")
    return name if home in ("torch.nn", "torch.nn.modules.loss") else ""


def disagreement(path: str, meaning: OutputMeaning, outputs: str | None) -> str:
    """Why a run's `outputs` contradict its criterion, in one line; empty if they do not.

    CrossEntropyLoss takes log-probabilities too: they are valid logits.
    """
    if outputs in (None, meaning.outputs):
        return ""
    if (meaning.layout, meaning.outputs, outputs) == ("classes", "logits", "log_probabilities"):
        return ""
    expected = meaning.outputs.replace("_", "-") if meaning.outputs in THRESHOLDS else meaning.outputs
    return (
        f"run.outputs: {outputs}, but {path} takes {expected}; leave `outputs` out, or use another criterion"
    )


def meaning_with_config(name: str, config: Mapping[str, Any]) -> OutputMeaning | None:
    """The meaning of outputs for a criterion with these keyword arguments."""
    meaning = CRITERIA.get(name)
    if meaning is None:
        return None
    if name in IGNORING:
        return replace(meaning, ignored=config.get("ignore_index", IGNORED))
    if name == "PoissonNLLLoss" and not config.get("log_input", True):
        return replace(meaning, outputs="numbers")
    return meaning
