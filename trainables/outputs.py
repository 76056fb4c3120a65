"""The meaning of a net's outputs and targets, determined by the criterion (`trainables.criteria`).

Metrics, predictions, ensembles, the model file and its card all use the `OutputMeaning` of a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainables.run_config import RunError

if TYPE_CHECKING:
    import torch

Layout = Literal["classes", "labels", "numbers", "own"]
Kind = Literal["logits", "probabilities", "log_probabilities", "scores", "numbers", "log_numbers", ""]

THRESHOLDS: Mapping[str, float] = {
    "logits": 0.0,
    "probabilities": 0.5,
    "log_probabilities": math.log(0.5),
}
"""Kind of outputs -> value above which a label is predicted."""

SUM_TOLERANCE = 0.05
"""Tolerance of the sum of a row's probabilities: bf16 keeps about three digits of each."""

SMALLEST = 1e-12
"""Keeps logarithms of averaged probabilities finite."""


@dataclass(frozen=True, slots=True)
class OutputMeaning:
    """What outputs are, how they are laid out, and how targets are coded for the criterion.

    Attributes:
        layout: "classes": one output per class, of which one is true; targets are class numbers. "labels":
            one output per label, which holds or not. "numbers": as the target. "own": class numbers for a
            user's criterion, with one output per class, or a single one for two classes.
        outputs: what an output is: "logits", "probabilities", "log_probabilities", "scores" (which give no
            probabilities), "numbers", "log_numbers" (their exponential is the prediction), or "" if unknown.
        signed: whether the target of a label is 1 or -1, rather than 1 or 0.
        strict: whether outputs must have the targets' shape, as all criteria of torch require.
        ignored: the class that the criterion leaves out.
        counts: whether targets are counts: whole numbers are then numbers, never classes.
    """

    layout: Layout
    outputs: Kind
    signed: bool = False
    strict: bool = True
    ignored: int | None = None
    counts: bool = False

    def pair(self, outputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and targets as the criterion takes them.

        Args:
            outputs: of the net, for a batch.
            y: targets as the data have them: class numbers, int64, (rows, ...); or labels or numbers,
                float32, (rows, columns, ...).

        Raises:
            RunError: if their shapes do not belong together.
        """
        if not y.is_floating_point():
            single = self.layout == "labels" or (self.layout == "own" and outputs.numel() == y.numel())
            if not single:
                if self.strict:
                    self._check_classes(outputs, y)
                return outputs, y
            # Otherwise (rows,) and (rows, 1) would be broadcast to rows x rows.
            y = y.reshape(len(y), 1, *y.shape[1:]).to(outputs.dtype)
        return self._shaped(outputs, y), (2 * y - 1 if self.signed else y)

    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """The predictions: class numbers; 1 or 0 for each label; or numbers.

        Raises:
            RunError: if outputs are for labels, and their kind is unknown.
        """
        layout = self._layout(outputs)
        if layout == "numbers":
            return outputs.exp() if self.outputs == "log_numbers" else outputs
        if layout == "classes":
            return outputs.argmax(1)
        if self.outputs not in THRESHOLDS:
            raise RunError(UNSAID)
        return (outputs > THRESHOLDS[self.outputs]).long()

    def scores(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """`r2`; or `accuracy`, and for several labels `exact_match`, the share of rows with all labels right.

        Args:
            outputs: as `pair` returned them.
            targets: as `pair` returned them.
        """
        answers = self.answers(outputs)
        if self.layout == "numbers":
            return _r2(answers, targets) if outputs.shape == targets.shape else {}
        if not targets.is_floating_point():
            right = (answers == targets).float()
            if self.ignored is None:
                return {"accuracy": right.mean()}
            counted = targets != self.ignored
            return {"accuracy": (right * counted).sum() / counted.sum()}
        right = (answers == (targets > (0.0 if self.signed else 0.5))).float()
        if targets.ndim == 2 and targets.shape[1] == 1:
            return {"accuracy": right.mean()}
        return {"accuracy": right.mean(), "exact_match": right.flatten(1).amin(1).mean()}

    def probabilities(self, outputs: torch.Tensor) -> torch.Tensor | None:
        """Probability of each class or label, in the outputs' shape; None if the outputs give none."""
        if self.outputs == "logits":
            return outputs.softmax(1) if self._layout(outputs) == "classes" else outputs.sigmoid()
        if self.outputs == "log_probabilities":
            return outputs.exp()
        return outputs if self.outputs == "probabilities" else None

    def mean(self, members: Sequence[torch.Tensor]) -> torch.Tensor:
        """The outputs of an ensemble: the mean prediction, in the form that the criterion takes.

        Probabilities are averaged, not logits, whose mean would be a geometric one.
        """
        probabilities = [p for one in members if (p := self.probabilities(one)) is not None]
        if not probabilities:
            total = sum(members[1:], start=members[0])
            return total / len(members)
        average = sum(probabilities[1:], start=probabilities[0]) / len(probabilities)
        if self.outputs == "probabilities":
            return average
        if self.outputs == "logits" and self._layout(average) == "labels":
            return average.logit(SMALLEST)
        return average.clamp_min(SMALLEST).log()

    def misuse(self, outputs: torch.Tensor) -> str:
        """Why outputs cannot have this meaning, in one line; empty if they may."""
        layout = self._layout(outputs)
        if layout == "labels" and not self.outputs:
            return UNSAID
        if self.outputs == "probabilities":
            low, high = float(outputs.min()), float(outputs.max())
            if low < 0 or high > 1:
                layer = "softmax" if layout == "classes" else "sigmoid"
                return (
                    f"outputs reach from {low:.3g} to {high:.3g}, where probabilities are taken; "
                    f"end the net in a {layer}, or use {OF_LOGITS[layout]}"
                )
        if self.outputs == "log_probabilities":
            sums = outputs.exp().sum(1) if layout == "classes" else outputs.exp().clamp_min(1)
            if bool((sums - 1).abs().max() > SUM_TOLERANCE):
                layer = "log_softmax" if layout == "classes" else "logsigmoid"
                return (
                    "outputs are no log-probabilities: the exponentials of a row come to "
                    f"{float(sums.max()):.3g}; end the net in a {layer}, or use {OF_LOGITS[layout]}"
                )
        return ""

    def doubt(self, outputs: torch.Tensor) -> str:
        """What looks wrong with outputs, in one line; empty if nothing does."""
        if self.outputs != "logits" or not bool(((outputs >= 0) & (outputs <= 1)).all()):
            return ""
        if self._layout(outputs) == "labels":
            return (
                "all outputs lie in [0, 1], where logits are taken, so that every answer is yes; "
                "leave out the net's sigmoid, or use torch.nn.BCELoss"
            )
        if bool(((outputs.sum(1) - 1).abs() < SUM_TOLERANCE).all()):
            return (
                "outputs are probabilities, which sum to 1, where logits are taken; leave out the net's "
                "softmax, or use torch.nn.NLLLoss over log_softmax"
            )
        return ""

    def _layout(self, outputs: torch.Tensor) -> Layout:
        """The layout; for a user's criterion by the shape of the outputs."""
        if self.layout != "own":
            return self.layout
        return "classes" if outputs.ndim > 1 and outputs.shape[1] > 1 else "labels"

    def _check_classes(self, outputs: torch.Tensor, y: torch.Tensor) -> None:
        fits = outputs.ndim == y.ndim + 1 and outputs.shape[2:] == y.shape[1:]
        if fits and len(outputs) == len(y) and outputs.shape[1] > 1:
            return
        expected = ", ".join(("rows", "classes", *map(str, y.shape[1:])))
        hint = "; for several labels per row use torch.nn.BCEWithLogitsLoss" if y.ndim > 1 else ""
        raise RunError(
            f"net: it answers {tuple(outputs.shape)} for classes of shape {tuple(y.shape)}; "
            f"give it one output per class, ({expected}){hint}"
        )

    def _shaped(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs in the targets' shape, row by row."""
        if outputs.shape == y.shape:
            return outputs
        if outputs.numel() == y.numel() and len(outputs) == len(y):
            return outputs.reshape(y.shape)
        if not self.strict:
            return outputs
        shapes = f"{tuple(outputs.shape)} for targets of shape {tuple(y.shape)}"
        raise RunError(f"net: it answers {shapes}; fix its number of outputs")


UNSAID = (
    "run.outputs: the criterion is none of torch's, and one output per label can be a logit or a "
    "probability; say which: outputs: logits, probabilities or log_probabilities"
)

OF_LOGITS: Mapping[str, str] = {
    "classes": "torch.nn.CrossEntropyLoss",
    "labels": "torch.nn.BCEWithLogitsLoss",
}


def _r2(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    residual = ((outputs - targets) ** 2).sum(0)
    total = ((targets - targets.mean(0)) ** 2).sum(0)
    return {"r2": (1 - residual / total).mean()}
