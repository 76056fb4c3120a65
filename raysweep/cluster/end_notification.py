"""Announces the end of a sweep by running a command or posting to a web address."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from raysweep.formatting import one_line

PATIENCE_S = 60.0


def announce(on_end: str, facts: Mapping[str, Any]) -> str:
    """Run a command, or post to an address, with the final state of a study.

    Args:
        on_end: `http(s)://...` receives `facts` as JSON; anything else is a shell command that finds
            them in its environment as SWEEP_STUDY, SWEEP_STATE, ... and as JSON on its standard input.
        facts: flat, as in status.json.

    Returns:
        What went wrong, in one line, or "".
    """
    text = json.dumps(facts, default=str)
    if on_end.startswith(("http://", "https://")):
        request = urllib.request.Request(
            on_end, data=text.encode(), headers={"Content-Type": "application/json"}, method="POST"
        )
        try:
            urllib.request.urlopen(request, timeout=PATIENCE_S).close()
        except (urllib.error.URLError, OSError, ValueError) as error:
            return f"on_end: {on_end}: {one_line(error)}"
        return ""
    variables = {f"SWEEP_{key.upper()}": str(value) for key, value in facts.items()}
    try:
        done = subprocess.run(
            on_end,
            shell=True,
            input=text,
            text=True,
            capture_output=True,
            env={**os.environ, **variables},
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"on_end: killed after {PATIENCE_S:g} s"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return f"on_end: exit code {done.returncode} {last}".strip() if done.returncode else ""
