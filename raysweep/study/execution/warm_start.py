"""Learning from earlier studies: what is taken of them is kept, for they may move or vanish."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysweep.config import Problem, Sweep, SweepError
from raysweep.config.trial_config import searched
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.warm_start import EarlierTrial, WarmStart, merge_warm_starts, warm_start_from
from raysweep.study.journal.log import JournalError, read_events
from raysweep.study.journal.pareto import scored_point
from raysweep.study.journal.records import TrialRecord, fold
from raysweep.study.storage.files import Unreadable, read_json, write_json
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from trainables.data import origin

VERSION = 1
FILE = "warm_start.json"


@dataclass(frozen=True)
class EarlierStudies:
    """What a sweep's `warm_start` leads to.

    Attributes:
        warm: what its studies give.
        unfit: why nothing can be learnt of some: a folder that is no study, another metric or direction.
    """

    warm: WarmStart
    unfit: Mapping[str, str]


def read_earlier_studies(sweep: Sweep, runs: Path) -> EarlierStudies:
    """Read the earlier studies of a sweep.

    Args:
        sweep: the new one.
        runs: where studies are that are given by name.
    """
    unfit: dict[str, str] = {}
    parts: list[WarmStart] = []
    for place in sweep.warm_start:
        try:
            parts.append(_part(sweep, runs, place))
        except _Unfit as error:
            unfit[place] = str(error)
    return EarlierStudies(merge_warm_starts(parts), unfit)


def load_warm_start(sweep: Sweep, folder: StudyFolder, fresh: bool) -> WarmStart:
    """What was taken when the study began; taken now, and written down, if it begins now.

    Raises:
        SweepError: if an earlier study does not fit, or what was written down is gone.
    """
    path = folder.path / FILE
    if not sweep.warm_start:
        return WarmStart()
    if fresh and not path.exists():
        found = read_earlier_studies(sweep, folder.path.parent)
        if found.unfit:
            why = found.unfit.values()
            raise SweepError([Problem(sweep.study_name, None, "warm_start", each) for each in why])
        write_json(path, "warm start", {"version": VERSION, **dataclasses.asdict(found.warm)})
    try:
        words = read_json(path, version=VERSION, kind="warm start")
        observed = tuple(EarlierTrial(**known) for known in words["observed"])
        return WarmStart(observed, tuple(words["points"]), tuple(words["notes"]))
    except (OSError, Unreadable) as error:
        what = f"what was taken of earlier studies cannot be read ({error}); restore the file"
        raise SweepError([Problem(str(path), None, "warm_start", what)]) from None


class _Unfit(Exception):
    """A study that nothing can be learnt from here; one line that says why."""


def _part(sweep: Sweep, runs: Path, place: str) -> WarmStart:
    try:
        folder = StudyFolder.open(runs / place if (runs / place).is_dir() else Path(place))
        theirs = folder.sweep()
        record = fold(read_events(folder.journal_dir), sweep.objective)
    except (NotAStudy, JournalError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise _Unfit(f"'{place}' is no study ({what}); give a study's folder, or its name") from None
    if (theirs.metric, theirs.direction) != (sweep.metric, sweep.direction):
        raise _Unfit(
            f"'{place}' is judged by {theirs.metric} ({theirs.direction}), this sweep by"
            f" {sweep.metric} ({sweep.direction}); drop it"
        )
    trials = _known(list(record.trials.values()), sweep.objective)
    spaces = OptunaSpace.of(theirs.search_space), OptunaSpace.of(sweep.search_space)
    same_task = (origin(theirs.run), theirs.run.criterion) == (origin(sweep.run), sweep.run.criterion)
    return warm_start_from(
        folder.name, trials, *spaces, sweep.sampler.name, len(sweep.metrics), same_task=same_task
    )


def _known(trials: Sequence[TrialRecord], objective: str) -> list[EarlierTrial]:
    """The trials that say something of their configuration: completed, or stopped where they stood."""
    known = []
    for trial in trials:
        worth, point = trial.worth(objective), scored_point(trial, objective)
        if trial.outcome not in ("completed", "stopped") or worth is None or point is None:
            continue
        if not trial.lineage:  # a copy's result is of many configurations
            completed = trial.outcome == "completed"
            known.append(EarlierTrial(searched(trial.first_config), worth, point.epoch, completed))
    return known
