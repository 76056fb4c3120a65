"""The model of a sweep file: a sweep as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from raysweep.config.component import Component
from raysweep.config.constraint import Constraint
from raysweep.config.parameter import Parameter
from raysweep.config.stage import Stage
from raysweep.config.study_stop import StudyStop
from schedulers.space import Domain
from trainables.run_config import RunConfig, Section, overlay

Direction = Literal["minimize", "maximize"]


def sign_of(direction: Direction) -> int:
    """+1 if less is better, -1 if more is better: loss = sign * metric, and metric = sign * loss."""
    return 1 if direction == "minimize" else -1


RESERVED = "trial."
"""Prefix of the keys of a trial's flat configuration that are no searched parameters."""
SEED_KEY = "trial.seed"
"""The key of the trial's own seed."""

BETTER_HIGHER = (
    *("accuracy", "exact_match", "r2"),
    *("roc_auc", "average_precision", "f1", "balanced_accuracy"),
)
"""Metrics of which higher values are better."""

BETTER_LOWER = ("val_loss", "train_loss", "val_loss_raw", "log_loss", "mae", "rmse", "mape")
"""Metrics of which lower values are better."""


class Metric(Section):
    """A metric that a sweep optimises.

    Attributes:
        name: as the trial reports it.
        direction: whether lower or higher values are better.
    """

    name: str
    direction: Direction = "minimize"

    @property
    def sign(self) -> int:
        """See `sign_of`."""
        return sign_of(self.direction)

    @model_validator(mode="before")
    @classmethod
    def _from_a_bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class MoreResources(Section):
    """Resources for the second run of a trial that ran out of memory; what is not given stays as it was.

    Attributes:
        cpu: cores. There is no setting for memory: the more cores a trial takes, the fewer run beside it.
        gpu: GPUs, whole ones or a fraction of one.
    """

    cpu: float | None = Field(None, gt=0)
    gpu: float | None = Field(None, gt=0)


class Resources(Section):
    """The resources of one trial.

    Attributes:
        cpu: cores.
        gpu: GPUs, whole ones or a fraction of one; None for a whole one if there are any.
        on_oom: resources for the second run of a trial that ran out of memory, which is run once more when
            nothing else runs. None: it ends as infeasible.
        lanes: how many trials that share a core or a GPU run in one process, at most; 1: a process each.
            auto: on cores all that share one, on a GPU one. If possible they are trained together, on a core
            with the same results as alone.
        auto: cpu and gpu are chosen before the sweep begins, by measuring some trials.
    """

    cpu: float = Field(1.0, gt=0)
    gpu: float | None = Field(None, ge=0)
    on_oom: MoreResources | None = None
    lanes: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    auto: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_the_word_auto(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            raise ValueError(f"'{value}' is no share of a machine; write 'auto', or cpu and gpu")
        return {"auto": True} if value == "auto" else value

    @field_validator("lanes", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{value!r} is no number of trials; write 'auto', or a whole number from 1 on")
        return value


class Budget(Section):
    """What a sweep may cost in total, including its retraining: one of hours and epochs.

    Attributes:
        hours: wall-clock time, from the command to the end of the retraining.
        epochs: of all trainings together.
    """

    hours: float | None = Field(None, gt=0, allow_inf_nan=False)
    epochs: int | None = Field(None, ge=1)


class Tracking(Section):
    """Where the sweep is tracked in MLflow.

    Attributes:
        uri: a tracking server or store; None for `MLFLOW_TRACKING_URI`, else the store of a bare `mlflow ui`.
        experiment: None for the run's `project`, or without one the study's name.
    """

    uri: str | None = None
    experiment: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_a_bare_uri(cls, value: Any) -> Any:
        return {"uri": value} if isinstance(value, str) else value


class Sweep(Section):
    """The settings of one study.

    `Sweep.model_validate(sweep.model_dump(mode="json"))` is the same sweep again. Each value is checked here
    by itself; whether they fit together, and fit the code they name, is checked on loading
    (`raysweep.config.loading`).

    Attributes:
        study_name: also the folder under runs/.
        trials: how many configurations are tried.
        seed: of the sampler and the trial scheduler; trainings have `run.seeds`.
        metric: the objective, short for the first of `metrics`.
        direction: whether lower or higher values of the objective are better.
        metrics: all metrics to optimise; the first is the objective.
        objective: whether a trial's score is its `last` value of the metric or its `best`.
        constraints: bounds on a trial's metrics; a trial that breaks one ends as infeasible.
        sampler: proposes the configurations.
        warm_start: earlier studies that this one learns from, by folder or name.
        duplicates: what happens with a configuration that was tried already: another is drawn (`skip`),
            its result is used (`reuse`), it runs with another seed (`replicate`) or again (`allow`).
            None: `allow` for a population, whose members differ in more, else `skip`, since the same
            configuration and seed give the same curve.
        ordered: proposals depend on the seed and the number of slots alone, not on which trial happens to
            end first; a slot may have to wait for it.
        optuna_storage: address of an Optuna storage that shows the study while it runs, beside
            `optuna.db` in its folder at the end; `off` for neither.
        trial_scheduler: decides which trials go on.
        resources_per_trial: the resources of one trial.
        max_concurrent_trials: None for as many as fit.
        priority: weight of its share if several sweeps share a machine or a cluster: a sweep with 2 gets
            twice the slots of one with 1.
        budget: what it may cost in total; chooses those of `trials`, `run.epochs` and `trial_scheduler` that
            are not given, and reserves a part for a retraining. None: they have their defaults.
        time_budget_s: wall-clock seconds after which the sweep ends; None for no limit.
        max_failures: how many trials may fail by an error of their own; one more ends the sweep. None
            for no limit.
        stall_timeout_s: wall-clock seconds for which no trial may find room to run; then the sweep ends and
            says what a trial asks for. An autoscaled GPU node takes some minutes.
        trial_timeout_s: a trial that reports nothing for so long hangs: its process is killed, and the trial
            fails. Wall-clock seconds from one epoch's report to the next; None for no limit.
        stop: when the study ends before all trials were tried, because its goal is reached.
        baseline: whether the run's own values are tried first.
        points_to_evaluate: configurations to try before any sampled one, flat; missing values are sampled.
        run: what every trial runs.
        search_space: the searched parameters, by flat key.
        stages: studies that run one after the other, each starting from the results before it: a
            learning rate range test, wide and narrowed searches, the best over several seeds. Empty for
            one search.
        tracking: where the sweep is tracked in MLflow.
        storage: where studies are kept: a folder, or object storage by its URI (`s3://bucket/runs`);
            None for `RAYSWEEP_STORAGE`, else runs/ in the working directory.
        on_end: a shell command to run, or a web address to post to, when the sweep ends.
        subscribers: classes of the user's own that are told of each epoch and of each trial's end, see
            `raysweep.StudySubscriber`.
        ignore_advice: names of advice to ignore, which `launch.py check` prints in brackets.
        import_paths: folders to look for modules and relative data files, besides the sweep file's own, the
            working directory and the clone; relative ones start from the file's folder.
    """

    study_name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    trials: int = Field(20, ge=1)
    seed: int = Field(42, ge=0, lt=1 << 32)
    metric: str = "val_loss"
    direction: Direction = "minimize"
    metrics: tuple[Metric, ...] = Field(min_length=1)
    objective: Literal["last", "best"] = "last"
    constraints: tuple[Constraint, ...] = ()
    sampler: Component = Component(name="optuna.samplers.TPESampler")
    trial_scheduler: Component = Component(name="schedulers.FIFO")
    resources_per_trial: Resources = Resources()
    max_concurrent_trials: int | None = Field(None, ge=1)
    priority: int = Field(1, ge=1, le=100)
    budget: Budget | None = None
    time_budget_s: float | None = Field(None, gt=0)
    max_failures: int | None = Field(10, ge=0)
    trial_timeout_s: float | None = Field(None, gt=0)
    stall_timeout_s: float = Field(900.0, gt=0)
    stop: StudyStop = StudyStop()
    baseline: bool = True
    points_to_evaluate: tuple[dict[str, Any], ...] = ()
    warm_start: tuple[str, ...] = ()
    duplicates: Literal["skip", "reuse", "replicate", "allow"] | None = None
    ordered: bool = False
    optuna_storage: str | None = None
    run: RunConfig
    search_space: dict[str, Parameter] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    tracking: Tracking = Tracking()
    storage: str | None = None
    on_end: str | None = None
    subscribers: tuple[Component, ...] = ()
    ignore_advice: tuple[str, ...] = ()
    import_paths: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_metrics(cls, value: Any) -> Any:
        """Fill in `metrics` from `metric` and `direction`, or the other way round."""
        if not isinstance(value, Mapping):
            return value
        fields = dict(value)
        metrics = fields.get("metrics")
        if metrics is None:
            name, direction = fields.get("metric", "val_loss"), fields.get("direction", "minimize")
            return fields | {"metrics": ({"name": name, "direction": direction},)}
        if isinstance(metrics, (list, tuple)) and metrics:
            first = metrics[0].model_dump() if isinstance(metrics[0], Metric) else metrics[0]
            if isinstance(first, str):
                first = {"name": first}
            if isinstance(first, Mapping):
                fields.setdefault("metric", first.get("name", "val_loss"))
                fields.setdefault("direction", first.get("direction", "minimize"))
        return fields

    @property
    def space(self) -> dict[str, Domain]:
        """The domains of the searched parameters, by flat key."""
        return {key: parameter.domain for key, parameter in self.search_space.items()}

    def in_stage(self, stage: Stage) -> Sweep:
        """This sweep with a stage's own settings and without stages.

        The stage does not inherit the time budget and the `on_end` of the whole sweep.
        """
        fields = self.model_dump(mode="json")
        alone = {"stages": (), "time_budget_s": None, "on_end": None, "storage": None}
        run = overlay(fields["run"], stage.own_run())
        return Sweep.model_validate({**fields, **alone, **stage.own_settings(), "run": run})

    @property
    def sign(self) -> int:
        """See `sign_of`."""
        return sign_of(self.direction)

    @property
    def mode(self) -> Literal["min", "max"]:
        """The direction as in Ray Tune and in `checkpoint_config`."""
        return "min" if self.direction == "minimize" else "max"

    @property
    def experiment(self) -> str:
        """MLflow's experiment: the one in the file, else the run's project, else the study."""
        return self.tracking.experiment or self.run.project or self.study_name

    @property
    def tracking_of_parts(self) -> Tracking:
        """Tracking of its stages and its retraining: in its own experiment, whatever their names."""
        return self.tracking.model_copy(update={"experiment": self.experiment})

    @property
    def others(self) -> dict[str, int]:
        """The metrics beside the objective: +1 if minimised, -1 if maximised."""
        return {metric.name: metric.sign for metric in self.metrics[1:]}
