"""Checks that the settings of a sweep agree with one another.

Errors are settings that cannot run or do not mean what they say. Warnings are settings without effect or that
do not fit: the template's own example has one, and such files must run.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from raysweep.config.baseline import baseline_of
from raysweep.config.call_checks import ConfigCheck, ConfigFinding
from raysweep.config.command_checks import command_errors, settings_not_handed_over
from raysweep.config.document import Document
from raysweep.config.field_errors import describe
from raysweep.config.natural_limits import breaks_limits
from raysweep.config.parameter import is_number
from raysweep.config.problem import Key, how_to_write_number, shown, suggestion
from raysweep.config.rule_context import rule_context
from raysweep.config.search_space import SearchSpace
from raysweep.config.sweep import BETTER_HIGHER, BETTER_LOWER, Sweep
from schedulers import RULES
from schedulers.errors import InvalidSetting
from schedulers.rule import Rule
from schedulers.space import Categorical, Domain, Float, Int
from schedulers.stop_audit import AUDIT_SETTINGS, with_audit
from trainables import imports
from trainables.criteria import of_criterion
from trainables.optimizers import AVERAGING
from trainables.run_config import (
    COSTS,
    FILLED_LENGTHS,
    NAMED_METRICS,
    OUR_METRICS,
    RunConfig,
    flatten,
    is_judged_by_epoch,
    metric_path,
)

STEADY = ("epoch_s", "peak_memory_mb")
"""Metrics, besides a trial's costs, that training hardly changes."""

ALWAYS_REPORTED = OUR_METRICS[:5]  # the others, memory and GPU load, depend on the machine
_SCORES = {"classes": ("accuracy",), "labels": ("accuracy", "exact_match"), "numbers": ("r2",)}
_GRIDS = ("optuna.samplers.GridSampler", "optuna.samplers.BruteForceSampler")
_KWARGS = ("optimizer_config", "net_config", "criterion_config", "scheduler_config")
_PER_STEP = ("OneCycleLR", "CyclicLR")
# What a population may change during training: none of these alters a tensor's shape or its meaning.
_MUTABLE = ("optimizer_config", "scheduler_config", "criterion_config", "param_groups", "grad_clip")


class Checks(ConfigCheck):
    """Checks across the fields of one sweep."""

    def __init__(self, document: Document, sweep: Sweep, space: SearchSpace) -> None:
        super().__init__(document, sweep, space)
        self.run = sweep.run
        self.domains: dict[str, Domain] = {
            name: parameter.domain for name, parameter in space.parameters.items()
        }

    def findings(self) -> Iterator[ConfigFinding]:
        """Yield the findings of all checks."""
        yield from self.data()
        yield from self.command()
        yield from self.metrics()
        yield from self.named_metrics()
        yield from self.constraints()
        yield from self.monitors()
        yield from self.schedule()
        yield from self.rule()
        yield from self.classic_pfl()
        yield from self.population()
        yield from self.grid()
        yield from self.baseline()
        yield from self.resources()
        yield from self.budget()
        yield from self.trials()
        yield from self.natural_limits()
        yield from self.quoted_numbers()
        yield from self.searched_settings()
        yield from self.class_weights()

    def natural_limits(self) -> Iterator[ConfigFinding]:
        """Warn of values beyond natural limits, such as a momentum above one, which diverge or fail."""
        for config in _KWARGS:
            for kwarg, value in getattr(self.run, config).items():
                flat = f"{config}.{kwarg}"
                is_fixed_number = isinstance(value, int | float) and flat not in self.domains
                if is_fixed_number and (why := breaks_limits(flat, value)):
                    yield self.warning(("run", config, kwarg), f"{shown(value)} {why}")
        for flat, domain in self.domains.items():
            for end in _ends(domain):
                if why := breaks_limits(flat, end):
                    fix = "narrow the range" if not isinstance(domain, Categorical) else "drop it"
                    yield self.warning(self.space.keys[flat], f"{shown(round(end, 12))} {why}", fix)

    def quoted_numbers(self) -> Iterator[ConfigFinding]:
        """Warn of texts that are numbers, as `lr: "1e-3"`: what takes a number fails with them."""
        for config in _KWARGS:
            for kwarg, value in getattr(self.run, config).items():
                if isinstance(value, str) and (fix := how_to_write_number(value)):
                    yield self.warning(("run", config, kwarg), f"{shown(value)} is text, not a number", fix)

    def searched_settings(self) -> Iterator[ConfigFinding]:
        """Check the ends or choices of searched settings of the run itself, as `batch_size`."""
        for name, domain in self.domains.items():
            if name not in RunConfig.model_fields:
                continue
            for value in domain.choices if isinstance(domain, Categorical) else _ends(domain):
                try:
                    RunConfig.model_validate({name: value})
                except ValidationError as error:
                    what, fix = describe(error.errors()[0])
                    if isinstance(domain, Float) and error.errors()[0]["type"] == "int_from_float":
                        what, fix = "is a whole number, and its range is not", "write 'type: int'"
                    yield self.error(self.space.keys[name], what, fix)

    def class_weights(self) -> Iterator[ConfigFinding]:
        """Check that a class weight which is a word is the one known."""
        for name in ("weight", "pos_weight"):
            value = self.run.criterion_config.get(name)
            if isinstance(value, str) and value != "balanced":
                fix = "write 'balanced', or a list of numbers"
                yield self.error(("run", "criterion_config", name), f"{shown(value)} is no weight", fix)

    def schedule_range(self, keyword: str, default: Any = None) -> tuple[Any, Any, Key]:
        """Smallest and largest value of a schedule's keyword over all trials, and its key."""
        flat = f"scheduler_config.{keyword}"
        domain = self.domains.get(flat)
        if isinstance(domain, (Int, Float)):
            return domain.low, domain.high, self.space.keys[flat]
        if isinstance(domain, Categorical):
            numbers = [choice for choice in domain.choices if is_number(choice)]
            return min(numbers, default=default), max(numbers, default=default), self.space.keys[flat]
        fixed = self.run.scheduler_config.get(keyword, default)
        fixed = fixed if is_number(fixed) else default
        return fixed, fixed, ("run", "scheduler_config", keyword)

    def reported_metrics(self) -> list[str] | None:
        """Names of the metrics that a trial reports; None for the user's own loop, which may report any."""
        if self.run.train is not None:
            return None
        searched = "criterion" in self.domains
        meaning = None if searched else of_criterion(self.run.criterion, self.run.criterion_config)
        scores = BETTER_HIGHER if meaning is None else _SCORES[meaning.layout]
        raw = ["val_loss_raw"] if self._optimizers() <= AVERAGING else []
        return [*ALWAYS_REPORTED[:2], *scores, *self.run.metrics, *ALWAYS_REPORTED[2:], *COSTS, *raw]

    def _optimizers(self) -> set[str]:
        """Class names of the optimizers that trials may have."""
        searched = self.domains.get("optimizer")
        paths = searched.choices if isinstance(searched, Categorical) else (self.run.optimizer,)
        return {str(path).rpartition(".")[2] for path in paths}

    def data(self) -> Iterator[ConfigFinding]:
        """Require data, unless the run has a loop of its own."""
        if self.run.data is None and self.run.train is None:
            yield self.error(("run", "data"), "missing", "as in 'data: trainables.data.load_table'")
        if self.run.train is None and any(key.startswith("train_config.") for key in self.domains):
            yield self.error(("run", "train"), "missing", "train_config is passed to it")

    def command(self) -> Iterator[ConfigFinding]:
        """Check that a command can be run, and gets every searched setting."""
        if self.run.command is None:
            return
        at: Key = ("run", "command")
        group = "train_config."
        searched = {key.removeprefix(group): key for key in self.domains if key.startswith(group)}
        settings = {*searched, *flatten(self.run.train_config)}
        for what, fix in command_errors(self.run.command, settings, self.sweep.import_paths):
            yield self.error(at, what, fix)
        for name in settings_not_handed_over(self.run.command, searched):
            fix = f"write {{{name}}} or {{args}} in it, or read RAYSWEEP_CONFIG and drop the placeholders"
            what = "is searched, but run.command has no placeholder for it"
            yield self.warning(self.space.keys[searched[name]], what, fix)
        for key in set(self.domains) - set(searched.values()):
            fix = f"search train_config.{key.rpartition('.')[2]}"
            yield self.error(self.space.keys[key], "cannot be passed to a command", fix)

    def metrics(self) -> Iterator[ConfigFinding]:
        """Check that trials report every metric, and that the short form agrees with the list."""
        reported = self.reported_metrics()
        listed = "metrics" in self.document.value
        names = [metric.name for metric in self.sweep.metrics]
        for index, metric in enumerate(self.sweep.metrics):
            key: Key = ("metrics", index) if listed else ("metric",)
            if metric.name in names[:index]:
                yield self.error(key, f"{shown(metric.name)} is given twice", "drop one of the two")
            elif reported is not None and metric.name not in reported:
                yield self.error(key, *self._not_reported(metric.name, reported))
            elif wrong := self._wrong_way(metric.name, metric.sign):
                direction: Key = (*key, "direction") if listed else ("direction",)
                at = direction if self.document.at(direction) is not None else key
                yield self.error(at, wrong, f"write 'direction: {_opposite(metric.direction)}'")
        first = self.sweep.metrics[0]
        for field, short, listed_value in (
            ("metric", self.sweep.metric, first.name),
            ("direction", self.sweep.direction, first.direction),
        ):
            if short != listed_value:
                what = f"{shown(short)} is not the first of 'metrics' ({shown(listed_value)})"
                yield self.error((field,), what, "drop it: the first of 'metrics' is the objective")

    def named_metrics(self) -> Iterator[ConfigFinding]:
        """Check that a metric known by name is for the criterion's kind of output."""
        meaning = of_criterion(self.run.criterion, self.run.criterion_config)
        if meaning is None or "criterion" in self.domains or self.run.train is not None:
            return
        for name, path in self.run.metrics.items():
            kind = NAMED_METRICS.get(path.removeprefix(metric_path("")))
            if kind is not None and (kind == "numbers") != (meaning.layout == "numbers"):
                what = f"{path.rpartition('.')[2]} is for {kind}, but criterion {self.run.criterion} is not"
                at: Key = ("run", "metrics", name)
                at = at if at in self.document.locations else ("metric",)
                others = [each for each, other in NAMED_METRICS.items() if other != kind]
                yield self.error(at, what, f"use one of {', '.join(others)}, or another criterion")

    def constraints(self) -> Iterator[ConfigFinding]:
        """Check that constraints are on metrics that training does not change."""
        for index, constraint in enumerate(self.sweep.constraints):
            key: Key = ("constraints", index)
            if self.run.train is None and constraint.metric not in (*COSTS, *STEADY):
                what = f"'{constraint.metric}' is not known at the first epoch, when constraints are checked"
                fix = f"make it one of 'metrics'; known here: {', '.join((*COSTS, *STEADY))}"
                yield self.error(key, what, fix)

    def _wrong_way(self, name: str, sign: int) -> str:
        """What is wrong with a metric's direction; "" if nothing. In an own loop, a loss may be anything."""
        if name in BETTER_HIGHER and sign > 0:
            return f"{name} is better when higher"
        if name in BETTER_LOWER and sign < 0 and self.run.train is None:
            return f"{name} is better when lower"
        return ""

    def _not_reported(self, name: str, reported: list[str]) -> tuple[str, str]:
        """Problem and fix of a metric that no trial reports."""
        what = f"no trial reports {shown(name)}"
        if name in BETTER_HIGHER:
            fix = f"criterion {self.run.criterion} is for another task, which has {shown(reported[2])}"
            return what, fix
        otherwise = f"it reports {', '.join(reported)}; name others under run.metrics"
        return what, suggestion(name, reported, otherwise)

    def monitors(self) -> Iterator[ConfigFinding]:
        """Check that trials report the metrics of checkpoints and early stopping."""
        reported = self.reported_metrics()
        if reported is None:
            return
        by_epoch = [name for name in reported if is_judged_by_epoch(name)]
        for section, names in (("checkpoint_config", reported), ("early_stopping_config", by_epoch)):
            config = getattr(self.run, section)
            if config.model_fields_set and "enabled" not in config.model_fields_set:
                yield self.warning(("run", section), "has no effect", "write 'enabled: true' in it")
            if config.enabled and config.monitor not in names:
                yield self.error(("run", section, "monitor"), *self._not_reported(config.monitor, names))
            elif config.enabled and (wrong := self._wrong_way(config.monitor, config.sign)):
                yield self.error(("run", section, "mode"), wrong, f"write 'mode: {_opposite(config.mode)}'")

    def schedule(self) -> Iterator[ConfigFinding]:
        """Check that the LR schedule is as long as the training, within its own bound, and has an effect."""
        if "scheduler" in self.domains:
            return
        if self.run.scheduler is None:
            yield from self._settings_of_no_scheduler()
            return
        name = self.run.scheduler.rpartition(".")[2]
        epochs = self.run.epochs
        if "Hyperbolic" in name:
            # Hyperbolic schedules: N <= U, or the square root has no value (arXiv:2407.15200, section 3).
            low, _, key = self.schedule_range("upper_bound", math.inf)
            _, most, _ = self.schedule_range("total_steps", epochs)
            if low < most:
                what = f"upper_bound ({shown(low)}) is below total_steps ({shown(most)})"
                yield self.error(key, what, "raise upper_bound: the schedule ends before it")
        per_step = self.run.scheduler_config.get("interval") == "step" or name in _PER_STEP
        for keyword in () if per_step else FILLED_LENGTHS:
            low, high, key = self.schedule_range(keyword)
            if low is not None and (low != epochs or high != epochs):
                values = shown(low) if low == high else f"{shown(low)} to {shown(high)}"
                what = f"{keyword} ({values}) is not epochs ({epochs})"
                fix = f"drop it to have {epochs} filled in, unless this is intended"
                yield self.warning(key, what, fix)

    def _settings_of_no_scheduler(self) -> Iterator[ConfigFinding]:
        """Warn of settings, fixed or searched, of a learning-rate scheduler that is null."""
        if self.run.train is not None:
            return  # a loop of the user's own may read them
        keys = [key for flat, key in self.space.keys.items() if flat.startswith("scheduler_config.")]
        if self.run.scheduler_config:
            keys.insert(0, ("run", "scheduler_config"))
        for key in keys:
            fix = "name a class in run.scheduler, or drop these settings"
            yield self.warning(key, "has no effect: run.scheduler is null", fix)

    def rule(self) -> Iterator[ConfigFinding]:
        """Check the settings of the trial scheduler's rule by making the rule."""
        path = self.sweep.trial_scheduler.name
        name = path.removeprefix("schedulers.")
        if path == name or name not in RULES or self.space.problems:
            return
        rule: type[Rule] = imports.resolve(RULES[name])
        given = self.sweep.trial_scheduler.kwargs
        kwargs = {key: value for key, value in given.items() if key not in AUDIT_SETTINGS}
        if set(kwargs) - set(inspect.signature(rule).parameters):
            return  # reported with the call
        filled = rule_context(rule, self.sweep, space=self.domains)
        try:
            with_audit(
                rule(**{**filled, **kwargs}), given.get("audit_fraction", 0.0), given.get("audit_seed")
            )
        except InvalidSetting as error:
            yield self.error(_key_of(error.parameter, given), error.what, error.fix)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            # Unchecked types: a list where it compares, a string where it divides.
            yield self.error(("trial_scheduler",), str(error))
        longest = kwargs.get("max_resource")
        if is_number(longest) and longest != self.run.epochs:
            what = f"max_resource ({longest}) is not epochs ({self.run.epochs})"
            key: Key = ("trial_scheduler", "kwargs", "max_resource")
            yield self.warning(key, what, "drop it: epochs is filled in")

    def classic_pfl(self) -> Iterator[ConfigFinding]:
        """Warn of settings of the template's rule that have no effect."""
        kwargs = self.sweep.trial_scheduler.kwargs
        if self.sweep.trial_scheduler.name != "schedulers.ClassicPFL":
            return
        epochs, trials = self.run.epochs, self.sweep.trials
        at: Key = ("trial_scheduler", "kwargs")
        warmup, startup = kwargs.get("n_warmup_epochs", 10), kwargs.get("n_startup_trials", 10)
        if is_number(warmup) and warmup >= epochs:
            what = f"n_warmup_epochs ({warmup}) is not below epochs ({epochs}): no trial can ever be stopped"
            yield self.warning((*at, "n_warmup_epochs"), what, f"try {max(1, epochs // 3)}")
        if is_number(startup) and startup >= trials:
            what = (
                f"n_startup_trials ({startup}) is not below trials ({trials}): no trial can ever be stopped"
            )
            yield self.warning((*at, "n_startup_trials"), what, f"try {max(1, trials // 5)}")
        target = kwargs.get("target_epoch")
        if is_number(target) and target != epochs:
            what = f"target_epoch ({target}) is not epochs ({epochs}): the loss of another epoch is predicted"
            yield self.warning((*at, "target_epoch"), what, "drop it to have epochs filled in")

    def population(self) -> Iterator[ConfigFinding]:
        """Reject searched parameters that a population cannot change, since it copies weights and moments."""
        if self.sweep.trial_scheduler.name != "schedulers.PBT":
            return
        for name, key in self.space.keys.items():
            if name.split(".")[0] not in _MUTABLE:
                what = f"PBT copies one trial's weights and optimizer into another, so '{name}' cannot differ"
                groups = ", ".join(f"{config}.*" for config in _MUTABLE[:3])
                fix = f"search {groups} only, or use schedulers.ASHA"
                yield self.error(key, what, fix)
        if not self.space.keys:
            yield self.error(("trial_scheduler",), "PBT has nothing to change", "give a search_space")

    def grid(self) -> Iterator[ConfigFinding]:
        """Check that a grid has finitely many points, and their number."""
        if self.sweep.sampler.name not in _GRIDS:
            return
        points = 1
        for name, domain in self.domains.items():
            size = cells(domain)
            if size is None:
                what = "a grid has no points in a continuous range"
                yield self.error(
                    self.space.keys[name], what, "give it a step, or type: categorical with choices"
                )
                return
            points *= size
        if points != self.sweep.trials and "trials" in self.document.value:
            fix = "a part of it is tried" if self.sweep.trials < points else f"it ends after {points}"
            what = f"the grid has {points} points, but trials is {self.sweep.trials}"
            yield self.warning(("trials",), what, fix)

    def baseline(self) -> Iterator[ConfigFinding]:
        """Warn if the baseline is to be tried first, but lies outside the search space."""
        if not self.sweep.baseline:
            return
        for name, domain in self.domains.items():
            value = self.document.at(("run", *name.split(".")))
            is_quoted = isinstance(value, str) and how_to_write_number(value)
            if value is not None and not is_quoted and not domain.contains(value):
                what = f"{shown(value)} lies outside the searched range"
                fix = "the baseline trial cannot have it; widen the range, or write 'baseline: false'"
                yield self.warning(("run", *name.split(".")), what, fix)
        yield from self.left_out()

    def left_out(self) -> Iterator[ConfigFinding]:
        """Warn of searched keywords that the run leaves to a default outside the search space."""
        given, own = flatten(self.run.model_dump(mode="json")), baseline_of(self.sweep)
        for name, parameter in self.sweep.search_space.items():
            if name in given or parameter.when or not name.partition(".")[2]:
                continue
            if name not in own:
                what = f"the run has no {name}, so no baseline is tried first"
                yield self.warning(self.space.keys[name], what, f"set run.{name}, or write 'baseline: false'")
            elif not parameter.domain.contains(own[name]):
                what = f"the run leaves {name} at its default {shown(own[name])}, which is never searched"
                fix = f"set run.{name}, or write 'baseline: false': else no baseline is tried first"
                yield self.warning(self.space.keys[name], what, fix)

    def resources(self) -> Iterator[ConfigFinding]:
        """Check that the GPUs of a trial can be placed, and agree with the device."""
        gpu, device = self.sweep.resources_per_trial.gpu, self.run.device
        at: Key = ("resources_per_trial", "gpu")
        yield from self._unplaceable(gpu, at)
        if gpu is not None and gpu > 1 and gpu.is_integer() and self.run.train is None:
            what = f"{gpu:g} GPUs for a trial, but our training uses one"
            fix = "give it one, or a loop that uses several: 'train: trainables.ddp.DistributedTraining'"
            yield self.error(at, what, fix)
        yield from self.on_oom()
        if self.sweep.resources_per_trial.auto:
            for field in ("cpu", "gpu"):
                key: Key = ("resources_per_trial", field)
                if self.document.at(key) is not None:
                    yield self.error(key, "is chosen by 'auto'", "drop it, or 'auto'")
        if device is None:
            return
        if device.startswith("cuda") and gpu == 0:
            what = f"device {shown(device)}, but no GPU for a trial"
            yield self.error(at, what, "raise gpu, or drop 'device'")
        elif device.startswith("cuda"):
            what = f"{shown(device)} means any GPU: Ray decides which one a trial gets"
            yield self.warning(("run", "device"), what, "set resources_per_trial.gpu to say how much of one")
        elif device == "cpu" and gpu:
            what = f"device 'cpu' and {shown(gpu)} GPU for a trial"
            yield self.error(at, what, "drop one of the two")

    def _unplaceable(self, gpu: float | None, key: Key) -> Iterator[ConfigFinding]:
        if gpu is not None and gpu > 1 and not gpu.is_integer():
            yield self.error(key, f"{shown(gpu)} GPUs cannot be placed", "whole GPUs, or a fraction of one")

    def budget(self) -> Iterator[ConfigFinding]:
        """Check that a budget has one of hours and epochs, and leaves something to choose."""
        budget = self.sweep.budget
        if budget is None:
            return
        if (budget.hours is None) == (budget.epochs is None):
            yield self.error(("budget",), "needs one of hours and epochs", "as in 'budget: {hours: 8}'")
        choices: tuple[Key, ...] = (("trials",), ("run", "epochs"), ("trial_scheduler",))
        if all(self.document.at(key) is not None for key in choices):
            what = "trials, run.epochs and trial_scheduler are all given: nothing is left to choose"
            fix = "drop one of them, most likely trials; time_budget_s limits the time of a sweep as it is"
            yield self.error(("budget",), what, fix)

    def on_oom(self) -> Iterator[ConfigFinding]:
        """Check that a trial that ran out of memory gets more than it had."""
        first = self.sweep.resources_per_trial
        more, key = first.on_oom, ("resources_per_trial", "on_oom")
        if more is None:
            return
        yield from self._unplaceable(more.gpu, (*key, "gpu"))
        pairs = [(more.cpu, first.cpu)] + ([] if first.gpu is None else [(more.gpu, first.gpu)])
        if all(new is None or new <= old for new, old in pairs) and not (first.gpu is None and more.gpu):
            fix = "raise gpu or cpu above those of resources_per_trial, or drop on_oom"
            yield self.error(key, "gives a trial that ran out of memory no more than it had", fix)

    def trials(self) -> Iterator[ConfigFinding]:
        """Warn of several trials without a search space, and of a patience longer than the study."""
        if not self.space.keys and self.sweep.trials > 1:
            what = f"{self.sweep.trials} trials without a search_space: all would be the same"
            yield self.warning(("trials",), what, "give a search_space, or 'trials: 1'")
        patience = self.sweep.stop.no_improvement
        if patience is not None and patience.trials >= self.sweep.trials:
            what = f"no_improvement.trials ({patience.trials}) is not below trials ({self.sweep.trials})"
            fix = f"it has no effect; try {max(1, self.sweep.trials // 3)}"
            yield self.warning(("stop", "no_improvement", "trials"), what, fix)


def cells(domain: Domain) -> int | None:
    """The number of values in a domain; None for a continuous one.

    >>> cells(Int(3, 9, step=2)), cells(Float(0, 1)), cells(Float(0, 1, step=0.25))
    (4, None, 5)
    """
    if isinstance(domain, Categorical):
        return len(domain.choices)
    if domain.step is None:
        return 1 if domain.low == domain.high else None
    return math.floor((domain.high - domain.low) / domain.step + 1e-9) + 1  # 0.3/0.1 is 2.9999…


def _opposite(way: str) -> str:
    return {"minimize": "maximize", "maximize": "minimize", "min": "max", "max": "min"}[way]


def _ends(domain: Domain) -> list[float]:
    """Numbers among the choices, or the ends of a range; of a continuous one just inside, as it is drawn."""
    if isinstance(domain, Categorical):
        return [each for each in domain.choices if is_number(each)]
    if isinstance(domain, Int):
        return [domain.low, domain.high]
    return [math.nextafter(domain.low, domain.high), math.nextafter(domain.high, domain.low)]


def _key_of(parameter: str, kwargs: Mapping[str, Any]) -> Key:
    """The key at which a rule's parameter is set: in its kwargs, or where it is filled in from."""
    if parameter in kwargs:
        return ("trial_scheduler", "kwargs", parameter)
    sources: dict[str, Key] = {"population_size": ("trials",), "max_resource": ("run", "epochs")}
    return sources.get(parameter, ("trial_scheduler",))
