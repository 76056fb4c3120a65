"""Checks a criterion against the data of a run, and determines what the outputs mean."""

from __future__ import annotations

from dataclasses import replace

from trainables.criteria import CRITERIA, disagreement, meaning_with_config
from trainables.data import Data
from trainables.outputs import OF_LOGITS, Layout, OutputMeaning
from trainables.run_config import RunConfig, RunError


def meaning_of(run: RunConfig, data: Data, criterion: object) -> OutputMeaning:
    """What the outputs of a run mean.

    Args:
        run: its `outputs` count if the criterion is the user's.
        data: what is trained on.
        criterion: the criterion itself; a subclass of one of torch's has the meaning of that one.

    Raises:
        RunError: if the criterion does not fit the data, or the `outputs` of the run.
    """
    names = [each.__name__ for each in type(criterion).__mro__ if each.__module__ == "torch.nn.modules.loss"]
    meaning = next(
        (meaning_with_config(name, run.criterion_config) for name in names if name in CRITERIA), None
    )
    if meaning is None:
        return _meaning_of_custom(run, data)
    problem = (
        disagreement(run.criterion, meaning, run.outputs)
        or _misfit(run.criterion, meaning, data)
        or _uneven_weights(run, meaning, data)
    )
    if problem:
        raise RunError(problem)
    if data.is_lazy:
        return meaning  # not all targets may be known
    targets = [split.y for part in data.parts for split in (part.train, part.val)]
    return meaning if any((y == meaning.ignored).any() for y in targets) else replace(meaning, ignored=None)


def _meaning_of_custom(run: RunConfig, data: Data) -> OutputMeaning:
    """The meaning for a user's criterion."""
    if data.task == "regression":
        return OutputMeaning("numbers", "numbers", strict=False)
    layout: Layout = "labels" if data.labels else "own"
    return OutputMeaning(layout, run.outputs or "", strict=False)


def _misfit(path: str, meaning: OutputMeaning, data: Data) -> str:
    """Why one of torch's criteria does not fit the data, in one line; empty if it does."""
    if data.task == "regression":
        if meaning.layout != "numbers":
            fix = "use torch.nn.MSELoss, or for whole numbers data_config.task: classification"
            return f"criterion: {path} is for classes, the data are a regression; {fix}"
        if meaning.counts and not data.is_lazy and any(part.train.y.min() < 0 for part in data.parts):
            return (
                f"criterion: {path} is for counts, and targets are below 0; "
                "a table's are as they stand with data_config.standardise_target: false"
            )
        return ""
    if meaning.layout == "numbers":
        what = f"{data.labels} labels" if data.labels else f"{data.classes} classes"
        return (
            f"criterion: {path} is for numbers, the data have {what}; use {OF_LOGITS['classes']}, "
            "or data_config.task: regression"
        )
    if meaning.layout == "labels" and not data.labels and data.classes != 2:
        return f"criterion: {path} is for 2 classes, not {data.classes}; use torch.nn.CrossEntropyLoss"
    if meaning.layout == "classes" and data.labels:
        several = f"the data have {data.labels} labels; use {OF_LOGITS['labels']}"
        return f"criterion: {path} is for one class per row, {several}"
    return ""


def _uneven_weights(run: RunConfig, meaning: OutputMeaning, data: Data) -> str:
    """Why the criterion's weights are not one for each class or label, in one line; empty if they are."""
    count, what = (data.classes, "classes") if meaning.layout == "classes" else (data.labels or 1, "labels")
    for name in ("weight", "pos_weight"):
        weights = run.criterion_config.get(name)
        if isinstance(weights, list) and len(weights) not in (1, count):
            return f"criterion_config.{name}: {len(weights)} numbers for {count} {what}; give one for each"
    return ""
