"""Checks a sweep file without running it: problems, warnings and advice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysweep.advice import Advice, advise, headline
from raysweep.advice.data import DataFacts, facts_of
from raysweep.config import LoadedSweep, Problem, Sweep, SweepError, read_sweep
from raysweep.preflight.check import PROBLEM
from raysweep.study.storage.locations import local_root
from trainables.run_config import RunError

if TYPE_CHECKING:
    from trainables.data import Data


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of checking one sweep file.

    Attributes:
        file: as the user named it.
        sweep: its contents; None if it is not valid.
        problems: what makes it invalid.
        warnings: settings that have no effect or do not fit, and notes on how some were read.
        advice: rules of thumb that it goes against.
    """

    file: str
    sweep: Sweep | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    advice: tuple[Advice, ...] = ()

    def passes(self, strict: bool) -> bool:
        """Whether the file is valid; if `strict`, also without warnings and advice."""
        return self.sweep is not None and not (strict and (self.warnings or self.advice))

    def complaints(self) -> Iterator[str]:
        """Problems and warnings, a line each."""
        yield from map(str, self.problems)
        yield from (f"warning: {warning}" for warning in self.warnings)

    def verdict(self) -> Iterator[str]:
        """A line that says the file is valid, then all advice, a line each; nothing for an invalid file."""
        if self.sweep is not None:
            yield f"{self.file}: valid" + (f", {headline(self.advice)}" if self.advice else "")
        yield from (f"advice: {advice}" for advice in self.advice)

    def as_json(self) -> dict[str, Any]:
        """The result as JSON-serializable fields."""
        advice = [
            {"name": one.name, **asdict(one.problem), "set": list(one.sets), "source": one.source}
            for one in self.advice
        ]
        return {
            "file": self.file,
            "sound": self.sweep is not None,
            "problems": [asdict(problem) for problem in self.problems],
            "warnings": [asdict(warning) for warning in self.warnings],
            "advice": advice,
        }


def load_checked(
    file: Path,
    *,
    overrides: Sequence[str] = (),
    optimize_config: Path | None = None,
    with_data: bool = False,
    runs: Path | None = None,
) -> CheckResult:
    """Check a valid sweep file.

    Args:
        file: the sweep file.
        overrides: `key=value` each.
        optimize_config: the template's second file.
        with_data: load the data too, for the advice that needs them.
        runs: the folder of the studies that the file names; its `storage`, or runs/, if None.

    Raises:
        SweepError: if the file is not valid, with every problem found.
    """
    reading = read_sweep(file, overrides=overrides, optimize_config=optimize_config)
    root = runs or local_root(reading.sweep.storage)
    facts = _data_facts(reading) if with_data else None
    notes: list[Problem] = []
    advice: list[Advice] = []
    for index, each in enumerate(reading.stages or (reading,)):
        notes += _search_notes(each, root, first=index == 0)
        advice += advise(each, facts)
    warnings = dict.fromkeys((*reading.warnings, *notes))
    return CheckResult(str(file), reading.sweep, (), tuple(warnings), tuple(dict.fromkeys(advice)))


def check_file(file: Path, **kwargs: Any) -> CheckResult:
    """As `load_checked`, with the problems of an invalid file in the result."""
    try:
        return load_checked(file, **kwargs)
    except SweepError as error:
        return CheckResult(str(file), None, error.problems)


def _search_notes(reading: LoadedSweep, runs: Path, *, first: bool) -> tuple[Problem, ...]:
    """Notes on the search, and for the first stage on the earlier studies it starts from.

    Raises:
        SweepError: if the space cannot be searched as the file says, or an earlier study does not fit.
    """
    sweep, document = reading.sweep, reading.document
    if not sweep.search_space and len(sweep.metrics) == 1:
        return ()
    from raysweep.search.search_checks import Unsearchable, check_search  # imports optuna, a second

    try:
        notes = [document.problem((key,), note) for key, note in check_search(sweep)]
    except Unsearchable as error:
        raise SweepError([document.problem((error.key,), str(error))]) from None
    if sweep.warm_start and first:
        from raysweep.study.execution.warm_start import read_earlier_studies

        earlier = read_earlier_studies(sweep, runs)
        problems = [
            document.problem(("warm_start", sweep.warm_start.index(study)), message)
            for study, message in earlier.unfit.items()
        ]
        if problems:
            raise SweepError(problems)
        notes += [document.problem(("warm_start",), note) for note in earlier.warm.notes]
    return tuple(notes)


def _data_facts(reading: LoadedSweep) -> DataFacts | None:
    """Load the data and count their rows; None if the run has no data of its own.

    Raises:
        SweepError: if they cannot be loaded, or a run would refuse them.
    """
    from trainables.data import load_whole
    from trainables.user_errors import wrap_user_errors

    run, paths = reading.sweep.run, reading.sweep.import_paths
    if run.data is None:
        return None
    try:
        with wrap_user_errors(run.data):
            data, whole, test = load_whole(run, paths)
            facts = facts_of(data, whole, test)
    except RunError as error:
        raise SweepError([reading.document.problem(("run", "data"), str(error))]) from None
    if problems := [*_data_problems(reading, data, facts), *_criterion_problems(reading, data)]:
        raise SweepError(problems)
    return facts


def _data_problems(reading: LoadedSweep, data: Data, facts: DataFacts) -> Iterator[Problem]:
    """What a run refuses of its data; common rows are left to the advice, which can be ignored."""
    from raysweep.preflight.data_quality import LEAK, data_checks

    for check in data_checks(data, facts):
        if check.state == PROBLEM and check.name != LEAK:
            yield reading.document.problem(("run", "data"), f"{check.name}: {check.message}", check.fix)


def _criterion_problems(reading: LoadedSweep, data: Data) -> Iterator[Problem]:
    """Why the criterion does not fit the data, unless it is searched, or a loop has its own."""
    from trainables.build import check_criterion

    sweep = reading.sweep
    if sweep.run.train is not None or any(key.startswith("criterion") for key in sweep.space):
        return
    try:
        check_criterion(sweep.run, data)
    except RunError as error:
        problem = reading.document.problem(("run", "criterion"), str(error))
        yield replace(problem, key="")  # the error names the key
