"""`balanced` weights of a criterion, computed from the training rows only."""

from __future__ import annotations

import numpy as np

from trainables.criteria import CRITERIA
from trainables.data import Data, DataPart
from trainables.run_config import RunConfig, RunError

BALANCED = "balanced"
WEIGHTS = ("weight", "pos_weight")


def with_class_weights(run: RunConfig, data: Data, part: DataPart) -> RunConfig:
    """The run config with `balanced` weights in its `criterion_config` replaced by numbers.

    `weight` is n / (classes · n_c) for each class c of n_c training rows, as scikit-learn's `balanced`, so
    that all classes have equal weight in the loss. `pos_weight` is, for each label, the number of rows in
    which it does not hold, divided by the number of those in which it does. A class without training rows,
    or a label that holds in none, has weight 1.

    Args:
        run: the run config.
        data: gives the classes.
        part: its training rows are counted.

    Raises:
        RunError: if there are no classes to balance, or the criterion takes no such weight.
    """
    names = [name for name in WEIGHTS if run.criterion_config.get(name) == BALANCED]
    if not names:
        return run
    numbers = {name: (_per_class if name == "weight" else _per_label)(run, data, part) for name in names}
    return run.model_copy(update={"criterion_config": run.criterion_config | numbers})


def _per_class(run: RunConfig, data: Data, part: DataPart) -> list[float]:
    """One weight for each class."""
    meaning = CRITERIA.get(run.criterion.rpartition(".")[2])
    if meaning is not None and meaning.layout == "labels":
        raise RunError(
            f"criterion_config.weight: {run.criterion} has one output per label; balance it by "
            "pos_weight: balanced (torch.nn.BCEWithLogitsLoss)"
        )
    if not data.classes:
        raise RunError(f"criterion_config.weight: balanced is of classes, and the data have {_kind(data)}")
    y = part.train.y
    counts = np.bincount(y[(y >= 0) & (y < data.classes)].reshape(-1), minlength=data.classes)
    weights = counts.sum() / (data.classes * np.maximum(counts, 1))
    return [float(weight) for weight in np.where(counts, weights, 1.0)]


def _per_label(run: RunConfig, data: Data, part: DataPart) -> list[float]:
    """One weight for each label; a single one for two classes."""
    if not data.labels and data.classes != 2:
        raise RunError(
            "criterion_config.pos_weight: balanced is of labels or two classes, and the data have "
            f"{_kind(data)}"
        )
    y = part.train.y
    columns = y.reshape(len(y), y.shape[1], -1).swapaxes(1, 2) if data.labels else y.reshape(-1, 1)
    columns = columns.reshape(-1, columns.shape[-1]).astype(np.float64)
    holds = columns.sum(0)
    weights = (len(columns) - holds) / np.where(holds > 0, holds, 1.0)
    return [float(weight) for weight in np.where((holds > 0) & (weights > 0), weights, 1.0)]


def _kind(data: Data) -> str:
    if data.labels:
        return f"{data.labels} labels"
    return f"{data.classes} classes" if data.classes else "numbers to predict"
