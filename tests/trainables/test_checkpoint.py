"""A checkpoint is complete, or it is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables import checkpoint
from trainables.checkpoint import CHECKSUM, STATE, CheckpointError
from trainables.checkpoint_integrity import CorruptCheckpoint, is_intact


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(
        tmp_path, {"w": torch.arange(3), "n": np.float64(2.5), "list": [1, (2, "x")], "none": None}
    )
    state = checkpoint.load(tmp_path)
    assert state.pop("w").tolist() == [0, 1, 2]
    assert state == {"format": 1, "n": 2.5, "list": [1, (2, "x")], "none": None}


def test_saving_twice_leaves_the_second_and_nothing_else(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"n": 1})
    checkpoint.save(tmp_path, {"n": 2})
    assert checkpoint.load(tmp_path)["n"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {STATE, CHECKSUM}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        (STATE, _cut, "does not fit its checksum"),
        (STATE, _flip, "does not fit its checksum"),
        (CHECKSUM, _flip, "does not fit its checksum"),
        (STATE, lambda path: path.unlink(), "the checkpoint is damaged: cannot be read"),
        (CHECKSUM, lambda path: path.unlink(), "the checkpoint is damaged: cannot be read"),
        (CHECKSUM, lambda path: path.write_bytes(b"\xff\xfe"), "the checkpoint is damaged: cannot be read"),
        (CHECKSUM, lambda path: path.write_bytes(b""), "does not fit its checksum"),
    ],
)
def test_damage_is_an_error_of_one_line(
    tmp_path: Path, file: str, damage: Callable[..., Any], sentence: str
) -> None:
    checkpoint.save(tmp_path, {"w": torch.zeros(1000)})
    damage(tmp_path / file)
    assert not is_intact(tmp_path)
    with pytest.raises(CorruptCheckpoint, match=sentence) as caught:
        checkpoint.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_was_saved_is_intact(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"n": 1})
    assert is_intact(tmp_path)


def test_damage_to_a_file_that_the_users_own_loop_saved_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "weights.bin").write_bytes(bytes(1000))
    checkpoint.save(tmp_path, {"n": 1})
    assert is_intact(tmp_path)
    _flip(tmp_path / "loop" / "weights.bin")
    with pytest.raises(CorruptCheckpoint, match=r"weights.bin does not fit its checksum"):
        checkpoint.load(tmp_path)


def test_another_format_is_an_error(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"format": 99})
    with pytest.raises(CheckpointError, match="checkpoint format 99; this version reads 1"):
        checkpoint.load(tmp_path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"code": pytest.fail})
    with pytest.raises(CheckpointError, match="the checkpoint cannot be read"):
        checkpoint.load(tmp_path)


def test_a_part_of_a_larger_tensor_is_written_without_the_rest(tmp_path: Path) -> None:
    """The parameters of trials that are trained together are rows of one tensor."""
    rows = torch.arange(100_000.0).view(10, 10_000)
    checkpoint.save(tmp_path, {"row": rows[3]})
    assert torch.equal(checkpoint.load(tmp_path)["row"], rows[3])
    assert (tmp_path / STATE).stat().st_size < 2 * rows[3].nbytes


def test_a_loop_may_keep_its_own_state_by_the_same_means(tmp_path: Path) -> None:
    """Its file has the same name as ours, in a folder of its own."""
    checkpoint.save(tmp_path / "loop", {"weights": torch.ones(3)})
    checkpoint.save(tmp_path, {"number": 2})
    assert checkpoint.load(tmp_path)["number"] == 2
    _flip(tmp_path / "loop" / STATE)
    with pytest.raises(CheckpointError, match="does not fit its checksum"):
        checkpoint.load(tmp_path)
