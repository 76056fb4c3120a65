"""The result of one check before a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raysweep.errors import ExitCode, RaysweepError

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """The result of one check.

    Attributes:
        state: OK, NOTE (worth knowing) or PROBLEM (the sweep would lose time to it).
        name: what was checked, a word or two.
        message: what was found, in one line.
        fix: what to do; "" if nothing.
    """

    state: str
    name: str
    message: str
    fix: str = ""


class PreflightFailed(RaysweepError):
    """A preflight found problems; one line for each."""

    exit_code = ExitCode.PREFLIGHT


def require(checks: Iterable[PreflightCheck]) -> None:
    """Raise if any check is a problem.

    Raises:
        PreflightFailed: with the problems.
    """
    problems = [check for check in checks if check.state == PROBLEM]
    if problems:
        lines = (f"preflight: {one.name}: {one.message}" + f"; {one.fix}" * bool(one.fix) for one in problems)
        raise PreflightFailed("\n".join(lines))
