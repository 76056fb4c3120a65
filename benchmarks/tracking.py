"""What a tracking server can do to a sweep: nothing. One sweep, its server well, away, or slow; interleaved.

    python benchmarks/tracking.py --rounds 3

well    a new SQLite store
away    an address at which nobody listens
slow    a server that takes 30 s for every call

`sweep` is the time from the first epoch's report to the last by the journal, `after` what the command then
took to end; `lacks` how many events MLflow lacked at its end, which `launch.py sync` would send. Losses are
compared to the last bit between all runs.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
MODES = ("well", "away", "slow")
SLOW_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args()
    rows: dict[str, list[tuple[float, float, int]]] = {mode: [] for mode in MODES}
    curves = set()
    with SlowServer() as slow:
        for _ in range(args.rounds):
            for mode in MODES:
                *figures, losses = measure(
                    {"away": "http://127.0.0.1:9", "slow": slow}.get(mode), args.epochs
                )
                rows[mode].append(tuple(figures))  # type: ignore[arg-type]
                curves.add(losses)
                print(mode, *figures, flush=True)
    print(f"\nlosses of all runs are {'equal' if len(curves) == 1 else 'NOT equal'}\n")
    print("| | sweep, s | sweep / well | after, s | lacks |\n|---|---|---|---|---|")
    for mode, row in rows.items():
        ratio = median(mine[0] / well[0] for mine, well in zip(row, rows["well"], strict=True))
        sweep, after = (" ".join(f"{each[i]:.1f}" for each in row) for i in (0, 1))
        print(f"| {mode} | {sweep} | {ratio:.2f} | {after} | {row[-1][2]} |")


class SlowServer:
    """Listens, takes SLOW_S for whatever is asked, and answers nothing of use."""

    def __enter__(self) -> str:
        """Its address."""
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *error: object) -> None:
        """Stop listening."""
        self.socket.close()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with link:
            link.recv(1 << 16)
            time.sleep(SLOW_S)
            link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def measure(uri: str | None, epochs: int) -> tuple[float, float, int, tuple[str, ...]]:
    """One sweep as a process; (seconds of the sweep, seconds after it, events lacking, losses)."""
    from service.study.events import Reported
    from service.study.journal import read_events

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command = [sys.executable, str(ROOT / "launch.py"), "run", str(ROOT / "sweeps/random.yaml")]
        command += ["--set", "trials=8", "--set", f"run.epochs={epochs}", "--name", "tracked"]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri or f"sqlite:///{folder}/mlflow.db"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        ended = time.time()
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        reports = [e for e in read_events(folder / "runs/tracked/journal") if isinstance(e, Reported)]
        lacks = re.search(r"lacks (\d+) events", done.stdout)
        losses = tuple(sorted(f"{e.trial} {e.epoch} {e.loss!r}" for e in reports))
        return (
            reports[-1].t - reports[0].t,
            ended - reports[-1].t,
            int(lacks[1]) if lacks else 0,
            losses,
        )


if __name__ == "__main__":
    main()
