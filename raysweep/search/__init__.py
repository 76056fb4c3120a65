"""The search: which configuration is tried next.

`RayOptunaSearch` is imported lazily, so that checking a sampler does not import Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from raysweep.search.samplers import check_sampler

if TYPE_CHECKING:
    from raysweep.search.ray_optuna_search import RayOptunaSearch

__all__ = ["RayOptunaSearch", "check_sampler"]


def __getattr__(name: str) -> Any:
    if name == "RayOptunaSearch":
        return importlib.import_module("raysweep.search.ray_optuna_search").RayOptunaSearch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
