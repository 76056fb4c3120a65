"""How many trials should share a process, by what preflight measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raysweep.preflight.check import NOTE, OK, PreflightCheck
from trainables.lane_time import LaneTime

WORTH = 0.9
"""More lanes are proposed only if an epoch then takes less than this share of its time."""


def proposed_lanes(speeds: Sequence[LaneTime]) -> int:
    """The number of lanes with the shortest epochs; the smallest of those that are about as short.

    >>> proposed_lanes([LaneTime(1, 0.2, 1, 300.0), LaneTime(4, 0.1, 4, 90.0)])
    4
    """
    best = speeds[0]
    for speed in speeds[1:]:
        if speed.epoch_s < WORTH * best.epoch_s:
            best = speed
    return best.lanes


def lane_checks(speeds: Sequence[LaneTime], lanes: int) -> Iterator[PreflightCheck]:
    """The measurements in one line, with the `--set` of the best number; nothing without measurements.

    Args:
        speeds: by number of lanes, rising, one lane first.
        lanes: of a process now.
    """
    if len(speeds) < 2:
        return
    measured = ", ".join(
        f"{speed.epoch_s:.2g} s with {speed.lanes}" + f" ({speed.fused} trained together)" * (speed.fused > 1)
        for speed in speeds
    )
    best = proposed_lanes(speeds)
    fix = "" if best == lanes else f"--set resources_per_trial.lanes={best}"
    message = f"an epoch of a trial takes {measured} to a process; {best} is best"
    yield PreflightCheck(NOTE if fix else OK, "lanes", message, fix)
    if speeds[-1].obstacle:
        yield PreflightCheck(NOTE, "lanes", f"some trials are trained by themselves: {speeds[-1].obstacle}")
