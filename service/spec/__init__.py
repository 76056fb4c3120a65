"""What a sweep file says, and reading it: the lowest floor of the service.

Importing this imports neither torch, ray, optuna nor mlflow.
"""

from service.spec.component import Component
from service.spec.parameter import Parameter
from service.spec.problem import Problem, SweepError
from service.spec.reading import Reading, read_sweep
from service.spec.sweep import Metric, Resources, Sweep, Tracking

__all__ = [
    "Component",
    "Metric",
    "Parameter",
    "Problem",
    "Reading",
    "Resources",
    "Sweep",
    "SweepError",
    "Tracking",
    "read_sweep",
]
