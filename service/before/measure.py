"""What a plan is made of: seconds of an epoch, and learning curves, given, measured or remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.before.check import NotFit
from service.before.corners import rehearsed
from service.before.curves import PRIOR, Draw, prior_curves, recorded_epoch_s
from service.before.earlier import EarlierDraw, earlier_curves, in_words
from service.before.plan import Costs
from service.before.preflight import LIMIT_S, Place, rehearse
from service.spec import Sweep
from service.study.record import StudyRecord
from trainables.told import loaded


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan rests on.

    Attributes:
        costs: what things take.
        draw: gives learning curves.
        assumed: where the curves are from, in words.
    """

    costs: Costs
    draw: Draw
    assumed: str


def basis(
    sweep: Sweep,
    place: Callable[[], Place],
    *,
    like: StudyRecord | None = None,
    epoch_s: float | None = None,
    price: float | None = None,
) -> Basis:
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
        return Basis(costs, EarlierDraw(known), in_words(known))
    return Basis(costs, prior_curves, PRIOR)


def _measured(sweep: Sweep, place: Place) -> tuple[tuple[float, ...], float]:
    """Seconds of an epoch of random configurations, and the size of the largest checkpoint, MiB."""
    configs = rehearsed(sweep)
    drawn = {name: flat for name, flat in configs.items() if name.startswith("random")} or configs
    found = rehearse(sweep, drawn, loaded(sweep.run, sweep.import_paths), place, LIMIT_S)
    ran = [one for one in found.values() if one.outcome == "ran"]
    if not ran:
        reason = next(iter(found.values())).reason
        raise NotFit(f"plan: no configuration could be measured: {reason}; give --epoch-s, or see preflight")
    return tuple(one.epoch_s for one in ran), max(one.checkpoint_mb for one in ran)
