"""One thing that was looked at before a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raysweep.errors import ExitCode, RaysweepError

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """What was looked at, and how it is.

    Attributes:
        state: OK, NOTE (worth knowing) or PROBLEM (the sweep would lose time to it).
        name: what was looked at, a word or two.
        message: how it is, in a line.
        fix: what to do; empty where nothing is to be done.
    """

    state: str
    name: str
    message: str
    fix: str = ""


class PreflightFailed(RaysweepError):
    """A preflight found a problem; a line for each."""

    exit_code = ExitCode.PREFLIGHT


def require(checks: Iterable[PreflightCheck]) -> None:
    """Nothing, if none of them is a problem.

    Raises:
        NotFit: with those that are.
    """
    problems = [check for check in checks if check.state == PROBLEM]
    if problems:
        lines = (f"preflight: {one.name}: {one.message}" + f"; {one.fix}" * bool(one.fix) for one in problems)
        raise PreflightFailed("\n".join(lines))
