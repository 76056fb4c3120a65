"""What each criterion takes: the one table of it, and whether it goes with a run's data and outputs.

Nothing here imports torch: a sweep file's criterion is checked, and the task decided, before torch is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainables.outputs import THRESHOLDS, OutputMeaning

if TYPE_CHECKING:
    pass

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
    "PoissonNLLLoss": OutputMeaning("numbers", "log_numbers"),
    "KLDivLoss": OutputMeaning("numbers", "log_numbers"),
}
"""Torch's criteria of one output tensor and one target tensor."""

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
"""Torch's criteria that are not called with one output and one target: why, and what would do."""


def of_criterion(path: str, config: Mapping[str, Any]) -> OutputMeaning | None:
    """What the criterion of this dotted path takes; None if it is none of torch's.

    >>> of_criterion("torch.nn.BCELoss", {}).outputs
    'probabilities'
    """
    name = _name_in_torch(path)
    return meaning_with_config(name, config) if name else None


def unusable(path: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Why one of torch's criteria cannot be used so, and what would do; two empty texts if it can.

    >>> unusable("torch.nn.MSELoss", {"reduction": "none"})[0]
    "reduction 'none' leaves a loss per row, and training needs one number"
    """
    name = _name_in_torch(path)
    if name in UNUSABLE:
        why, way = UNUSABLE[name]
        return f"{path} {why}", way
    if name and config.get("reduction") == "none":
        return "reduction 'none' leaves a loss per row, and training needs one number", "use mean or sum"
    return "", ""


def _name_in_torch(path: str) -> str:
    home, _, name = path.rpartition(".")
    return name if home in ("torch.nn", "torch.nn.modules.loss") else ""


def disagreement(path: str, known: OutputMeaning, said: str | None) -> str:
    """Why a run's `outputs` contradict its criterion, in a line; empty if they do not.

    CrossEntropyLoss takes log-probabilities too: they are logits of themselves.
    """
    if said in (None, known.outputs) or (known.layout, known.outputs, said) == _BOTH:
        return ""
    taken = known.outputs.replace("_", "-") if known.outputs in THRESHOLDS else known.outputs
    return f"run.outputs: {said}, but {path} takes {taken}; leave `outputs` out, or use another criterion"


_BOTH = ("classes", "logits", "log_probabilities")


def meaning_with_config(name: str, config: Mapping[str, Any]) -> OutputMeaning | None:
    """A criterion's meaning under its keyword arguments."""
    known = CRITERIA.get(name)
    if known is None:
        return None
    if name in IGNORING:
        return replace(known, ignored=config.get("ignore_index", IGNORED))
    if name == "PoissonNLLLoss" and not config.get("log_input", True):
        return replace(known, outputs="numbers")
    return known
