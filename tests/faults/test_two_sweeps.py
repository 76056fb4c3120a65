"""Two sweeps at the same time on one machine: they share its cores, and neither starves."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from raysweep.cluster.machine import this_machine
from raysweep.study.journal.events import SlotsChanged
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold
from tests.cluster.hosts import wait_until

CLONE = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.faults, pytest.mark.nightly, pytest.mark.timeout(600)]


def sweep_file(folder: Path, name: str, trials: int) -> Path:
    """A sweep whose trials take six seconds each."""
    run = {
        "data": "trainables.data.load_digits",
        "train": "tests.study.toy.train",
        "epochs": 20,
        "optimizer_config": {"lr": 0.1},
        "net_config": {"step_s": 0.3},
    }
    words = {
        "study_name": name,
        "trials": trials,
        "sampler": {"name": "optuna.samplers.RandomSampler"},
        "run": run,
        "search_space": {"optimizer_config": {"lr": {"type": "float", "min": 1e-3, "max": 1.0}}},
        "import_paths": [str(CLONE)],
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(words))
    return file


def most_at_once(*records: StudyRecord) -> int:
    """Trials that trained at the same time."""
    steps: list[tuple[float, int]] = []
    for record in records:
        for trial in record.trials.values():
            times = [epoch.t for epoch in trial.curve]
            steps += [(times[0], 1), (times[-1], -1)]
    busy = most = 0
    for _, step in sorted(steps):
        busy += step
        most = max(most, busy)
    return most


def test_a_second_sweep_takes_its_share_as_trials_of_the_first_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cores = this_machine().cpus
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(name: str, trials: int) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.log").open("wb") as log:
            words = [str(sweep_file(tmp_path, name, trials)), "--local", "--runs", str(tmp_path / "runs")]
            command = [sys.executable, "launch.py", *words]
            return subprocess.Popen(command, cwd=CLONE, stdout=log, stderr=log, env=environment)

    def record(name: str) -> StudyRecord:
        journal = tmp_path / "runs" / name / "journal"
        return fold(read_events(journal)) if journal.is_dir() else StudyRecord()

    first = start("first", 16 * cores)
    wait_until(lambda: record("first").epochs > 0, 120)
    second = start("second", 3)
    assert second.wait(300) == 0, (tmp_path / "second.log").read_text()
    assert first.poll() is None, "the first goes on"
    assert first.wait(300) == 0, (tmp_path / "first.log").read_text()

    outputs = {name: (tmp_path / f"{name}.log").read_text() for name in ("first", "second")}
    assert "queued: shares the machines with first" in outputs["second"]
    assert "shares the machines with second" in outputs["first"]
    assert "no other sweep runs here any more" in outputs["first"]
    assert most_at_once(record("first"), record("second")) <= cores
    events = read_events(tmp_path / "runs/first/journal")
    slots = [event.slots for event in events if isinstance(event, SlotsChanged)]
    assert slots[0] < cores
    assert slots[-1] == cores
    assert all(before != after for before, after in pairwise(slots))
