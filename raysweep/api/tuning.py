"""`raysweep.tune`: tunes a training function that is defined in a module or in a notebook cell."""

from __future__ import annotations

import base64
import hashlib
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from raysweep.api.running import run
from raysweep.api.space import is_range
from raysweep.api.study import Study

TrainFunction = Callable[..., Iterator[Any]]
"""`train(config)` or `train(config, state)`, a generator of metrics, or of metrics and a state."""

_MODULE = '''"""The training function `{name}`, as it was given to `raysweep.tune`."""

# Its source:
#
{source}

{imports}

def train({parameters}):
    """Call it."""
    return _FUNCTION({arguments})
'''
_PICKLED = """import base64

import cloudpickle

_FUNCTION = cloudpickle.loads(
    base64.b64decode(
        {code!r}
    )
)
"""


def tune(
    train: TrainFunction,
    space: Mapping[str, Any],
    *,
    metric: str,
    direction: Literal["minimize", "maximize"] = "minimize",
    name: str | None = None,
    trials: int = 20,
    epochs: int = 100,
    trial_scheduler: str | dict[str, Any] = "schedulers.FIFO",
    resources_per_trial: Mapping[str, Any] | str | None = None,
    runs: str | Path | None = None,
    address: str | None = None,
    resume: bool = False,
    progress: bool = True,
    **sweep: Any,
) -> Study:
    """Tune a training function of your own.

    Args:
        train: a generator function `train(config)` that yields a dictionary of metrics after each epoch. If
            it yields `metrics, state` and takes a second parameter, it is called with its last state to
            continue after a pause, an interruption or a copy; else it is run again up to where it was.
        space: the contents of `config`: a range for each searched setting (`loguniform(1e-4, 1e-1)`,
            `integers(1, 5)`, `choice([...])`, or as in a sweep file), a plain value for each other one.
        metric: the yielded metric that trials are compared by.
        direction: whether less or more of it is better.
        name: of the study; the function's name if None.
        trials: how many configurations are tried.
        epochs: the most yields of a trial.
        trial_scheduler: decides which trials go on, as in a sweep file.
        resources_per_trial: as in a sweep file; if None one core, and a GPU where there is one.
        runs: see `raysweep.run`.
        address: see `raysweep.run`.
        resume: see `raysweep.run`.
        progress: see `raysweep.run`.
        sweep: any other key of a sweep file: `seed`, `sampler`, `objective`, `stop`, ...

    Raises:
        SweepError: if the sweep is not valid.
        TypeError: if `train` is not a function of one or two parameters.
    """
    fixed = {key: value for key, value in space.items() if not is_range(value)}
    ranges = {key: value for key, value in space.items() if is_range(value)}
    with tempfile.TemporaryDirectory(prefix="raysweep-") as folder:
        module = write_module(train, Path(folder))
        fields = {
            "study_name": name or train.__name__.strip("_<>") or "tune",
            "trials": trials,
            "metric": metric,
            "direction": direction,
            "trial_scheduler": dict(trial_scheduler)
            if isinstance(trial_scheduler, Mapping)
            else trial_scheduler,
            "baseline": False,
            "import_paths": [folder, *_folders_of(train)],
            "run": {"train": f"{module}.train", "train_config": fixed, "epochs": epochs},
            "search_space": {"train_config": ranges} if ranges else {},
            **({} if resources_per_trial is None else {"resources_per_trial": resources_per_trial}),
            **sweep,
        }
        return run(fields, runs=runs, address=address, resume=resume, progress=progress)


def write_module(function: TrainFunction, folder: Path) -> str:
    """Write a module whose `train(config)` calls this function; returns the module's name.

    A function of a module is imported from there. One from a notebook cell, or from inside another function,
    is pickled with all it refers to, so that workers and later sessions do not need the notebook.

    Raises:
        TypeError: if it cannot be called with a `config`.
    """
    count = _parameter_count(function)
    if _is_importable(function):
        imports = f"from {function.__module__} import {function.__name__} as _FUNCTION\n"
    else:
        import cloudpickle

        imports = _PICKLED.format(code=base64.b64encode(cloudpickle.dumps(function)).decode())
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = "(not known)"
    text = _MODULE.format(
        name=function.__name__,
        source="\n".join(f"#     {line}".rstrip() for line in source.splitlines()),
        imports=imports,
        parameters="config, state=None" if count == 2 else "config",
        arguments="config, state" if count == 2 else "config",
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    module = f"tuned_{function.__name__.strip('<>')}_{digest}"  # a lambda's is <lambda>
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    return module


def _parameter_count(function: TrainFunction) -> int:
    """How many of `config` and `state` a function takes.

    Raises:
        TypeError: if neither, or more.
    """
    if not callable(function):
        raise TypeError(f"train is of type {type(function).__name__}, not a function; give train(config)")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(each.kind in positional for each in inspect.signature(function).parameters.values())
    if count not in (1, 2):
        raise TypeError(
            f"{function.__name__} takes {count} parameters; "
            "it must take one or two: train(config), or train(config, state)"
        )
    return count


def _is_importable(function: TrainFunction) -> bool:
    """Whether workers can import it: it is a top-level name of a module that has a file."""
    module = sys.modules.get(function.__module__)
    if function.__module__ == "__main__" or not getattr(module, "__file__", None):
        return False
    return getattr(module, function.__name__, None) is function


def _folders_of(function: TrainFunction) -> list[str]:
    """The import folder of the function's own module, if it is importable."""
    if not _is_importable(function):
        return []
    file = Path(str(sys.modules[function.__module__].__file__)).resolve()
    depth = function.__module__.count(".") + (file.stem == "__init__")
    return [str(file.parents[depth])]
