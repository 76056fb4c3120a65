"""How many trials should share a process: what preflight measured, and what it proposes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raysweep.preflight.check import NOTE, OK, PreflightCheck
from trainables.lane_time import LaneTime

WORTH = 0.9
"""More lanes are proposed where an epoch takes less than this share of its time with fewer."""


def proposed_lanes(speeds: Sequence[LaneTime]) -> int:
    """The number of lanes whose epochs are the shortest; the smaller one of those about as short.

    >>> proposed_lanes([LaneTime(1, 0.2, 1, 300.0), LaneTime(4, 0.1, 4, 90.0)])
    4
    """
    best = speeds[0]
    for speed in speeds[1:]:
        if speed.epoch_s < WORTH * best.epoch_s:
            best = speed
    return best.lanes


def lane_checks(speeds: Sequence[LaneTime], lanes: int) -> Iterator[PreflightCheck]:
    """What was measured in a line, and the `--set` to the best number; nothing where nothing was measured.

    Args:
        speeds: by number of lanes, rising, one lane first.
        lanes: of a process as things are.
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
