"""Which search to use, by the number of searched parameters and the hours.

Document 003, Criterion 1 and 2: under ten hours the learning rate alone; one or two parameters spread evenly,
three or four at random, five and more by a model of the space.
"""

from __future__ import annotations

from dataclasses import dataclass

PARAMETERS = (
    "optimizer_config.lr",
    "optimizer_config.weight_decay",
    "net_config.layers",
    "net_config.dropout",
    "batch_size",
)
"""In the order in which they are worth searching (document 003's tiers, as far as an MLP has them)."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to search.

    Attributes:
        parameters: how many are searched.
        sampler: dotted path.
        n_startup_trials: random trials before the sampler models the space; None for one that does not.
        trials: how many configurations.
        why: the reason, in a sentence.
    """

    parameters: int
    sampler: str
    n_startup_trials: int | None
    trials: int
    why: str


def affordable_parameters(hours: float) -> int:
    """For how many parameters the hours are enough.

    >>> [affordable_parameters(hours) for hours in (1, 10, 100)]
    [1, 4, 5]
    """
    return 1 if hours < 10 else 4 if hours < 100 else 5


def recommend(parameters: int, hours: float) -> Strategy:
    """The strategy for so many parameters and hours.

    For one or two parameters document 003 recommends a grid; a low-discrepancy sequence is used instead,
    since it leaves no gaps along a single parameter (document 002). Its number of trials is a power of two,
    at which Sobol's sequence is evenly spread; for a model it is 60 a parameter (document 002), within
    document 003's 100 to 500.

    >>> recommend(5, 200).trials, recommend(4, 50).sampler
    (300, 'optuna.samplers.RandomSampler')
    """
    if parameters <= 2:
        even = "points spread evenly, as a grid's but without its gaps"
        only = "under ten hours only the learning rate: " if hours < 10 else ""
        return Strategy(parameters, "optuna.samplers.QMCSampler", None, 64, only + even)
    if parameters <= 4:
        why = "three or four parameters: random trials, each an unbiased sample of the space"
        return Strategy(parameters, "optuna.samplers.RandomSampler", None, 100, why)
    trials = 500 if hours >= 1000 else min(max(60 * parameters, 100), 500)
    why = "five parameters and more: a model of the space, after ten random trials a parameter"
    return Strategy(parameters, "optuna.samplers.TPESampler", 10 * parameters, trials, why)
