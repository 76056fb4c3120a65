"""Private names of Ray that execution/ray_search.py uses have the signatures it knows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from raysweep.study.execution.ray_search import PRIVATE


@pytest.mark.parametrize(
    ("name", "parameters"), PRIVATE.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_private_name_of_ray_is_what_it_was_in_2_60_0(
    name: Callable[..., Any], parameters: tuple[str, ...]
) -> None:
    assert tuple(inspect.signature(name).parameters) == parameters
