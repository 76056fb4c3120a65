"""A command that a report prints works where it is printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import launch
from raysweep.report.boundary import edges
from raysweep.report.findings import Evidence, findings
from raysweep.report.importance import Importance
from raysweep.report.tables import tables
from tests.report import stories

CROWDED = [1e-3 * (1 + number / 99) if number % 2 else 0.5 for number in range(30)]


def commands_of(root: Path, **words: Any) -> list[str]:
    """Those of a study whose better half lies at the lower bound of the rate; its file is beside it."""
    events = []
    for number, lr in enumerate(CROWDED):
        events += stories.trial(number, 0.1 + (lr > 0.1) + 0.001 * number, {stories.LR: lr})
    rate = {"type": "float", "min": 1e-3, "max": 1.0, "log": True}
    run = {
        "data": "trainables.data.load_diabetes",
        "net": "trainables.mlp.MLP",
        "epochs": 4,
        "scheduler": None,
    }
    wanted = stories.sweep(search_space={stories.LR: rate}, run=run, trials=30, **words)
    subject = stories.subject(root / "elsewhere", events, wanted)
    file = root / "sweeps/told.yaml"
    file.parent.mkdir()
    hidden = {"import_paths", "metric", "direction"}
    file.write_text(yaml.safe_dump(wanted.model_dump(mode="json", exclude=hidden, exclude_defaults=True)))
    seen = Evidence(subject, tables(subject, 10), edges(subject), Importance())
    return [finding.fix for finding in findings(seen) if finding.fix.startswith("python ")]


@pytest.mark.parametrize(
    ("scheduler", "verb"),
    [("FIFO", " extend "), ("PBT", " --name "), ("Hyperband", " --name ")],  # the latter take no new trials
)
def test_the_command_that_widens_a_range_would_run(
    scheduler: str,
    verb: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a study that lies outside ./runs."""
    monkeypatch.chdir(tmp_path)
    kwargs = {"perturbation_interval": 2} if scheduler == "PBT" else {}
    told = commands_of(tmp_path, trial_scheduler={"name": f"schedulers.{scheduler}", "kwargs": kwargs})
    command = next(line for line in told if "search_space" in line)
    assert verb in command
    assert launch.main([*shlex.split(command)[2:], "--dry-run"]) == 0, capsys.readouterr().err
