"""Captured passes give the steps that uncaptured ones give; where they cannot be captured, steps go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

from tests.trainables.fused.lanes import ADAMW, SPLUS, TASKS, difference, epoch_alone, lanes_of, state_of
from tests.trainables.samples import run_of
from trainables.fused import FusedGroup
from trainables.fused.captured_passes import EAGER_STEPS, RECORDERS, Results

DEPTHS = (3, 1, 2)


class Tape:
    """Stands in for a CUDA graph: what is replayed reads and writes the memory that it was recorded with."""

    def __init__(self) -> None:
        self.recorded: list[int] = []  # generators of each
        self.replays = 0

    def __call__(
        self, passes: Callable[[], Results], generators: Sequence[torch.Generator]
    ) -> tuple[Callable[[], None], Results]:
        states = [generator.get_state() for generator in generators]
        results = passes()
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)  # a graph draws nothing while it is captured
        for result in results:
            result.fill_(torch.nan)  # and computes nothing
        self.recorded.append(len(generators))

        def replay() -> None:
            self.replays += 1
            for memory, result in zip(results, passes(), strict=True):
                memory.copy_(result)

        return replay, results


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    tape = Tape()
    monkeypatch.setitem(RECORDERS, "cpu", tape)
    return tape


def groups(optimizer: Mapping[str, Any], dropout: float = 0.2) -> tuple[FusedGroup, FusedGroup]:
    """Twice the same three lanes of unlike depth."""
    nets = [{"nodes": 16, "layers": depth, "dropout": dropout} for depth in DEPTHS]
    words: Any = TASKS["classes"]
    runs = [run_of(**{**words, **optimizer, "net_config": net, "batch_size": 25}) for net in nets]
    return FusedGroup(lanes_of(runs)), FusedGroup(lanes_of(runs))


@pytest.mark.parametrize("optimizer", [SPLUS, ADAMW], ids=["SPlus", "AdamW"])
def test_captured_steps_are_those_of_the_engine_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, optimizer: Mapping[str, Any]
) -> None:
    captured, plain = groups(optimizer)
    scores = [[group.train_epoch() for _ in range(3)] for group in (plain,)]
    monkeypatch.setitem(RECORDERS, "cpu", tape := Tape())
    scores.append([captured.train_epoch() for _ in range(3)])
    assert tape.replays > 0
    assert [[str(score) for score in epoch] for epoch in scores[0]] == [
        [str(score) for score in epoch] for epoch in scores[1]
    ]
    assert not difference([*map(state_of, captured.lanes)], [*map(state_of, plain.lanes)])


def test_each_shape_of_a_batch_is_captured_once_after_some_steps(tape: Tape) -> None:
    """The last batch of an epoch is smaller, and comes once an epoch."""
    group, _ = groups(SPLUS)
    steps = 0
    for _ in range(EAGER_STEPS + 2):
        steps += sum(1 for _ in group.train_steps())
        group.finish_epoch()
    assert len(tape.recorded) == 2
    assert tape.replays == steps - 2 * EAGER_STEPS


@pytest.mark.parametrize(("criterion", "captures"), [("MSELoss", 2), ("SmoothL1Loss", 4)])
def test_a_lane_in_anothers_place_is_captured_anew_only_for_its_criterion(
    tape: Tape, criterion: str, captures: int
) -> None:
    task: Any = TASKS["numbers"]
    words = {**task, **SPLUS, "batch_size": 25}
    lanes, alone = (lanes_of([run_of(**words | {"criterion": f"torch.nn.{criterion}"})] * 4) for _ in "ab")
    group, scores, expected = FusedGroup(lanes[:3]), [], []
    for members in ((0, 1, 2), (1, 2, 3)):
        for _ in range(EAGER_STEPS + 1):
            scores += group.train_epoch()
            expected += [epoch_alone(alone[number]) for number in members]
        if 0 in members:
            group.leave(lanes[0])
            group.join(lanes[3])
    assert len(tape.recorded) == captures
    assert str(scores) == str(expected)


@pytest.mark.parametrize(("dropout", "generators"), [(0.2, len(DEPTHS)), (0.0, 0)])
def test_only_generators_that_are_drawn_from_are_captured(
    tape: Tape, dropout: float, generators: int
) -> None:
    group, _ = groups(SPLUS, dropout)
    group.train_epoch()
    assert tape.recorded[0] == generators


def test_what_cannot_be_captured_trains_as_usual_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, plain = groups(SPLUS)
    expected = [str(plain.train_epoch()), str(plain.train_epoch())]

    def refuse(passes: Callable[[], Results], generators: Sequence[torch.Generator]) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setitem(RECORDERS, "cpu", refuse)
    with pytest.warns(UserWarning, match="without CUDA graphs: operation not permitted") as warnings:
        scores = [str(refused.train_epoch()), str(refused.train_epoch())]
    assert scores == expected
    assert len(warnings) == 1
