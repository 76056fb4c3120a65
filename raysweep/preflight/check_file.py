"""Looks at a sweep file before anything runs: is it sound, what in it is odd, what could be done better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raysweep.advice import Advice, advise, headline
from raysweep.advice.data import DataFacts, facts_of
from raysweep.config import LoadedSweep, Problem, Sweep, SweepError, read_sweep
from raysweep.study.storage.locations import local_root
from trainables.run_config import RunError


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What is to be said of one sweep file.

    Attributes:
        file: as the user named it.
        sweep: what it says; None if it is not sound.
        problems: what makes it unsound.
        warnings: settings that can never act or do not fit, and notes on what was read as what.
        advice: rules of thumb that it goes against.
    """

    file: str
    sweep: Sweep | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    advice: tuple[Advice, ...] = ()

    def passes(self, strict: bool) -> bool:
        """Whether it is sound; if `strict`, whether there is nothing at all to say of it."""
        return self.sweep is not None and not (strict and (self.warnings or self.advice))

    def complaints(self) -> Iterator[str]:
        """Problems and warnings, a line each."""
        yield from map(str, self.problems)
        yield from (f"warning: {warning}" for warning in self.warnings)

    def verdict(self) -> Iterator[str]:
        """That it is sound, and all advice, a line each; nothing of an unsound file."""
        if self.sweep is not None:
            yield f"{self.file}: sound" + (f", {headline(self.advice)}" if self.advice else "")
        yield from (f"advice: {advice}" for advice in self.advice)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        said = [
            {"name": one.name, **asdict(one.problem), "set": list(one.sets), "source": one.source}
            for one in self.advice
        ]
        return {
            "file": self.file,
            "sound": self.sweep is not None,
            "problems": [asdict(problem) for problem in self.problems],
            "warnings": [asdict(warning) for warning in self.warnings],
            "advice": said,
        }


def load_checked(
    file: Path,
    *,
    overrides: Sequence[str] = (),
    optimize_config: Path | None = None,
    with_data: bool = False,
    runs: Path | None = None,
) -> CheckResult:
    """Look at a sweep file; see `raysweep.config.read_sweep` for the arguments.

    Args:
        file: the sweep file.
        overrides: `key=value` each.
        optimize_config: the template's second file.
        with_data: load the data too, for the advice that needs them.
        runs: where studies are that the file names; its `storage`, or runs/, if None.

    Raises:
        SweepError: if the file is not sound, with every problem found.
    """
    reading = read_sweep(file, overrides=overrides, optimize_config=optimize_config)
    root = runs or local_root(reading.sweep.storage)
    facts = _data_facts(reading) if with_data else None
    notes: list[Problem] = []
    advice: list[Advice] = []
    for place, each in enumerate(reading.stages or (reading,)):
        notes += _search_notes(each, root, first=place == 0)
        advice += advise(each, facts)
    warnings = dict.fromkeys((*reading.warnings, *notes))
    return CheckResult(str(file), reading.sweep, (), tuple(warnings), tuple(dict.fromkeys(advice)))


def check_file(file: Path, **words: Any) -> CheckResult:
    """`examine`, with what makes a file unsound as part of what is said of it."""
    try:
        return load_checked(file, **words)
    except SweepError as error:
        return CheckResult(str(file), None, error.problems)


def _search_notes(reading: LoadedSweep, runs: Path, *, first: bool) -> tuple[Problem, ...]:
    """What of the search may surprise, and, by the first stage, what is taken of earlier studies.

    Raises:
        SweepError: if it cannot be searched as the file says, or an earlier study does not fit.
    """
    sweep, document = reading.sweep, reading.document
    if not sweep.search_space and len(sweep.metrics) == 1:
        return ()
    from raysweep.search.search_checks import (  # optuna: a second that other files need not pay
        Unsearchable,
        check_search,
    )

    try:
        notes = [document.problem(("sampler",), note) for note in check_search(sweep)]
    except Unsearchable as error:
        raise SweepError([document.problem((error.key,), str(error))]) from None
    if sweep.warm_start and first:
        from raysweep.study.execution.warm_start import read_earlier_studies as look_back

        found = look_back(sweep, runs)
        unfit = [
            document.problem(("warm_start", sweep.warm_start.index(place)), what)
            for place, what in found.unfit.items()
        ]
        if unfit:
            raise SweepError(unfit)
        notes += [document.problem(("warm_start",), note) for note in found.warm.notes]
    return tuple(notes)


def _data_facts(reading: LoadedSweep) -> DataFacts | None:
    """Load the data and count.

    Raises:
        SweepError: if they cannot be loaded.
    """
    from trainables.data import load_whole
    from trainables.user_errors import wrap_user_errors

    run, paths = reading.sweep.run, reading.sweep.import_paths
    if run.data is None:
        return None
    try:
        with wrap_user_errors(run.data):
            return facts_of(*load_whole(run, paths))
    except RunError as error:
        raise SweepError([reading.document.problem(("run", "data"), str(error))]) from None
