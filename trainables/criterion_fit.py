"""Whether a criterion goes with the data that a run loads, and what its outputs mean then."""

from __future__ import annotations

from dataclasses import replace

from trainables.criteria import CRITERIA, disagreement, meaning_with_config
from trainables.data import Data
from trainables.outputs import OF_LOGITS, Layout, OutputMeaning
from trainables.run_config import RunConfig, RunError


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
    known = next(
        (meaning_with_config(name, run.criterion_config) for name in names if name in CRITERIA), None
    )
    if known is None:
        return _of_own(run, data)
    problem = (
        disagreement(run.criterion, known, run.outputs)
        or _misfit(run.criterion, known, data)
        or _uneven_weights(run, known, data)
    )
    if problem:
        raise RunError(problem)
    if data.is_lazy:
        return known  # not all targets may be known
    parts = [split.y for part in data.parts for split in (part.train, part.val)]
    return known if any((y == known.ignored).any() for y in parts) else replace(known, ignored=None)


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
        counts = path.endswith("PoissonNLLLoss") and not data.is_lazy
        if counts and any(part.train.y.min() < 0 for part in data.parts):
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
