"""Merges the training template's two files into one sweep file, line by line, so that comments stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from raysweep.authoring.interview import SCHEMA_LINE
from raysweep.config import Sweep, read_sweep
from raysweep.config.template import OLD_RUN_KEYS, PRUNERS

_TOP_KEY = re.compile(r"""["']?([A-Za-z_]+)["']?\s*:""")
_MARKER = re.compile(r"(---|\.\.\.)\s*(#.*)?$")
_IGNORED = "    # ignored before, too: trials are tracked in MLflow"
_DEVICE = "    # which GPU a trial gets is decided by Ray: see resources_per_trial"


def convert_template(run: Path, optimize: Path, schema: str) -> str:
    """The text of one sweep file that means the same as the two.

    Args:
        run: the template's run config.
        optimize: its optimize config.
        schema: where the JSON Schema is, from the new file's folder or as a URL.

    Raises:
        SweepError: if the two do not make a valid sweep.
    """
    sweep = read_sweep(run, optimize_config=optimize).sweep
    upper = [line for key, lines in _blocks(optimize) for line in _as_sweep(key, lines)]
    lower = [line for key, lines in _blocks(run) for line in _as_run(key, lines)]
    named = any(_TOP_KEY.match(line) and line.startswith("study_name") for line in upper)
    head = [
        f"# Merged from {run.name} and {optimize.name} by `launch.py init --from-template`.",
        SCHEMA_LINE.format(schema=schema),
        *([] if named else [f"study_name: {sweep.study_name}"]),
    ]
    body = ["", "run:", *(f"  {line}" if line.strip() else "" for line in lower)]
    return "\n".join([*head, *upper, *body]).rstrip("\n") + "\n"


def check_same(file: Path, run: Path, optimize: Path) -> bool:
    """Whether the new file means the same as the two; if not, their lines cannot be merged.

    Raises:
        SweepError: if one of the files is not valid.
    """
    return _meaning(read_sweep(file).sweep) == _meaning(read_sweep(run, optimize_config=optimize).sweep)


def _meaning(sweep: Sweep) -> Sweep:
    """The sweep without what may differ: the import folders, and a device, which is only noted."""
    run = sweep.run.model_copy(update={"device": None})
    return sweep.model_copy(update={"import_paths": (), "run": run})


def _blocks(file: Path) -> Iterator[tuple[str, list[str]]]:
    """A file's top-level keys, each with its lines; a comment belongs to the key below it."""
    key = ""
    lines: list[str] = []
    pending: list[str] = []
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        if _MARKER.match(line) or line.startswith("%"):
            continue
        match = _TOP_KEY.match(line)
        if match:
            yield key, lines
            key, lines, pending = match[1], [*pending, line], []
        elif not line.strip() or line.startswith("#"):
            pending.append(line)
        else:
            lines, pending = [*lines, *pending, line], []
    yield key, [*lines, *pending]


def _as_sweep(key: str, lines: list[str]) -> list[str]:
    """The lines of a key of the optimize config, as a sweep file writes them."""
    if key in OLD_RUN_KEYS:
        return _commented(lines, _IGNORED)
    if key != "pruner":
        return lines
    changed = []
    for line in lines:
        text = re.sub(r"^([\"']?)pruner\1(\s*:)", r"trial_scheduler\2", line)
        for old, new in PRUNERS.items():
            if old in text and "#" not in text.partition(old)[0]:
                text = f"{text.replace(old, new).rstrip()}    # was {old}"
        changed.append(text)
    return changed


def _as_run(key: str, lines: list[str]) -> list[str]:
    """The lines of a key of the run config, as a sweep file writes them."""
    if key in OLD_RUN_KEYS:
        return _commented(lines, _IGNORED)
    cuda = key == "device" and any("cuda" in line.partition("#")[0] for line in lines)
    return _commented(lines, _DEVICE) if cuda else lines


def _commented(lines: list[str], why: str) -> list[str]:
    """The lines as comments, with the reason after the key's line."""
    return [
        (line if not line.strip() or line.startswith("#") else f"# {line}")
        + (why if _TOP_KEY.match(line) else "")
        for line in lines
    ]
