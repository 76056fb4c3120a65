"""Ray's job client with a time limit. Not imported by a local sweep, which does not need aiohttp."""

from __future__ import annotations

from typing import Any

from ray.job_submission import JobSubmissionClient

ANSWER_S = 30.0  # between two bytes of a head's answer; a log is sent in one


class JobClient(JobSubmissionClient):  # type: ignore[misc]  # ray ships no types
    """Ray's client, which does not wait forever for a head that accepts a connection and never answers."""

    def _do_request(self, method: str, endpoint: str, **kwargs: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": ANSWER_S, **kwargs})
