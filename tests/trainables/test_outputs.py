"""The meaning of outputs and targets: metrics, predictions and ensembles depend on the criterion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.trainables.samples import data_of, run_of
from trainables.criteria import CRITERIA, UNUSABLE, disagreement, of_criterion
from trainables.learner import Learner
from trainables.outputs import OutputMeaning
from trainables.rng_state import RngState
from trainables.run_config import RunError

CPU = torch.device("cpu")
CANCER = {"data": "trainables.data.load_breast_cancer", "data_config": {}, "net_config": {}}
DIGITS = {"data": "trainables.data.load_digits", "data_config": {}}
OTHER = "leave `outputs` out, or use another criterion"
HERE = "tests.trainables.test_outputs."


class Ending(nn.Module):
    """A linear net with a function at its end."""

    def __init__(self, in_features: int, out_features: int, end: str = "identity") -> None:
        super().__init__()
        self.line = nn.Linear(in_features, out_features)
        ends = {"identity": nn.Identity(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(1)}
        self.end = ends.get(end) or nn.LogSoftmax(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.line(x))


class OwnBinary(nn.Module):
    """A user's criterion that takes probabilities of one class."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy(outputs, targets)


class OwnGaussian(nn.Module):
    """A user's criterion that takes two outputs for one target."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        mean, log_variance = outputs[:, :1], outputs[:, 1:]
        return nn.functional.gaussian_nll_loss(mean, targets, log_variance.exp())


def several_labels() -> tuple[Any, ...]:
    """Three labels a row, the signs of three of four inputs, as float32."""
    x = np.random.default_rng(0).normal(size=(300, 4))
    return x, (x[:, :3] > 0).astype("float32")


def learner_of(**fields: Any) -> Learner:
    run = run_of(optimizer="torch.optim.AdamW", scheduler=None, scheduler_config={}, **fields)
    data = data_of(run)
    with RngState(0, CPU).own():
        return Learner(run, data, data.parts[0], CPU, 0)


@pytest.mark.parametrize(
    ("criterion", "end"),
    [
        ("BCELoss", "sigmoid"),
        ("BCEWithLogitsLoss", "identity"),
        ("SoftMarginLoss", "identity"),
        ("MultiLabelSoftMarginLoss", "identity"),
        ("CrossEntropyLoss", "identity"),
        ("NLLLoss", "log_softmax"),
        ("MultiMarginLoss", "identity"),
    ],
)
def test_every_criterion_of_classes_learns_and_its_accuracy_shows_it(criterion: str, end: str) -> None:
    """Two thirds of the rows are of one class: a net that cannot distinguish the two scores 0.62."""
    fields = CANCER | {"net": HERE + "Ending", "net_config": {"end": end}, "optimizer_config": {"lr": 0.01}}
    learner = learner_of(criterion=f"torch.nn.{criterion}", **fields)
    accuracies = [learner.epoch().metrics["accuracy"] for _ in range(4)]
    assert accuracies[-1] > 0.9


@pytest.mark.parametrize("criterion", ["BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"])
def test_several_labels_a_row_are_learnt_and_scored_label_by_label(criterion: str) -> None:
    fields = {"data": HERE + "several_labels", "data_config": {}, "optimizer_config": {"lr": 0.05}}
    learner = learner_of(criterion=f"torch.nn.{criterion}", **fields)
    for _ in range(6):
        scores = learner.epoch()
    assert learner.net(torch.zeros(2, 4)).shape == (2, 3)
    assert scores.metrics["accuracy"] > 0.9
    assert 0.7 < scores.metrics["exact_match"] <= scores.metrics["accuracy"]


LOGITS = torch.tensor([[2.0, -1.0], [-3.0, 4.0], [0.5, 0.4]])


@pytest.mark.parametrize(
    ("meaning", "outputs", "answers", "probability"),
    [
        (CRITERIA["CrossEntropyLoss"], LOGITS, [0, 1, 0], 0.9526),
        (CRITERIA["NLLLoss"], LOGITS.log_softmax(1), [0, 1, 0], 0.9526),
        (CRITERIA["MultiMarginLoss"], LOGITS, [0, 1, 0], None),
        (CRITERIA["BCEWithLogitsLoss"], LOGITS[:, :1], [[1], [0], [1]], 0.8808),
        (CRITERIA["BCELoss"], LOGITS[:, :1].sigmoid(), [[1], [0], [1]], 0.8808),
        (CRITERIA["SoftMarginLoss"], LOGITS[:, :1], [[1], [0], [1]], 0.8808),
        (OutputMeaning("own", "log_probabilities"), LOGITS[:, :1].sigmoid().log(), [[1], [0], [1]], 0.8808),
        (OutputMeaning("own", "probabilities"), LOGITS.softmax(1), [0, 1, 0], 0.9526),
        (OutputMeaning("own", ""), LOGITS, [0, 1, 0], None),
    ],
)
def test_answers_and_probabilities_follow_from_what_outputs_are(
    meaning: OutputMeaning,
    outputs: torch.Tensor,
    answers: Any,
    probability: float | None,
) -> None:
    assert meaning.answers(outputs).tolist() == answers
    likely = meaning.probabilities(outputs)
    assert (None if likely is None else round(float(likely[0, 0]), 4)) == probability


@given(
    st.lists(st.floats(-8, 8), min_size=4, max_size=4),
    st.lists(st.floats(-8, 8), min_size=4, max_size=4),
)
def test_an_ensemble_averages_probabilities_whatever_their_form(one: list[float], two: list[float]) -> None:
    logits = [torch.tensor(each, dtype=torch.float64).reshape(2, 2) for each in (one, two)]
    forms = {
        "CrossEntropyLoss": logits,
        "NLLLoss": [each.log_softmax(1) for each in logits],
        "BCEWithLogitsLoss": logits,
        "BCELoss": [each.sigmoid() for each in logits],
    }
    for name, members in forms.items():
        meaning = CRITERIA[name]
        wanted = (meaning.probabilities(members[0]) + meaning.probabilities(members[1])) / 2  # type: ignore[operator]
        assert torch.allclose(meaning.probabilities(meaning.mean(members)), wanted, atol=1e-6)  # type: ignore[arg-type]


def test_a_class_that_the_criterion_ignores_counts_in_no_accuracy() -> None:
    targets = torch.tensor([0, 0, -100])
    meaning = OutputMeaning("classes", "logits", ignored=-100)
    assert float(meaning.scores(LOGITS, targets)["accuracy"]) == 0.5


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            CANCER | {"criterion": "torch.nn.NLLLoss"},
            "outputs are no log-probabilities: the exponentials of a row come to",
        ),
        (
            DIGITS | {"criterion": "torch.nn.NLLLoss"},
            "in a log_softmax, or use torch.nn.CrossEntropyLoss",
        ),
        (
            CANCER | {"criterion": "torch.nn.BCELoss"},
            "where probabilities are taken; end the net in a sigmoid",
        ),
        (
            CANCER | {"criterion": HERE + "OwnBinary", "net_config": {"out_features": 1}},
            "run.outputs: the criterion is none of torch's",
        ),
    ],
)
def test_outputs_that_are_not_what_the_criterion_takes_are_a_line(fields: Any, line: str) -> None:
    learner = learner_of(**fields)
    with pytest.raises(RunError) as caught:
        learner.epoch()
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("criterion", "end", "line"),
    [
        ("BCEWithLogitsLoss", "sigmoid", "leave out the net's sigmoid, or use torch.nn.BCELoss"),
        ("CrossEntropyLoss", "softmax", "leave out the net's softmax, or use torch.nn.NLLLoss"),
        ("CrossEntropyLoss", "log_softmax", ""),  # the same loss, to the last digit but one
        ("BCEWithLogitsLoss", "identity", ""),
        ("BCELoss", "sigmoid", ""),
    ],
)
def test_logits_that_are_probabilities_already_raise_a_doubt(criterion: str, end: str, line: str) -> None:
    fields = CANCER | {"net": HERE + "Ending", "net_config": {"end": end}}
    learner = learner_of(criterion=f"torch.nn.{criterion}", **fields)
    doubt = learner.doubt(torch.from_numpy(learner.part.train.x[:64]))
    assert doubt.endswith(line) if not line else line in doubt
    assert bool(doubt) == bool(line)


def test_a_criterion_of_ones_own_says_what_its_one_output_is() -> None:
    fields = CANCER | {"net": HERE + "Ending", "net_config": {"end": "sigmoid", "out_features": 1}}
    fields |= {"criterion": HERE + "OwnBinary", "outputs": "probabilities", "optimizer_config": {"lr": 0.01}}
    learner = learner_of(**fields)
    assert [learner.epoch().metrics["accuracy"] for _ in range(4)][-1] > 0.9


def test_a_criterion_of_ones_own_may_take_more_outputs_than_targets() -> None:
    fields = {"data": "trainables.data.load_diabetes", "data_config": {}, "net_config": {"out_features": 2}}
    scores = learner_of(criterion=HERE + "OwnGaussian", **fields).epoch()
    assert np.isfinite(scores.val_loss)
    assert scores.metrics == {}  # what is compared with the target, only the criterion knows


@pytest.mark.parametrize(
    ("criterion", "outputs", "line"),
    [
        ("BCELoss", "probabilities", ""),
        ("BCELoss", None, ""),
        ("CrossEntropyLoss", "log_probabilities", ""),
        (
            "BCELoss",
            "logits",
            "run.outputs: logits, but torch.nn.BCELoss takes probabilities; " + OTHER,
        ),
        (
            "MSELoss",
            "logits",
            "run.outputs: logits, but torch.nn.MSELoss takes numbers; " + OTHER,
        ),
    ],
)
def test_what_is_said_of_outputs_must_agree_with_the_criterion(
    criterion: str, outputs: str | None, line: str
) -> None:
    assert disagreement(f"torch.nn.{criterion}", CRITERIA[criterion], outputs) == line


def test_every_criterion_of_torch_is_known_to_take_one_target_or_not_to() -> None:
    """A newer torch may have one more: it belongs in one of the two tables."""
    theirs = {name for name in dir(nn) if name.endswith("Loss") and not name.startswith("_")}
    assert theirs <= set(CRITERIA) | set(UNUSABLE)


@pytest.mark.parametrize(
    ("path", "config", "outputs"),
    [
        ("torch.nn.NLLLoss", {}, "log_probabilities"),
        ("torch.nn.modules.loss.BCELoss", {}, "probabilities"),
        ("torch.nn.PoissonNLLLoss", {}, "log_numbers"),
        ("torch.nn.PoissonNLLLoss", {"log_input": False}, "numbers"),
        ("my.BCELoss", {}, None),
    ],
)
def test_a_criterion_is_known_by_its_path_before_torch_is_there(
    path: str, config: Any, outputs: str | None
) -> None:
    meaning = of_criterion(path, config)
    assert (meaning and meaning.outputs) == outputs


def counts() -> tuple[Any, ...]:
    """Counts that grow with the input."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 2, size=(400, 1))
    return x, rng.poisson(np.exp(x[:, 0]))


def test_counts_are_scored_in_their_own_units_not_as_logarithms() -> None:
    fields = {"data": HERE + "counts", "data_config": {}, "optimizer_config": {"lr": 0.05}}
    learner = learner_of(criterion="torch.nn.PoissonNLLLoss", **fields)
    for _ in range(15):
        scores = learner.epoch()
    assert scores.metrics["r2"] > 0.3


def test_counts_below_zero_are_refused_with_the_way_out() -> None:
    fields = {"data": "trainables.data.load_diabetes", "data_config": {}}
    with pytest.raises(RunError, match="for counts, and targets are below 0; a table's are as"):
        learner_of(criterion="torch.nn.PoissonNLLLoss", **fields)
