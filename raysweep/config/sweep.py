"""A sweep: everything a sweep file can say, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from raysweep.config.component import Component
from raysweep.config.constraint import Constraint
from raysweep.config.parameter import Parameter
from raysweep.config.stage import Stage
from raysweep.config.study_stop import StudyStop
from schedulers.space import Domain
from trainables.run_config import RunConfig, overlay

Direction = Literal["minimize", "maximize"]


def sign_of(direction: Direction) -> int:
    """+1 where less is better, -1 where more is: loss = sign * metric, and back."""
    return 1 if direction == "minimize" else -1


RESERVED = "trial."
"""Begins the keys of a trial's flat configuration that are no searched parameters."""
SEED_KEY = "trial.seed"
"""The one of them that is the trial's own seed."""

BETTER_HIGHER = (
    *("accuracy", "exact_match", "r2"),
    *("roc_auc", "average_precision", "f1", "balanced_accuracy"),
)
"""Metrics that nobody wants small."""


class _Words(BaseModel):
    """A frozen set of words: an unknown one is an error, never dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Words):
    """Something a sweep is judged by.

    Attributes:
        name: as the trial reports it.
        direction: which way is better.
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


class MoreResources(_Words):
    """What a trial takes that ran out of memory, once; what is not given stays as it was.

    Attributes:
        cpu: cores. Memory has no word of its own: the more cores a trial takes, the fewer run beside it.
        gpu: GPUs, whole ones or a fraction of one.
    """

    cpu: float | None = Field(None, gt=0)
    gpu: float | None = Field(None, gt=0)


class Resources(_Words):
    """What one trial takes of a machine.

    Attributes:
        cpu: cores.
        gpu: GPUs, whole ones or a fraction of one; None for a whole one where there are any.
        on_oom: what a trial takes that ran out of memory: it is run once more, when nothing else runs.
            None: it ends as infeasible.
        lanes: trials of a process at most, of those that share a core or a GPU; 1: a process each. auto: on
            cores as many as share one, on a GPU one. Where they can be they are trained together, on a core
            with the results of each alone.
        auto: cpu and gpu are chosen before the sweep begins, from what trials are seen to take.
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
    def _a_number_or_auto(cls, value: Any) -> Any:
        if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{value!r} is no number of trials; write 'auto', or a whole number from 1 on")
        return value


class Budget(_Words):
    """What a sweep may take in all, its retraining included; the one of the two that is given.

    Attributes:
        hours: wall-clock, from the command to the end of the retraining.
        epochs: of all trainings together.
    """

    hours: float | None = Field(None, gt=0, allow_inf_nan=False)
    epochs: int | None = Field(None, ge=1)


class Tracking(_Words):
    """Where MLflow's records go.

    Attributes:
        uri: a tracking server or store; None for `MLFLOW_TRACKING_URI`, else what a bare `mlflow ui` shows.
        experiment: None for the run's `project`, and without one for the study's name.
    """

    uri: str | None = None
    experiment: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_a_bare_uri(cls, value: Any) -> Any:
        return {"uri": value} if isinstance(value, str) else value


class Sweep(_Words):
    """One study, as asked for.

    `Sweep.model_validate(sweep.model_dump(mode="json"))` is the same sweep again. What is checked
    here is each value by itself; how they fit together, and with the code they name, is checked on
    reading (`raysweep.config.loading`).

    Attributes:
        study_name: also the folder under runs/.
        trials: how many configurations are tried.
        seed: of the sampler and the trial scheduler; trainings have `run.seeds`.
        metric: the objective, short for the first of `metrics`.
        direction: which way the objective is better.
        metrics: all that the sweep is judged by; the first is the objective.
        objective: whether a trial is worth its `last` metric or its `best`.
        constraints: what a trial must keep to; one that does not ends as infeasible.
        sampler: what is tried next.
        warm_start: earlier studies that this one learns from, by their folders or names.
        duplicates: what becomes of a configuration that was tried already: another is drawn (`skip`),
            its result is taken (`reuse`), it runs under another seed (`replicate`) or as any other
            (`allow`). None: `allow` for a population, whose members differ in more, else `skip`, for
            the same configuration and seed give the same curve.
        ordered: what is tried next follows from the seed and the number of slots alone, not from who
            happens to end first; a slot may have to wait for it.
        optuna_storage: address of a storage that holds the study as Optuna's while it runs, beside
            `optuna.db` in its folder at the end; `off` for neither.
        trial_scheduler: who goes on.
        resources_per_trial: what one trial takes.
        max_concurrent_trials: None for as many as fit.
        priority: weight of its share where several sweeps share a machine or a cluster: one of 2 gets twice
            the slots of one of 1.
        budget: what it may take in all; chooses those of `trials`, `run.epochs` and `trial_scheduler` that
            are not given, and sets a retraining aside. None: they have their defaults.
        time_budget_s: wall-clock seconds after which the sweep ends; None for no limit.
        max_failures: how many trials may fail by an error of their own; one more ends the sweep. None
            for no limit.
        stall_timeout_s: wall-clock seconds that no trial may find a place to run; then the sweep ends, saying
            what a trial asks for. An autoscaled GPU node takes some minutes.
        trial_timeout_s: a trial that says nothing for so long hangs: its process is ended, and the trial
            failed. Wall-clock seconds from one epoch's report to the next; None for no limit.
        stop: when the study ends before all trials were tried, for having come far enough.
        baseline: whether the run's own values are tried first.
        points_to_evaluate: configurations to try before any sampled one, flat; what one leaves out
            is sampled.
        run: what every trial runs.
        search_space: what is searched, by flat key.
        stages: studies that run one after the other, each beginning with what was found before it: a
            learning rate range test, wide and narrowed searches, the best over several seeds. Empty for
            one search.
        tracking: where records go.
        storage: where studies are kept: a folder, or object storage by its URI (`s3://bucket/runs`);
            None for `RAYSWEEP_STORAGE`, else runs/ in the working directory.
        on_end: a shell command to run, or a web address to post to, when the sweep ends.
        subscribers: classes of the user's own that hear of each epoch and of each trial's end, see
            `raysweep.StudySubscriber`.
        ignore_advice: names of advice that is not wanted; what `launch.py check` prints in brackets.
        import_paths: folders in which modules and relative data files are looked for, besides the sweep
            file's own, the working directory and the clone; relative ones are meant from the file's folder.
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
    def _one_list_of_metrics(cls, value: Any) -> Any:
        """Make `metric` and `direction` the short form of `metrics`, whichever was given."""
        if not isinstance(value, Mapping):
            return value
        words = dict(value)
        metrics = words.get("metrics")
        if metrics is None:
            short = {"name": words.get("metric", "val_loss"), "direction": words.get("direction", "minimize")}
            return words | {"metrics": (short,)}
        if isinstance(metrics, (list, tuple)) and metrics:
            first = metrics[0].model_dump() if isinstance(metrics[0], Metric) else metrics[0]
            if isinstance(first, str):
                first = {"name": first}
            if isinstance(first, Mapping):
                words.setdefault("metric", first.get("name", "val_loss"))
                words.setdefault("direction", first.get("direction", "minimize"))
        return words

    @property
    def space(self) -> dict[str, Domain]:
        """Every searched parameter's domain, by flat key."""
        return {key: parameter.domain for key, parameter in self.search_space.items()}

    def in_stage(self, stage: Stage) -> Sweep:
        """This sweep with a stage's own words laid over it, and no stages any more.

        The time of the whole, and what is told at the end of the whole, are none of the stage's.
        """
        words = self.model_dump(mode="json")
        alone = {"stages": (), "time_budget_s": None, "on_end": None, "storage": None}
        run = overlay(words["run"], stage.own_run())
        return Sweep.model_validate({**words, **alone, **stage.own_words(), "run": run})

    @property
    def sign(self) -> int:
        """+1 where the metric is minimised, -1 where maximised: loss = sign * metric, and back."""
        return sign_of(self.direction)

    @property
    def mode(self) -> Literal["min", "max"]:
        """The direction in the words of Ray Tune and of checkpoints."""
        return "min" if self.direction == "minimize" else "max"

    @property
    def experiment(self) -> str:
        """MLflow's experiment: as the file says, else the run's project, else the study."""
        return self.tracking.experiment or self.run.project or self.study_name

    @property
    def tracking_of_parts(self) -> Tracking:
        """Where its stages and its retraining are filed: with it, whatever their own names."""
        return self.tracking.model_copy(update={"experiment": self.experiment})

    @property
    def others(self) -> dict[str, int]:
        """The metrics beside the objective: +1 where minimised, -1 where maximised."""
        return {metric.name: metric.sign for metric in self.metrics[1:]}

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """When a searched parameter is active, for those that not always are."""
        return {key: parameter.when for key, parameter in self.search_space.items() if parameter.when}
