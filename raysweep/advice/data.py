"""Advice that needs the data: how many rows there are, and whether splits share any.

The rules are pure functions of the counts that `facts_of` makes from loaded data.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from raysweep.advice.rule import AdviceRule, Suggestion, class_name, ends
from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.problem import Key, shown
from schedulers.space import Categorical
from trainables.run_config import EMA_RATES

if TYPE_CHECKING:
    from trainables.data import AnySplit, Data, DataPart

FEW_ROWS = 1000
ROWS_PER_TRIAL = 5
"""Document 002's example of a used-up validation set: 200 trials on 1,000 rows."""

USUAL_DIFFERENCE = 0.02
"""The accuracy that a wider net gains in document 003's example: a difference that a search looks for."""

USUAL_ACCURACY = 0.9
LONGEST_WINDOW, GOOD_WINDOW = 0.25, 0.05
"""Of a run's steps; measured in docs/report.md, "Averaged weights"."""

SHARED_SHARE = 0.01
"""Up to this share of common rows is not a leak."""

TWIN_FACTOR, TWIN_MARGIN = 3, 5
"""Rows of few and coarse columns are equal by coincidence: about as many rows of a split equal a training row
as training rows equal one another. More than three times as many plus five are not coincidence."""

CHANCE_FACTOR = 1.8
"""Rows do not agree by chance if they hold more than this many times the bits that tell all pairs of rows
apart. Iris, whose columns are correlated and which has a pair of equal flowers, holds 1.6 times as many; two
columns of real numbers hold twice as many."""

SAMPLE = 4_000_000
"""Numbers that are looked at to see how coarse columns are: a table of 400,000 rows and ten columns."""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Counts of a data set.

    Attributes:
        rows: all rows, including test rows.
        val_rows: rows that a trial is validated on, in all folds together.
        folds: how many; 1 for one split.
        test_rows: rows set aside; 0 for none.
        test_in_train: test rows that are also training rows.
        val_in_train: validation rows of the split without folds that are also training rows.
        first_val_rows: validation rows of that split.
        untested: numbers of the classes that have training rows but no test rows.
        trained: training rows of that split.
        twins: training rows that equal another training row.
        train_rows: rows that a trial trains on, in the smallest fold, before `run.data_fraction`.
        tell_apart: whether columns are so fine that rows which agree in all of them are the same row.
    """

    rows: int
    val_rows: int
    folds: int = 1
    test_rows: int = 0
    test_in_train: int = 0
    val_in_train: int = 0
    first_val_rows: int = 0
    untested: tuple[int, ...] = ()
    trained: int = 0
    twins: int = 0
    train_rows: int = 0
    tell_apart: bool = True

    def leaks(self, shared: int, rows: int) -> bool:
        """Whether more rows of a split equal a training row than by coincidence.

        Args:
            shared: rows of the split that equal a training row.
            rows: all rows of the split.
        """
        if not rows or shared / rows <= SHARED_SHARE:
            return False
        chance = rows * self.twins / self.trained if self.trained else 0.0
        return self.tell_apart or shared > TWIN_FACTOR * chance + TWIN_MARGIN


def facts_of(data: Data, whole: DataPart, test: AnySplit | None) -> DataFacts:
    """Count the rows; two are the same if inputs and target are equal bit for bit.

    Rows that are loaded as they are needed are counted but not compared.

    Args:
        data: what trials train on, in folds or not.
        whole: the split without folds, by whose training rows `test` is scaled.
        test: the rows set aside; None for none.
    """
    sizes = DataFacts(
        rows=sum(len(split) for split in (whole.train, whole.val, test) if split is not None),
        val_rows=sum(len(part.val) for part in data.parts),
        folds=len(data.parts),
        test_rows=0 if test is None else len(test),
        first_val_rows=len(whole.val),
        trained=len(whole.train),
        train_rows=min(len(part.train) for part in data.parts),
    )
    if data.is_lazy:
        return sizes
    rows = Counter(_digests(whole.train))
    trained = set(rows)
    tested = [] if test is None else _digests(test)
    validated = _digests(whole.val)
    shared = [sum(digest in trained for digest in digests) for digests in (tested, validated)]
    return replace(
        sizes,
        test_in_train=shared[0],
        val_in_train=shared[1],
        untested=_untested(data, whole, test),
        twins=sum(count for count in rows.values() if count > 1),
        tell_apart=not any(shared) or rows_tell_apart(whole.train, max(len(validated), len(tested))),
    )


def rows_tell_apart(train: AnySplit, others: int) -> bool:
    """Whether rows that agree in all columns are the same row, rather than equal by coincidence.

    How often two rows agree in a column by chance is measured on training rows, and added up in bits over the
    columns, as if these were independent.

    Args:
        train: the training rows; the target is one of the columns.
        others: how many rows are compared with them.
    """
    width = train.x[0].size + train.y[0].size
    sample = min(len(train.x), max(2, SAMPLE // width))
    indices = np.linspace(0, len(train.x) - 1, sample).astype(int)
    columns = [each[indices].reshape(len(indices), -1) for each in (train.x, train.y)]
    rows = np.unique(np.concatenate(columns, axis=1, dtype=np.float64), axis=0)
    pairs, bits = max(1, len(rows) * (len(rows) - 1)), 0.0
    for column in rows.T:
        counts = np.unique(column, return_counts=True)[1].astype(float)
        bits -= math.log2(max(1.0, (counts * (counts - 1)).sum()) / pairs)
    distinct = len(rows) / len(indices)  # duplicates are compared once
    return bits > CHANCE_FACTOR * math.log2(max(2, distinct * len(train.x) * distinct * others))


def _untested(data: Data, whole: DataPart, test: AnySplit | None) -> tuple[int, ...]:
    if test is None or not len(test.y) or not data.classes:
        return ()
    untested = np.setdiff1d(whole.train.y, test.y).tolist()
    return tuple(code for code in untested if 0 <= code < data.classes)  # the criterion ignores other codes


def _digests(split: AnySplit) -> list[bytes]:
    """A digest of each row, of 16 bytes, so that different rows practically never have the same."""
    return [
        hashlib.blake2b(x.tobytes() + y.tobytes(), digest_size=16).digest()
        for x, y in zip(split.x, split.y, strict=True)
    ]


def few_rows(sweep: Sweep, facts: DataFacts) -> Iterator[Suggestion]:
    """Below a thousand rows more data help more than tuning."""
    if facts.rows < FEW_ROWS:
        why = f"{facts.rows} rows: below {FEW_ROWS}, more data help more than tuning"
        yield Suggestion(("run", "data"), why, "collect more rows, or treat the results with care")


def small_validation(sweep: Sweep, facts: DataFacts) -> Iterator[Suggestion]:
    """There are enough validation rows to tell the sought differences in accuracy from chance."""
    if sweep.metric != "accuracy":
        return
    patience = sweep.stop.no_improvement
    difference = patience.min_delta if patience is not None and patience.min_delta > 0 else USUAL_DIFFERENCE
    error = math.sqrt(USUAL_ACCURACY * (1 - USUAL_ACCURACY) / facts.val_rows)
    if error > difference:
        wanted = math.ceil(USUAL_ACCURACY * (1 - USUAL_ACCURACY) / difference**2)
        why = (
            f"on {facts.val_rows} validation rows an accuracy of {USUAL_ACCURACY:.0%} is known to "
            f"± {error:.1%}, so differences of {difference:.1%} are luck; {wanted} rows would show them"
        )
        yield Suggestion(("run", "data"), why, sets=("run.data_config.folds=5",) if facts.folds == 1 else ())


def used_up_validation(sweep: Sweep, facts: DataFacts) -> Iterator[Suggestion]:
    """There are five validation rows for every trial: among more trials luck chooses the winner."""
    if sweep.trials > facts.val_rows / ROWS_PER_TRIAL:
        why = f"{sweep.trials} trials are compared on {facts.val_rows} validation rows: luck decides in part"
        yield Suggestion(("trials",), why, sets=("run.data_config.folds=5",) if facts.folds == 1 else ())


def leaking_test(sweep: Sweep, facts: DataFacts) -> Iterator[Suggestion]:
    """No test row was trained on."""
    yield from _shared(facts, facts.test_in_train, facts.test_rows, "test")


def leaking_validation(sweep: Sweep, facts: DataFacts) -> Iterator[Suggestion]:
    """No validation row is trained on."""
    yield from _shared(facts, facts.val_in_train, facts.first_val_rows, "validation")


def _shared(facts: DataFacts, shared: int, rows: int, split: str) -> Iterator[Suggestion]:
    if facts.leaks(shared, rows):
        why = f"{shared} of {rows} {split} rows are also training rows, so their loss is too low"
        yield Suggestion(("run", "data"), why, "drop duplicate rows before they are split")


def averaging_window(sweep: Sweep, facts: DataFacts) -> Iterator[Suggestion]:
    """An optimizer that validates with an average of its weights averages over a quarter of a run at most."""
    choices = sweep.space.get("optimizer")
    paths = choices.choices if isinstance(choices, Categorical) else (sweep.run.optimizer,)
    path = next((each for each in paths if class_name(each) in EMA_RATES), None)
    if path is None or sweep.run.train is not None or not facts.train_rows:
        return
    flat = "optimizer_config.ema_rate"
    given = sweep.run.optimizer_config.get("ema_rate", EMA_RATES[class_name(path)])
    span = ends(sweep.space.get(flat))
    rate = given if span is None else span[0]
    steps = _fewest_steps(sweep, facts)
    if not is_number(rate) or not 0 < rate < 1 or 1 / (1 - rate) <= LONGEST_WINDOW * steps:
        return
    # Rounded to one digit of a step's weight: 0.94 for 320 steps.
    fits = round(1 - float(f"{1 / max(2, GOOD_WINDOW * steps):.0e}"), 12)
    why = (
        f"{class_name(path)} validates with an average over {1 / (1 - rate):.0f} steps (ema_rate "
        f"{shown(rate)}), and a run has {steps}: the average lags behind the trained weights"
    )
    if span is not None:
        yield Suggestion(("search_space", flat), why, f"let it start at {shown(fits)}")
    elif choices is None:
        key: Key = ("run", "optimizer_config", *(["ema_rate"] * ("ema_rate" in sweep.run.optimizer_config)))
        yield Suggestion(key, why, sets=(f"run.{flat}={shown(fits)}",))
    else:
        domain = f"{{type: categorical, choices: [{shown(fits)}], when: {{optimizer: {path}}}}}"
        yield Suggestion(("search_space", "optimizer"), why, sets=(f"search_space.{flat}={domain}",))


def _fewest_steps(sweep: Sweep, facts: DataFacts) -> int:
    """Optimizer steps of a run with the largest searched batch."""
    span = ends(sweep.space.get("batch_size"))
    batch = (sweep.run.batch_size if span is None else span[1]) * sweep.run.accumulate
    rows = max(1, round(sweep.run.data_fraction * facts.train_rows))
    return math.ceil(rows / batch) * sweep.run.epochs


RULES = (
    AdviceRule(few_rows, "document 003, When to Tune vs When to Leave Defaults"),
    AdviceRule(small_validation, "the binomial's standard error; document 003's Quantitative Example for 2%"),
    AdviceRule(used_up_validation, "document 002, Interview Q&A: 200 trials on a 1000-sample val set"),
    AdviceRule(leaking_test, "document 002, Using the Test Set During HPO"),
    AdviceRule(leaking_validation, "document 002, best practice 4"),
    AdviceRule(averaging_window, "measured: docs/report.md, Averaged weights"),
)
