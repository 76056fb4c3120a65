"""Warm start from earlier studies; what is taken from them is saved, since they may be moved or deleted."""

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
    """The earlier studies of a sweep's `warm_start`.

    Attributes:
        warm: what is taken from them.
        unfit: by study, why nothing can be learnt from it: no study, another metric or direction.
    """

    warm: WarmStart
    unfit: Mapping[str, str]


def read_earlier_studies(sweep: Sweep, runs: Path) -> EarlierStudies:
    """Read the earlier studies of a sweep.

    Args:
        sweep: the new sweep.
        runs: folder of the studies that are given by name.
    """
    unfit: dict[str, str] = {}
    parts: list[WarmStart] = []
    for name in sweep.warm_start:
        try:
            parts.append(_read_earlier_study(sweep, runs, name))
        except _Unfit as error:
            unfit[name] = str(error)
    return EarlierStudies(merge_warm_starts(parts), unfit)


def load_warm_start(sweep: Sweep, folder: StudyFolder, fresh: bool) -> WarmStart:
    """What was taken from earlier studies when the study began; read from them and saved if it begins now.

    Raises:
        SweepError: if an earlier study does not fit, or the saved file cannot be read.
    """
    path = folder.path / FILE
    if not sweep.warm_start:
        return WarmStart()
    if fresh and not path.exists():
        earlier = read_earlier_studies(sweep, folder.path.parent)
        if earlier.unfit:
            why = earlier.unfit.values()
            raise SweepError([Problem(sweep.study_name, None, "warm_start", each) for each in why])
        write_json(path, "warm start", {"version": VERSION, **dataclasses.asdict(earlier.warm)})
    try:
        fields = read_json(path, version=VERSION, kind="warm start")
        observed = tuple(EarlierTrial(**trial) for trial in fields["observed"])
        return WarmStart(observed, tuple(fields["points"]), tuple(fields["notes"]))
    except (OSError, Unreadable) as error:
        message = f"what was taken from earlier studies cannot be read ({error}); restore the file"
        raise SweepError([Problem(str(path), None, "warm_start", message)]) from None


class _Unfit(Exception):
    """Nothing can be learnt from a study; one line that says why."""


def _read_earlier_study(sweep: Sweep, runs: Path, name: str) -> WarmStart:
    try:
        folder = StudyFolder.open(runs / name if (runs / name).is_dir() else Path(name))
        earlier = folder.sweep()
        record = fold(read_events(folder.journal_dir), sweep.objective)
    except (NotAStudy, JournalError, ValueError) as error:
        message = str(error).splitlines()[0]
        raise _Unfit(f"'{name}' is no study ({message}); give a study's folder, or its name") from None
    if (earlier.metric, earlier.direction) != (sweep.metric, sweep.direction):
        raise _Unfit(
            f"'{name}' is judged by {earlier.metric} ({earlier.direction}), this sweep by"
            f" {sweep.metric} ({sweep.direction}); drop it"
        )
    trials = _informative_trials(list(record.trials.values()), sweep.objective)
    spaces = OptunaSpace.of(earlier.search_space), OptunaSpace.of(sweep.search_space)
    same_task = (origin(earlier.run), earlier.run.criterion) == (origin(sweep.run), sweep.run.criterion)
    return warm_start_from(
        folder.name, trials, *spaces, sweep.sampler.name, len(sweep.metrics), same_task=same_task
    )


def _informative_trials(trials: Sequence[TrialRecord], objective: str) -> list[EarlierTrial]:
    """The completed and stopped trials whose results are those of one configuration."""
    informative = []
    for trial in trials:
        loss, point = trial.objective_loss(objective), scored_point(trial, objective)
        if trial.outcome not in ("completed", "stopped") or loss is None or point is None:
            continue
        if not trial.lineage:  # a copy was trained with several configurations
            completed = trial.outcome == "completed"
            informative.append(EarlierTrial(searched(trial.first_config), loss, point.epoch, completed))
    return informative
