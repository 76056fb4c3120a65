"""Evaluates trained nets on rows: one by one, and as an ensemble of one configuration's seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainables.checkpoint import CheckpointError
from trainables.data import AnySplit, Data
from trainables.learner import Learner
from trainables.process_state import ProcessState
from trainables.run_config import RunConfig, RunError
from trainables.training import Training

Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of nets on some rows.

    Attributes:
        members: seed -> `loss` and metrics.
        ensemble: scores of the mean of their predictions.
    """

    members: dict[int, Scores]
    ensemble: Scores


@dataclass(frozen=True, slots=True)
class Nets:
    """The nets of one configuration, one per seed, on the CPU with the weights for inference.

    Args:
        learners: seed -> learner with the net.
        process: the settings that their code has made for the process.
    """

    learners: Mapping[int, Learner]
    process: ProcessState = field(default_factory=ProcessState)

    def evaluate(self, split: AnySplit) -> Evaluation:
        """The scores on some rows."""
        with self.process.own():
            answers = {seed: learner.answers(split) for seed, learner in self.learners.items()}
            members = {seed: self.learners[seed].scores(*answer) for seed, answer in answers.items()}
            first = next(iter(self.learners.values()))
            outputs, targets = [answer[0] for answer in answers.values()], next(iter(answers.values()))[1]
            return Evaluation(members, first.scores(first.meaning.mean(outputs), targets))

    def weights(self, seed: int) -> dict[str, torch.Tensor]:
        """One net's state dict."""
        return self.learners[seed].weights()


def load_nets(run: RunConfig, data: Data, checkpoints: Mapping[int, Path]) -> Nets:
    """The nets of these checkpoints.

    Args:
        run: the run config of their training.
        data: the data of their training.
        checkpoints: seed -> directory.

    Raises:
        RunError: if the run cannot be built, or a checkpoint is damaged.
    """
    learners, process = {}, ProcessState()
    for seed, directory in checkpoints.items():
        try:
            with process.own():
                training = Training(run, data, seed=seed)
                training.load(directory)
        except CheckpointError as error:
            raise RunError(f"{error}; delete this folder and `launch.py retrain` again") from None
        learners[seed] = training.learners[0]
    return Nets(learners, process)


def as_plain(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation in JSON types."""
    return {
        "members": {str(seed): scores for seed, scores in evaluation.members.items()},
        "ensemble": evaluation.ensemble,
    }
