"""Data: one fixed split, with the test rows kept apart."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.trainables.samples import data_of, run_of
from trainables.data import load, load_test, split
from trainables.run_config import RunError


@given(
    st.integers(20, 300),
    st.none() | st.integers(2, 6),
    st.integers(0, 2**32),
    st.sampled_from([0.1, 0.2, 0.3]),
    st.sampled_from([0.0, 0.1, 0.3]),
)
def test_train_validation_and_test_rows_are_a_partition(
    rows: int, folds: int | None, seed: int, val: float, test_share: float
) -> None:
    pairs, test = split(rows, folds, seed, val, test_share)
    for train, validation in pairs:
        assert sorted([*train, *validation, *test]) == list(range(rows))


@given(st.integers(20, 200), st.integers(2, 6), st.integers(0, 1000))
def test_every_row_outside_the_test_split_is_validated_on_by_one_fold(
    rows: int, folds: int, seed: int
) -> None:
    pairs, test = split(rows, folds, seed, 0.2, 0.2)
    assert sorted(np.concatenate([*(validation for _, validation in pairs), test])) == list(range(rows))


def test_folds_do_not_change_which_rows_are_the_test() -> None:
    assert list(split(100, None, 7, 0.2, 0.2)[1]) == list(split(100, 5, 7, 0.2, 0.2)[1])


def test_the_split_has_a_seed_of_its_own() -> None:
    """Another trial seed has the same rows; another split_seed does not."""
    same = [data_of(run_of(seeds=[seed])).fingerprint for seed in (1, 2)]
    other = data_of(run_of(data_config={"rows": 300, "split_seed": 1})).fingerprint
    assert same[0] == same[1] != other


def test_no_test_row_is_in_what_trials_are_given() -> None:
    run = run_of()
    test = load_test(run)
    assert test is not None
    pickled = pickle.dumps(load(run))
    assert not any(row.tobytes() in pickled for row in test.x)


def test_too_few_rows_for_the_split_is_an_error() -> None:
    with pytest.raises(
        RunError, match=r"3 rows are too few for test_fraction 0\.8 and val_fraction 0\.2; lower"
    ):
        data_of(run_of(data_config={"rows": 3, "test_fraction": 0.8}))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"val_fraction": 0}, "data_config.val_fraction: a number, more than 0 and less than 1, not 0"),
        (
            {"test_fraction": "0.2"},
            "data_config.test_fraction: a number, at least 0 and less than 1, not '0.2'",
        ),
        ({"folds": 1}, "data_config.folds: a whole number, at least 2, not 1"),
        ({"folds": 2.5}, "data_config.folds: a whole number, at least 2, not 2.5"),
        ({"split_seed": "a"}, "data_config.split_seed: a whole number, at least 0, not 'a'"),
        ({"task": "ranking"}, "'regression' or 'classification', not 'ranking'"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_wrong_word_in_data_config_is_named(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        data_of(run_of(data_config=fields))


@pytest.mark.parametrize(
    ("name", "task", "sizes"),
    [
        ("load_synthetic", "regression", (8000, 1, 1)),
        ("load_digits", "classification", (1079, 64, 10)),
        ("load_diabetes", "regression", (266, 10, 1)),
        ("load_breast_cancer", "classification", (341, 30, 2)),
    ],
)
def test_the_bundled_sets_have_these_sizes(name: str, task: str, sizes: tuple[int, ...]) -> None:
    data = data_of(run_of(data=f"trainables.data.{name}", data_config={}))
    assert (data.task, (len(data.x_train), data.in_features, data.out_features)) == (task, sizes)
    assert data.x_train.dtype == np.float32


def test_the_pumps_table_is_what_its_generator_makes(tmp_path: Path) -> None:
    from benchmarks.make_pumps import TABLE, write

    write(tmp_path / "pumps.csv.gz")
    assert gzip.decompress((tmp_path / "pumps.csv.gz").read_bytes()) == gzip.decompress(TABLE.read_bytes())


def test_arrays_of_integers_are_classes() -> None:
    data = data_of(run_of(data="tests.trainables.samples.arrays", data_config={}))
    assert (data.task, data.out_features, data.y_train.dtype) == ("classification", 3, np.int64)


def test_the_task_can_be_given() -> None:
    data = data_of(run_of(data="tests.trainables.samples.arrays", data_config={"task": "regression"}))
    assert (data.task, data.y_train.shape[1], data.y_train.dtype) == ("regression", 1, np.float32)


def test_two_datasets_are_train_and_validation_and_there_is_no_test() -> None:
    run = run_of(data="tests.trainables.samples.two_datasets", data_config={})
    data = load(run)
    assert (len(data.x_train), len(data.x_val), load_test(run)) == (40, 20, None)


def test_a_third_dataset_is_the_test() -> None:
    test = load_test(run_of(data="tests.trainables.samples.three_datasets", data_config={}))
    assert test is not None
    assert test.y.shape == (20, 1)


def test_anything_else_is_an_error_that_says_what_to_return() -> None:
    with pytest.raises(RunError, match=r"returned str; it should return \(x, y\) arrays"):
        data_of(run_of(data="tests.trainables.samples.nonsense", data_config={}))


def test_folds_have_equal_inputs_and_their_own_rows() -> None:
    data = data_of(run_of(data_config={"rows": 100, "folds": 4}))
    assert [(len(part.train.x), len(part.val.x)) for part in data.parts] == [(60, 20)] * 4


def rare(positives: int = 20, rows: int = 1000) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of which 2% are positive."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 3)), (np.arange(rows) < positives).astype(int)


@given(
    st.lists(st.integers(0, 3), min_size=30, max_size=200),
    st.none() | st.integers(2, 5),
    st.integers(0, 1000),
)
def test_a_stratified_split_gives_every_part_its_share_of_each_class(
    classes: list[int], folds: int | None, seed: int
) -> None:
    """To the nearest row; the seed decides which rows they are."""
    codes = np.array(classes)
    pairs, test = split(len(codes), folds, seed, 0.2, 0.2, codes)
    for part in (test, *(validation for _, validation in pairs)):
        share = len(part) / len(codes)
        for each, count in zip(*np.unique(codes, return_counts=True), strict=True):
            assert abs((codes[part] == each).sum() - share * count) <= 2
    assert sorted([*pairs[0][0], *pairs[0][1], *test]) == list(range(len(codes)))


def test_a_stratified_split_validates_on_rare_classes_whatever_the_seed() -> None:
    """Unstratified, some seeds validate on hardly any of 20 positives."""
    fields = {"data": "tests.trainables.test_data.rare", "criterion": "torch.nn.CrossEntropyLoss"}
    counts = {
        (int(data.y_train.sum()), int(data.y_val.sum()))
        for seed in range(20)
        for data in [data_of(run_of(**fields, data_config={"stratify": True, "split_seed": seed}))]
    }
    assert counts == {(12, 4)}


def test_numbers_cannot_be_split_by_class() -> None:
    with pytest.raises(
        RunError, match=r"data_config\.stratify: only rows of one class each can be split by class"
    ):
        data_of(run_of(data_config={"rows": 100, "stratify": True}))


def test_a_wrong_task_is_named_before_the_function_fails_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "\n".join(f"{i},{i / 7}" for i in range(90)))
    config = {"path": str(tmp_path / "a.csv"), "target": "y", "task": "classify"}
    with pytest.raises(
        RunError, match=r"data_config\.task: 'regression' or 'classification', not 'classify'"
    ):
        data_of(run_of(data="trainables.data.load_table", data_config=config))
