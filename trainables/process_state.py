"""What a trial's code sets for the whole process, kept with that trial: the next trial sees nothing of it.

A user's module, net, loss or data function may set the default dtype, switch gradients off, register a
global hook, change the working directory or the environment. Within `ProcessState.own` the process is as
that trial has set it, outside as if the trial had never been. What importing a module sets is set again for
every later trial that uses the module, for Python imports it only once.

What cannot be undone: replaced functions and attributes of other modules, started threads, files.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
DENORMAL = sys.float_info.min / 2**20


@dataclass(frozen=True, slots=True)
class Setting:
    """Something a process has one of.

    Attributes:
        read: its value now, a copy where it could change: a dict of what is set one by one, a list of
            what is put in front, or any other value.
        write: give it such a value.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class StateChange:
    """What turned one value of a setting into another.

    Attributes:
        removed: keys of a dict, or elements of a list, that are there no more.
        added: the new keys and values of a dict; the elements now in front of a list; else the new value.
    """

    removed: tuple[Any, ...]
    added: Any

    def apply(self, value: Any) -> Any:
        """Another value, changed alike."""
        if isinstance(value, dict):
            return {key: kept for key, kept in value.items() if key not in self.removed} | self.added
        if isinstance(value, list):
            return self.added + [each for each in value if each not in (*self.removed, *self.added)]
        return self.added


Values = dict[str, Any]
Changes = dict[str, StateChange]

_active: ProcessState | None = None
_import_changes: dict[str, Changes] = {}
"""Module -> what importing it has set; only of those that have set something."""


class ProcessState:
    """What one trial has set of its process. Not for two threads at a time: a process has one state."""

    def __init__(self) -> None:
        self._changes: Changes = {}
        self._modules: set[str] = set()  # whose import has been carried out, or made up for

    @contextmanager
    def own(self) -> Iterator[None]:
        """Within this block the process is as the trial has set it; after it, as it was before."""
        global _active
        outside, former = _read(), _active
        _apply(self._changes, outside)
        _active = self
        try:
            yield
        finally:
            _active = former
            inside = _read()
            self._changes = _changes(outside, inside)
            _write({name: outside[name] for name in self._changes}, inside)

    def computes_like(self, other: ProcessState) -> bool:
        """Whether torch is set alike within `own` of either."""
        return self._torch_changes() == other._torch_changes()

    def _torch_changes(self) -> Changes:
        return {name: change for name, change in self._changes.items() if name in _torch_settings()}

    def importing(self, module: str) -> Iterator[None]:
        """Set again what importing the modules of this path has set; note what the block's import sets."""
        names = module.split(".")
        modules = [".".join(names[:end]) for end in range(1, len(names) + 1)]
        missing = [name for name in modules if name not in sys.modules]
        for name in modules:
            if name not in self._modules and name in _import_changes:
                _apply(_import_changes[name], _read())
        before = _read() if missing else {}
        try:
            yield
        finally:
            found = [name for name in missing if name in sys.modules]
            if found and (changes := _changes(before, _read())):
                _import_changes[found[0]] = changes
            self._modules.update(name for name in modules if name in sys.modules)


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Make what importing a module sets a part of every trial that uses it; outside of trials, nothing."""
    if _active is None:
        yield
    else:
        yield from _active.importing(module)


def _read() -> Values:
    return {name: setting.read() for name, setting in _settings().items()}


def _write(values: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    settings = _settings()
    for name, value in values.items():
        if value != now[name]:
            settings[name].write(value)


def _apply(changes: Changes, now: Mapping[str, Any]) -> None:
    _write({name: change.apply(now[name]) for name, change in changes.items()}, now)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    return {name: _change(before[name], after[name]) for name in after if before[name] != after[name]}


def _change(before: Any, after: Any) -> StateChange:
    """What leads from one value to another.

    >>> _change(["b", "c"], ["a", "b", "c"]).apply(["d"])
    ['a', 'd']
    >>> _change({"a": 1, "b": 2}, {"b": 3}).apply({"a": 0, "c": 4})
    {'c': 4, 'b': 3}
    """
    if isinstance(after, dict):
        gone = tuple(key for key in before if key not in after)
        return StateChange(gone, {k: v for k, v in after.items() if k not in before or before[k] != v})
    if isinstance(after, list):
        alike = 0
        while alike < min(len(before), len(after)) and before[-1 - alike] == after[-1 - alike]:
            alike += 1
        return StateChange(tuple(each for each in before if each not in after), after[: len(after) - alike])
    return StateChange((), after)


@functools.cache
def _settings() -> dict[str, Setting]:
    """All settings; torch is there whenever a trial is."""
    return _of_python() | _torch_settings()


@functools.cache
def _torch_settings() -> dict[str, Setting]:
    return _of_torch()


def _of_python() -> dict[str, Setting]:
    import numpy as np

    found = {
        "environment": Setting(_environment, _set_environment),
        "working directory": Setting(_working_directory, _change_directory),
        "import path": Setting(lambda: list(sys.path), lambda path: sys.path.__setitem__(slice(None), path)),
        "warnings": Setting(lambda: list(warnings.filters), _set_filters),
        "numpy errors": Setting(np.geterr, lambda errors: np.seterr(**errors)),
        "recursion limit": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
        "garbage collection": Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        "streams": Setting(lambda: (sys.stdout, sys.stderr), _set_streams),
    }
    if threading.current_thread() is threading.main_thread():
        found["signals"] = Setting(_signal_handlers, _set_signal_handlers)
    return found


def _of_torch() -> dict[str, Setting]:
    import torch
    from torch.backends import cuda, cudnn, mkldnn

    found = {
        "default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
        "default device": Setting(torch.get_default_device, _set_default_device),
        "gradients": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
        "determinism": Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        "anomaly mode": Setting(
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda both: torch.autograd.set_detect_anomaly(*both),
        ),
        "threads": Setting(torch.get_num_threads, torch.set_num_threads),
        "denormals": Setting(lambda: DENORMAL * 1.0 == 0.0, torch.set_flush_denormal),
        "autocast cache": Setting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    }
    for device in ("cpu", "cuda"):
        found[f"autocast {device}"] = Setting(
            functools.partial(torch.is_autocast_enabled, device),
            functools.partial(torch.set_autocast_enabled, device),
        )
        found[f"autocast dtype {device}"] = Setting(
            functools.partial(torch.get_autocast_dtype, device),
            functools.partial(torch.set_autocast_dtype, device),
        )
    # Instances put in the place of the modules when torch is imported, where no type checker sees them.
    own_cudnn: Any = cudnn
    own_mkldnn: Any = mkldnn
    flags = {
        "matmul": (cuda.matmul, "fp32_precision"),
        "half reductions": (cuda.matmul, "allow_fp16_reduced_precision_reduction"),
        "bfloat16 reductions": (cuda.matmul, "allow_bf16_reduced_precision_reduction"),
        "cuDNN": (cudnn, "enabled"),
        "cuDNN benchmark": (cudnn, "benchmark"),
        "cuDNN determinism": (cudnn, "deterministic"),
        "cuDNN convolutions": (own_cudnn.conv, "fp32_precision"),
        "cuDNN recurrence": (own_cudnn.rnn, "fp32_precision"),
        "MKL-DNN matmul": (own_mkldnn.matmul, "fp32_precision"),
    }
    for name, (owner, attribute) in flags.items():
        found[name] = Setting(
            functools.partial(getattr, owner, attribute), functools.partial(setattr, owner, attribute)
        )
    for kernel in ("flash", "mem_efficient", "math", "cudnn"):
        found[f"{kernel} attention"] = Setting(
            getattr(cuda, f"{kernel}_sdp_enabled"), getattr(cuda, f"enable_{kernel}_sdp")
        )
    for owner in (sys.modules["torch.nn.modules.module"], sys.modules["torch.optim.optimizer"]):
        for name, registry in vars(owner).items():  # private, and named alike since they are there
            if name.startswith("_global_") and isinstance(registry, dict):
                found[name] = Setting(
                    functools.partial(dict, registry), functools.partial(_set_registry, registry)
                )
    return found


def _environment() -> dict[bytes, bytes]:
    raw = vars(os.environ).get("_data")  # CPython's, in bytes: a copy costs 1 us and not 30
    return dict(raw if isinstance(raw, dict) else os.environb)


def _set_environment(values: Mapping[bytes, bytes]) -> None:
    for key in os.environb.keys() - values.keys():
        del os.environb[key]
    for key, value in values.items():
        if os.environb.get(key) != value:
            os.environb[key] = value


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it was deleted: there is no way back to it
        return None


def _change_directory(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # tells the registries that what they know is out of date
    warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever typeshed calls it


def _set_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


def _signal_handlers() -> tuple[Any, ...]:
    return tuple(map(signal.getsignal, SIGNALS))


def _set_signal_handlers(handlers: tuple[Any, ...]) -> None:
    for number, handler in zip(SIGNALS, handlers, strict=True):
        if signal.getsignal(number) is not handler:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _set_default_device(device: Any) -> None:
    import torch

    torch.set_default_device(None if device == torch.device("cpu") else device)


def _set_registry(registry: dict[Any, Any], values: Mapping[Any, Any]) -> None:
    registry.clear()
    registry.update(values)
