"""Writes and submits a sweep's Slurm batch script, which people can read and edit."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysweep.cluster.errors import ClusterError
from raysweep.formatting import one_line

BODY = Path(__file__).with_name("slurm_job.sh")
GRACE_S = 120  # Slurm may send its signal up to a minute early
LEAST_S = 60  # the shortest useful allocation, besides the grace
ANSWERS_S = 60.0
NODE_DISKS = frozenset(["btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"])
"""File systems on a disk, or in the memory, of one machine, unless that machine exports them."""


@dataclass(frozen=True, slots=True)
class SlurmRequest:
    """What a sweep requests from Slurm for each allocation.

    Attributes:
        nodes: how many.
        time: the limit of one allocation, as Slurm writes it; None for the partition's.
        partition: None for the default one.
        cpus: cores of each node; without `cpus` and `gpus` whole nodes are requested.
        gpus: GPUs of each node.
        grace_s: seconds before the limit at which the sweep begins to stop.
        sbatch: further options of `sbatch`, such as `--account=physics`.

    Raises:
        ClusterError: if `time` is not a Slurm time, or leaves too little besides the grace.
    """

    nodes: int = 1
    time: str | None = None
    partition: str | None = None
    cpus: int | None = None
    gpus: int | None = None
    grace_s: int = GRACE_S
    sbatch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.time is not None and time_limit_s(self.time) < self.grace_s + LEAST_S:
            raise ClusterError(
                f"--time {self.time}: too short: its last {self.grace_s} s are for a graceful stop "
                f"(--grace); ask for {(self.grace_s + LEAST_S + 59) // 60} minutes or more"
            )
        for option in self.sbatch:
            if not re.fullmatch(r"--?[a-z][^\n]*", option):
                raise ClusterError(
                    f"--sbatch {option!r}: not an option of sbatch; write --sbatch=--account=NAME"
                )

    def options(self) -> Iterator[str]:
        """The options of `sbatch` for this request."""
        yield f"--nodes={self.nodes}"
        yield "--ntasks-per-node=1"
        if self.time is not None:
            yield f"--time={self.time}"
        if self.partition is not None:
            yield f"--partition={self.partition}"
        if self.cpus is None and self.gpus is None:
            yield "--exclusive"  # with all cores and GPUs of the nodes,
            yield "--mem=0"  # and all of their memory
        if self.cpus is not None:
            yield f"--cpus-per-task={self.cpus}"
        if self.gpus is not None:
            yield f"--gpus-per-node={self.gpus}"
        yield f"--signal=B:TERM@{self.grace_s}"
        yield "--requeue"
        yield from self.sbatch


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A sweep and the files of its job; all paths are absolute, on storage that the nodes share.

    Attributes:
        study: folder of the study, which may not exist yet.
        begin: arguments of launch.py that create and run the study, if it does not exist.
        resume: options of `resume`, if it does.
        python: interpreter of the project's environment.
        launch: launch.py of the clone.
        cwd: what relative paths are relative to.
    """

    study: Path
    begin: Sequence[str]
    resume: Sequence[str]
    python: Path
    launch: Path
    cwd: Path

    @property
    def folder(self) -> Path:
        """Where script and logs are kept."""
        return self.study.with_name(f"{self.study.name}.slurm")

    @property
    def script(self) -> Path:
        """What is submitted."""
        return self.folder / "job.sh"

    def log(self, job: str) -> Path:
        """A job's output in all its allocations; `%j` stands for its number."""
        return self.folder / f"{job}.log"


def job_script(job: SlurmJob, request: SlurmRequest) -> str:
    """The batch script of a sweep: its options and variables, then BODY."""
    options = [
        f"--job-name={job.study.name}",
        *request.options(),
        "--open-mode=append",
        f'--output="{job.log("%j")}"',
        f'--chdir="{job.cwd}"',
    ]
    names = {
        "python": shlex.quote(str(job.python)),
        "launch": shlex.quote(str(job.launch)),
        "study": shlex.quote(str(job.study)),
        "begin": f"({shlex.join(job.begin)}) # if the study does not exist yet",
        "resume": f"({shlex.join(['resume', str(job.study), '--trust', *job.resume])})",
        "script": shlex.quote(str(job.script)),
        "grace": f"{request.grace_s} # seconds, as in --signal above",
    }
    head = [
        "#!/bin/bash",
        f"# The sweep {job.study.name} as a Slurm job, written by `launch.py ... --slurm`. It may be edited,",
        f"# and submitted by hand: sbatch {shlex.quote(str(job.script))}",
        *(f"#SBATCH {option}" for option in options),
        *(f"{name}={value}" for name, value in names.items()),
    ]
    return "\n".join(head) + "\n" + BODY.read_text(encoding="utf-8")


def submit_job(job: SlurmJob, request: SlurmRequest) -> str:
    """Write the script and submit it to Slurm; returns the job's number.

    Raises:
        ClusterError: if there is no `sbatch` here, the script cannot be written, or Slurm refuses it.
    """
    require_slurm()
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        job.script.write_text(job_script(job, request), encoding="utf-8")
        job.script.chmod(0o755)
    except OSError as error:
        raise ClusterError(f"{job.script}: cannot be written ({error.strerror})") from None
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", str(job.script)], capture_output=True, text=True, timeout=ANSWERS_S
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f"sbatch did not answer within {ANSWERS_S:g} s; is slurmctld up? (`sinfo`)"
        ) from None
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ClusterError(f"Slurm refused the job: {one_line(last_line.removeprefix('sbatch: '), 300)}")
    return done.stdout.strip().partition(";")[0]


def require_slurm() -> None:
    """Check that jobs can be submitted from this machine.

    Raises:
        ClusterError: if not.
    """
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "--slurm: there is no `sbatch` on this machine; run this on a login node of the cluster"
        )


def time_limit_s(text: str) -> float:
    """Seconds of a time limit in one of Slurm's formats.

    Raises:
        ClusterError: if it has none of them.

    >>> time_limit_s("90"), time_limit_s("1:30:00"), time_limit_s("1-12"), time_limit_s("UNLIMITED")
    (5400.0, 5400.0, 129600.0, inf)
    """
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return float("inf")
    form = re.fullmatch(r"(?:(\d+)-(?=\d+(?::\d+){0,2}$))?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if form is None:
        raise ClusterError(
            f"--time {text!r}: not a Slurm time; write MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS"
        )
    days, *rest = form.groups()
    numbers = [float(each) for each in rest if each is not None]
    if days is not None:
        hours, minutes, seconds = [*numbers, 0.0, 0.0][:3]
    else:
        hours, minutes, seconds = numbers if len(numbers) == 3 else [0.0, *numbers, 0.0][:3]
    return float(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def unshared_storage(folder: Path) -> str:
    """Why other nodes may not see a folder, judging by its file system; "" if they may."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        done = subprocess.run(
            ["findmnt", "--noheadings", "--output=FSTYPE", f"--target={existing}"],
            capture_output=True,
            text=True,
            timeout=ANSWERS_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    kind = done.stdout.strip()
    if kind not in NODE_DISKS:
        return ""
    return (
        f"{folder} is on {kind}, which looks like a disk of this machine only: all nodes must see study, "
        "sweep file and clone; set a shared folder with `--runs`, `storage:` or RAYSWEEP_STORAGE"
    )
