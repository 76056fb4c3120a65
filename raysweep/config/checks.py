"""Whether the settings of a sweep agree with one another.

Errors are what could not run or would not mean what it says. Warnings are settings that can never
act or do not fit: the template's own example has one, and such files must run.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from raysweep.config.baseline import baseline_of
from raysweep.config.call_checks import ConfigFinding
from raysweep.config.command_checks import command_errors, settings_not_handed_over
from raysweep.config.document import Document
from raysweep.config.natural_limits import breaks_limits
from raysweep.config.parameter import is_number
from raysweep.config.problem import Key, shown, suggestion
from raysweep.config.rule_context import rule_context
from raysweep.config.search_space import SearchSpace
from raysweep.config.sweep import BETTER_HIGHER, Sweep
from schedulers import RULES
from schedulers.errors import InvalidSetting
from schedulers.rule import Rule
from schedulers.space import Categorical, Domain, Float, Int
from schedulers.stop_audit import AUDIT_WORDS, with_audit
from trainables import imports
from trainables.criteria import of_criterion
from trainables.optimizers import AVERAGING
from trainables.run_config import (
    COSTS,
    FILLED_LENGTHS,
    NAMED_METRICS,
    OUR_METRICS,
    flatten,
    is_judged_by_epoch,
    metric_path,
)

STEADY = ("epoch_s", "peak_memory_mb")
"""What a trial reports, besides its costs, that training leaves much as it is."""

ALWAYS_REPORTED = OUR_METRICS[:5]  # memory and the GPU's load only of this machine
_SCORES = {"classes": ("accuracy",), "labels": ("accuracy", "exact_match"), "numbers": ("r2",)}
_GRIDS = ("optuna.samplers.GridSampler", "optuna.samplers.BruteForceSampler")
_PER_STEP = ("OneCycleLR", "CyclicLR")
# What a population may change in mid-training: none of these alters a tensor's shape or its meaning.
_MUTABLE = ("optimizer_config", "scheduler_config", "criterion_config", "param_groups", "grad_clip")


class Checks:
    """Cross-field rules over one sweep.

    Args:
        document: where everything stands.
        sweep: its values.
        space: its search space, as read.
    """

    def __init__(self, document: Document, sweep: Sweep, space: SearchSpace) -> None:
        self.document = document
        self.sweep = sweep
        self.space = space
        self.run = sweep.run
        self.domains: dict[str, Domain] = {name: found.domain for name, found in space.parameters.items()}

    def findings(self) -> Iterator[ConfigFinding]:
        """Apply every rule."""
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

    def natural_limits(self) -> Iterator[ConfigFinding]:
        """Momentum, dropout and their like beyond one, rates below nought: they diverge or fail."""
        for config in ("optimizer_config", "net_config", "criterion_config", "scheduler_config"):
            for word, value in getattr(self.run, config).items():
                flat = f"{config}.{word}"
                number = isinstance(value, int | float) and flat not in self.domains
                if number and (why := breaks_limits(flat, value)):
                    yield self.warning(("run", config, word), f"{shown(value)} {why}")
        for flat, domain in self.domains.items():
            for end in _ends(domain):
                if why := breaks_limits(flat, end):
                    fix = "narrow the range" if not isinstance(domain, Categorical) else "drop it"
                    yield self.warning(self.space.keys[flat], f"{shown(round(end, 12))} {why}", fix)

    def error(self, key: Key, what: str, fix: str = "") -> ConfigFinding:
        """Make a finding that the sweep cannot run with."""
        return ConfigFinding(self.document.problem(key, what, fix), key)

    def warning(self, key: Key, what: str, fix: str = "") -> ConfigFinding:
        """Make a finding that the sweep can run with."""
        return ConfigFinding(self.document.problem(key, what, fix), key, fatal=False)

    def value(self, word: str, config: str, default: Any = None) -> tuple[Any, Any, Key]:
        """A setting's smallest and largest value over all trials, and where it stands."""
        flat = f"{config}.{word}"
        domain = self.domains.get(flat)
        if isinstance(domain, (Int, Float)):
            return domain.low, domain.high, self.space.keys[flat]
        if isinstance(domain, Categorical):
            numbers = [choice for choice in domain.choices if is_number(choice)]
            return min(numbers, default=default), max(numbers, default=default), self.space.keys[flat]
        fixed = getattr(self.run, config).get(word, default)
        fixed = fixed if is_number(fixed) else default
        return fixed, fixed, ("run", config, word)

    def produced(self) -> list[str] | None:
        """Names that a trial reports; None for a loop of the user's own, which may report anything."""
        if self.run.train is not None:
            return None
        searched = "criterion" in self.domains
        known = None if searched else of_criterion(self.run.criterion, self.run.criterion_config)
        scores = BETTER_HIGHER if known is None else _SCORES[known.layout]
        raw = ["val_loss_raw"] if self._optimizers() <= AVERAGING else []
        return [*ALWAYS_REPORTED[:2], *scores, *self.run.metrics, *ALWAYS_REPORTED[2:], *COSTS, *raw]

    def _optimizers(self) -> set[str]:
        """Class names of the optimizers that trials may have."""
        searched = self.domains.get("optimizer")
        paths = searched.choices if isinstance(searched, Categorical) else (self.run.optimizer,)
        return {str(path).rpartition(".")[2] for path in paths}

    def data(self) -> Iterator[ConfigFinding]:
        """There are data, unless the run has a loop of its own."""
        if self.run.data is None and self.run.train is None:
            yield self.error(("run", "data"), "missing", "as in 'data: trainables.data.load_table'")
        if self.run.train is None and any(key.startswith("train_config.") for key in self.domains):
            yield self.error(("run", "train"), "missing", "train_config is what it is given")

    def command(self) -> Iterator[ConfigFinding]:
        """A command can be run, and every searched setting reaches it."""
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
            what = "searched, and run.command has no placeholder for it"
            yield self.warning(self.space.keys[searched[name]], what, fix)
        for key in set(self.domains) - set(searched.values()):
            fix = f"search train_config.{key.rpartition('.')[2]}"
            yield self.error(self.space.keys[key], "cannot be handed to a command", fix)

    def metrics(self) -> Iterator[ConfigFinding]:
        """Every metric is one that a trial reports, and the short form agrees with the list."""
        produced = self.produced()
        listed = "metrics" in self.document.value
        for index, metric in enumerate(self.sweep.metrics):
            key: Key = ("metrics", index) if listed else ("metric",)
            if produced is not None and metric.name not in produced:
                yield self.error(key, *self._not_reported(metric.name, produced))
            elif metric.name in BETTER_HIGHER and metric.direction == "minimize":
                direction: Key = (*key, "direction") if listed else ("direction",)
                at = direction if self.document.at(direction) is not None else key
                yield self.error(at, f"{metric.name} is better when higher", "write 'direction: maximize'")
        first = self.sweep.metrics[0]
        for word, mine, its in (
            ("metric", self.sweep.metric, first.name),
            ("direction", self.sweep.direction, first.direction),
        ):
            if mine != its:
                fix = "drop it: the first of 'metrics' is the objective"
                yield self.error((word,), f"{shown(mine)} is not the first of 'metrics' ({shown(its)})", fix)

    def named_metrics(self) -> Iterator[ConfigFinding]:
        """A metric that is known by name is of what the criterion is for."""
        known = of_criterion(self.run.criterion, self.run.criterion_config)
        if known is None or "criterion" in self.domains or self.run.train is not None:
            return
        for name, path in self.run.metrics.items():
            kind = NAMED_METRICS.get(path.removeprefix(metric_path("")))
            if kind is not None and (kind == "numbers") != (known.layout == "numbers"):
                what = f"{path.rpartition('.')[2]} is of {kind}, and criterion {self.run.criterion} is not"
                at: Key = ("run", "metrics", name)
                at = at if at in self.document.places else ("metric",)
                others = [each for each, other in NAMED_METRICS.items() if other != kind]
                yield self.error(at, what, f"take one of {', '.join(others)}, or another criterion")

    def constraints(self) -> Iterator[ConfigFinding]:
        """A constraint is on what a trial reports and training does not change."""
        for index, constraint in enumerate(self.sweep.constraints):
            key: Key = ("constraints", index)
            if self.run.train is None and constraint.metric not in (*COSTS, *STEADY):
                what = f"'{constraint.metric}' is not known at the first epoch, when a constraint is judged"
                fix = f"make it one of 'metrics'; known here: {', '.join((*COSTS, *STEADY))}"
                yield self.error(key, what, fix)

    def _not_reported(self, name: str, produced: list[str]) -> tuple[str, str]:
        what = f"no trial reports {shown(name)}"
        if name in BETTER_HIGHER:
            return (
                what,
                f"criterion {self.run.criterion} is for the other task, which has {shown(produced[2])}",
            )
        otherwise = f"it reports {', '.join(produced)}; name others under run.metrics"
        return what, suggestion(name, produced, otherwise)

    def monitors(self) -> Iterator[ConfigFinding]:
        """What checkpoints go by is reported, and what a training gives up by is a loss or a score."""
        produced = self.produced()
        if produced is None:
            return
        judged = [name for name in produced if is_judged_by_epoch(name)]
        for word, names in (("checkpoint_config", produced), ("early_stopping_config", judged)):
            wish = getattr(self.run, word)
            if wish.enabled and wish.monitor not in names:
                yield self.error(("run", word, "monitor"), *self._not_reported(wish.monitor, names))

    def schedule(self) -> Iterator[ConfigFinding]:
        """The LR schedule's geometry: within its own bound, and as long as the training."""
        if self.run.scheduler is None or "scheduler" in self.domains:
            return
        name = self.run.scheduler.rpartition(".")[2]
        epochs = self.run.epochs
        if "Hyperbolic" in name:
            # Hyperbolic schedules: N <= U, or the square root has no value (arXiv:2407.15200, section 3).
            low, _, key = self.value("upper_bound", "scheduler_config", math.inf)
            _, most, _ = self.value("total_steps", "scheduler_config", epochs)
            if low < most:
                what = f"upper_bound ({shown(low)}) is below total_steps ({shown(most)})"
                yield self.error(key, what, "raise upper_bound: the schedule ends before it")
        per_step = self.run.scheduler_config.get("interval") == "step" or name in _PER_STEP
        for word in () if per_step else FILLED_LENGTHS:
            low, high, key = self.value(word, "scheduler_config")
            if low is not None and (low != epochs or high != epochs):
                seen = shown(low) if low == high else f"{shown(low)} to {shown(high)}"
                what = f"{word} ({seen}) is not epochs ({epochs})"
                fix = f"drop it to have {epochs} filled in, unless this is meant"
                yield self.warning(key, what, fix)

    def rule(self) -> Iterator[ConfigFinding]:
        """The trial scheduler's own rule takes its settings: it is made once, here, and thrown away."""
        path = self.sweep.trial_scheduler.name
        name = path.removeprefix("schedulers.")
        if path == name or name not in RULES or self.space.problems:
            return
        rule: type[Rule] = imports.resolve(RULES[name])
        given = self.sweep.trial_scheduler.kwargs
        kwargs = {word: value for word, value in given.items() if word not in AUDIT_WORDS}
        if set(kwargs) - set(inspect.signature(rule).parameters):
            return  # reported already, with the call
        filled = rule_context(rule, self.sweep, space=self.domains)
        try:
            with_audit(
                rule(**{**filled, **kwargs}), given.get("audit_fraction", 0.0), given.get("audit_seed")
            )
        except InvalidSetting as error:
            yield self.error(_key_of(error.parameter, given), error.what, error.fix)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            # Its settings are whatever the file holds: a list where it compares, a word where it divides.
            yield self.error(("trial_scheduler",), str(error), "")
        yield from self._longer_than_training(kwargs)

    def _longer_than_training(self, kwargs: dict[str, Any]) -> Iterator[ConfigFinding]:
        longest = kwargs.get("max_resource")
        if is_number(longest) and longest != self.run.epochs:
            what = f"max_resource ({longest}) is not epochs ({self.run.epochs})"
            yield self.warning(
                ("trial_scheduler", "kwargs", "max_resource"), what, "drop it: epochs is filled in"
            )

    def classic_pfl(self) -> Iterator[ConfigFinding]:
        """Settings of the template's rule that can never act."""
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
        """A population copies weights and moments: only what leaves their shapes alone may be searched."""
        if self.sweep.trial_scheduler.name != "schedulers.PBT":
            return
        for name, key in self.space.keys.items():
            if name.split(".")[0] not in _MUTABLE:
                what = f"PBT copies one trial's weights and optimizer into another, so '{name}' cannot differ"
                fix = f"search {', '.join(f'{word}.*' for word in _MUTABLE[:3])} only, or use schedulers.ASHA"
                yield self.error(key, what, fix)
        if not self.space.keys:
            yield self.error(("trial_scheduler",), "PBT has nothing to change", "give a search_space")

    def grid(self) -> Iterator[ConfigFinding]:
        """A grid needs finitely many points."""
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
            part = "a part of it is tried" if self.sweep.trials < points else f"it ends after {points}"
            what = f"the grid has {points} points and trials is {self.sweep.trials}"
            yield self.warning(("trials",), what, part)

    def baseline(self) -> Iterator[ConfigFinding]:
        """The run's own values lie in the searched ranges, if they are to be tried first."""
        if not self.sweep.baseline:
            return
        for name, domain in self.domains.items():
            value = self.document.at(("run", *name.split(".")))
            if value is not None and not domain.contains(_as_in(domain, value)):
                what = f"{shown(value)} lies outside the searched range"
                fix = "the baseline trial cannot have it; widen the range, or write 'baseline: false'"
                yield self.warning(("run", *name.split(".")), what, fix)
        yield from self.left_out()

    def left_out(self) -> Iterator[ConfigFinding]:
        """Searched keywords that the run leaves to a default which the baseline cannot have."""
        given, own = flatten(self.run.model_dump(mode="json")), baseline_of(self.sweep)
        for name, parameter in self.sweep.search_space.items():
            if name in given or parameter.when or not name.partition(".")[2]:
                continue
            if name not in own:
                what = f"the run gives no {name}, so no baseline is tried first"
                yield self.warning(self.space.keys[name], what, f"say run.{name}, or write 'baseline: false'")
            elif not parameter.domain.contains(own[name]):
                what = f"the run leaves {name} at its default {shown(own[name])}, which is never searched"
                fix = f"say run.{name}, or write 'baseline: false': else no baseline is tried first"
                yield self.warning(self.space.keys[name], what, fix)

    def resources(self) -> Iterator[ConfigFinding]:
        """GPUs are whole ones or a fraction of one, and agree with the device."""
        gpu, device = self.sweep.resources_per_trial.gpu, self.run.device
        if gpu is not None and gpu > 1 and not float(gpu).is_integer():
            what = f"{shown(gpu)} GPUs cannot be placed"
            yield self.error(("resources_per_trial", "gpu"), what, "whole GPUs, or a fraction of one")
        elif gpu is not None and gpu > 1 and self.run.train is None:
            what = f"{gpu:g} GPUs for a trial, and our training uses one"
            fix = "give it one, or a loop that uses several: 'train: trainables.ddp.DistributedTraining'"
            yield self.error(("resources_per_trial", "gpu"), what, fix)
        yield from self.on_oom()
        if self.sweep.resources_per_trial.auto:
            for word in ("cpu", "gpu"):
                key: Key = ("resources_per_trial", word)
                if self.document.at(key) is not None:
                    yield self.error(key, "is chosen by 'auto'", "drop it, or 'auto'")
        if device is None:
            return
        if device.startswith("cuda") and gpu == 0:
            what = f"device {shown(device)} and no GPU for a trial"
            yield self.error(("resources_per_trial", "gpu"), what, "raise gpu, or drop 'device'")
        elif device.startswith("cuda"):
            what = f"{shown(device)} means 'a GPU': which one a trial gets is decided by Ray"
            yield self.warning(("run", "device"), what, "resources_per_trial.gpu says how much of one")
        elif device == "cpu" and gpu:
            what = f"device 'cpu' and {shown(gpu)} GPU for a trial"
            yield self.error(("resources_per_trial", "gpu"), what, "drop one of the two")

    def budget(self) -> Iterator[ConfigFinding]:
        """A budget says how much of one thing, and something is left for it to choose."""
        budget = self.sweep.budget
        if budget is None:
            return
        if (budget.hours is None) == (budget.epochs is None):
            yield self.error(("budget",), "needs one of hours and epochs", "as in 'budget: {hours: 8}'")
        words: tuple[Key, ...] = (("trials",), ("run", "epochs"), ("trial_scheduler",))
        if all(self.document.at(key) is not None for key in words):
            what = "trials, run.epochs and trial_scheduler are all given: nothing is left to choose"
            fix = "drop one of them, most likely trials; time_budget_s ends a sweep after so long"
            yield self.error(("budget",), what, fix)

    def on_oom(self) -> Iterator[ConfigFinding]:
        """A trial that ran out of memory gets more than it had, or the retry is for nothing."""
        asked = self.sweep.resources_per_trial
        more, key = asked.on_oom, ("resources_per_trial", "on_oom")
        if more is None:
            return
        if more.gpu is not None and more.gpu > 1 and not more.gpu.is_integer():
            yield self.error(
                (*key, "gpu"),
                f"{shown(more.gpu)} GPUs cannot be placed",
                "whole GPUs, or a fraction of one",
            )
        known = [(more.cpu, asked.cpu)] + ([] if asked.gpu is None else [(more.gpu, asked.gpu)])
        if all(new is None or new <= old for new, old in known) and not (asked.gpu is None and more.gpu):
            fix = "raise gpu or cpu above what resources_per_trial says, or drop on_oom"
            yield self.error(key, "gives a trial that ran out of memory no more than it had", fix)

    def trials(self) -> Iterator[ConfigFinding]:
        """More than one trial needs something to differ in; so many must fit into the study."""
        if not self.space.keys and self.sweep.trials > 1:
            what = f"{self.sweep.trials} trials and no search_space: all would be the same"
            yield self.warning(("trials",), what, "give a search_space, or 'trials: 1'")
        patience = self.sweep.stop.no_improvement
        if patience is not None and patience.trials >= self.sweep.trials:
            what = f"no_improvement.trials ({patience.trials}) is not below trials ({self.sweep.trials})"
            fix = f"it can never act; try {max(1, self.sweep.trials // 3)}"
            yield self.warning(("stop", "no_improvement", "trials"), what, fix)


def cells(domain: Domain) -> int | None:
    """How many values a domain has; None for a continuum.

    >>> cells(Int(3, 9, step=2)), cells(Float(0, 1)), cells(Float(0, 1, step=0.25))
    (4, None, 5)
    """
    if isinstance(domain, Categorical):
        return len(domain.choices)
    if domain.step is None:
        return 1 if domain.low == domain.high else None
    return math.floor((domain.high - domain.low) / domain.step + 1e-9) + 1  # 0.3/0.1 is 2.9999…


def _as_in(domain: Domain, value: Any) -> Any:
    """A whole number is as good as a real one where a real one is searched."""
    return float(value) if isinstance(domain, Float) and is_number(value) else value


def _ends(domain: Domain) -> list[float]:
    """Numbers among the choices, or what a range comes close to: its ends are drawn with chance nought."""
    if isinstance(domain, Categorical):
        return [each for each in domain.choices if is_number(each)]
    if isinstance(domain, Int):
        return [domain.low, domain.high]
    return [math.nextafter(domain.low, domain.high), math.nextafter(domain.high, domain.low)]


def _key_of(parameter: str, kwargs: Mapping[str, Any]) -> Key:
    """Where a rule's parameter is set: in the file's own kwargs, or by what is filled in from elsewhere."""
    if parameter in kwargs:
        return ("trial_scheduler", "kwargs", parameter)
    filled_from: dict[str, Key] = {"population_size": ("trials",), "max_resource": ("run", "epochs")}
    return filled_from.get(parameter, ("trial_scheduler",))
