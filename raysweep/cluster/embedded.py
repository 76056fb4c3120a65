"""Runs an embedded Ray inside this process: quiet, local, stopped when the sweep is over."""

from __future__ import annotations

import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.machine import Machine, this_machine
from raysweep.cluster.ray_private import (
    keep_search_path,
    keep_sigterm,
    minimal_ray,
    trials_in_started_processes,
)
from raysweep.formatting import one_line
from trainables.imports import CLONE

SOCKET_PATH = 107  # bytes of a Unix socket's path (Linux; Ray checks it)
SOCKET_NAME = len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
ERROR_LINE = re.compile(r"^\[[^]]* [EF] \d+ \d+\] \(\w+\) \S+: (.*?)(?: /\S*\(\+0x.*)?$", re.MULTILINE)

# What Ray reads from the environment; values the user has set win.
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the only silent output engine, with verbose=0
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or every actor without a GPU prints a FutureWarning
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the working directory, on workers too
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # results that no one waits for any more
    "RAY_usage_stats_enabled": "0",
    "PL_DISABLE_FORK": "1",  # as Tune sets it for Lightning (ray#28197)
    "RAY_num_workers_soft_limit": "0",  # processes that were started ahead and that no trial uses ...
    "RAY_idle_worker_killing_time_threshold_ms": "20000",  # ... end after so long
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # unused CSV, JSON and TensorBoard files: 2.6x slower
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # an outcome (failed, out of memory) has no metric
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # raysweep.study.execution.shutdown handles signals
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the journal has their tracebacks
    "TUNE_WARN_THRESHOLD_S": "30",
}


@contextmanager
def quiet_ray() -> Iterator[None]:
    """Set QUIET in the environment for the length of a `with` block; values the user has set win."""
    missing = {name: value for name, value in QUIET.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


@contextmanager
def embedded_ray() -> Iterator[Machine]:
    """Run a local Ray for the length of a `with` block.

    Its workers find this project's packages; a trial's process adds the folders that its config names.

    Yields:
        What Ray offers: this machine's cores and every GPU it finds.

    Raises:
        ClusterError: if it does not start.
    """
    # Without a token any user of this machine could run code as us. Ray enables tokens by itself, but writes
    # one into the home folder unless it gets one here. It reads it once per process, so it stays set.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of the token before it reads logging_level
    with quiet_ray(), _clone_on_path(), ray_temp_dir() as temp:
        try:
            _start(temp)
            resources = ray.cluster_resources()
            with trials_in_started_processes():
                yield Machine(cpus=int(resources.get("CPU", 0)), gpus=int(resources.get("GPU", 0)))
        finally:
            ray.shutdown()


@contextmanager
def _clone_on_path() -> Iterator[None]:
    """Let workers find the project: they inherit the environment in which Ray starts."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(CLONE), *filter(None, [before])])
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before


def _start(temp: Path) -> None:
    """Start a local Ray; retry once, for on a busy machine Ray's own limit of half a minute may not do.

    Args:
        temp: where it keeps its sockets and logs.

    Raises:
        ClusterError: if it does not start, with Ray's error.
    """
    for tries_left in (1, 0):
        try:
            with minimal_ray(), keep_sigterm():
                ray.init(
                    address="local",  # never a cluster that RAY_ADDRESS happens to name
                    num_cpus=this_machine().cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(temp),
                    job_config=keep_search_path(),
                )
            return
        except Exception as error:  # Ray raises a bare Exception for a slow start (node.py:440)
            ray.shutdown()
            if tries_left:
                continue
            reason = error_in_logs(temp) or one_line(error, 300)
            where = f"; its logs: {temp}/session_latest/logs" if temp.exists() else ""
            raise ClusterError(f"Ray did not start, twice: {reason}{where}") from None


@contextmanager
def ray_temp_dir() -> Iterator[Path]:
    """A folder for Ray's sockets and logs: Ray's usual one, or one with a shorter path if that is too long.

    A socket's path has 107 bytes at most, of which Ray's own part takes 62. Slurm's scratch folders are too
    long for that.

    Raises:
        ClusterError: if no folder with a short name can be written to.
    """
    usual = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    if len(os.fsencode(usual)) + SOCKET_NAME <= SOCKET_PATH:
        yield usual
        return
    for base in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(base, os.W_OK):
            with tempfile.TemporaryDirectory(prefix="ray-", dir=base, ignore_cleanup_errors=True) as short:
                yield Path(short)
            return
    raise ClusterError(f"{usual}: path too long for Ray's sockets; set RAY_TMPDIR to a shorter one")


def error_in_logs(temp: Path) -> str:
    """The first error in the logs of this process's newest Ray, or ""."""
    sessions = sorted(temp.glob(f"session_*_{os.getpid()}"))
    for name in ("gcs_server", "raylet"):
        for log in sorted(sessions[-1].glob(f"logs/{name}.*")) if sessions else ():
            found = ERROR_LINE.search(log.read_text(encoding="utf-8", errors="replace"))
            if found:
                return f"{name}: {found[1][:300]}"
    return ""
