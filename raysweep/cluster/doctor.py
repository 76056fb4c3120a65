"""Checks whether this machine can run a sweep. Ends no process; changes only the mode of a readable token."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.leftover_processes import Leftover, leftovers
from raysweep.cluster.machine import this_machine
from raysweep.cluster.token import find_token
from raysweep.formatting import one_line

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"  # the project runs from its clone
GB = 2**30
DISK_GB = 1.0  # less is soon full of checkpoints
SHM_GB = 1.0  # Ray keeps objects there; Docker gives 64 MB by default
FULL = 0.95  # Ray refuses to spill objects to a disk that is fuller
OLDEST = (3, 11)


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: `ok`; `note`: allowed, worth knowing; `problem`: a sweep would suffer.
        message: what was found.
        fix: what to do about it, if possible a command.
    """

    name: str
    state: Literal["ok", "note", "problem"]
    message: str
    fix: str = ""


def check_machine(
    runs: Path,
    environ: Mapping[str, str],
    home: Path,
    *,
    tracking: Callable[[], tuple[str, str]],
    try_ray: bool,
) -> list[MachineCheck]:
    """Run all checks.

    Args:
        runs: where studies would go.
        environ: the environment.
        home: the user's home folder.
        tracking: returns the MLflow store's address, and what is wrong with it ("" if nothing is).
        try_ray: whether to start and stop a Ray, which takes some seconds.
    """
    return [
        _python(),
        *_packages(),
        _gpus(environ),
        _cores_and_memory(),
        _shared_memory(),
        _disk("studies", runs),
        _disk("temporary files", Path(tempfile.gettempdir())),
        _address(environ),
        _token(environ, home),
        _ray(try_ray),
        _tracking(*tracking()),
        *_leftovers(leftovers()),
    ]


def _python() -> MachineCheck:
    message = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.prefix}"
    if sys.version_info < OLDEST:
        return MachineCheck("Python", "problem", message, "Python 3.11 or newer is needed")
    return MachineCheck("Python", "ok", message)


def _packages() -> Iterator[MachineCheck]:
    """A problem for each missing package or wrong version; else one `ok`."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(each) for each in project["dependencies"]]
    wrong = False
    for each in wanted:
        installed_version = version(each.name)
        if installed_version is None or not each.specifier.contains(installed_version, prereleases=True):
            wrong = True
            message = f"{each.name} {installed_version or 'is missing'}, required {each.specifier or 'any'}"
            yield MachineCheck("packages", "problem", message, "pip install -c constraints.txt -e .")
    if not wrong:
        named = ("ray", "torch", "optuna", "mlflow")
        message = ", ".join(f"{name} {version(name)}" for name in named)
        yield MachineCheck("packages", "ok", f"{message}; all {len(wanted)} as required")


def version(name: str) -> str | None:
    """A package's installed version; None if it is not installed. Nothing is imported."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _gpus(environ: Mapping[str, str]) -> MachineCheck:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return MachineCheck("GPUs", "ok", "none (no nvidia-smi); trials run on the CPU")
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    cards = answer.stdout.strip().splitlines()
    if answer.returncode != 0 or not cards:
        lines = (answer.stderr or answer.stdout).strip().splitlines()
        return MachineCheck(
            "GPUs", "problem", f"nvidia-smi: {lines[0] if lines else 'no output'}", "check the NVIDIA driver"
        )
    message, build = f"{len(cards)} x {cards[0]}", version("torch") or ""
    if build.endswith("+cpu"):
        fix = f"install a torch {build.removesuffix('+cpu')} built for CUDA: pytorch.org/get-started"
        return MachineCheck("GPUs", "problem", f"{message}; torch {build} cannot use them", fix)
    if "CUDA_VISIBLE_DEVICES" in environ:
        shown = environ["CUDA_VISIBLE_DEVICES"] or "none"
        return MachineCheck("GPUs", "note", f"{message}; CUDA_VISIBLE_DEVICES shows {shown}")
    return MachineCheck("GPUs", "ok", message)


def _cores_and_memory() -> MachineCheck:
    cores = this_machine().cpus
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return MachineCheck("machine", "ok", f"{cores} cores")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB
    return MachineCheck("machine", "ok", f"{cores} cores for trials, {total:.0f} GB of memory")


def _shared_memory() -> MachineCheck:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return MachineCheck("shared memory", "ok", f"no {folder}: Ray uses files")
    free = shutil.disk_usage(folder).free / GB
    if free < SHM_GB:
        fix = "in Docker: `docker run --shm-size=4g`; else Ray's object store is on disk, and slow"
        return MachineCheck("shared memory", "problem", f"{free:.2f} GB free in {folder}", fix)
    return MachineCheck("shared memory", "ok", f"{free:.1f} GB free in {folder}")


def _disk(name: str, folder: Path) -> MachineCheck:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return MachineCheck(
            f"disk: {name}", "problem", f"{existing} cannot be written to", "--runs FOLDER, RAYSWEEP_STORAGE"
        )
    usage = shutil.disk_usage(existing)
    message = f"{usage.free / GB:.1f} GB free of {usage.total / GB:.0f} GB at {existing}"
    if usage.free < DISK_GB * GB:
        return MachineCheck(f"disk: {name}", "problem", message, "make room, or use another disk")
    if usage.free < (1 - FULL) * usage.total:
        return MachineCheck(
            f"disk: {name}", "note", f"{message}: Ray does not spill objects to a disk this full"
        )
    return MachineCheck(f"disk: {name}", "ok", message)


def _address(environ: Mapping[str, str]) -> MachineCheck:
    address = environ.get("RAY_ADDRESS", "")
    if not address:
        return MachineCheck("RAY_ADDRESS", "ok", "not set: sweeps run on this machine")
    if not address.startswith(("http://", "https://")):
        from raysweep.cluster.attach import refuse_silence

        try:
            refuse_silence(address)
        except ClusterError as error:
            return MachineCheck("RAY_ADDRESS", "problem", str(error), "unset RAY_ADDRESS")
    return MachineCheck("RAY_ADDRESS", "note", f"{address}: sweeps go there; `--local` keeps one here")


def _token(environ: Mapping[str, str], home: Path) -> MachineCheck:
    """Where the token is; a file that others can read is made readable for its owner only."""
    try:
        token = find_token(environ, home)
    except ClusterError as error:
        return MachineCheck("token", "problem", str(error))
    if token is None:
        return MachineCheck("token", "ok", "none; only a cluster needs one, a local sweep makes its own")
    return MachineCheck("token", "ok", f"in {token[1]}")


def _ray(try_it: bool) -> MachineCheck:
    if not try_it:
        return MachineCheck("Ray", "ok", "not tried; `--ray` starts and stops one")
    from raysweep.cluster.embedded import embedded_ray

    try:
        with embedded_ray() as machine:
            return MachineCheck("Ray", "ok", f"starts, with {machine.cpus} CPU and {machine.gpus} GPU")
    except (ClusterError, OSError, RuntimeError, TimeoutError) as error:
        return MachineCheck(
            "Ray", "problem", f"does not start: {one_line(error, 300)}", "/tmp/ray has its logs"
        )


def _tracking(uri: str, trouble: str) -> MachineCheck:
    if trouble:
        return MachineCheck(
            "MLflow", "problem", trouble, "sweeps run without it; `launch.py sync STUDY` sends the data later"
        )
    return MachineCheck("MLflow", "ok", uri)


def _leftovers(left: list[Leftover]) -> Iterator[MachineCheck]:
    for each in left:
        message = (
            f"{len(each.pids)} processes of {each.study}, driver {each.driver} is dead: {each.commands[0]}"
        )
        yield MachineCheck("leftovers", "problem", message, each.kill_command)
    if not left:
        yield MachineCheck("leftovers", "ok", "no process of a dead sweep")
