"""Errors between this machine and the machines that run a sweep."""

from __future__ import annotations

from raysweep.errors import ExitCode, RaysweepError


class ClusterError(RaysweepError):
    """A cluster cannot be reached, refuses us or cannot do something; one line, with what to do."""

    exit_code = ExitCode.UNREACHABLE


class ConnectionLost(ClusterError):
    """A cluster that answered before no longer answers."""
