"""The searcher of a sweep: ours over an Optuna sampler, or one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raysweep.config import Sweep
from raysweep.config.baseline import baseline_of
from raysweep.search.deterministic_order import DeterministicOrderSearcher
from raysweep.search.export import write_exports
from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.search_checks import duplicates_of
from raysweep.search.warm_start import WarmStart
from raysweep.study.execution.controller import Searcher
from raysweep.study.journal.events import AttemptStarted, Event
from raysweep.study.storage.secrets import with_password


def make_searcher(sweep: Sweep, warm: WarmStart | None = None, window: int = 1) -> Searcher:
    """The sweep's searcher, which knows nothing yet but what earlier studies gave.

    Args:
        sweep: what is wanted.
        warm: taken of earlier studies.
        window: of an `ordered` sweep: trials at once in its first attempt.
    """
    if not sweep.sampler.name.startswith("optuna."):
        kind = sweep.sampler.load(sweep.import_paths)
        if hasattr(kind, "replay_asked"):
            own: Searcher = kind(**sweep.sampler.kwargs)
            return own
    fold = OptunaSearcher(
        OptunaSpace.of(sweep.search_space),
        sampler=sweep.sampler.name,
        sampler_kwargs=sweep.sampler.kwargs,
        seed=sweep.seed,
        baseline=baseline_of(sweep) if sweep.baseline else None,
        points=sweep.points_to_evaluate,
        others=sweep.others,
        constraints=sweep.constraints,
        warm=warm,
        duplicates=duplicates_of(sweep),
        seeds=sweep.run.seeds,
        study_name=sweep.study_name,
    )
    return DeterministicOrderSearcher(fold, window) if sweep.ordered else fold


def first_slots(past: Sequence[Event], slots: int) -> int:
    """Trials at once in a study's first attempt: an ordered search must not change with the machine."""
    return next((event.slots for event in past if isinstance(event, AttemptStarted)), slots)


def export_study(searcher: Searcher, sweep: Sweep, path: Path) -> tuple[str, ...]:
    """Write the study as Optuna's, where the sweep wants it; sentences on what could not be written.

    Args:
        searcher: of the attempt that ends.
        sweep: says where, by `optuna_storage`.
        path: of the file in the study's folder.
    """
    if isinstance(searcher, DeterministicOrderSearcher | OptunaSearcher):
        signs = {sweep.metric: sweep.sign, **sweep.others}
        wanted = sweep.optuna_storage and with_password(sweep.optuna_storage)
        return write_exports(searcher.finish(), wanted, path, signs)
    return ()
