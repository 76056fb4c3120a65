"""Saves and loads a training's state in a directory: atomically, and verified by a checksum."""

from __future__ import annotations

import io
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.checkpoint_integrity import CHECKSUM, STATE, CheckpointError, checksums, read_verified

__all__ = ["CHECKSUM", "FORMAT", "STATE", "CheckpointError", "load", "save"]
FORMAT = 1
ANSI = re.compile(r"\x1b\[[0-9;]*m")  # torch colours its messages


def save(directory: str | Path, state: Mapping[str, Any]) -> None:
    """Write `state` (nested dicts and lists of tensors and plain values) into the directory.

    Each file is written under another name, flushed to disk and renamed, so that a crash leaves the old or
    the new one; the checksum is written last.
    """
    buffer = io.BytesIO()
    torch.save(_plain({"format": FORMAT, **state}), buffer)
    content = buffer.getbuffer()
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / STATE, content)
    _write(folder / CHECKSUM, checksums(folder, content).encode())


def load(directory: str | Path) -> dict[str, Any]:
    """Read what `save` wrote; all tensors on the CPU.

    No code of the file is executed (`weights_only`).

    Raises:
        CorruptCheckpoint: if a file is missing, or the checksum does not match.
        CheckpointError: if the format is another one.
    """
    folder = Path(directory)
    content = read_verified(folder)
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        first_line = ANSI.sub("", str(error)).splitlines()[0]
        raise CheckpointError(f"{folder}: the checkpoint cannot be read: {first_line}") from error
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder}: checkpoint format {state.get('format')}; this version reads {FORMAT}"
        )
    return state


def _write(path: Path, content: bytes | memoryview) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _plain(value: Any) -> Any:
    """The value without numpy types and special mappings, which `weights_only` refuses.

    A tensor that is a view of a larger one is copied: torch would write the whole storage.
    """
    if isinstance(value, torch.Tensor) and value.untyped_storage().nbytes() > value.nbytes:
        return value.clone()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(inner) for inner in value) if type(value) in (list, tuple) else list(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return value
