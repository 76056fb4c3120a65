"""What a tracking server can do to a sweep: nothing. One sweep, its MLflow well or not; interleaved.

    PYTHONPATH=. python benchmarks/tracking.py --rounds 3

well    a real `mlflow server` on this machine
away    an address at which nobody listens
dies    the server is killed when half of the epochs are done, and stays away
back    the same, but it is up again after another quarter
slow    every call takes 30 s longer
full    a SQLite store on a disk that has no room (a tmpfs of 1 MB; needs root)

`sweep` is the time from the first epoch's report to the last by the journal, `after` what the command then
took to end; `lacks` how many of the journal's events MLflow lacked at its end, and how many once the store
was well and `launch.py sync` had run. Losses are compared to the last bit between all runs. The server is
up beside every sweep (but for those that it dies of), so that all have the same cores.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from raysweep.study.journal.events import EpochReported
from raysweep.study.journal.log import read_events
from tests.faults.slow import slowly
from tests.tracking.conftest import Server

ROOT = Path(__file__).resolve().parents[1]
MODES = ("well", "away", "dies", "back", "slow", "full")
TRIALS, SLOW_S = 8, 30.0


@dataclass(frozen=True)
class Row:
    """One sweep: seconds, events that MLflow lacked at its end and after `sync`, and its losses."""

    sweep: float
    after: float
    lacked: int
    lacks: int
    losses: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--only", nargs="+", choices=MODES, default=list(MODES))
    args = parser.parse_args()
    rows: dict[str, list[Row]] = {mode: [] for mode in args.only}
    for _ in range(args.rounds):
        for mode in args.only:
            with tempfile.TemporaryDirectory() as place:
                rows[mode].append(measure(mode, Path(place), args.epochs))
            row = rows[mode][-1]
            print(f"{mode:5} {row.sweep:.1f} {row.after:.1f} {row.lacked} {row.lacks}", flush=True)
    same = len({row.losses for mode in rows.values() for row in mode}) == 1
    print(f"\nlosses of all runs are {'equal' if same else 'NOT equal'}\n")
    print("| | sweep, s | sweep / well | after, s | lacks at the end | after `sync` |")
    print("|---|---|---|---|---|---|")
    for mode, mine in rows.items():
        ratio = median(each.sweep / its.sweep for each, its in zip(mine, rows[args.only[0]], strict=True))
        sweeps, afters, lacked, lacks = columns(mine, "sweep", "after", "lacked", "lacks")
        print(f"| {mode} | {sweeps} | {ratio:.2f} | {afters} | {lacked} | {lacks} |")


def columns(rows: list[Row], *names: str) -> list[str]:
    """Each figure of all rounds."""
    return [" ".join(f"{round(getattr(row, name), 1):g}" for row in rows) for name in names]


def measure(mode: str, folder: Path, epochs: int) -> Row:
    """One sweep as a process, and what `sync` then makes up for."""
    (folder / "server").mkdir()
    server = Server(folder / "server", free_port())
    server.up()
    try:
        with store(mode, folder, server) as uri:
            words = ("--set", f"trials={TRIALS}", f"run.epochs={epochs}", "--name", "tracked")
            process = launch(folder, uri, "run", str(ROOT / "sweeps/random.yaml"), *words)
            if mode in ("dies", "back"):
                after(folder, process, TRIALS * epochs // 2)
                server.kill()
            if mode == "back":
                after(folder, process, TRIALS * epochs * 3 // 4)
                server.up()
            said, _ = process.communicate()
            ended = time.time()
        if process.returncode:
            raise SystemExit(said[-4000:])
        found = reports(folder)
        if server.process is None:
            server.up()
        well = uri if mode == "full" else server.uri
        sync, _ = launch(folder, well, "sync", "tracked").communicate()
    finally:
        server.kill()
    lacks = re.search(r"missing in MLflow, (\d+) still are", sync)
    told = re.search(r"lacks\s+(\d+)\s+events", said)
    return Row(
        found[-1].t - found[0].t,
        ended - found[-1].t,
        int(told[1]) if told else 0,
        int(lacks[1]) if lacks else 0,
        tuple(sorted(f"{e.trial} {e.epoch} {e.loss!r}" for e in found)),
    )


@contextmanager
def store(mode: str, folder: Path, server: Server) -> Iterator[str]:
    """The MLflow address that a sweep is given; a disk that is full has room again afterwards."""
    if mode == "slow":
        with slowly(server.port, SLOW_S) as uri:
            yield uri
    elif mode == "full":
        disk = folder / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
        (disk / "filler").write_bytes(bytes(1_000_000))
        try:
            yield f"sqlite:///{disk}/mlflow.db"
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)
    else:
        yield "http://127.0.0.1:9" if mode == "away" else server.uri


def launch(folder: Path, uri: str, *words: str) -> subprocess.Popen[str]:
    """A command of launch.py."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), *words],
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def reports(folder: Path) -> list[EpochReported]:
    """The sweep's epochs so far."""
    return [e for e in read_events(folder / "runs/tracked/journal") if isinstance(e, EpochReported)]


def after(folder: Path, process: subprocess.Popen[str], epochs: int) -> None:
    """Wait until so many epochs are done."""
    while process.poll() is None and len(reports(folder)) < epochs:
        time.sleep(0.05)


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
