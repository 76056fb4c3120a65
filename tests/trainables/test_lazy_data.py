"""Lazy Datasets and DataLoaders: rows are loaded as they are needed, in a new order every epoch."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tests.trainables import lazy_samples
from tests.trainables.samples import numbers, run_of
from trainables.data import load, load_test, load_whole, reopen
from trainables.data_function import draws_each_once
from trainables.fused_trials import FusedTrials
from trainables.lazy_batches import LazyBatchLoader
from trainables.lazy_loading import has_own_order
from trainables.run_config import RunConfig, RunError
from trainables.training import Epoch, Training
from trainables.trial import Trial

SAMPLES = "tests.trainables.lazy_samples."
FIELDS: dict[str, Any] = {
    "criterion": "torch.nn.CrossEntropyLoss",
    "optimizer": "torch.optim.SGD",
    "optimizer_config": {"lr": 0.1},
    "scheduler": None,
    "scheduler_config": {},
    "net_config": {"nodes": 4, "layers": 1, "dropout": 0.2},
    "batch_size": 5,
    "epochs": 4,
}


def run_with(data: str, fields: dict[str, Any] | None = None, **config: Any) -> RunConfig:
    return run_of(data=SAMPLES + data, data_config=config, **FIELDS | (fields or {}))


def feed_of(run: RunConfig) -> LazyBatchLoader:
    feed = Training(run, load(run)).learners[0].feed
    assert isinstance(feed, LazyBatchLoader)
    return feed


def rows_of(feed: LazyBatchLoader) -> torch.Tensor:
    """Inputs of the next epoch."""
    return torch.cat([x for x, _ in feed.batches()])


@pytest.mark.parametrize("noise", ["torch", "numpy", "python", "own"])
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_augmentation_is_drawn_anew_each_epoch_and_alike_each_time(noise: str, workers: int) -> None:
    run = run_with("pair", noise=noise, num_workers=workers)
    (first, second), again = (rows_of(feed) for feed in [feed_of(run)] * 2), rows_of(feed_of(run))
    fractions = {float(np.float32(x - lazy_samples.X[row, 0])) for x in first[:, 0] for row in range(16)}
    assert len(fractions) > 16
    assert not torch.equal(first.sort(0)[0], second.sort(0)[0])
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("data", "config"),
    [
        ("pair", {"noise": "torch"}),
        ("pair", {"noise": "own"}),
        ("augmented", {"noise": "numpy"}),
        ("weighted", {}),
        ("streams", {"steps_per_epoch": 3}),
    ],
)
def test_a_resumed_training_is_the_uninterrupted_one(
    data: str, config: dict[str, Any], tmp_path: Path
) -> None:
    run = run_with(data, **config)
    straight = list(Training(run, load(run)))
    half = Training(run, load(run))
    for _ in range(2):
        next(half)
    half.save(tmp_path)
    resumed = Training(run, load(run))
    resumed.load(tmp_path)
    assert [numbers(epoch) for epoch in resumed] == [numbers(epoch) for epoch in straight[2:]]


def test_rows_are_validated_on_alike_at_every_epoch() -> None:
    feed = feed_of(run_with("augmented"))
    rows_of(feed)
    first, second = (torch.cat([x for x, _ in feed.validation_batches()]) for _ in range(2))
    assert torch.equal(first, second)


def test_a_single_dataset_is_divided_as_arrays_are() -> None:
    run = run_with("augmented", noise="none")
    data, test = load(run), load_test(run)
    assert test is not None
    assert ([len(data.parts[0].train), len(data.parts[0].val), len(test)], data.classes) == ([14, 5, 5], 3)
    batches = [
        x for split in (data.parts[0].train, data.parts[0].val, test) for x in feed_of(run).all_of(split)
    ]
    assert torch.equal(
        torch.cat([x for x, _ in batches])[:, 0].sort()[0], torch.tensor(lazy_samples.X[:, 0]).sort()[0]
    )


@pytest.mark.parametrize("config", [{"folds": 3}, {"stratify": True}, {"folds": 2, "stratify": True}])
def test_folds_and_classes_divide_a_dataset(config: dict[str, Any]) -> None:
    run = run_with("augmented", **config)
    assert len(load(run).parts) == config.get("folds", 1)
    assert next(Training(run, load(run))).finite


def test_a_share_of_the_rows_is_the_same_for_all_trials() -> None:
    run = run_with("augmented", {"data_fraction": 0.5}, noise="none")
    first, second = (set(rows_of(feed_of(run))[:, 0].tolist()) for _ in range(2))
    assert (len(first), first) == (7, second)


def test_targets_that_a_dataset_keeps_are_not_read_again() -> None:
    run = run_with("kept")
    split = load(run).parts[0].train
    assert (split.source.reads, load(run).classes) == (2 + 3, 3)


def test_kept_targets_that_are_not_those_of_the_rows_are_not_believed() -> None:
    data = load(run_with("kept", shift=7))
    assert (data.names, data.parts[0].train.source.reads) == (("0", "1", "2"), 2 + 1 + 24)


@pytest.mark.parametrize(
    ("fields", "config", "reads"),
    [
        ({}, {}, 2 + 24),
        ({}, {"num_classes": 3}, 2),
        ({"criterion": "torch.nn.MSELoss"}, {"task": "regression"}, 2),
    ],
)
def test_rows_are_read_through_only_where_classes_must_be_known(
    fields: dict[str, Any], config: dict[str, Any], reads: int
) -> None:
    data = load(run_with("augmented", fields, **config))
    assert data.parts[0].train.source.reads == reads


def test_a_dataset_is_told_which_epoch_it_is() -> None:
    run = run_with("pair")
    data = load(run)
    source = data.parts[0].train.source
    source.epochs.clear()
    list(Training(run, data))
    assert source.epochs == [0, 1, 2, 3]


def test_a_collation_of_ones_own_is_kept() -> None:
    run = run_with("padded_texts", {"net": SAMPLES + "Reader", "net_config": {}})
    assert next(Training(run, load(run))).finite


def test_a_sampler_of_ones_own_is_kept() -> None:
    feed = feed_of(run_with("weighted"))
    batches = [y for _, y in feed.batches()]
    assert ([len(y) for y in batches], set(torch.cat(batches).tolist())) == ([5, 5, 2], {2})


@pytest.mark.parametrize(
    ("sampler", "plain"),
    [
        (SequentialSampler(range(8)), True),
        (RandomSampler(range(8)), True),
        (SequentialSampler(range(5)), False),  # some of the rows alone
        (RandomSampler(range(8), num_samples=5), False),
        (RandomSampler(range(8), replacement=True), False),
        (WeightedRandomSampler([1.0] * 8, 8), False),
    ],
)
def test_a_sampler_is_plain_that_gives_each_row_once(sampler: Sampler[int], plain: bool) -> None:
    loader = DataLoader(TensorDataset(torch.arange(8)), sampler=sampler)
    assert (draws_each_once(loader), has_own_order(loader)) == (plain, not plain)


def test_batches_of_ones_own_are_kept() -> None:
    feed = feed_of(run_with("own_batches"))
    assert [len(y) for _, y in feed.batches()] == [3, 2, 4]


def test_tensors_are_plain_rows_whatever_cuts_them_into_batches() -> None:
    data = load(run_with("tensors"))
    assert (data.is_lazy, len(data.x_train), len(data.x_val)) == (False, 16, 8)


def test_preload_reads_rows_once_into_memory() -> None:
    data = load(run_with("augmented", preload=True))
    assert (data.is_lazy, data.x_train.shape) == (False, (14, 3))


def test_arrays_may_stand_beside_a_dataset() -> None:
    run = run_with("array_beside")
    assert next(Training(run, load(run))).finite


def test_a_stream_with_a_length_or_with_steps_is_trained_on() -> None:
    steps = run_with("streams", rows=None, steps_per_epoch=7)
    assert [len(feed_of(run)) for run in (run_with("streams", long=True), steps)] == [4, 7]
    assert all(next(Training(run, load(run))).finite for run in (run_with("streams", long=True), steps))


@pytest.mark.parametrize(
    ("data", "fields", "config", "line"),
    [
        (
            "one_stream",
            {},
            {"steps_per_epoch": 2},
            "returned a stream (IterableDataset), whose rows cannot be divided; return (train, val) of such",
        ),
        (
            "streams",
            {},
            {},
            "returned a stream (IterableDataset) without a length to train on; set "
            "data_config.steps_per_epoch: batches of an epoch, or give it a `__len__`, rows",
        ),
        (
            "streams",
            {"data_fraction": 0.5},
            {"long": True},
            "it returned a stream, or a DataLoader with a sampler of its own, of which no rows can be chosen "
            "(data_fraction)",
        ),
        (
            "streams",
            {"criterion_config": {"weight": "balanced"}},
            {"long": True},
            "the targets of all rows are needed, and they were not read",
        ),
        ("streams", {}, {"long": True, "preload": True}, "which cannot be read into memory; leave out"),
        ("streams", {}, {"steps_per_epoch": 9}, "the stream ended after 4 of 9 batches of an epoch; set"),
        (
            "pair",
            {},
            {"folds": 2},
            "data_config.folds: tests.trainables.lazy_samples.pair returns splits of its own, and nothing is",
        ),
        (
            "augmented",
            {},
            {"num_classes": 2},
            "the targets: one is 2, and data_config.num_classes is 2; classes",
        ),
        ("tensors", {}, {"num_workers": 2}, "data_config.num_workers: is for a Dataset or DataLoader, and "),
        ("augmented", {}, {"num_workers": -1}, "data_config.num_workers: a whole number, at least 0, not -1"),
    ],
)
def test_what_cannot_be_loaded_so_is_a_line(
    data: str, fields: dict[str, Any], config: dict[str, Any], line: str
) -> None:
    run = run_with(data, fields, **config)
    with pytest.raises(RunError) as caught:
        list(Training(run, load(run)))
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_asks_for_all_rows_is_told_how_to_have_them() -> None:
    with pytest.raises(
        RunError, match=r"loaded as they are needed, and here all are; set data_config.preload"
    ):
        _ = load(run_with("augmented")).x_train


def test_data_leave_their_dataset_behind_and_find_it_in_another_process() -> None:
    run = run_with("pair", noise="own")
    whole, _, _ = load_whole(run)
    sent = pickle.loads(pickle.dumps(whole))
    assert sent.parts[0].train.source is None
    again = reopen(sent, run)
    assert [numbers(e) for e in Training(run, again)] == [numbers(e) for e in Training(run, load(run))]


def result(trial: Trial) -> dict[str, Any]:
    result = trial.step()
    return {key: value for key, value in result.items() if key not in ("epoch_s", "peak_memory_mb")}


def test_trials_in_one_process_do_not_move_each_others_draws() -> None:
    run = run_with("pair", noise="own")
    config = run.model_dump(mode="json") | {"trial": {"seed": 3}}
    sent = pickle.loads(pickle.dumps(load(run)))
    first, second = Trial(sent), Trial(sent)
    first.begin(config, 0)
    alone = [result(first) for _ in range(3)]
    second.begin(config, 0)
    first.begin(config, 0)
    mixed = [(result(second), result(first)) for _ in range(3)]
    assert mixed == [(each, each) for each in alone]


def test_a_trial_on_a_dataset_is_not_fused_and_says_why() -> None:
    trial = Trial()
    trial.begin(run_with("pair").model_dump(mode="json") | {"trial": {"seed": 3}}, 0)

    class Lane:
        def get_trial(self) -> Trial:
            return trial

    reason = "its rows are loaded by a Dataset or DataLoader as they are needed"
    assert FusedTrials().obstacle(Lane()) == reason


def test_classes_of_any_names_are_numbered_in_each_batch() -> None:
    epoch: Epoch = next(Training(run_with("augmented"), load(run_with("augmented"))))
    assert set(epoch.metrics) == {"accuracy"}
