"""What each criterion takes: the one table of it, and whether it goes with a run's data and outputs.

Nothing here imports torch: a sweep file's criterion is checked, and the task decided, before torch is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainables.outputs import OF_LOGITS, THRESHOLDS, Layout, OutputMeaning
from trainables.run_config import RunConfig, RunError

if TYPE_CHECKING:
    from trainables.data import Data

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
    return _with_config(name, config) if name else None


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


def meaning_of(run: RunConfig, data: Data, criterion: object) -> OutputMeaning:
    """What the outputs of a run mean.

    Args:
        run: its `outputs` say it where the criterion is the user's own.
        data: what is trained on.
        criterion: as built; a subclass of one of torch's means the same as that one.

    Raises:
        RunError: if the criterion does not go with the data, or with what the run says of its outputs.
    """
    names = [each.__name__ for each in type(criterion).__mro__ if each.__module__ == "torch.nn.modules.loss"]
    known = next((_with_config(name, run.criterion_config) for name in names if name in CRITERIA), None)
    if known is None:
        return _of_own(run, data)
    problem = (
        disagreement(run.criterion, known, run.outputs)
        or _misfit(run.criterion, known, data)
        or _uneven_weights(run, known, data)
    )
    if problem:
        raise RunError(problem)
    parts = [split.y for part in data.parts for split in (part.train, part.val)]
    return known if any((y == known.ignored).any() for y in parts) else replace(known, ignored=None)


def disagreement(path: str, known: OutputMeaning, said: str | None) -> str:
    """Why a run's `outputs` contradict its criterion, in a line; empty if they do not.

    CrossEntropyLoss takes log-probabilities too: they are logits of themselves.
    """
    if said in (None, known.outputs) or (known.layout, known.outputs, said) == _BOTH:
        return ""
    taken = known.outputs.replace("_", "-") if known.outputs in THRESHOLDS else known.outputs
    return f"run.outputs: {said}, but {path} takes {taken}; leave `outputs` out, or use another criterion"


_BOTH = ("classes", "logits", "log_probabilities")


def _of_own(run: RunConfig, data: Data) -> OutputMeaning:
    """For a criterion of the user's own."""
    if data.task == "regression":
        return OutputMeaning("numbers", "numbers", strict=False)
    layout: Layout = "labels" if data.labels else "own"
    return OutputMeaning(layout, run.outputs or "", strict=False)


def _misfit(path: str, known: OutputMeaning, data: Data) -> str:
    """Why one of torch's criteria does not go with the data, in a line; empty if it does."""
    if data.task == "regression":
        if known.layout != "numbers":
            way = "use torch.nn.MSELoss, or for whole numbers data_config.task: classification"
            return f"criterion: {path} is for classes, the data are a regression; {way}"
        if path.endswith("PoissonNLLLoss") and any(part.train.y.min() < 0 for part in data.parts):
            return (
                f"criterion: {path} is for counts, and targets are below 0; "
                "a table's are as they stand with data_config.standardise_target: false"
            )
        return ""
    if known.layout == "numbers":
        what = f"{data.labels} labels" if data.labels else f"{data.classes} classes"
        return (
            f"criterion: {path} is for numbers, the data have {what}; use {OF_LOGITS['classes']}, "
            "or data_config.task: regression"
        )
    if known.layout == "labels" and not data.labels and data.classes != 2:
        return f"criterion: {path} is for 2 classes, not {data.classes}; use torch.nn.CrossEntropyLoss"
    if known.layout == "classes" and data.labels:
        several = f"the data have {data.labels} labels; use {OF_LOGITS['labels']}"
        return f"criterion: {path} is for one class per row, {several}"
    return ""


def _uneven_weights(run: RunConfig, known: OutputMeaning, data: Data) -> str:
    """Why the criterion's weights are not one for each class or label, in a line; empty if they are."""
    wanted, what = (data.classes, "classes") if known.layout == "classes" else (data.labels or 1, "labels")
    for name in ("weight", "pos_weight"):
        given = run.criterion_config.get(name)
        if isinstance(given, list) and len(given) not in (1, wanted):
            return f"criterion_config.{name}: {len(given)} numbers for {wanted} {what}; give one for each"
    return ""


def _with_config(name: str, config: Mapping[str, Any]) -> OutputMeaning | None:
    """A criterion's meaning under its keyword arguments."""
    known = CRITERIA.get(name)
    if known is None:
        return None
    if name in IGNORING:
        return replace(known, ignored=config.get("ignore_index", IGNORED))
    if name == "PoissonNLLLoss" and not config.get("log_input", True):
        return replace(known, outputs="numbers")
    return known
