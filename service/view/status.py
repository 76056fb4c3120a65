"""`launch.py status`: a study's status.json for human eyes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from service.view.rows import put
from service.view.words import number, settings

NOT_A_STATUS = ("wanted", "asked")


def print_status(console: Console, status: Mapping[str, Any]) -> None:
    """Print what `service.study.status.read_status` read."""
    trials = status["trials"]
    counts = ", ".join(f"{count} {name}" for name, count in trials.items() if name not in NOT_A_STATUS)
    put(console, "study", status["study"])
    put(console, "state", " - ".join(filter(None, [status["state"], status.get("reason", "")])))
    put(console, "trials", f"{trials.get('asked', 0)} of {trials.get('wanted', '?')}: {counts or 'none yet'}")
    put(console, "epochs", str(status.get("epochs", 0)))
    if best := status["best"]:
        value = f"{status['metric']} {number(best['value'])} at epoch {best['epoch']}"
        put(console, "best", f"trial {int(best['trial'])}: {value}  {settings(best['config'])}")
