"""The searcher of a sweep: ours over an Optuna sampler, or one of its own."""

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
from raysweep.search.storage_export import StorageExport
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


def optuna_fold(searcher: Searcher) -> OptunaSearcher | None:
    """The Optuna study behind a searcher, if there is one."""
    fold = searcher.fold if isinstance(searcher, DeterministicOrderSearcher) else searcher
    return fold if isinstance(fold, OptunaSearcher) else None


def export_to_file(searcher: Searcher, sweep: Sweep, path: Path) -> tuple[str, ...]:
    """Write the study as a file of Optuna's, unless `optuna_storage: off`; a sentence if that fails.

    Args:
        searcher: of the attempt that ends.
        sweep: the study's.
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
    """Within: the storage that `optuna_storage` names is kept in step with the study.

    Args:
        searcher: of the attempt.
        sweep: the study's.
        say: told one line if the storage refuses.

    Yields:
        Sentences on what the storage lacks, complete when the context is left.
    """
    notes: list[str] = []
    fold, url = optuna_fold(searcher), sweep.optuna_storage
    if fold is None or url is None or url == "off":
        yield notes
        return
    export = StorageExport(fold.study, fold.trials_now, with_password(url), signs_of(sweep), say=say)
    try:
        with export:
            yield notes
    finally:
        if export.trouble:
            notes.append(f"the study was not exported for Optuna: {export.trouble}")


def signs_of(sweep: Sweep) -> dict[str, int]:
    """Metric -> +1 where it is minimised, -1 where it is maximised; the objective first."""
    return {sweep.metric: sweep.sign, **sweep.others}
