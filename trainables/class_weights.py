"""`balanced` weights of a criterion, computed from the training rows and from nothing else."""

from __future__ import annotations

import numpy as np

from trainables.criteria import CRITERIA
from trainables.data import Data, DataPart
from trainables.run_config import RunConfig, RunError

BALANCED = "balanced"
WEIGHTS = ("weight", "pos_weight")


def with_class_weights(run: RunConfig, data: Data, part: DataPart) -> RunConfig:
    """The run with numbers in the place of `balanced` weights in its `criterion_config`.

    `weight` has n / (classes · n_c) for each class c of n_c training rows, as scikit-learn's `balanced` has
    it: each class then counts alike in the loss. `pos_weight` has, for each label, the rows in which it does
    not hold for each one in which it does. A class that no training row is of, or a label that holds in none,
    weighs 1.

    Args:
        run: as the sweep file has it.
        data: for the classes.
        part: whose training rows are counted.

    Raises:
        RunError: if there are no classes to balance, or the criterion takes no such weight.
    """
    wanted = [name for name in WEIGHTS if run.criterion_config.get(name) == BALANCED]
    if not wanted:
        return run
    numbers = {name: (_per_class if name == "weight" else _per_label)(run, data, part) for name in wanted}
    return run.model_copy(update={"criterion_config": run.criterion_config | numbers})


def _per_class(run: RunConfig, data: Data, part: DataPart) -> list[float]:
    """One weight for each class."""
    known = CRITERIA.get(run.criterion.rpartition(".")[2])
    if known is not None and known.layout == "labels":
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
