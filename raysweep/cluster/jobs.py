"""Submits, follows, stops and finds sweeps as Ray Jobs, which run the same `launch.py`."""

from __future__ import annotations

import asyncio
import getpass
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus

from raysweep.cluster.errors import ClusterError, ConnectionLost
from raysweep.cluster.job_client import JobClient
from raysweep.cluster.target import Target
from raysweep.cluster.token import TOKEN_FILE, find_token
from raysweep.cluster.tunnel import tunnel
from raysweep.cluster.working_tree import packed
from raysweep.errors import ExitCode
from raysweep.study.storage.object_store import name_in

DASHBOARD_PORT = 8265
KIND = "sweep"  # in a job's metadata: it is a sweep of this program
STOP_GRACE_S = 30  # between SIGTERM and SIGKILL: running epochs are finished, checkpointed, flushed
AGAIN_S = (1.0, 2.0, 5.0, 10.0)  # waits before connecting again; the last repeats
LOST_S = 600.0  # after so long without a connection the follower gives up; the job continues
CHATTY = (  # loggers that print to the user's terminal
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
LOST = (requests.RequestException, aiohttp.ClientError, ConnectionError, OSError, RuntimeError)
"""What a lost connection raises: Ray's client raises RuntimeError for any error answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a sweep.

    Attributes:
        id: Ray's submission id.
        study: the study it works on; the first job of a study has its name.
        status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        exit_code: of its command; None while it runs.
        started_at: wall-clock seconds.
        user: who submitted it.
        command: what it runs.
        message: Ray's, if it failed without its own.
    """

    id: str
    study: str
    status: str
    exit_code: int | None
    started_at: float
    user: str
    command: str
    message: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def code(self) -> int:
        """The exit code for the command that the user typed."""
        if self.status == "STOPPED":
            return ExitCode.INTERRUPTED
        return self.exit_code if self.exit_code is not None else int(self.status != "SUCCEEDED")


class Jobs:
    """The sweeps on one cluster, through its Job API.

    Args:
        url: of the dashboard.
        token: the cluster's; None if it needs none.

    Raises:
        ClusterError: if there is no answer, or the token is refused.
    """

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            self._client = JobClient(url, headers=headers)
            for name in CHATTY:
                logging.getLogger(name).setLevel(logging.WARNING)
            self._client.list_jobs()  # unlike the version, jobs need the token
        except AuthenticationError:
            why = "refuses our token" if token else "asks for a token, and we have none"
            raise ClusterError(
                f"{url} {why}: copy the head's ~/{TOKEN_FILE} here, or set RAY_AUTH_TOKEN"
            ) from None
        except (RuntimeError, ConnectionError, requests.RequestException) as error:
            raise ClusterError(f"nothing answers at {url} ({_last_line(error)}): is it up?") from None

    def submit(
        self,
        study: str,
        arguments: Sequence[str],
        *,
        clone: Path,
        project: Path,
        say: Callable[[str], None],
        include: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Send the working tree and start `launch.py ARGUMENTS` on the head.

        Args:
            study: its name; later jobs of a study get a number appended.
            arguments: of launch.py; paths relative to `project`.
            clone: where launch.py is.
            project: the working directory.
            say: receives the size of what is sent, and what is not.
            include: files that are sent in any case.
            environment: variables of the job and its workers.

        Returns:
            The job's id.
        """
        earlier = len(self.of(study))
        job = study if not earlier else f"{study}.{earlier + 1}"
        with packed(clone, project, include) as package:
            say(f"sending {package}")
            command = shlex.join(["python", package.launch, *arguments])
            try:
                submitted: str = self._client.submit_job(
                    entrypoint=f"cd {shlex.quote(package.cwd)} && exec {command}",
                    submission_id=job,
                    runtime_env={
                        "working_dir": str(package.folder),
                        "env_vars": {
                            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S),
                            "PYTHONUNBUFFERED": "1",
                            **environment,
                        },
                    },
                    metadata={"kind": KIND, "study": study, "user": getpass.getuser(), "command": command},
                )
            except (RuntimeError, requests.RequestException) as error:
                raise ClusterError(f"the cluster refused the job: {_last_line(error)}") from None
        return submitted

    def all(self) -> list[Job]:
        """All jobs that are sweeps, oldest first."""
        with _raise_connection_lost():
            jobs = [_job(details) for details in self._client.list_jobs()]
        return sorted((job for job in jobs if job), key=lambda job: job.started_at)

    def of(self, study: str) -> list[Job]:
        """The jobs of one study, oldest first."""
        return [job for job in self.all() if job.study == study]

    def find(self, name: str) -> Job:
        """The newest job of a study, by its name, folder or URI, or the job with this id.

        Raises:
            ClusterError: if there is none, with the studies that there are.
        """
        jobs = self.all()
        for job in reversed(jobs):
            if job.id == name or job.study == name_in(name):
                return job
        studies = ", ".join(dict.fromkeys(job.study for job in reversed(jobs))) or "none"
        raise ClusterError(f"no sweep {name!r} on this cluster; it has: {studies}")

    def log(self, job: str) -> str:
        """Everything that the job has printed."""
        with _raise_connection_lost():
            text: str = self._client.get_job_logs(job)
        return text

    def follow(self, job: str, write: Callable[[str], None], seen: int = 0) -> tuple[Job, int]:
        """Pass on what a job prints until it ends.

        Args:
            job: its id.
            write: receives text.
            seen: characters of its log that were passed on before.

        Returns:
            The ended job, and the characters passed on in all.

        Raises:
            Interruption: if the connection is lost, with the characters passed on so far.
        """
        while True:
            try:
                seen = asyncio.run(self._tail(job, write, seen))
                now = self.find(job)
                rest = self.log(job)[seen:] if now.over else ""
            except (ConnectionLost, *LOST) as error:
                raise Interruption(_last_line(error), getattr(error, "seen", seen)) from error
            if now.over:
                write(rest)
                return now, seen + len(rest)
            time.sleep(AGAIN_S[0])  # a tail may end while the job is running (ray #57002)

    def stop(self, job: str) -> None:
        """Stop a job gracefully; Ray kills it after STOP_GRACE_S."""
        with _raise_connection_lost():
            self._client.stop_job(job)

    async def _tail(self, job: str, write: Callable[[str], None], seen: int) -> int:
        at = 0
        try:
            async for text in self._client.tail_job_logs(job):
                fresh = text[max(0, seen - at) :]
                at += len(text)
                if fresh:
                    write(fresh)
        except LOST as error:
            error.seen = max(at, seen)  # type: ignore[union-attr]
            raise
        return max(at, seen)


class Interruption(Exception):
    """The connection was lost while following a job, which continues."""

    def __init__(self, reason: str, seen: int) -> None:
        super().__init__(reason)
        self.seen = seen


@contextmanager
def reach(target: Target, environ: Mapping[str, str], home: Path) -> Iterator[Jobs]:
    """The Job API of a target, through a tunnel if needed.

    Raises:
        ClusterError: if it cannot be reached.
    """
    token = find_token(environ, home)
    with ExitStack() as stack:
        url = target.where
        if target.kind == "cluster":
            url = f"http://127.0.0.1:{stack.enter_context(tunnel(Path(target.where), DASHBOARD_PORT))}"
        yield Jobs(url, token[0] if token else None)


def watch_job(
    target: Target,
    job: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    write: Callable[[str], None],
    say: Callable[[str], None],
) -> Job:
    """Follow a job to its end, reconnecting as often as needed.

    Raises:
        ClusterError: if the cluster stays out of reach for LOST_S.
    """
    seen, lost_at, tries = 0, 0.0, 0
    while True:
        try:
            with reach(target, environ, home) as jobs:
                if tries:
                    say("connected again")
                lost_at, tries = 0.0, 0
                return jobs.follow(job, write, seen)[0]
        except Interruption as error:
            seen = error.seen
        except ClusterError:
            if not tries:  # never reached: report it immediately
                raise
        now = time.monotonic()
        lost_at = lost_at or now
        if not tries:
            say(f"connection lost; {job} continues, reconnecting")
        if now - lost_at > LOST_S:
            raise ClusterError(f"no connection for {LOST_S:g} s; {job} continues: `launch.py logs -f {job}`")
        time.sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])
        tries += 1


def _job(details: Any) -> Job | None:
    metadata = details.metadata or {}
    if metadata.get("kind") != KIND or details.submission_id is None:
        return None
    return Job(
        id=details.submission_id,
        study=metadata.get("study", details.submission_id),
        status=JobStatus(details.status).value,
        exit_code=details.driver_exit_code,
        started_at=(details.start_time or 0) / 1000,
        user=metadata.get("user", ""),
        command=metadata.get("command", details.entrypoint),
        message=details.message or "",
    )


@contextmanager
def _raise_connection_lost() -> Iterator[None]:
    """Raise ConnectionLost if the connection breaks during a request."""
    try:
        yield
    except LOST as error:
        raise ConnectionLost(
            f"the connection to the cluster was lost ({_last_line(error)}); what runs there continues"
        ) from None


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else type(error).__name__
