"""Named metrics equal scikit-learn's for all kinds of outputs; functions get targets first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

from trainables import named_metrics
from trainables.criteria import of_criterion
from trainables.named_metrics import call_metric
from trainables.outputs import OutputMeaning
from trainables.run_config import NAMED_METRICS, RunConfig, RunError, metric_path

DRAWS = np.random.default_rng(1)
ROWS = 60
TWO = torch.tensor(DRAWS.integers(0, 2, ROWS))
THREE = torch.tensor(DRAWS.integers(0, 3, ROWS))
LABELS = torch.tensor(DRAWS.integers(0, 2, (ROWS, 4)), dtype=torch.float32)
LOGITS = {n: torch.tensor(DRAWS.normal(size=(ROWS, n)), dtype=torch.float32) for n in (1, 2, 3, 4)}


def meaning_of(criterion: str, **config: Any) -> OutputMeaning:
    meaning = of_criterion(f"torch.nn.{criterion}", config)
    assert meaning is not None
    return meaning


def value(name: str, meaning: OutputMeaning, outputs: torch.Tensor, y: torch.Tensor) -> float:
    metric = getattr(named_metrics, name, None) or getattr(sk, name)
    outputs, targets = meaning.pair(outputs, y)
    return call_metric(metric, name, meaning, outputs, targets, mean=np.zeros(1), std=np.ones(1))


P2, P3 = LOGITS[2].softmax(1).numpy(), LOGITS[3].softmax(1).numpy()
P1, P4 = LOGITS[1].sigmoid().numpy(), LOGITS[4].sigmoid().numpy()
A2, A3 = P2.argmax(1), P3.argmax(1)
Y2, Y3, Y4 = TWO.numpy(), THREE.numpy(), LABELS.numpy()


@pytest.mark.parametrize(
    ("name", "classes_2", "one_logit", "classes_3", "labels_4"),
    [
        (
            "roc_auc",
            sk.roc_auc_score(Y2, P2[:, 1]),
            sk.roc_auc_score(Y2, P1),
            sk.roc_auc_score(Y3, P3, multi_class="ovr"),
            sk.roc_auc_score(Y4, P4),
        ),
        (
            "average_precision",
            sk.average_precision_score(Y2, P2[:, 1]),
            sk.average_precision_score(Y2, P1),
            sk.average_precision_score(Y3, P3),
            sk.average_precision_score(Y4, P4),
        ),
        (
            "f1",
            sk.f1_score(Y2, A2),
            sk.f1_score(Y2, P1[:, 0] > 0.5),
            sk.f1_score(Y3, A3, average="macro"),
            sk.f1_score(Y4, P4 > 0.5, average="macro"),
        ),
        (
            "balanced_accuracy",
            sk.balanced_accuracy_score(Y2, A2),
            sk.balanced_accuracy_score(Y2, P1[:, 0] > 0.5),
            sk.balanced_accuracy_score(Y3, A3),
            np.mean([sk.balanced_accuracy_score(Y4[:, i], P4[:, i] > 0.5) for i in range(4)]),
        ),
    ],
)
def test_of_classes_and_labels_they_are_scikit_learns(
    name: str, classes_2: float, one_logit: float, classes_3: float, labels_4: float
) -> None:
    entropy, binary = meaning_of("CrossEntropyLoss"), meaning_of("BCEWithLogitsLoss")
    assert value(name, entropy, LOGITS[2], TWO) == pytest.approx(classes_2, rel=1e-5)
    assert value(name, binary, LOGITS[1], TWO) == pytest.approx(one_logit, rel=1e-5)
    assert value(name, entropy, LOGITS[3], THREE) == pytest.approx(classes_3, rel=1e-5)
    assert value(name, binary, LOGITS[4], LABELS) == pytest.approx(labels_4, rel=1e-5)


@pytest.mark.parametrize(
    ("criterion", "outputs", "y", "expected"),
    [
        ("CrossEntropyLoss", LOGITS[3], THREE, sk.log_loss(Y3, P3)),
        ("CrossEntropyLoss", LOGITS[2], TWO, sk.log_loss(Y2, P2)),
        ("NLLLoss", LOGITS[3].log_softmax(1), THREE, sk.log_loss(Y3, P3)),
        ("BCEWithLogitsLoss", LOGITS[1], TWO, sk.log_loss(Y2, P1)),
        ("BCELoss", LOGITS[1].sigmoid(), TWO, sk.log_loss(Y2, P1)),
        ("SoftMarginLoss", LOGITS[1], TWO, sk.log_loss(Y2, P1)),
    ],
)
def test_log_loss_is_scikit_learns_whatever_the_outputs_are(
    criterion: str, outputs: torch.Tensor, y: torch.Tensor, expected: float
) -> None:
    assert value("log_loss", meaning_of(criterion), outputs, y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "scikit_learns"),
    [
        ("mae", sk.mean_absolute_error),
        ("rmse", sk.root_mean_squared_error),
        ("mape", sk.mean_absolute_percentage_error),
        ("r2_score", sk.r2_score),
        ("max_error", sk.max_error),
    ],
)
def test_numbers_are_compared_in_the_targets_units_targets_first(name: str, scikit_learns: Any) -> None:
    """r2_score with swapped arguments returns another value."""
    y = torch.tensor(DRAWS.normal(size=(ROWS, 1)), dtype=torch.float32)
    outputs = 0.7 * y + 0.1 * LOGITS[1]
    metric = getattr(named_metrics, name, None) or getattr(sk, name)
    meaning, units = meaning_of("MSELoss"), {"mean": np.array([5.0]), "std": np.array([2.0])}
    result = call_metric(metric, name, meaning, outputs, y, **units)
    expected = scikit_learns(5 + 2 * y.numpy().astype(float), 5 + 2 * outputs.numpy().astype(float))
    assert result == pytest.approx(expected, rel=1e-5)


def test_scikit_learns_functions_get_probabilities_where_they_take_scores() -> None:
    meaning = meaning_of("CrossEntropyLoss")
    assert value("roc_auc_score", meaning, LOGITS[2], TWO) == pytest.approx(sk.roc_auc_score(Y2, P2[:, 1]))
    assert value("accuracy_score", meaning, LOGITS[3], THREE) == sk.accuracy_score(Y3, A3)


def test_another_function_gets_the_outputs_as_they_are() -> None:
    def mine(prediction: np.ndarray, target: np.ndarray) -> float:
        assert prediction.shape == (ROWS, 3)
        return float(prediction[0, 0])

    meaning = meaning_of("CrossEntropyLoss")
    result = call_metric(mine, "mine", meaning, LOGITS[3], THREE, mean=np.zeros(1), std=np.ones(1))
    assert result == pytest.approx(float(LOGITS[3][0, 0]))


def test_rows_that_the_criterion_ignores_do_not_count() -> None:
    ignored = THREE.clone()
    ignored[:10] = -100
    result = value("f1", meaning_of("CrossEntropyLoss"), LOGITS[3], ignored)
    assert result == pytest.approx(sk.f1_score(Y3[10:], A3[10:], average="macro"))


def test_of_rows_that_do_not_differ_an_area_is_no_number() -> None:
    assert np.isnan(value("roc_auc", meaning_of("CrossEntropyLoss"), LOGITS[2], torch.zeros(ROWS).long()))


def test_without_probabilities_it_is_a_line() -> None:
    with pytest.raises(RunError) as caught:
        value("roc_auc", meaning_of("MultiMarginLoss"), LOGITS[3], THREE)
    assert str(caught.value) == (
        "run.metrics.roc_auc: takes probabilities, and none follow from these outputs"
    )


@pytest.mark.parametrize("name", NAMED_METRICS)
def test_a_bare_name_stands_for_its_function(name: str) -> None:
    run = RunConfig(data="d", metrics={"mine": name})
    assert run.metrics == {"mine": metric_path(name)}
    assert callable(getattr(named_metrics, name))
