"""One real Ray."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster import embedded
from raysweep.cluster.attach import refuse_silence
from raysweep.cluster.errors import ClusterError

CLONE = Path(__file__).parents[2]

PROGRAM = """
import os, pathlib
from raysweep.cluster.embedded import QUIET, embedded_ray
ours = (*QUIET, "PYTHONPATH")
before = [os.environ.get(name) for name in ours]
import ray
for _ in range(2):
  with embedded_ray() as machine:
    print(machine.cpus, *ray.get(ray.remote(where).remote()), pathlib.Path.home().joinpath(".ray").exists())
assert not ray.is_initialized()
assert [os.environ.get(name) for name in ours] == before
"""
WHERE = """
def where():
    import queue, schedulers
    return queue.__file__, schedulers.__file__
"""


@pytest.mark.ray
def test_an_embedded_ray_is_quiet_leaves_nothing_and_keeps_modules_apart(tmp_path: Path) -> None:
    """Quiet on both streams, no file in the home folder, no module of the working directory imported."""
    for name in ("queue", "types", "optuna", "schedulers", "raysweep"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('hides an installed module')")
    done = subprocess.run(
        [sys.executable, "-P", "-c", WHERE + PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(CLONE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    lines = done.stdout.split()
    assert lines[1::4] == [queue.__file__] * 2
    assert lines[2::4] == [str(CLONE / "schedulers/__init__.py")] * 2
    assert lines[3::4] == ["False", "False"]


AHEAD = """
import time, psutil
from raysweep.cluster.embedded import embedded_ray
class Started:
    def at(self):
        return psutil.Process().create_time()
with embedded_ray():
    from ray.tune.execution.class_cache import _ActorClassCache
    time.sleep(1)
    asked = time.time()
    actor = _ActorClassCache().get(Started).options(num_cpus=1).remote()
    print(ray.get(actor.at.remote()) < asked - 0.5)  # the clock of processes may be off by 0.2
"""


@pytest.mark.ray
def test_a_trial_gets_a_process_that_was_started_with_ray() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import ray" + AHEAD], cwd=CLONE, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Pytest's own folders have names too long for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        yield Path(folder)


def fail_to_start(monkeypatch: pytest.MonkeyPatch, temp: Path, logged: str) -> str:
    """The error for a Ray that times out twice after its processes have logged something."""
    tries = []

    def init(**kwargs: Any) -> None:
        tries.append(kwargs)
        logs = temp / f"ray/session_2026-01-01_00-00-00_000000_{os.getpid()}/logs"
        logs.mkdir(parents=True, exist_ok=True)
        (logs / "gcs_server.out").write_text(logged)
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setenv("RAY_TMPDIR", str(temp))
    monkeypatch.setattr(embedded.ray, "init", init)  # type: ignore[attr-defined]
    with pytest.raises(ClusterError) as caught:
        embedded.embedded_ray().__enter__()
    assert len(tries) == 2
    return str(caught.value)


def test_a_ray_that_does_not_start_is_retried_once_and_its_reason_reported(
    monkeypatch: pytest.MonkeyPatch, short_path: Path
) -> None:
    """The lines are those of a Ray that may open forty files."""
    logged = (
        "[2026-11-29 01:22:21,963 I 23412 23412] (gcs_server) gcs_server.cc:381: Generated new cluster ID.\n"
        "[2026-11-29 01:22:21,966 E 23412 23420] (gcs_server) logging.cc:118: Unhandled exception: "
        "N5boost. what(): epoll: Too many open files [system:24] /x/gcs_server(+0x14c484c) [0x55cc77b7a84c]\n"
    )
    assert fail_to_start(monkeypatch, short_path, logged) == (
        "Ray did not start, twice: gcs_server: Unhandled exception: N5boost. what(): epoll: "
        f"Too many open files [system:24]; its logs: {short_path}/ray/session_latest/logs"
    )


def test_a_ray_that_gives_no_reason_is_quoted(monkeypatch: pytest.MonkeyPatch, short_path: Path) -> None:
    message = fail_to_start(monkeypatch, short_path, "")
    assert message.startswith("Ray did not start, twice: The current node timed out during startup.")


@pytest.mark.parametrize(("length", "short"), [(39, False), (40, True)])
def test_a_temporary_folder_too_long_for_sockets_is_replaced(
    length: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `/ray` and Ray's own 64 bytes, 39 bytes make the 107 that a socket's path may have."""
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * (length - 1))
    with embedded.ray_temp_dir() as temp:
        assert (len(str(temp)) < 20) is short
        assert short is temp.exists()
    assert not temp.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nobody.invalid:6379", "no address"])
def test_a_missing_ray_is_reported_immediately(address: str) -> None:
    with pytest.raises(ClusterError, match=f"^no Ray answers at {address} \\(.+\\); `--local` runs here"):
        refuse_silence(address)


@pytest.mark.nightly
def test_a_sweep_on_this_machine_brings_no_client_of_jobs() -> None:
    """Nor what that imports: a quarter of a second of CPU before the first trial."""
    here = "raysweep.cluster.embedded, raysweep.study.execution.tuner, raysweep.runner.run_study"
    code = f"import sys, {here}; sys.exit('ray.job_submission' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
