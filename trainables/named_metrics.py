"""Named metrics, and how a metric's function is called.

A function whose first parameter is `y_true`, as in scikit-learn, is called with targets first; if its second
parameter is `y_score` (or `y_prob`, `y_proba`), it gets probabilities, else the answers (class numbers, 1 or
0 for each label, or numbers in the target's own units). Any other function is called as
f(prediction, target), with the net's unchanged outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.imports import parameters
from trainables.run_config import RunError

if TYPE_CHECKING:
    import torch

    from trainables.outputs import OutputMeaning

SCORES = ("y_score", "y_prob", "y_proba")
SMALLEST = float(np.finfo(np.float32).eps)  # as scikit-learn clips probabilities of this precision


def roc_auc(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """Area under the ROC curve; for several classes or labels, the mean over those with both outcomes.

    >>> roc_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    from sklearn.metrics import roc_auc_score

    return _mean_of_columns(roc_auc_score, y_true, y_score)


def average_precision(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """Area under the precision-recall curve, averaged like `roc_auc`."""
    from sklearn.metrics import average_precision_score

    return _mean_of_columns(average_precision_score, y_true, y_score)


def f1(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """F1 of class 1 for two classes; for several classes or labels, the mean over them.

    >>> f1(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
    0.8
    """
    from sklearn.metrics import f1_score

    is_binary = y_true.ndim == 1 and max(y_true.max(), y_pred.max()) <= 1
    return float(f1_score(y_true, y_pred, average="binary" if is_binary else "macro", zero_division=0.0))


def balanced_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean over the classes of the share predicted correctly; for several labels, the mean over these.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    columns = zip(_columns(y_true).T, _columns(y_pred).T, strict=True)
    return float(np.mean([_balanced_accuracy(true, predicted) for true, predicted in columns]))


def log_loss(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """Mean of -log of the probability of the true class or label.

    >>> round(log_loss(np.array([0, 1]), np.array([0.5, 0.5])), 6)
    0.693147
    """
    p = np.clip(y_score.astype(np.float64), SMALLEST, 1 - SMALLEST)
    if y_true.ndim == p.ndim:  # one probability for each label
        return float(-np.mean(np.where(y_true == 1, np.log(p), np.log1p(-p))))
    return float(-np.mean(np.log(p[np.arange(len(y_true)), y_true])))


def mae(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean absolute error, in the target's units."""
    return float(np.abs(y_true - y_pred).mean())


def rmse(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Root of the mean squared error, in the target's units; for several columns, the mean of theirs."""
    return float(np.sqrt(((_columns(y_true) - _columns(y_pred)) ** 2).mean(0)).mean())


def mape(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean absolute error as a share of the target: 0.1 is ten per cent."""
    from sklearn.metrics import mean_absolute_percentage_error

    return float(mean_absolute_percentage_error(y_true, y_pred))


def call_metric(
    metric: Callable[..., Any],
    name: str,
    meaning: OutputMeaning,
    outputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    mean: np.ndarray,
    std: np.ndarray,
) -> float:
    """The value of a metric.

    Args:
        metric: the function.
        name: its name in results.
        meaning: meaning of the outputs.
        outputs: of the net, as `OutputMeaning.pair` returns them.
        targets: as `OutputMeaning.pair` returns them.
        mean: of a numeric target, per column.
        std: of a numeric target, per column.

    Raises:
        RunError: if it takes probabilities, and the outputs give none.
    """
    is_numeric = meaning.layout == "numbers"
    names = list(parameters(metric))
    if names[:1] != ["y_true"]:
        prediction, target = outputs.cpu().numpy(), targets.cpu().numpy()
        if is_numeric:
            prediction = meaning.answers(outputs).cpu().numpy()
            prediction, target = (std * each + mean for each in (prediction, target))
        return float(metric(prediction, target))
    if is_numeric:
        predicted, true = (std * each.cpu().numpy() + mean for each in (meaning.answers(outputs), targets))
        return float(metric(_narrow(true), _narrow(predicted)))
    takes_scores = names[1:2] and names[1] in SCORES
    predictions = meaning.probabilities(outputs) if takes_scores else meaning.answers(outputs)
    if predictions is None:
        raise RunError(f"run.metrics.{name}: takes probabilities, and none follow from these outputs")
    return float(metric(*_in_rows(meaning, targets, predictions)))


def _in_rows(
    meaning: OutputMeaning, targets: torch.Tensor, predictions: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and answers or probabilities, as scikit-learn takes them: a row for each target."""
    true, predicted = targets.cpu().numpy(), predictions.cpu().numpy()
    if targets.is_floating_point():
        labels = (true > (0.0 if meaning.signed else 0.5)).astype(np.int64)
        return _narrow(labels), _narrow(predicted.reshape(labels.shape))
    if predicted.ndim > true.ndim:  # one for each class; move the classes last
        predicted = np.moveaxis(predicted, 1, -1).reshape(-1, predicted.shape[1])
    true, predicted = true.reshape(-1), predicted if predicted.ndim == 2 else predicted.reshape(-1)
    counted = np.ones(len(true), bool) if meaning.ignored is None else true != meaning.ignored
    true, predicted = true[counted], predicted[counted]
    is_binary = predicted.ndim == 2 and predicted.shape[1] == 2
    return true, predicted[:, 1] if is_binary else predicted


def _narrow(values: np.ndarray) -> np.ndarray:
    """The values without a second axis of length one."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _columns(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _mean_of_columns(score: Callable[..., Any], y_true: np.ndarray, y_score: np.ndarray) -> float:
    """A score of two classes; for more, the mean of each class against all others.

    Columns whose rows are all alike are left out; NaN if all are.
    """
    scores = _columns(y_score)
    truth = _columns(y_true)
    if scores.shape[1] > truth.shape[1]:
        truth = truth == np.arange(scores.shape[1])
    pairs = zip(truth.T.astype(np.int64), scores.T, strict=True)
    values = [float(score(true, column)) for true, column in pairs if 0 < true.sum() < len(true)]
    return float(np.mean(values)) if values else math.nan


def _balanced_accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean([np.mean(predicted[true == label] == label) for label in np.unique(true)]))
