"""Provenance of a study: code, versions and machine, for the journal's `AttemptStarted`."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from raysweep.config.sweep import Sweep
from raysweep.study.storage.secrets import hide_passwords
from raysweep.tracking.runs import MAX_TAG, clip
from trainables.imports import CLONE

PACKAGES = ("raysweep", "ray", "torch", "optuna", "mlflow", "numpy", "pytorch_optimizer", "pytorch_scheduler")
COMMAND_TIMEOUT_S = 5.0
SUBMITTED = "RAYSWEEP_SUBMITTED"  # environment variable of a job: provenance of the submitting machine, JSON


def provenance(folder: Path, *, command: Sequence[str] = (), data_fingerprint: str = "") -> dict[str, Any]:
    """The current provenance as plain data.

    Args:
        folder: of the user's sweep file, maybe in a git work tree of the user's own.
        command: that the user typed; by default this process's command line.
        data_fingerprint: hash of the training and validation data.
    """
    submitted = json.loads(os.environ.get(SUBMITTED, "{}"))
    return {
        **git_state(folder),
        "raysweep_commit": git_commit(CLONE),
        "data_fingerprint": data_fingerprint,
        "python": platform.python_version(),
        "versions": package_versions(),
        "host": platform.node(),
        "user": user_name(),
        "command": hide_passwords(shlex.join(command or sys.orig_argv)),
        "gpus": gpu_names(),
        **submitted,
    }


def submitted_environment(folder: Path) -> dict[str, str]:
    """Environment of a job on another machine, with the provenance that only this machine knows.

    Args:
        folder: of the user's sweep file; a git work tree is sent without its .git.
    """
    submitted = {**git_state(folder), "raysweep_commit": git_commit(CLONE), "user": user_name()}
    return {SUBMITTED: json.dumps(submitted)}


def git_state(folder: Path) -> dict[str, Any]:
    """A work tree's `git_commit`, `git_dirty` and `git_remote`; empty if the folder is in none."""
    commit, git = git_commit(folder), ["git", "-C", str(folder)]
    if not commit:
        return {}
    changes = _output([*git, "status", "--porcelain", "--untracked-files=no"])
    remote = hide_passwords(_output([*git, "remote", "get-url", "origin"]))
    return {"git_commit": commit, "git_dirty": bool(changes)} | ({"git_remote": remote} if remote else {})


def git_commit(folder: Path) -> str:
    """The commit of a work tree; "" if the folder is in none."""
    return _output(["git", "-C", str(folder), "rev-parse", "HEAD"])


def source_folder(sweep: Sweep) -> Path:
    """The folder of a sweep's own code: its first import path, or the clone."""
    return Path(next(iter(sweep.import_paths), CLONE))


def package_versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of the installed packages, without importing them."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def gpu_names() -> list[str]:
    """The GPUs that `nvidia-smi` lists, without importing torch, which takes seconds."""
    listed = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return [line.strip() for line in listed.splitlines() if line.strip()]


def user_name() -> str:
    """The user's name, or their number in a container where they have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13, OSError since
        return f"uid-{os.getuid()}"


def run_tags(facts: Mapping[str, Any]) -> dict[str, str]:
    """Provenance as tags of a run, with MLflow's own names if it has one (plain clients set none).

    >>> run_tags({"user": "ada", "versions": {"ray": "2.60.0", "torch": "2.13.0"}})
    {'mlflow.source.type': 'LOCAL', 'mlflow.user': 'ada', 'versions': 'ray 2.60.0, torch 2.13.0'}
    """
    tags = {
        "mlflow.source.type": "LOCAL",
        "mlflow.user": facts.get("user"),
        "mlflow.source.name": facts.get("command"),
        "mlflow.source.git.commit": facts.get("git_commit"),
        "mlflow.source.git.repoURL": facts.get("git_remote"),
        "raysweep_commit": facts.get("raysweep_commit"),
        "git_dirty": str(facts["git_dirty"]).lower() if "git_dirty" in facts else None,
        "data_fingerprint": facts.get("data_fingerprint"),
        "code_fingerprint": facts.get("code_fingerprint"),
        "host": facts.get("host"),
        "python": facts.get("python"),
        "versions": ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items()),
        "gpus": ", ".join(facts.get("gpus", ())),
    }
    return {key: clip(str(value), MAX_TAG) for key, value in tags.items() if value}


def _output(command: Sequence[str]) -> str:
    """The output of a command; "" if it does not exist, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
