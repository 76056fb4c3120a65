"""Turns errors of the user's code into one-line errors of the run config."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.run_config import RunConfig, RunError

if TYPE_CHECKING:
    from trainables.data import Data


@contextmanager
def wrap_user_errors(key: str) -> Iterator[None]:
    """Raise any error of the block as a `RunError` with the key, the error, and its file and line.

    >>> with wrap_user_errors("run.data"):  # doctest: +ELLIPSIS
    ...     raise KeyError("age")
    Traceback (most recent call last):
    trainables.run_config.RunError: ...: KeyError: 'age' (<doctest trainables.user_errors...>:2)
    """
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:300]
        raise RunError(f"{key}: {type(error).__name__}: {text} ({last.filename}:{last.lineno})") from error


def load_data(run: RunConfig, paths: Sequence[str | Path]) -> Data:
    """`trainables.data.load`, with errors of the data function as `RunError`s.

    Raises:
        RunError: if the data cannot be loaded.
    """
    from trainables.data import load

    with wrap_user_errors("run.data"):
        return load(run, paths)
