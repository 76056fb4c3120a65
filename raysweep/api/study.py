"""A study in Python: its trials, its winner, its report, and resuming, extending or retraining it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysweep.api.calls import overrides, shown, target_of
from raysweep.config import Sweep
from raysweep.config.trial_config import searched
from raysweep.console.formatting import number
from raysweep.errors import RaysweepError
from raysweep.study.journal.log import read_events
from raysweep.study.journal.pareto import scored_point
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.journal.status_file import read_status
from raysweep.study.results.best_config import NoWinner, best_yaml
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.trust import require_trust

if TYPE_CHECKING:
    import numpy as np
    import optuna
    import pandas as pd


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best trial of a study.

    Attributes:
        number: of the trial, from 0.
        value: of the sweep's metric, by the sweep's `objective`.
        metric: its name.
        epoch: at which that value was reached.
        config: the searched settings, by flat key.
        metrics: all metrics reported at that epoch.
        run: the run config for the full training, as in best.yaml.
    """

    number: int
    value: float
    metric: str
    epoch: int
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    run: Mapping[str, Any]

    @property
    def train_config(self) -> Mapping[str, Any]:
        """The config that the user's own training function (`raysweep.tune`) was called with."""
        config: Mapping[str, Any] = self.run["train_config"]
        return config


@dataclass(frozen=True, slots=True)
class StudyReport:
    """A study's report; a notebook shows its page.

    Attributes:
        page: the HTML file.
        markdown: the same as text.
    """

    page: Path
    markdown: str

    def __str__(self) -> str:
        return self.markdown

    def _repr_html_(self) -> str:
        content = html.escape(self.page.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{content}" width="100%" height="900" style="border: 0"></iframe>'


@dataclass(frozen=True, slots=True)
class Retraining:
    """The result of a retraining.

    Attributes:
        path: its folder.
        result: as in its `retrain.json`: standings, winner, scores on validation and test rows.
    """

    path: Path
    result: Mapping[str, Any]

    @property
    def winner(self) -> str:
        """The name of the configuration that won."""
        return str(self.result["winner"])

    @property
    def model(self) -> Path | None:
        """The folder of the winner's model; None for the user's own loop, whose weights are not saved."""
        return None if self.result["model"] is None else self.path / str(self.result["model"])


class Study:
    """A study on disk. It is read afresh at each call, so it may be running.

    Args:
        folder: of the study; `raysweep.open` finds it.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<Study {self.name}: {self.state}, {self.path}>"

    def _repr_html_(self) -> str:
        status = read_status(self.path)
        rows = {"state": status["state"], "reason": status["reason"], "folder": self.path}
        if best := status["best"]:
            value = f"{self.sweep.metric} {number(best['value'])}"
            rows["best"] = value if best["trial"] is None else f"trial {int(best['trial'])}: {value}"
        cells = "".join(
            f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>"
            for key, value in rows.items()
            if value
        )
        return f"<b>{html.escape(self.name)}</b><table>{cells}</table>"

    @property
    def path(self) -> Path:
        """Its folder; deleting the folder deletes the study."""
        return self._folder.path

    @property
    def name(self) -> str:
        """Its name, as in the sweep file or as given by `name`."""
        return self._folder.name

    @property
    def sweep(self) -> Sweep:
        """The sweep, with all choices made."""
        return self._folder.stored_sweep()

    @property
    def state(self) -> str:
        """`running`, `done`, `interrupted` or `failed`, as in status.json."""
        return str(read_status(self.path)["state"])

    @property
    def best(self) -> BestTrial:
        """The best trial; while none is completed, the best of those that have reported.

        Raises:
            NoWinner: if no trial has succeeded.
        """
        folder, trial, sweep, record = self._winner()
        derived = best_yaml(folder.sweep(), record, record.provenance, trial=str(trial.number))[0]
        value = trial.objective_value(record.objective, sweep.sign)
        point = scored_point(trial, record.objective)
        assert value is not None and point is not None, "a ranked trial has reported"  # noqa: PT018
        config, metrics = searched(trial.config), dict(point.metrics)
        return BestTrial(trial.number, value, sweep.metric, point.epoch, config, metrics, derived.run)

    def _winner(self) -> tuple[StudyFolder, TrialRecord, Sweep, StudyRecord]:
        """The study that the best trial is in (this one, or one of its stages), that trial, sweep, record."""
        folder = self._folder
        if folder.stored_sweep().stages:
            from raysweep.study.stages.state import best_of_stages, stage_states

            best_stage = best_of_stages(folder.stored_sweep(), stage_states(folder))
            if best_stage is None or best_stage.trial is None:
                raise NoWinner(f"{self.name}: no trial of any stage is better than the run as it is")
            home = best_stage.state.folder
            return home, best_stage.trial, home.stored_sweep(), best_stage.record
        sweep = folder.stored_sweep()
        record = fold(read_events(folder.journal_dir), sweep.objective)
        best = record.best()
        if best is None:
            raise NoWinner(f"{self.name}: no trial has succeeded")
        return folder, best, sweep, record

    def trials(self) -> pd.DataFrame:
        """A row for each trial: how it ended and why, its value, its settings by flat key, its metrics."""
        from raysweep.report.dataframes import trials_table

        return trials_table(self._folder)

    def curves(self) -> pd.DataFrame:
        """A row for each epoch of each trial, with all its metrics."""
        from raysweep.report.dataframes import curves_table

        return curves_table(self._folder)

    def optuna(self) -> optuna.Study:
        """The study as an `optuna.Study` in memory, for Optuna's plots and importances.

        Raises:
            NotAStudy: if it has stages, each of which is a study of its own.
        """
        from raysweep.report.optuna_study import as_study
        from raysweep.report.subject import of_study

        return as_study(of_study(self._folder))

    def report(self, *, top_k: int = 10) -> StudyReport:
        """Make the report, as `launch.py report` does; it is also written to the study's folder.

        Args:
            top_k: rows of the table of the best trials.

        Raises:
            NothingFound: if no trial has reported.
        """
        from raysweep.report.report import report
        from raysweep.report.report_files import write
        from raysweep.report.subject import of_study

        page, text = write(report(of_study(self._folder), top_k), self.path / "report")[:2]
        return StudyReport(page, text.read_text(encoding="utf-8"))

    def resume(self, *, address: str | None = None, trust: bool = False, progress: bool = True) -> Study:
        """Continue where it was stopped or killed; does nothing if it is over.

        Args:
            address: see `raysweep.run`.
            trust: run the code of a study that you did not make on this machine.
            progress: whether progress is shown.
        """
        from raysweep.runner.run_or_resume import run_or_resume

        require_trust(self.path, trust)
        with shown(progress):
            run_or_resume(self._folder.sweep(), self._folder, target_of(address))
        return self

    def extend(
        self,
        *,
        trials: int | str | None = None,
        epochs: int | None = None,
        set: Mapping[str, Any] | None = None,
        address: str | None = None,
        trust: bool = False,
        progress: bool = True,
    ) -> Study:
        """Give it more trials, more epochs or a wider search space, and continue it.

        Args:
            trials: the total (100), or additional ones ("+50").
            epochs: of each trial.
            set: settings to change, by dotted key.
            address: see `raysweep.run`.
            trust: run the code of a study that you did not make on this machine.
            progress: whether progress is shown.

        Raises:
            CannotExtend: if trials before and after could not be compared.
        """
        from raysweep.runner.revise_study import revise_study

        require_trust(self.path, trust)
        with shown(progress):
            revise_study(self._folder, None if trials is None else str(trials), epochs, overrides(set))
        return self.resume(address=address, trust=trust, progress=progress)

    def retrain(
        self,
        *,
        top_k: int | None = None,
        seeds: int | None = None,
        set: Mapping[str, Any] | None = None,
        name: str = "retrain",
        address: str | None = None,
        trust: bool = False,
        progress: bool = True,
    ) -> Retraining:
        """Train its best configurations again over several seeds, and test the winner once.

        Args:
            top_k: how many of the best; 3 if None.
            seeds: trainings of each; 5 if None.
            set: changes to the run of all of them, by dotted key: `{"epochs": 50}`.
            name: of the retraining's folder, in the study's.
            address: see `raysweep.run`.
            trust: run the code of a study that you did not make on this machine.
            progress: whether progress is shown.

        Raises:
            NoWinner: if no trial has succeeded, or the retraining did not finish.
            StudyExists: if there is a retraining of this name with other settings.
            RaysweepError: if top_k is below 1 or seeds below 2.
        """
        from raysweep.runner.retrain_study import prepare_retraining, run_retraining
        from raysweep.study.results.finalize import FILE, VERSION
        from raysweep.study.storage.files import read_json

        for key, value, least in (("top_k", top_k, 1), ("seeds", seeds, 2)):
            if value is not None and value < least:
                raise RaysweepError(f"{key}: {value}; give at least {least}")
        require_trust(self.path, trust)
        with shown(progress):
            folder = prepare_retraining(self._folder, name, overrides(set), top_k=top_k, seeds=seeds)
            if run_retraining(folder, self.path, target_of(address)):
                raise NoWinner(f"{folder.path}: did not finish; the same call resumes it")
        return Retraining(folder.path, read_json(folder.path / FILE, version=VERSION, kind="retraining"))

    def predict(
        self,
        table: pd.DataFrame | np.ndarray | str | Path,
        *,
        name: str = "retrain",
        ensemble: bool = False,
    ) -> pd.DataFrame:
        """Predict a table's rows with the model of its retraining.

        Args:
            table: with the columns of the training data, by name; an array (rows, ...) for a model of
                arrays; or the path of a CSV, Parquet, .npy or .npz file.
            name: of the retraining's folder.
            ensemble: use the mean prediction of all seeds' nets instead of the best seed's.

        Raises:
            RunError: if there is no such model yet, or the columns do not match.
        """
        from raysweep.study.results.finalize import ENSEMBLE, MODEL
        from raysweep.study.storage.trust import require_trust_in_model
        from trainables.model import Model
        from trainables.predict_file import predict_file

        model = self.path / name / (ENSEMBLE if ensemble else MODEL)
        require_trust_in_model(model, trust=False)
        if isinstance(table, str | Path):
            return predict_file(model, Path(table))[0]
        return Model.load(model).predict(table)
