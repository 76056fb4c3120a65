"""Sweep files: their models, loading and checks. The lowest layer of the service.

Importing this package imports neither torch, ray, optuna nor mlflow.
"""

from raysweep.config.component import Component
from raysweep.config.loading import LoadedSweep, read_sweep
from raysweep.config.parameter import Parameter
from raysweep.config.problem import Problem, SweepError
from raysweep.config.sweep import Metric, Resources, Sweep, Tracking

__all__ = [
    "Component",
    "LoadedSweep",
    "Metric",
    "Parameter",
    "Problem",
    "Resources",
    "Sweep",
    "SweepError",
    "Tracking",
    "read_sweep",
]
