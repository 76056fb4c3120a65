"""What an onlooker of the adapter hears: a journal, a live view. Every method may be left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schedulers.reason import ReasonCode
from schedulers.rule import Decision, Exploit, Resume


class Listener:
    """Hears what happens to trials, in order. Must return at once and must not raise.

    An exception in here would end the whole experiment, for Ray calls the adapter from its loop.
    """

    def reported(self, trial_id: str, result: Mapping[str, Any], decision: Decision) -> None:
        """A result came (flattened with "/", the metric as the user means it) and was judged."""

    def paused(self, trial_id: str, resource: int, reason: str, code: ReasonCode) -> None:
        """The trial waits; its checkpoint at `resource` is being saved. Not called for an `Exploit`."""

    def resumed(self, resume: Resume) -> None:
        """A paused trial goes on as it was; for one that goes on as a copy, `exploited` is called."""

    def exploited(self, trial_id: str, exploit: Exploit) -> None:
        """The donor's checkpoint and the new configuration are in place, and the trial goes on."""

    def retried(self, trial_id: str, resources: Mapping[str, float], reason: str, error: str) -> None:
        """The trial ran out of memory; it waits to be run once more, with these resources."""

    def failed_awaiting_exploit(
        self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode
    ) -> None:
        """The trial is `failed` or `oom`, but not over: it will go on as another's copy (`exploited`)."""

    def ended(self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode) -> None:
        """The trial is over, said once.

        `ending` is completed, stopped, diverged, failed or oom; `error` a traceback or empty.
        """
