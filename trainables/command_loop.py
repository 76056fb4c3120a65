"""Runs a command (`command:` in the run config) as a training loop; the script may be in any language.

The command reports each epoch as a line of JSON, `{"loss": 0.5, "accuracy": 0.9}`, on its standard output or
in the file `RAYSWEEP_METRICS_FILE`, to which `raysweep.log` writes. With `"checkpoint": PATH` a report also
gives a checkpoint, and to go on from it the command is started with its path in `RAYSWEEP_CHECKPOINT`. A
command without checkpoints is run again, unreported, up to the epoch it had reached.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from trainables import command_supervisor
from trainables.command import fill_command, split_command
from trainables.data import Data
from trainables.function_loop import FunctionLoop
from trainables.log_metrics import CHECKPOINT
from trainables.run_config import RunConfig, RunError

GRACE_S = 10.0
"""Seconds between SIGTERM and SIGKILL, and for a command to end by itself after its last epoch."""
POLL_S = 0.02
TAIL_LINES = 50  # of the output, in the error of a command that fails
COUNTERS = ("epoch", "step")  # keys of a report that are ignored: reports are counted
POSITION = "position.json"
OUT_OF_MEMORY = ("torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "MemoryError")


class CommandLoop(FunctionLoop):
    """Runs a command, and turns its reports into epochs.

    Args:
        run: its `command`, `train_config` and `epochs`.
        data: not used: the command has its own.
        device: passed to the command by name.
        seed: passed to the command.
        folders: where the files that the command names are looked for, before the working directory.

    Raises:
        RunError: if the command cannot be read.
    """

    def __init__(
        self,
        run: RunConfig,
        data: Data,
        *,
        device: torch.device | str,
        seed: int,
        folders: Sequence[str | Path] = (),
    ) -> None:
        if run.command is None:
            raise RunError("run.command: missing; as in 'python train.py --lr {lr}'")
        super().__init__(run.command, run.train_config)
        self.command, self.epochs = run.command, run.epochs
        self.directory = working_directory(split_command(self.command), folders)
        self.given = {"epochs": str(run.epochs), "seed": str(seed), "device": str(device)}
        self.checkpoint: Path | None = None
        self.checkpoint_at, self.number = 0, 0
        self.process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None

    @property
    def scratch(self) -> Path:
        """A folder for the command's files, created on first use."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="raysweep-command-"))
        return self._scratch

    def save(self, directory: str) -> None:
        """Write the command's last checkpoint and its epoch."""
        name = ""
        if self.checkpoint is not None:
            name = self.checkpoint.name
            _copy(self.checkpoint, Path(directory) / CHECKPOINT / name)
        position = {"name": name, "at": self.checkpoint_at, "number": self.number}
        (Path(directory) / POSITION).write_text(json.dumps(position), encoding="utf-8")

    def load(self, directory: str) -> None:
        """Go on from what `save` wrote; epochs since the checkpoint are run again, unreported."""
        position = json.loads((Path(directory) / POSITION).read_text(encoding="utf-8"))
        if position["name"]:
            self.checkpoint = self.scratch / "restored" / position["name"]
            _copy(Path(directory) / CHECKPOINT / position["name"], self.checkpoint)
        self.checkpoint_at, self.number = position["at"], position["number"]
        self.begin_at, self.skip = position["at"], position["number"] - position["at"]

    def close(self) -> None:
        """End the command and its children, and delete its files."""
        process, self.process = self.process, None
        if process is not None:
            assert process.stdin is not None
            if self.number >= self.epochs:
                _wait(process, GRACE_S)  # it has reported its last epoch, and may still be writing
            process.stdin.close()  # see trainables.command_supervisor
            if not _wait(process, 2 * GRACE_S):
                process.kill()
                process.wait()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _call(self) -> Iterator[dict[str, Any]]:
        """Run the command, and yield its reports.

        Raises:
            RunError: if it fails, or ends without a report.
        """
        self.number = self.begin_at
        lines, metrics = ReportFile(self.scratch / "output"), ReportFile(self.scratch / "metrics.jsonl")
        self.process = process = self._start(lines.path, metrics.path)
        reported = 0
        while True:
            code = process.poll()  # polled first, so that all it wrote before it ended is read below
            for line in lines.new_lines(ended=code is not None):
                if (report := as_report(line)) is not None:
                    reported += 1
                    yield report
            for line in metrics.new_lines(ended=code is not None):
                if (report := as_report(line)) is None:
                    raise RunError(f"run.command: {line[:60]!r} in its metrics file is no line of metrics")
                reported += 1
                yield report
            if code is not None:
                break
            time.sleep(POLL_S)
        tail = lines.tail()
        if code:
            raise command_error(f"run.command: exited with {code}", tail)
        if not reported and not self.begin_at:
            what = "run.command: ended without a report; print a line such as"
            raise command_error(f'{what} {{"loss": 0.5}} after each epoch', tail)

    def _accept(self, yielded: dict[str, Any], number: int) -> dict[str, Any]:
        """The metrics of a report; its checkpoint is moved to this loop's own folder."""
        self.number = number
        if CHECKPOINT not in yielded:
            return yielded
        reported = self.scratch / "checkpoints" / str(yielded.pop(CHECKPOINT))  # an absolute path stays one
        if not reported.exists():
            raise RunError(f"run.command: the checkpoint of epoch {number} is not there: {reported}")
        kept = self.scratch / "taken" / str(number) / reported.name
        kept.parent.mkdir(parents=True)
        shutil.move(reported, kept)
        before, self.checkpoint, self.checkpoint_at = self.checkpoint, kept, number
        if before is not None:
            shutil.rmtree(before.parent, ignore_errors=True)
        return yielded

    def _start(self, output: Path, metrics: Path) -> subprocess.Popen[bytes]:
        """Start the command under its supervisor."""
        checkpoints = self.scratch / "checkpoints"
        checkpoints.mkdir()
        metrics.touch()
        given = self.given | {
            "config": json.dumps(self.config),
            "metrics_file": str(metrics),
            "checkpoint_dir": str(checkpoints),
            "checkpoint": "" if self.checkpoint is None else str(self.checkpoint),
        }
        argv = fill_command(self.command, self.config, given)
        variables = {f"RAYSWEEP_{name.upper()}": value for name, value in given.items()}
        supervisor = [sys.executable, "-I", command_supervisor.__file__, str(GRACE_S), str(self.scratch)]
        with output.open("wb") as file:
            return subprocess.Popen(
                [*supervisor, *argv],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={"PYTHONUNBUFFERED": "1", **os.environ, **variables},
                start_new_session=True,
            )


class ReportFile:
    """A file that another process appends lines to.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._rest = b""

    def new_lines(self, *, ended: bool) -> Iterator[str]:
        """The complete lines that were not read before; with `ended` also an unfinished one."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        if ended:
            lines.append(self._rest)
            self._rest = b""
        yield from (text for line in lines if (text := line.decode("utf-8", "replace").strip()))

    def tail(self) -> list[str]:
        """Its last lines."""
        with self.path.open("rb") as file:
            file.seek(max(self.path.stat().st_size - 2**16, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return [line for line in lines if line.strip()][-TAIL_LINES:]


def as_report(line: str) -> dict[str, Any] | None:
    """The metrics and the checkpoint in a line of output; None if the line is no report.

    >>> as_report('{"epoch": 3, "loss": 0.5}'), as_report('{"level": "info", "n": 1}'), as_report("epoch 3")
    ({'loss': 0.5}, None, None)
    """
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    metrics = {name: value for name, value in fields.items() if name not in (CHECKPOINT, *COUNTERS)}
    if not metrics or not all(isinstance(value, (int, float)) for value in metrics.values()):
        return None
    return metrics | ({CHECKPOINT: fields[CHECKPOINT]} if isinstance(fields.get(CHECKPOINT), str) else {})


def working_directory(argv: Sequence[str], folders: Sequence[str | Path]) -> Path:
    """The first folder that has a file which the command names; else the working directory."""
    for folder in map(Path, folders):
        if any((folder / word).is_file() for word in argv if not Path(word).is_absolute()):
            return folder
    return Path.cwd()


def command_error(what: str, tail: Sequence[str]) -> Exception:
    """An error with the command's last line in its message, and more of its output in a note."""
    last = tail[-1].strip() if tail else ""
    error: Exception = RunError(f"{what}: {last}" if last else what)
    if last.startswith(OUT_OF_MEMORY):
        error = torch.OutOfMemoryError(f"{what}: {last}")
    error.add_note("\n".join(["Its output ended with:", *tail]))
    return error


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process; False if it has not ended after so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
