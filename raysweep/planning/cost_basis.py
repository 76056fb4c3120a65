"""What a plan is made of: seconds of an epoch, and learning curves, given, measured or remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    """What a plan rests on.

    Attributes:
        costs: what things take.
        draw: gives learning curves.
        assumed: where the curves are from, in words.
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
    """What to plan a sweep by.

    Args:
        sweep: what would run.
        place: on what.
        like: an earlier study, for its curves and its times.
        epoch_s: seconds of an epoch; of `like`, or measured on five random configurations, if None.
        price: of an hour.

    Raises:
        NotFit: if no configuration could be measured.
        RunError: if the data cannot be loaded.
    """
    here, known = place(), [] if like is None else earlier_curves(like)
    paces: tuple[float, ...] = (epoch_s,) if epoch_s else ()
    if not paces and like is not None:
        paces = tuple(recorded_epoch_s(like))
    checkpoint_mb = None
    if not paces:
        paces, checkpoint_mb = _measured(sweep, here)
    costs = Costs(paces, here.slots, price, checkpoint_mb)
    if known:
        return CostBasis(costs, EarlierDraw(known), in_words(known))
    return CostBasis(costs, prior_curves, PRIOR)


def _measured(sweep: Sweep, place: TrialSlots) -> tuple[tuple[float, ...], float]:
    """Seconds of an epoch of random configurations, and the size of the largest checkpoint, MiB."""
    configs = probe_configs(sweep)
    drawn = {name: flat for name, flat in configs.items() if name.startswith("random")} or configs
    found = dry_run_probes(sweep, drawn, load_data(sweep.run, sweep.import_paths), place, LIMIT_S)
    ran = [one for one in found.values() if one.outcome == "ran"]
    if not ran:
        reason = next(iter(found.values())).reason
        raise PreflightFailed(
            f"plan: no configuration could be measured: {reason}; give --epoch-s, or see preflight"
        )
    return tuple(one.epoch_s for one in ran), max(one.checkpoint_mb for one in ran)
