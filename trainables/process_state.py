"""Keeps the process-wide settings that a trial's code makes with that trial, hidden from other trials.

A user's module, net, loss or data function may set the default dtype, switch gradients off, register a
global hook, change the working directory or the environment. Within `ProcessState.own` the process has the
settings of the trial, outside of it those from before. Settings made by importing a module are made again
for every later trial that uses the module, as Python imports it only once.

Replaced functions and attributes of other modules, started threads and files cannot be undone.
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
    """A setting of the whole process.

    Attributes:
        read: returns its value, copied if mutable: a dict whose keys are set one by one, a list to which
            elements are prepended, or any other value.
        write: sets such a value.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class StateChange:
    """The difference between two values of a setting.

    Attributes:
        removed: removed keys of a dict, or elements of a list.
        added: the new keys and values of a dict; the elements prepended to a list; else the new value.
    """

    removed: tuple[Any, ...]
    added: Any

    def apply(self, value: Any) -> Any:
        """Apply the change to another value."""
        if isinstance(value, dict):
            return {key: kept for key, kept in value.items() if key not in self.removed} | self.added
        if isinstance(value, list):
            return self.added + [each for each in value if each not in (*self.removed, *self.added)]
        return self.added


Values = dict[str, Any]
Changes = dict[str, StateChange]

_active: ProcessState | None = None
_import_changes: dict[str, Changes] = {}
"""Module -> the settings that importing it has changed, if any."""


class ProcessState:
    """The settings that one trial has made for its process. Not thread-safe: a process has one state."""

    def __init__(self) -> None:
        self._changes: Changes = {}
        self._modules: set[str] = set()  # whose import's changes are applied

    @contextmanager
    def own(self) -> Iterator[None]:
        """Apply the trial's settings within the block, and restore the others after it."""
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
        """Whether torch has the same settings within `own` of both."""
        return self._torch_changes() == other._torch_changes()

    def _torch_changes(self) -> Changes:
        return {name: change for name, change in self._changes.items() if name in _torch_settings()}

    def importing(self, module: str) -> Iterator[None]:
        """Apply the changes that importing these modules made before; record those of the block's import."""
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
            imported = [name for name in missing if name in sys.modules]
            if imported and (changes := _changes(before, _read())):
                _import_changes[imported[0]] = changes
            self._modules.update(name for name in modules if name in sys.modules)


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Make the settings of a module's import part of every trial that uses it; outside trials, do nothing."""
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
    """The change from one value to another.

    >>> _change(["b", "c"], ["a", "b", "c"]).apply(["d"])
    ['a', 'd']
    >>> _change({"a": 1, "b": 2}, {"b": 3}).apply({"a": 0, "c": 4})
    {'c': 4, 'b': 3}
    """
    if isinstance(after, dict):
        removed = tuple(key for key in before if key not in after)
        return StateChange(removed, {k: v for k, v in after.items() if k not in before or before[k] != v})
    if isinstance(after, list):
        common = 0  # equal elements at the end
        while common < min(len(before), len(after)) and before[-1 - common] == after[-1 - common]:
            common += 1
        return StateChange(tuple(each for each in before if each not in after), after[: len(after) - common])
    return StateChange((), after)


@functools.cache
def _settings() -> dict[str, Setting]:
    return _python_settings() | _torch_settings()


def _python_settings() -> dict[str, Setting]:
    import numpy as np

    settings = {
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
        settings["signals"] = Setting(_signal_handlers, _set_signal_handlers)
    return settings


@functools.cache
def _torch_settings() -> dict[str, Setting]:
    import torch
    from torch.backends import cuda, cudnn, mkldnn

    settings = {
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
        settings[f"autocast {device}"] = Setting(
            functools.partial(torch.is_autocast_enabled, device),
            functools.partial(torch.set_autocast_enabled, device),
        )
        settings[f"autocast dtype {device}"] = Setting(
            functools.partial(torch.get_autocast_dtype, device),
            functools.partial(torch.set_autocast_dtype, device),
        )
    # torch replaces these modules by instances when it is imported, which no type checker sees.
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
        settings[name] = Setting(
            functools.partial(getattr, owner, attribute), functools.partial(setattr, owner, attribute)
        )
    for kernel in ("flash", "mem_efficient", "math", "cudnn"):
        settings[f"{kernel} attention"] = Setting(
            getattr(cuda, f"{kernel}_sdp_enabled"), getattr(cuda, f"enable_{kernel}_sdp")
        )
    for owner in (sys.modules["torch.nn.modules.module"], sys.modules["torch.optim.optimizer"]):
        for name, registry in vars(owner).items():  # the registries of global hooks, which are private
            if name.startswith("_global_") and isinstance(registry, dict):
                settings[name] = Setting(
                    functools.partial(dict, registry), functools.partial(_set_registry, registry)
                )
    return settings


def _environment() -> dict[bytes, bytes]:
    raw = vars(os.environ).get("_data")  # CPython's bytes: a copy costs 1 us and not 30
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
    except FileNotFoundError:  # it was deleted, and cannot be restored
        return None


def _change_directory(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # invalidates the registries of shown warnings
    warnings.filters[:] = filters  # type: ignore[index]  # a list, contrary to typeshed


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
