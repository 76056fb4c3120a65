"""The basis of a plan: seconds of an epoch and learning curves, given, measured, or of an earlier study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from raysweep.config import Sweep
from raysweep.planning.curve_prior import PRIOR, Draw, prior_curves, recorded_epoch_s
from raysweep.planning.earlier_curves import EarlierDraw, earlier_curves, in_words
from raysweep.planning.plan import Costs
from raysweep.preflight.check import PreflightFailed
from raysweep.preflight.preflight import LIMIT_S, TrialSlots, dry_run_probes
from raysweep.preflight.probe_configs import probe_configs
from raysweep.study.journal.records import StudyRecord
from trainables.user_errors import load_data


@dataclass(frozen=True, slots=True)
class CostBasis:
    """The basis of a plan.

    Attributes:
        costs: seconds, slots, price and disk space.
        draw: draws learning curves.
        assumed: where the curves come from, in words.
    """

    costs: Costs
    draw: Draw
    assumed: str


def measure_cost_basis(
    sweep: Sweep,
    place: Callable[[], TrialSlots],
    *,
    like: StudyRecord | None = None,
    epoch_s: float | None = None,
    price: float | None = None,
) -> CostBasis:
    """Measure or look up what a sweep's plan is based on.

    Args:
        sweep: what would run.
        place: returns the slots it would run on.
        like: an earlier study, for its curves and its times.
        epoch_s: seconds of an epoch; if None those of `like`, or measured on five random configurations.
        price: of an hour.

    Raises:
        PreflightFailed: if no configuration could be measured.
        RunError: if the data cannot be loaded.
    """
    slots, curves = place(), [] if like is None else earlier_curves(like)
    paces: tuple[float, ...] = (epoch_s,) if epoch_s else ()
    if not paces and like is not None:
        paces = tuple(recorded_epoch_s(like))
    costs = Costs(paces, slots.slots, price) if paces else _measure(sweep, slots, price)
    if curves:
        return CostBasis(costs, EarlierDraw(curves), in_words(curves))
    return CostBasis(costs, prior_curves, PRIOR)


def _measure(sweep: Sweep, place: TrialSlots, price: float | None) -> Costs:
    """The costs of random configurations, and the size of the largest checkpoint."""
    configs = probe_configs(sweep)
    drawn = {name: flat for name, flat in configs.items() if name.startswith("random")} or configs
    reports = dry_run_probes(sweep, drawn, load_data(sweep.run, sweep.import_paths), place, LIMIT_S)
    ran = [report for report in reports.values() if report.outcome == "ran"]
    if not ran:
        reason = next(iter(reports.values())).reason
        raise PreflightFailed(
            f"plan: no configuration could be measured: {reason}; give --epoch-s, or see preflight"
        )
    busy = [report.gpu_busy for report in ran if report.gpu_busy is not None]
    return Costs(
        tuple(report.epoch_s for report in ran),
        place.slots,
        price,
        max(report.checkpoint_mb for report in ran),
        median(busy) if busy else None,
    )
