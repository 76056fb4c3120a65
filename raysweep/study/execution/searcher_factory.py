"""The searcher of a sweep: ours with an Optuna sampler, or a class of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raysweep.config import Sweep
from raysweep.config.baseline import baseline_of
from raysweep.search.deterministic_order import DeterministicOrderSearcher
from raysweep.search.export import CannotExport, export_file
from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.search_checks import duplicates_of
from raysweep.search.searcher import Searcher
from raysweep.search.storage_export import StorageExport
from raysweep.search.warm_start import WarmStart
from raysweep.study.journal.events import AttemptStarted, Event
from raysweep.study.storage.secrets import with_password


def make_searcher(sweep: Sweep, warm: WarmStart | None = None, window: int = 1) -> Searcher:
    """A new searcher of a sweep, which knows only the trials of earlier studies.

    Args:
        sweep: the sweep.
        warm: taken from earlier studies.
        window: for an `ordered` sweep, trials at once in its first attempt.
    """
    if not sweep.sampler.name.startswith("optuna."):
        kind = sweep.sampler.load(sweep.import_paths)
        if hasattr(kind, "replay_asked"):
            own: Searcher = kind(**sweep.sampler.kwargs)
            return own
    searcher = OptunaSearcher(
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
    return DeterministicOrderSearcher(searcher, window) if sweep.ordered else searcher


def first_slots(past: Sequence[Event], slots: int) -> int:
    """Trials at once in a study's first attempt, which an ordered search keeps on any machine."""
    return next((event.slots for event in past if isinstance(event, AttemptStarted)), slots)


def _optuna_searcher(searcher: Searcher) -> OptunaSearcher | None:
    inner = searcher.searcher if isinstance(searcher, DeterministicOrderSearcher) else searcher
    return inner if isinstance(inner, OptunaSearcher) else None


def export_to_file(searcher: Searcher, sweep: Sweep, path: Path) -> tuple[str, ...]:
    """Write the study as an Optuna file, unless `optuna_storage: off`; returns a sentence if that fails.

    Args:
        searcher: of the attempt that ends.
        sweep: of the study.
        path: of the file in the study's folder.
    """
    if sweep.optuna_storage == "off" or not isinstance(searcher, DeterministicOrderSearcher | OptunaSearcher):
        return ()
    try:
        export_file(searcher.finish().study, path, signs_of(sweep))
    except CannotExport as error:
        return (f"the study was not exported for Optuna: {error}",)
    return ()


@contextmanager
def live_export(searcher: Searcher, sweep: Sweep, say: Callable[[str], None]) -> Iterator[list[str]]:
    """Keep the storage that `optuna_storage` names up to date with the study within the block.

    Args:
        searcher: of the attempt.
        sweep: of the study.
        say: called with one line if the storage refuses.

    Yields:
        Sentences on what the storage lacks, complete when the block is left.
    """
    notes: list[str] = []
    optuna, url = _optuna_searcher(searcher), sweep.optuna_storage
    if optuna is None or url is None or url == "off":
        yield notes
        return
    export = StorageExport(optuna.study, optuna.trials_now, with_password(url), signs_of(sweep), say=say)
    try:
        with export:
            yield notes
    finally:
        if export.trouble:
            notes.append(f"the study was not exported for Optuna: {export.trouble}")


def signs_of(sweep: Sweep) -> dict[str, int]:
    """By metric, +1 if it is minimised, -1 if it is maximised; the objective first."""
    return {sweep.metric: sweep.sign, **sweep.others}
