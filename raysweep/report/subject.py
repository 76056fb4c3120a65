"""The subject of a report: a study's record and its sweep, from a study's folder or an Optuna file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from raysweep.config import Component, Metric, Parameter, Sweep
from raysweep.config.sweep import SEED_KEY
from raysweep.launch_command import Command
from raysweep.report.errors import CannotReport
from raysweep.search.optuna_space import OptunaSpace
from raysweep.study.execution.extend import extension_obstacle
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.journal.status_file import read_status
from raysweep.study.storage.layout import StudyFolder
from schedulers.space import Domain
from trainables.run_config import overlay

SOME_SWEEP = Command("python launch.py SWEEP.yaml")


@dataclass(frozen=True)
class Subject:
    """A study as a report sees it.

    Attributes:
        name: of the study.
        record: of its trials.
        metrics: that trials are compared by; the first is the objective.
        parameters: the search space, by flat key.
        epochs: R, epochs of a whole trial; 0 if trials report no curve.
        scheduler: the trial scheduler.
        run: the run config as plain data; empty for a database.
        gpus: GPUs of one trial.
        state: done, running, interrupted, failed.
        folder: of the study; None for a database.
        groups: trial -> group name, if the database has them.
        rerun: the command that runs the sweep again, as far as it is known.
        sweep: the validated sweep; None for a database.
        seed: of the sampler and the trial scheduler; None for a database.
        is_random_search: whether its trials are independent of each other: a random sampler, no trial
            stopped because of others, and no goal that ends the study.
    """

    name: str
    record: StudyRecord
    metrics: tuple[Metric, ...]
    parameters: Mapping[str, Parameter]
    epochs: int
    scheduler: Component
    run: Mapping[str, Any] = field(default_factory=dict)
    gpus: float = 0.0
    state: str = "done"
    folder: Path | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    rerun: Command = SOME_SWEEP
    sweep: Sweep | None = None
    seed: int | None = None
    is_random_search: bool = False

    def can_extend(self, *, epochs: bool = False, trials: bool = False) -> bool:
        """Whether `launch.py extend` would give the study more epochs, or more trials."""
        if self.folder is None or self.sweep is None:
            return False
        return not extension_obstacle(self.sweep, epochs=epochs, trials=trials)

    def again(self, sets: Iterable[str]) -> Command:
        """The command that runs the sweep again with other settings."""
        return Command(f"{self.rerun} --name {shlex.quote(f'{self.name}-2')}").with_settings(sets)

    @property
    def metric(self) -> str:
        """The objective's name."""
        return self.metrics[0].name

    @property
    def sign(self) -> int:
        """+1 if the objective is minimised, -1 if it is maximised: value = sign * loss."""
        return self.metrics[0].sign

    @property
    def domains(self) -> dict[str, Domain]:
        """The domain of each searched parameter, by flat key."""
        return {key: parameter.domain for key, parameter in self.parameters.items()}

    @cached_property
    def space(self) -> OptunaSpace:
        """The search space as Optuna's distributions."""
        return OptunaSpace.of(dict(self.parameters))

    @property
    def trials(self) -> list[TrialRecord]:
        """All trials, in order of number."""
        return list(self.record.trials.values())

    @property
    def is_population(self) -> bool:
        """Whether trials copied each other, as in a population."""
        return any(trial.lineage for trial in self.trials)

    def value(self, loss: float | None) -> float | None:
        """A loss in the user's direction."""
        return None if loss is None else self.sign * loss

    def loss(self, trial: TrialRecord) -> float | None:
        """A trial's loss by the objective; None before its first finite report."""
        return trial.objective_loss(self.record.objective)

    def ranked(self) -> list[TrialRecord]:
        """The ranked trials, best first: the completed ones, or all that reported if none is completed."""
        ranked = self.record.ranked()
        return [trial for trial in ranked if trial.outcome == "completed"] or ranked

    def config(self, trial: TrialRecord) -> dict[str, Any]:
        """The searched values of a trial, without the reserved seed."""
        return {key: value for key, value in trial.config.items() if key != SEED_KEY}

    def group(self, trial: TrialRecord) -> str:
        """The trial's group name in the training template's form."""
        if trial.trial in self.groups or not self.run:
            return self.groups.get(trial.trial, "")
        return group_name(overlay(dict(self.run), self.config(trial)), trial.number)


def of_study(folder: StudyFolder) -> Subject:
    """The subject in a study's folder, as of now.

    Raises:
        NotAStudy: if the folder holds no study, or one of another format.
        JournalError: if the journal cannot be read.
    """
    sweep: Sweep = folder.stored_sweep()
    return Subject(
        name=folder.name,
        record=fold(read_events(folder.journal_dir), sweep.objective),
        metrics=sweep.metrics,
        parameters=sweep.search_space,
        epochs=sweep.run.epochs,
        scheduler=sweep.trial_scheduler,
        run=sweep.run.model_dump(mode="json"),
        gpus=sweep.resources_per_trial.gpu or 0.0,
        state=str(read_status(folder.path)["state"]),
        folder=folder.path,
        rerun=folder.command() or SOME_SWEEP,
        sweep=sweep,
        seed=sweep.seed,
        is_random_search=_is_random_search(sweep),
    )


def _is_random_search(sweep: Sweep) -> bool:
    return (
        sweep.sampler.name == "optuna.samplers.RandomSampler"
        and sweep.trial_scheduler.name == "schedulers.FIFO"
        and sweep.stop.target is None
        and sweep.stop.no_improvement is None
    )


def only_study(runs: Path) -> str:
    """The name of the only study in a folder.

    Raises:
        CannotReport: if there is none, or more than one.
    """
    names = sorted(path.parent.name for path in runs.glob("*/study.json"))
    if not names:
        raise CannotReport(f"{runs}: holds no study; run one with `launch.py SWEEP.yaml`, or give --runs")
    if len(names) > 1:
        raise CannotReport(f"{runs}: holds {len(names)} studies, name one: {', '.join(names)}")
    return names[0]


def group_name(run: Mapping[str, Any], number: int) -> str:
    """The training template's name for a trial: net, optimizer and scheduler with their settings.

    >>> group_name({"net": "model.MLP", "net_config": {"nodes": 64, "layers": 4},
    ...             "optimizer": "pytorch_optimizer.SPlus", "optimizer_config": {"lr": 0.03421}}, 17)
    'MLP_n_64_l_4_SP_l_3.4210e-02[17]'
    """
    parts: list[str] = []
    for component in ("net", "optimizer", "scheduler"):
        if not run.get(component):
            continue
        name, exact = str(run[component]).rpartition(".")[2], component == "net"
        parts.append(name if exact else _initials(name))
        for key, value in (run.get(f"{component}_config") or {}).items():
            rounded = isinstance(value, float) and not exact
            parts += [key[0], f"{value:.4e}" if rounded else str(value)]
    return "_".join(parts) + f"[{number}]"


def _initials(word: str) -> str:
    """The capitals of a class name: EHLRS for ExpHyperbolicLRScheduler."""
    return "".join(re.findall(r"[A-Z]", word)) or word
