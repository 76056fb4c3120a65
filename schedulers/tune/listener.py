"""The listener of the adapter, such as a journal. Subclasses override the methods that they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schedulers.reason import ReasonCode
from schedulers.rule import Decision, Exploit, Resume


class Listener:
    """Is notified of what happens to trials, in order. Methods must return quickly and must not raise.

    Ray calls the adapter from its loop, so an exception would end the whole experiment.
    """

    def reported(self, trial_id: str, result: Mapping[str, Any], decision: Decision) -> None:
        """A result (flattened with "/", the metric with the user's sign) was judged."""

    def paused(self, trial_id: str, resource: int, reason: str, code: ReasonCode) -> None:
        """The trial is paused, its checkpoint at `resource` is being saved. Not called for an `Exploit`."""

    def resumed(self, resume: Resume) -> None:
        """A paused trial goes on with its own weights; with another's, `exploited` is called instead."""

    def exploited(self, trial_id: str, exploit: Exploit) -> None:
        """The donor's checkpoint and the new configuration are in place, and the trial goes on."""

    def retried(self, trial_id: str, resources: Mapping[str, float], reason: str, error: str) -> None:
        """The trial ran out of memory and waits for a second run with these resources."""

    def failed_awaiting_exploit(
        self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode
    ) -> None:
        """The trial is `failed` or `oom` but has not ended: it will go on as another's copy (`exploited`)."""

    def ended(self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode) -> None:
        """The trial has ended; called once.

        `ending` is completed, stopped, diverged, failed or oom; `error` is a traceback or empty.
        """
