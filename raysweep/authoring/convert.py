"""Makes one sweep file of the training template's two, line by line, so that the user's comments stay."""

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
    """One sweep file's text.

    Args:
        run: the template's run config.
        optimize: its optimize config.
        schema: where the JSON Schema is, from the new file's folder or as a URL.

    Raises:
        SweepError: if the two make no sound sweep.
    """
    sweep = read_sweep(run, optimize_config=optimize).sweep
    upper = [line for key, lines in _blocks(optimize) for line in _as_sweep(key, lines)]
    lower = [line for key, lines in _blocks(run) for line in _as_run(key, lines)]
    named = any(_TOP_KEY.match(line) and line.startswith("study_name") for line in upper)
    head = [
        f"# Made of {run.name} and {optimize.name} by `launch.py init --from-template`; the same sweep.",
        SCHEMA_LINE.format(schema=schema),
        *([] if named else [f"study_name: {sweep.study_name}"]),
    ]
    body = ["", "run:", *(f"  {line}" if line.strip() else "" for line in lower)]
    return "\n".join([*head, *upper, *body]).rstrip("\n") + "\n"


def check_same(file: Path, run: Path, optimize: Path) -> bool:
    """Whether the new file means what the two do, or lines could not be moved about in them.

    Raises:
        SweepError: if one of the files is not sound.
    """
    return _meaning(read_sweep(file).sweep) == _meaning(read_sweep(run, optimize_config=optimize).sweep)


def _meaning(sweep: Sweep) -> Sweep:
    """What must be the same: all but the folders that are searched, and a device that was only noted."""
    run = sweep.run.model_copy(update={"device": None})
    return sweep.model_copy(update={"import_paths": (), "run": run})


def _blocks(file: Path) -> Iterator[tuple[str, list[str]]]:
    """A file's top-level keys, each with its lines; comments go with the key below them."""
    key = ""
    lines: list[str] = []
    pending: list[str] = []
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        if _MARKER.match(line) or line.startswith("%"):
            continue
        found = _TOP_KEY.match(line)
        if found:
            yield key, lines
            key, lines, pending = found[1], [*pending, line], []
        elif not line.strip() or line.startswith("#"):
            pending.append(line)
        else:
            lines, pending = [*lines, *pending, line], []
    yield key, [*lines, *pending]


def _as_sweep(key: str, lines: list[str]) -> list[str]:
    """The lines of an optimize config's key, in today's words."""
    if key in OLD_RUN_KEYS:
        return _commented(lines, _IGNORED)
    if key != "pruner":
        return lines
    changed = []
    for line in lines:
        words = re.sub(r"^([\"']?)pruner\1(\s*:)", r"trial_scheduler\2", line)
        for old, new in PRUNERS.items():
            if old in words and "#" not in words.partition(old)[0]:
                words = f"{words.replace(old, new).rstrip()}    # was {old}"
        changed.append(words)
    return changed


def _as_run(key: str, lines: list[str]) -> list[str]:
    """The lines of a run config's key, in today's words."""
    if key in OLD_RUN_KEYS:
        return _commented(lines, _IGNORED)
    cuda = key == "device" and any("cuda" in line.partition("#")[0] for line in lines)
    return _commented(lines, _DEVICE) if cuda else lines


def _commented(lines: list[str], why: str) -> list[str]:
    """Lines as comments, the reason behind the key's."""
    return [
        (line if not line.strip() or line.startswith("#") else f"# {line}")
        + (why if _TOP_KEY.match(line) else "")
        for line in lines
    ]
