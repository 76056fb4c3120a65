"""Where a study's numbers come from: code, versions, machine. Goes into the journal with `AttemptStarted`."""

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
SUBMITTED = "RAYSWEEP_SUBMITTED"  # of a job's environment: provenance of the machine that sent it, JSON


def provenance(folder: Path, *, command: Sequence[str] = (), data_fingerprint: str = "") -> dict[str, Any]:
    """What is known of this machine and this code now, as plain data.

    Args:
        folder: of the user's sweep file, which may lie in a git work tree of the user's own.
        command: what the user typed; this process's own words by default.
        data_fingerprint: hash of the training and validation data.
    """
    sent = json.loads(os.environ.get(SUBMITTED, "{}"))
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
        **sent,
    }


def submitted_environment(folder: Path) -> dict[str, str]:
    """What a job on another machine cannot know by itself, for its environment: the commit, and who sent it.

    Args:
        folder: of the user's sweep file; a git work tree is sent along without its .git.
    """
    sent = {**git_state(folder), "raysweep_commit": git_commit(CLONE), "user": user_name()}
    return {SUBMITTED: json.dumps(sent)}


def git_state(folder: Path) -> dict[str, Any]:
    """A work tree's `git_commit`, whether it was `git_dirty`, its `git_remote`; empty where there is none."""
    commit, git = git_commit(folder), ["git", "-C", str(folder)]
    if not commit:
        return {}
    changes = _output([*git, "status", "--porcelain", "--untracked-files=no"])
    remote = hide_passwords(_output([*git, "remote", "get-url", "origin"]))
    return {"git_commit": commit, "git_dirty": bool(changes)} | ({"git_remote": remote} if remote else {})


def git_commit(folder: Path) -> str:
    """The commit of a work tree; empty where there is none."""
    return _output(["git", "-C", str(folder), "rev-parse", "HEAD"])


def source_folder(sweep: Sweep) -> Path:
    """Where a sweep's own code lies: beside its file, or in the clone where nothing says otherwise."""
    return Path(next(iter(sweep.import_paths), CLONE))


def package_versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Installed version of each package that is installed; nothing is imported for it."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def gpu_names() -> list[str]:
    """The GPUs that `nvidia-smi` lists; torch is not imported for it, which takes seconds."""
    listed = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return [line.strip() for line in listed.splitlines() if line.strip()]


def user_name() -> str:
    """Who runs this; containers may run as a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13, OSError since
        return f"uid-{os.getuid()}"


def run_tags(known: Mapping[str, Any]) -> dict[str, str]:
    """Provenance as tags of a run, MLflow's own names where it has one (plain clients set none).

    >>> run_tags({"user": "ada", "versions": {"ray": "2.60.0", "torch": "2.13.0"}})
    {'mlflow.source.type': 'LOCAL', 'mlflow.user': 'ada', 'versions': 'ray 2.60.0, torch 2.13.0'}
    """
    tags = {
        "mlflow.source.type": "LOCAL",
        "mlflow.user": known.get("user"),
        "mlflow.source.name": known.get("command"),
        "mlflow.source.git.commit": known.get("git_commit"),
        "mlflow.source.git.repoURL": known.get("git_remote"),
        "raysweep_commit": known.get("raysweep_commit"),
        "git_dirty": str(known["git_dirty"]).lower() if "git_dirty" in known else None,
        "data_fingerprint": known.get("data_fingerprint"),
        "code_fingerprint": known.get("code_fingerprint"),
        "host": known.get("host"),
        "python": known.get("python"),
        "versions": ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items()),
        "gpus": ", ".join(known.get("gpus", ())),
    }
    return {key: clip(str(value), MAX_TAG) for key, value in tags.items() if value}


def _output(command: Sequence[str]) -> str:
    """What a command prints; empty if it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
