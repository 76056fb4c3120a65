"""Ray's client of jobs, which gives up in time. A sweep on this machine does without it and aiohttp."""

from __future__ import annotations

from typing import Any

from ray.job_submission import JobSubmissionClient

ANSWER_S = 30.0  # between two bytes of a head's answer; a log is sent in one


class JobClient(JobSubmissionClient):  # type: ignore[misc]  # ray ships no types
    """Ray's client, which does not wait for ever for a head that accepts a connection and says nothing."""

    def _do_request(self, method: str, endpoint: str, **words: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": ANSWER_S, **words})
