"""The run config, `run:` in a sweep file: one training as plain data.

A run config names the net, optimizer, schedule, criterion and data, each by dotted path with its keyword
arguments beside it, and the number of epochs. Nothing here imports torch, so that a sweep file is checked
in a fraction of a second.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

LAZY_KEYS = ("num_workers", "steps_per_epoch", "validation_steps", "num_classes", "preload")
"""Keys of `data_config` for the loading of a Dataset or DataLoader."""

DATA_KEYS = (
    "split_seed",
    "val_fraction",
    "test_fraction",
    "folds",
    "stratify",
    "task",
    "inputs",
    *LAZY_KEYS,
)
"""Keys of `data_config` for the trainer; the data function gets one only if it has such a parameter."""

SCHEDULE_KEYS = ("interval",)
"""Keys of `scheduler_config` for the trainer (`step` or `epoch`), not for the scheduler class."""
FILLED_LENGTHS = ("total_steps", "T_max", "t_max")
"""Keywords of a scheduler class that the trainer fills in with the length of the training."""
SCHEDULE_LENGTHS = (*FILLED_LENGTHS, "total_iters", "epochs", "num_training_steps")
"""Keywords of a scheduler class that give the length of the whole training."""
SCHEDULE_MARKS = ("milestones", "step_size", "step_size_up", "step_size_down", "T_0")
"""Keywords of a scheduler class in epochs (or steps) that do not depend on the length of the training."""

USUAL_WARMUP = (0.05, 0.10)
"""Least and largest share of a training's epochs that a warm-up usually takes."""

CONFIGS = {
    "net": "net_config",
    "optimizer": "optimizer_config",
    "scheduler": "scheduler_config",
    "criterion": "criterion_config",
    "data": "data_config",
}
"""Key of each component -> the key that holds its keyword arguments."""

GROUPS = (*CONFIGS.values(), "train_config")
"""Keys that hold settings by name, each of which can be searched."""

LOOP_ARGUMENTS = ("device", "seed", "devices", "folders")
"""Keyword arguments of a custom training loop; the last two only if it has such parameters."""

COMMAND_LOOP = "trainables.command_loop.CommandLoop"
"""`train` of a run config with a `command`."""

Cost = Literal["parameters", "trainable_parameters", "flops", "latency_ms"]

EMA_RATES = {"SPlus": 0.999}
"""`ema_rate` where none is given, by the class name of an optimizer that validates with an average of its
weights over about the last 1/(1 - ema_rate) steps."""

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

Outputs = Literal["logits", "probabilities", "log_probabilities"]

COSTS: tuple[Cost, ...] = get_args(Cost)
"""Costs of its net that a trial can report; see `trainables.net_cost.measure`."""


OUR_METRICS = (
    "val_loss",
    "train_loss",
    "lr",
    "grad_norm",
    "epoch_s",
    "peak_memory_mb",
    "gpu_utilisation",
    "val_loss_raw",
)
"""Metrics that results may hold besides `accuracy` or `r2`; only those two can be replaced by the user's."""

NAMED_METRICS = {
    **dict.fromkeys(("roc_auc", "average_precision", "f1", "balanced_accuracy", "log_loss"), "classes"),
    **dict.fromkeys(("mae", "rmse", "mape"), "numbers"),
}
"""Metrics that need no function -> the targets they are for; see `trainables.named_metrics`."""

RESERVED_METRICS = frozenset(
    (
        *OUR_METRICS,
        *COSTS,
        *("epoch", "outcome", "reason", "error", "unsaved", "process"),
        *("predicted_final", "predicted_low", "predicted_high", "predicted_chance"),
        # Ray's, ray.tune.result
        *("done", "should_checkpoint", "training_iteration", "config", "experiment_tag", "trial_id"),
        *("time_this_iter_s", "time_total_s", "time_since_restore", "iterations_since_restore"),
        *("timestamp", "date", "pid", "hostname", "node_ip", "checkpoint_dir_name", "__duplicate__"),
        *("episodes_this_iter", "episodes_total"),
        *("timesteps_this_iter", "timesteps_total", "timesteps_since_restore"),
    )
)
"""Keys of a result that are used by this package or by Ray, and so are no names for a user's metric."""


def is_judged_by_epoch(metric: str) -> bool:
    """Whether a metric is a loss or a score of an epoch, neither a cost nor a measurement.

    >>> is_judged_by_epoch("train_loss"), is_judged_by_epoch("accuracy"), is_judged_by_epoch("epoch_s")
    (True, True, False)
    """
    return metric in ("val_loss", "train_loss") or metric not in RESERVED_METRICS


def name_fault(metric: str) -> str:
    """What is wrong with the name of a user's metric; empty if nothing.

    >>> name_fault("done"), name_fault("auc")
    ("'done' is taken: a trial's results use it already; name the metric 'my_done'", '')
    """
    if metric in RESERVED_METRICS:
        return f"'{metric}' is taken: a trial's results use it already; name the metric 'my_{metric}'"
    if "/" in metric or not metric.strip():
        return f"'{metric}' is no name for a metric: Ray takes names apart at '/'; write 'my_metric'"
    return ""


class RunError(ValueError):
    """A run config is wrong; the message is one line that says what and how to fix it.

    A trial that raises it ends with it as its outcome.
    """


def _free_name(metric: str) -> str:
    """The name of a metric, unchanged.

    Raises:
        ValueError: if it cannot be used.
    """
    fault = name_fault(metric)
    if fault:
        raise ValueError(fault)
    return metric


def _whole_path(function: str) -> str:
    """The dotted path of a metric's function, given by its path or as a named metric."""
    return metric_path(function) if function in NAMED_METRICS else function


def metric_path(name: str) -> str:
    """The dotted path of a named metric."""
    return f"trainables.named_metrics.{name}"


class Section(BaseModel):
    """A frozen part of a run config or sweep file, in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EarlyStopping(Section):
    """When a trial ends itself: after `patience` epochs without a better `monitor`.

    Attributes:
        enabled: off unless asked for.
        patience: epochs without improvement after which training ends, >= 1.
        monitor: `val_loss`, `train_loss` or one of the metrics.
        mode: whether a lower (`min`) or higher (`max`) value is better; follows from the name of a metric
            known here (`accuracy`).
        min_delta: improvements smaller than this do not count, in units of `monitor`.
    """

    enabled: bool = False
    patience: int = Field(default=10, ge=1)
    monitor: str = "val_loss"
    mode: Literal["min", "max"] = "min"
    min_delta: float = Field(default=0.0, ge=0)

    @property
    def sign(self) -> int:
        """+1 where less is better, -1 where more is."""
        return 1 if self.mode == "min" else -1


class Checkpointing(Section):
    """When the trainer saves a checkpoint, besides those the trial scheduler needs.

    Attributes:
        enabled: off unless asked for; a long trial is saved about every minute in any case.
        save_every_n_epochs: the period, epochs; the last epoch is saved as well.
        keep_last_k: number of these checkpoints that are kept.
        save_best: also save whenever `monitor` is the best so far.
        monitor: `val_loss`, `train_loss` or one of the metrics.
        mode: whether a lower (`min`) or higher (`max`) value is better; follows from the name of a metric
            known here (`accuracy`).
    """

    enabled: bool = False
    save_every_n_epochs: int = Field(default=10, ge=1)
    keep_last_k: int = Field(default=3, ge=1)
    save_best: bool = True
    monitor: str = "val_loss"
    mode: Literal["min", "max"] = "min"

    @property
    def sign(self) -> int:
        """+1 where less is better, -1 where more is."""
        return 1 if self.mode == "min" else -1


class ParameterGroup(Section):
    """Parameters of the net that are trained with settings of their own.

    Attributes:
        match: a regular expression, searched for in the parameter's name; None matches all.
        max_ndim: only parameters of at most so many dimensions, >= 0: 1 for biases and norms.
        lr_factor: their learning rate at the start of the schedule, as a multiple of the others', > 0.
        optimizer_config: settings that replace those of the run's `optimizer_config`.

    >>> ParameterGroup(match="bias$").takes("net.0.bias", ndim=1)
    True
    """

    match: str | None = None
    max_ndim: int | None = Field(default=None, ge=0)
    lr_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    optimizer_config: dict[str, Any] = Field(default_factory=dict)

    @field_validator("match")
    @classmethod
    def _is_expression(cls, match: str | None) -> str | None:
        try:
            re.compile(match or "")
        except re.error as error:
            raise ValueError(f"{match!r} is no regular expression: {error}") from None
        return match

    def takes(self, name: str, ndim: int) -> bool:
        """Whether a parameter of this name and number of dimensions belongs to the group."""
        small = self.max_ndim is None or ndim <= self.max_ndim
        return small and (self.match is None or re.search(self.match, name) is not None)


class SettingsChange(Section):
    """Settings that change during training.

    Attributes:
        after_epoch: the last epoch with the old settings, >= 1.
        config: the new values by flat key; the others stay.
    """

    after_epoch: int = Field(ge=1)
    config: dict[str, Any]


class RunConfig(Section):
    """One training: the section `run:` of a sweep file.

    `net`, `optimizer`, `scheduler`, `criterion` and `data` are dotted paths of anything importable;
    the keys ending in `_config` hold their keyword arguments.

    Attributes:
        project: the MLflow experiment of the results; None for the study's own name.
        net: an `nn.Module`; `in_features` and `out_features` are filled in from the data.
        optimizer: a torch-style optimizer.
        scheduler: a learning-rate scheduler, or None for a constant rate.
        criterion: a torch-style loss; in `criterion_config` a `weight` or `pos_weight` of `balanced` is
            computed from the training rows, see `trainables.class_weights`.
        outputs: meaning of the net's outputs, for a criterion other than torch's: `logits`,
            `probabilities` or `log_probabilities`; for torch's it is known.
        data: a function; see `trainables.data`. None for a custom loop (`train`) with data of its own.
        param_groups: parameters that are trained with settings of their own, by a name of your choice; a
            parameter that several groups match belongs to the first of them.
        epochs: passes over the training split; R of the trial schedulers.
        batch_size: rows per batch, and per optimizer step unless `accumulate` is above 1.
        accumulate: batches per optimizer step, >= 1: their gradients together are those of one batch of all
            their rows (batch normalisation sees each batch by itself). `grad_clip`, schedule and warm-up
            count these steps; the last step of an epoch takes the batches that are left.
        seeds: one training each; a sweep uses the first.
        device: noted only ("cuda:0" means "a GPU"); Ray assigns a trial's device.
        warmup: linear rise of the learning rate before the schedule: epochs if >= 1, else a fraction
            of `epochs`; 0 for none.
        grad_clip: largest total gradient norm, or None.
        precision: of matrix products and convolutions: `fp32`; `tf32`, on a GPU their inputs cut to 10 bits;
            `bf16` or `fp16` for autocast, `fp16` with its loss scaled. Weights are always float32.
        deterministic: torch's deterministic algorithms, slower; an operation without one warns once.
        init: a function of one tensor (`torch.nn.init.orthogonal_`), called on each parameter of two
            or more dimensions.
        metrics: name -> function `f(y_true, y_pred) -> float` of numpy arrays, as in scikit-learn (`y_score`
            instead gets probabilities), or any other `f(prediction, target)`, of arrays too: the outputs as
            they are, numbers in the target's units. A named metric (`roc_auc`, `f1`, `mae`, ...) needs no
            function: `{roc_auc: roc_auc}`.
        costs: costs of the net that every result holds; see `trainables.net_cost.measure`.
        data_fraction: share of the training rows that are trained on, in (0, 1]; which rows depends
            on `data_config.split_seed`, and a larger share holds every row of a smaller one.
        schedule: settings that change during training, in order: a schedule that PBT has found,
            replayed. Only what PBT may search can change: nothing of the net's shape.
        train: a generator function that replaces the training loop; see `trainables.custom_loop`.
        train_config: the argument `config` of `train`, if it has such a parameter; with `command`, the
            values of its placeholders.
        command: a command that is run as the training, instead of `train`: `python train.py --lr {lr}`; see
            `trainables.command_loop`.

    >>> RunConfig(data="trainables.data.load_digits").epochs
    10
    """

    project: str | None = None
    net: str = "trainables.mlp.MLP"
    optimizer: str = "pytorch_optimizer.SPlus"
    scheduler: str | None = "pytorch_scheduler.ExpHyperbolicLRScheduler"
    criterion: str = "torch.nn.MSELoss"
    outputs: Outputs | None = None
    data: str | None = None
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=256, ge=1)
    accumulate: int = Field(default=1, ge=1)
    seeds: list[int] = Field(default_factory=lambda: [42], min_length=1)
    device: str | None = None
    net_config: dict[str, Any] = Field(default_factory=dict)
    optimizer_config: dict[str, Any] = Field(default_factory=dict)
    scheduler_config: dict[str, Any] = Field(default_factory=dict)
    criterion_config: dict[str, Any] = Field(default_factory=dict)
    data_config: dict[str, Any] = Field(default_factory=dict)
    param_groups: dict[str, ParameterGroup] = Field(default_factory=dict)
    early_stopping_config: EarlyStopping = EarlyStopping()
    checkpoint_config: Checkpointing = Checkpointing()
    warmup: float = Field(default=0.0, ge=0)
    grad_clip: float | None = Field(default=None, gt=0)
    precision: Precision = "fp32"
    deterministic: bool = False
    init: str | None = None
    metrics: dict[Annotated[str, AfterValidator(_free_name)], Annotated[str, AfterValidator(_whole_path)]] = (
        Field(default_factory=dict)
    )
    costs: tuple[Cost, ...] = ()
    data_fraction: float = Field(default=1.0, gt=0, le=1)
    schedule: tuple[SettingsChange, ...] = ()
    train: str | None = None
    train_config: dict[str, Any] = Field(default_factory=dict)
    command: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _set_command_loop(cls, fields: Any) -> Any:
        """Set `train` to the training loop that runs a command."""
        if not isinstance(fields, Mapping) or fields.get("command") is None:
            return fields
        if fields.get("train") not in (None, COMMAND_LOOP):
            raise ValueError("'command' and 'train' are both the training; drop one of them")
        return {**fields, "train": COMMAND_LOOP}

    @property
    def warmup_epochs(self) -> float:
        """Epochs of the warm-up; a `warmup` below 1 is a fraction of `epochs`."""
        return self.warmup if self.warmup >= 1 else self.warmup * self.epochs


def read(fields: Mapping[str, Any]) -> RunConfig:
    """The run config with these fields.

    Raises:
        RunError: for the first unknown key or invalid value.
    """
    try:
        return RunConfig.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["run", *(str(part) for part in first["loc"] if part != "[key]")])
        if first["type"] == "value_error":
            raise RunError(f"{key}: {first['ctx']['error']}") from None
        value = "" if first["type"] == "missing" else f"; it is {first['input']!r}"
        raise RunError(f"{key}: {first['msg']}{value}") from None


def overlay(run: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the run config with the searched values set.

    Args:
        run: nested, as under `run:`.
        flat: dotted path -> value.

    Raises:
        ValueError: if a path goes through a value that is not a mapping.

    >>> overlay({"epochs": 10, "optimizer_config": {"lr": 0.1}}, {"optimizer_config.lr": 0.5})
    {'epochs': 10, 'optimizer_config': {'lr': 0.5}}
    """
    result = _copy_mappings(run)
    for path, value in flat.items():
        *folders, leaf = path.split(".")
        section = result
        for depth, folder in enumerate(folders, start=1):
            inner = section.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{path}: {'.'.join(folders[:depth])} is {inner!r}, not a mapping")
            section = inner
        section[leaf] = value
    return result


def settings_at(run: RunConfig, epoch: int) -> RunConfig:
    """The run config with the settings of its `schedule` after `epoch` epochs.

    >>> run = RunConfig(data="d", optimizer_config={"lr": 0.1},
    ...     schedule=[{"after_epoch": 3, "config": {"optimizer_config.lr": 0.2}}])
    >>> [settings_at(run, epoch).optimizer_config["lr"] for epoch in (0, 2, 3)]
    [0.1, 0.1, 0.2]
    """
    if not run.schedule:
        return run
    fields = run.model_dump(mode="json") | {"schedule": ()}
    for change in sorted(run.schedule, key=lambda change: change.after_epoch):
        if change.after_epoch <= epoch:
            fields = overlay(fields, change.config)
    return RunConfig.model_validate(fields)


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted path -> value of a nested config; an empty mapping is a value.

    >>> flatten({"epochs": 10, "optimizer_config": {"lr": 0.1}, "net_config": {}})
    {'epochs': 10, 'optimizer_config.lr': 0.1, 'net_config': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{path}": leaf for path, leaf in flatten(value).items()}
        else:
            flat[key] = value
    return flat


def _copy_mappings(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the mappings at every depth; the values are shared."""
    return {
        key: _copy_mappings(value) if isinstance(value, Mapping) else value for key, value in nested.items()
    }
