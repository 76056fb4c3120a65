"""One real Ray."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.cluster import embedded
from service.cluster.trouble import ClusterError

PROGRAM = """
import os, sys, pathlib
from service.cluster.embedded import QUIET, embedded
ours = (*QUIET, "PYTHONPATH")
before = [os.environ.get(name) for name in ours]
import ray
for _ in range(2):
  with embedded([pathlib.Path(sys.argv[1])]) as machine:
    ray.get(ray.remote(lambda: __import__("only_here").__file__).remote())
    print(machine.cpus, pathlib.Path.home().joinpath(".ray").exists())
assert not ray.is_initialized()
assert [os.environ.get(name) for name in ours] == before
"""


@pytest.mark.ray
def test_an_embedded_ray_is_quiet_finds_user_modules_and_leaves_nothing(tmp_path):
    """Not one line of Ray's on either stream, no file in the home folder, our variables as they were."""
    (tmp_path / "only_here.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.split()[1::2] == ["False", "False"]


def test_a_ray_too_slow_to_start_is_tried_once_more_and_then_is_one_line(monkeypatch: pytest.MonkeyPatch):
    """What ray.init raises then is a bare Exception; twenty processes on two cores brought it about."""
    tries = []

    def too_slow(**words: Any) -> None:
        tries.append(words)
        raise Exception(f"The current node {embedded.TOO_SLOW}. This could happen because ...")

    monkeypatch.setattr(embedded.ray, "init", too_slow)
    with pytest.raises(ClusterError, match=r"^Ray did not start within 30 s, twice: .*`launch.py resume` "):
        embedded.embedded().__enter__()
    assert len(tries) == 2
