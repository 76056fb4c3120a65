"""What `launch.py plan` says of the shipped sweeps before they run, against what then happens.

Each sweep is planned as the command does it (an epoch's seconds measured on five random configurations,
curves of the stated prior), then run as a process of its own, tracked, from the command to the summary.

    python benchmarks/plan.py --json plan.json                   # all of them, whole, but the staged one
    python benchmarks/plan.py --json plan.json --only asha bohb  # added to what stands there
    python benchmarks/plan.py --again plan.json                  # planned anew by the times measured then

A prediction `holds` if what happened lies in its interval.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from raysweep.config import read_sweep
from raysweep.planning.cost_basis import measure_cost_basis
from raysweep.planning.curve_prior import prior_curves
from raysweep.planning.plan import Costs, Plan, plan
from raysweep.runner.common import slots_here
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.storage.layout import StudyFolder

ROOT = Path(__file__).resolve().parents[1]
LOOK_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="SWEEP", help="names of files in sweeps/")
    parser.add_argument("--json", type=Path, help="add every run's figures to this file")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run nothing, plan anew")
    args = parser.parse_args()
    file = args.again or args.json
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file and file.exists() else []
    shipped = [path.stem for path in sorted((ROOT / "sweeps").glob("*.yaml"))]
    names = args.only or [name for name in shipped if name != "staged"]
    for name in () if args.again else names:
        rows = [row for row in rows if row["sweep"] != name] + [measured(name)]
        print(line(rows[-1]), flush=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


def measured(name: str) -> dict[str, Any]:
    """Plan one sweep's costs, then run it."""
    sweep = read_sweep(ROOT / "sweeps" / f"{name}.yaml").sweep
    by = measure_cost_basis(sweep, lambda: slots_here(sweep)).costs
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, str(ROOT / "launch.py"), "run", str(ROOT / f"sweeps/{name}.yaml")]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/mlflow.db"}
        started, most = time.perf_counter(), 0.0
        with (Path(scratch) / "log").open("w") as log:
            running = subprocess.Popen(
                [*command, "--local", "--runs", f"{scratch}/runs"], env=environment, stdout=log, stderr=log
            )
            while running.poll() is None:
                most = max(most, size_mb(Path(scratch) / "runs" / sweep.study_name / "ray"))
                time.sleep(LOOK_S)
        took = time.perf_counter() - started
        if running.returncode != 0:
            raise SystemExit(f"{name} failed:\n{(Path(scratch) / 'log').read_text()[-3000:]}")
        folder = StudyFolder.open(Path(scratch) / "runs" / sweep.study_name)
        record = fold(read_events(folder.journal_dir), sweep.objective)
    return {
        "sweep": name,
        "load": round(load, 1),
        "epoch_s": list(by.epoch_s),
        "slots": by.slots,
        "checkpoint_mb": by.checkpoint_mb,
        "ran": {
            "epochs": record.epochs,
            "seconds": took,
            "disk_mb": most,
            "ends": [trial.epoch for trial in record.trials.values()],
            "losses": [[point.loss for point in trial.curve] for trial in record.trials.values()],
        },
    }


def size_mb(folder: Path) -> float:
    """What lies in a folder, MiB; files come and go meanwhile."""
    total = 0
    for path in folder.rglob("*") if folder.exists() else ():
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total / 2**20


def planned(row: dict[str, Any]) -> Plan:
    """The plan of a row's sweep by the costs that were measured before it ran."""
    sweep = read_sweep(ROOT / "sweeps" / f"{row['sweep']}.yaml").sweep
    costs = Costs(tuple(row["epoch_s"]), row["slots"], None, row["checkpoint_mb"])
    return plan(sweep, costs, prior_curves)


def line(row: dict[str, Any]) -> str:
    """One sweep, as a row of the table."""
    found, ran = planned(row), row["ran"]
    epochs, took = found.epochs, found.seconds
    assert found.disk_mb is not None
    holds = [each.low <= ran[key] <= each.high for each, key in ((epochs, "epochs"), (took, "seconds"))]
    holds.append(ran["disk_mb"] <= found.disk_mb)
    missed = [word for word, held in zip(("epochs", "time", "disk"), holds, strict=True) if not held]
    return (
        f"| {row['sweep']} | {epochs.middle:.0f} ({epochs.low:.0f} to {epochs.high:.0f}) | {ran['epochs']} "
        f"| {took.middle:.0f} ({took.low:.0f} to {took.high:.0f}) | {ran['seconds']:.0f} "
        f"| {found.disk_mb:.1f} | {ran['disk_mb']:.1f} | {', '.join(missed) or 'none'} |"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Every row, as Markdown."""
    heading = "| sweep | epochs planned | run | seconds planned | took | MiB at most | had | missed |"
    return "\n".join(("", heading, "|---|---|---|---|---|---|---|---|", *map(line, rows)))


if __name__ == "__main__":
    main()
