"""Lanes join, train and leave, without an effect on other lanes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray

from tests.trainables.fused.lanes import (
    ADAMW,
    CPU,
    NO_SCHEDULE,
    SGD,
    SPLUS,
    TASKS,
    data_for,
    difference,
    epoch_alone,
    lane_of,
    lanes_of,
    state_of,
)
from tests.trainables.samples import run_of
from trainables import checkpoint
from trainables.fused import FusedGroup, Lane, NotFusible
from trainables.fused.chain_engine import ChainEngine
from trainables.fused.lane_stack import LaneStack
from trainables.learner import Learner
from trainables.rng_state import RngState

DEPTHS = (2, 1, 3, 2)


def runs_of(optimizer: Any, **fields: Any) -> list[Any]:
    """Four trials of different depth, with dropout."""
    return [
        run_of(
            **TASKS["numbers"]
            | optimizer
            | {"net_config": {"nodes": 16, "layers": depth, "dropout": 0.1}}
            | fields
        )
        for depth in DEPTHS
    ]


@pytest.mark.parametrize("optimizer", [SPLUS, ADAMW, SGD], ids=["SPlus", "AdamW", "SGD"])
def test_who_joins_or_leaves_between_epochs_changes_no_bit(
    optimizer: Any,
) -> None:
    """The second lane leaves after one epoch, trains one alone and comes back; the fourth joins late."""
    fused, alone = (lanes_of(runs_of(optimizer)) for _ in range(2))
    group = FusedGroup(fused[:3])
    scores = [group.train_epoch()]
    group.leave(fused[1])
    group.join(fused[3])
    scores.append([*group.train_epoch(), epoch_alone(fused[1])])
    group.join(fused[1])
    group.leave(fused[0])
    scores.append([*group.train_epoch(), epoch_alone(fused[0])])
    members = [(0, 1, 2), (0, 2, 3, 1), (2, 3, 1, 0)]
    expected = [[epoch_alone(alone[number]) for number in each] for each in members]
    assert str(scores) == str(expected)
    assert not difference(list(map(state_of, fused)), list(map(state_of, alone)))


@pytest.mark.parametrize("optimizer", [SPLUS, ADAMW, SGD], ids=["SPlus", "AdamW", "SGD"])
def test_a_lane_of_the_same_layout_takes_the_place_of_one_that_left(
    optimizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lane is as deep as the first, which has trained for an epoch; no engine is built for it."""
    fused, alone = (lanes_of(runs_of(optimizer)) for _ in range(2))
    group = FusedGroup(fused[:3])
    scores = [*group.train_epoch()]
    group.leave(fused[0])
    group.join(fused[3])
    monkeypatch.setattr(LaneStack, "__init__", None)
    scores += [*group.train_epoch(), epoch_alone(fused[0]), *group.train_epoch()]
    expected = [epoch_alone(alone[number]) for number in (0, 1, 2, 1, 2, 3, 0, 1, 2, 3)]
    assert str(scores) == str(expected)
    assert not difference(list(map(state_of, fused)), list(map(state_of, alone)))


def test_a_lane_that_leaves_shares_no_memory_with_the_group() -> None:
    lanes = lanes_of(runs_of(SPLUS))
    group = FusedGroup(lanes)
    group.train_epoch()
    group.leave(lanes[1])
    learner = lanes[1].learner
    tensors = [*learner.net.parameters()]
    for state in learner.optimizer.state.values():
        tensors += [state["momentum"], state["ema"], *state.get("sides", ()), *state.get("q_sides", ())]
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("optimizer", [SPLUS, ADAMW], ids=["SPlus", "AdamW"])
def test_a_checkpoint_of_a_lane_is_that_of_the_trial_alone(optimizer: dict[str, Any], tmp_path: Path) -> None:
    fused, alone = (lanes_of(runs_of(optimizer)) for _ in range(2))
    FusedGroup(fused).train_epoch()
    for lane in alone:
        epoch_alone(lane)
    sizes = []
    for name, lane in (("fused", fused[0]), ("alone", alone[0])):
        checkpoint.save(tmp_path / name, lane.learner.state_dict())
        sizes.append((tmp_path / name / checkpoint.STATE).stat().st_size)
    assert abs(sizes[0] - sizes[1]) < 0.02 * sizes[1]
    assert not difference(checkpoint.load(tmp_path / "fused"), checkpoint.load(tmp_path / "alone"))


def test_a_state_loaded_into_a_member_is_what_it_goes_on_from() -> None:
    """PBT copies one learner's state into another, which may be in a group."""
    fused, alone = (lanes_of(runs_of(SPLUS)) for _ in range(2))
    group = FusedGroup(fused)
    group.train_epoch()
    for lane in alone:
        epoch_alone(lane)
    for lanes in (fused, alone):
        source, target = lanes[0].learner, lanes[3].learner
        state = {name: _copied(value) for name, value in source.state_dict().items()}
        target.load_state_dict(state, source.run)
    assert str(group.train_epoch()) == str([epoch_alone(lane) for lane in alone])
    assert not difference(list(map(state_of, fused)), list(map(state_of, alone)))


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("optimizer", [SPLUS, ADAMW, SGD], ids=["SPlus", "AdamW", "SGD"])
def test_a_lane_that_diverges_touches_no_other(
    optimizer: Any,
) -> None:
    """SPlus cannot decompose overflown gradients; AdamW and SGD go on with NaN."""
    runs = runs_of(optimizer)
    runs[1] = run_of(
        **runs[1].model_dump()
        | NO_SCHEDULE
        | {"optimizer_config": optimizer["optimizer_config"] | {"lr": 1e30}}
    )
    runs = [run_of(**run.model_dump() | NO_SCHEDULE) for run in runs]
    fused, alone = lanes_of(runs), lanes_of(runs)
    group = FusedGroup(fused)
    for _ in range(2):
        scores, expected = group.train_epoch(), [epoch_alone(lane) for lane in alone]
        assert str(scores) == str(expected)
        assert math.isnan(scores[1].val_loss)
    others = [0, 2, 3]
    assert not difference([state_of(fused[n]) for n in others], [state_of(alone[n]) for n in others])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"criterion": "tests.trainables.fused.lanes.TouchyLoss"}, "outputs beyond 50"),
        ({"optimizer": "tests.trainables.fused.lanes.TouchySGD"}, "rate above 1"),
        ({"metrics": {"mine": "tests.trainables.fused.test_group.touchy_metric"}}, "prediction beyond 50"),
    ],
    ids=["criterion", "optimizer", "metric"],
)
def test_an_error_is_that_of_the_lane_that_raises_it(fields: Any, message: str) -> None:
    """The others are bit-equal to the trials alone, even if a whole step had to be taken again."""
    plain = {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 0.01}} | NO_SCHEDULE | fields
    runs = runs_of(plain)
    runs[2] = run_of(**runs[2].model_dump() | {"optimizer_config": {"lr": 30.0}})
    fused, alone = lanes_of(runs), lanes_of(runs)
    results = FusedGroup(fused).train_epoch()
    with pytest.raises((ValueError, ArithmeticError), match=message) as raised:
        epoch_alone(alone[2])
    assert repr(results[2]) == repr(raised.value)
    others = [0, 1, 3]
    assert str([results[n] for n in others]) == str([epoch_alone(alone[n]) for n in others])
    assert not difference([state_of(fused[n]) for n in others], [state_of(alone[n]) for n in others])


def touchy_metric(prediction: NDArray[Any], target: NDArray[Any]) -> float:
    if not abs(prediction).max() < 50:
        raise ValueError("prediction beyond 50")
    return 0.0


def test_a_step_that_fails_only_together_is_taken_lane_by_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were memory for one lane, but not for all at once."""
    whole, calls = ChainEngine.losses, []

    def failing(engine: ChainEngine, x: torch.Tensor, y: torch.Tensor) -> tuple[Any, ...]:
        calls.append(1)
        if len(calls) in (2, 3):
            engine._stem.forward(x)
            whole(engine, x, y)  # has drawn for dropout, and written gradients
            raise MemoryError("out of memory")
        return whole(engine, x, y)

    monkeypatch.setattr(ChainEngine, "losses", failing)
    fused, alone = (lanes_of(runs_of(SPLUS)) for _ in range(2))
    group = FusedGroup(fused)
    for _ in range(2):
        assert str(group.train_epoch()) == str([epoch_alone(lane) for lane in alone])
    assert not difference(list(map(state_of, fused)), list(map(state_of, alone)))
    assert len(calls) == 6


def test_a_group_of_one_trains_its_lane_alone() -> None:
    fused, alone = (lanes_of(runs_of(SPLUS)[:2]) for _ in range(2))
    group = FusedGroup(fused)
    scores = [group.train_epoch()]
    group.leave(fused[0])
    scores.append(group.train_epoch())
    assert str(scores) == str([[epoch_alone(lane) for lane in alone], [epoch_alone(alone[1])]])
    assert not difference(state_of(fused[1]), state_of(alone[1]))


def test_an_empty_group_trains_nothing() -> None:
    assert FusedGroup().train_epoch() == []


def test_a_lane_of_another_key_cannot_join() -> None:
    with pytest.raises(ValueError, match=r"a lane of FusionKey.* cannot join a group of FusionKey"):
        FusedGroup([lane_of(run_of(**TASKS["numbers"])), lane_of(run_of(**TASKS["classes"]))])  # type: ignore[arg-type]


def test_two_lanes_cannot_draw_from_the_same_generators() -> None:
    """As the folds of one trial do."""
    run = run_of(**TASKS["numbers"])  # type: ignore[arg-type]
    data = data_for(run)
    random = RngState(0, CPU)
    folds = [Lane(Learner(run, data, data.parts[0], CPU, seed), random) for seed in (0, 1)]
    with pytest.raises(ValueError, match="two lanes of a group cannot draw from the same generators"):
        FusedGroup(folds)


def test_a_learner_that_must_be_trained_alone_cannot_join() -> None:
    with pytest.raises(NotFusible, match="BatchNorm1d keeps running statistics"):
        FusedGroup([lane_of(run_of(**TASKS["numbers"], net_config={"norm": "batch"}))])  # type: ignore[arg-type]


def test_chunks_of_shuffled_rows_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large data are shuffled a few batches at a time."""
    monkeypatch.setattr("trainables.fused.lane_stack.CHUNK_BYTES", 1)
    fused, alone = (lanes_of(runs_of(ADAMW, batch_size=3)) for _ in range(2))
    assert str(FusedGroup(fused).train_epoch()) == str([epoch_alone(lane) for lane in alone])
    assert not difference(list(map(state_of, fused)), list(map(state_of, alone)))
