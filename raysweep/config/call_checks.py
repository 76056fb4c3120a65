"""Checks every call that a sweep will make against the signature of what it calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysweep.config.component import SignatureError, is_function_loop, signature, signature_errors
from raysweep.config.document import Document
from raysweep.config.lookup import BrokenModule, Modules
from raysweep.config.parameter import Parameter, wanted
from raysweep.config.problem import Key, Problem, shown, suggestion
from raysweep.config.rule_context import RULE_CONTEXT
from raysweep.config.search_space import NEVER_SEARCHED, SearchSpace
from raysweep.config.signature import Signature
from raysweep.config.sweep import Sweep
from schedulers import RULES
from schedulers.space import Categorical
from schedulers.stop_audit import AUDIT_SETTINGS
from trainables.criteria import disagreement, of_criterion, unusable
from trainables.csv_header import SEPARATORS, header, separator_in
from trainables.optimizers import GROUP_OF_MATRICES, WRAPPED, why_unusable
from trainables.run_config import CONFIGS, DATA_KEYS, FILLED_LENGTHS, GROUPS, LOOP_ARGUMENTS, SCHEDULE_KEYS

FILLED_IN: Mapping[str, Collection[str]] = {
    "net": ("in_features", "out_features", "input_size", "output_size"),
    "optimizer": ("num_data", "num_iterations", "params"),
    "scheduler": (*FILLED_LENGTHS, "max_lr", "steps_per_epoch"),
    "criterion": (),
    "data": ("folders",),
}
"""Arguments that the trainer fills in, if the component has such a parameter."""

HOMES = {
    "net": "trainables.mlp",
    "optimizer": "torch.optim",
    "scheduler": "torch.optim.lr_scheduler",
    "criterion": "torch.nn",
    "data": "trainables.data",
}
"""The module that a bare name most likely comes from."""

OURS: Mapping[str, Collection[str]] = {"scheduler": SCHEDULE_KEYS, "data": DATA_KEYS}
"""Keys of a config that the trainer uses itself and does not pass to the component."""

CONTEXT = (*RULE_CONTEXT, "metric", "mode", "time_attr")
"""Arguments that the service fills into a trial scheduler, if it has such a parameter."""


@dataclass(frozen=True, slots=True)
class ConfigFinding:
    """A problem, its key, and whether it prevents the sweep from running."""

    problem: Problem
    key: Key
    fatal: bool = True


class ConfigCheck:
    """Base class of checks of one sweep.

    Args:
        document: the sweep file, with positions.
        sweep: its values.
        space: its search space, as read.
    """

    def __init__(self, document: Document, sweep: Sweep, space: SearchSpace) -> None:
        self.document = document
        self.sweep = sweep
        self.space = space

    def error(self, key: Key, what: str, fix: str = "") -> ConfigFinding:
        """A finding that prevents the sweep from running."""
        return ConfigFinding(self.document.problem(key, what, fix), key)

    def warning(self, key: Key, what: str, fix: str = "") -> ConfigFinding:
        """A finding that does not prevent the sweep from running."""
        return ConfigFinding(self.document.problem(key, what, fix), key, fatal=False)


class CallChecks(ConfigCheck):
    """Checks the components of one sweep.

    Args:
        document: the sweep file, with positions.
        sweep: its values.
        space: its search space, as read.
        modules: finds modules.
    """

    def __init__(self, document: Document, sweep: Sweep, space: SearchSpace, modules: Modules) -> None:
        super().__init__(document, sweep, space)
        self.modules = modules

    def findings(self) -> Iterator[ConfigFinding]:
        """Yield the findings of all checks."""
        yield from self.unsearchable()
        # The user's own loop may read these configs as it likes; but the data are loaded by us.
        for component in CONFIGS if self.sweep.run.train is None else ("data",):
            yield from self.run_component(component)
        yield from self.sampler()
        yield from self.trial_scheduler()
        yield from self.functions()
        yield from self.subscribers()
        yield from self.data_file()
        if self.sweep.run.train is None:
            yield from self.wrapped_optimizer()
            yield from self.param_groups()
            yield from self.criterion()
        yield from self.hidden_modules()

    def hidden_modules(self) -> Iterator[ConfigFinding]:
        """Warn of user's modules with the name of an installed one, which is imported instead."""
        for name, file in self.modules.hidden():
            what = f"{file} is not used: '{name}' is an installed module, and those come first"
            yield self.warning((), what, "give the file another name")

    def unsearchable(self) -> Iterator[ConfigFinding]:
        """Reject searched parameters that cannot differ between trials, or that are whole configs."""
        for flat, key in self.space.keys.items():
            head = flat.split(".")[0]
            if head in NEVER_SEARCHED:
                yield self.error(key, f"'{head}' cannot be searched", NEVER_SEARCHED[head])
            elif head == "param_groups":
                yield from self._group_unsearchable(flat, key)
            elif head in GROUPS and "." not in flat:
                example = "optimizer_config.lr" if head == "optimizer_config" else f"{head}.some_name"
                yield self.error(
                    key, f"'{flat}' is no parameter", f"name the parameter in it, as in '{example}'"
                )
            elif head not in GROUPS and "." in flat:
                yield self.error(key, f"'{flat}' is no parameter", f"'{head}' has no parts: write '{head}'")

    def _group_unsearchable(self, flat: str, key: Key) -> Iterator[ConfigFinding]:
        """Reject parameters of a group other than `lr_factor` and keywords of its optimizer."""
        groups = self.sweep.run.param_groups
        _, name, field, *rest = [*flat.split("."), "", ""]
        if name not in groups:
            yield self.error(key, f"run.param_groups has no '{name}'", suggestion(name, groups))
        elif field != "lr_factor" and not (field == "optimizer_config" and any(rest)):
            yield self.error(
                key,
                f"'{flat}' cannot be searched",
                "search lr_factor or optimizer_config.some_name of a group",
            )

    def param_groups(self) -> Iterator[ConfigFinding]:
        """Check each group's own keyword arguments of the optimizer."""
        for path, _ in self.choices("optimizer"):
            for name, group in self.sweep.run.param_groups.items():
                at: Key = ("run", "param_groups", name, "optimizer_config")
                keys: dict[str, Key] = {kwarg: (*at, kwarg) for kwarg in group.optimizer_config}
                names = {*keys, *self.sweep.run.optimizer_config, *self.searched("optimizer", path)}
                for error in signature_errors(
                    path,
                    names - {WRAPPED[0], GROUP_OF_MATRICES},
                    self.modules,
                    given=FILLED_IN["optimizer"],
                    first=1,
                    home=HOMES["optimizer"],
                ):
                    if error.kwarg in keys:
                        yield self.signature_finding(error, at, keys, "it is a keyword of the optimizer")

    def wrapped_optimizer(self) -> Iterator[ConfigFinding]:
        """Check that an optimizer which wraps another names it."""
        config = self.sweep.run.optimizer_config
        for path, key in self.choices("optimizer"):
            parameters = self._signature(path)
            for kwarg in set(WRAPPED) & set(parameters.names() if parameters else ()):
                at: Key = ("run", "optimizer_config", kwarg)
                if isinstance(inner := config.get(kwarg), str):
                    for error in signature_errors(inner, (), self.modules, first=1, home=HOMES["optimizer"]):
                        yield self.signature_finding(error, at, {}, "")
                elif kwarg in config:
                    yield self.error(at, f"{shown(inner)} is no dotted path", "write torch.optim.AdamW")
                elif kwarg not in self.searched("optimizer", path):
                    what = f"{path.rpartition('.')[2]} wraps another optimizer, and none is named"
                    yield self.error(key, what, f"set optimizer_config: {{{kwarg}: torch.optim.AdamW}}")

    def run_component(self, component: str) -> Iterator[ConfigFinding]:
        """Check each net, optimizer, scheduler, criterion or data function that a trial may have."""
        config = CONFIGS[component]
        given: dict[str, Any] = getattr(self.sweep.run, config)
        for path, key in self.choices(component):
            if reason := why_unusable(path):
                yield self.error(key, f"{path} cannot be used here", reason)
                continue
            keys: dict[str, Key] = {name: ("run", config, name) for name in given}
            keys |= self.searched(component, path)
            ours = keys.keys() & set(OURS.get(component, ()))
            # An optimizer that wraps another takes that one's class instead of the parameters.
            wrapped = WRAPPED if component == "optimizer" else ()
            inner = [self._signature(given[name]) for name in wrapped if isinstance(given.get(name), str)]
            names = [name for name in keys if name not in ours and name not in wrapped]
            if component == "net" and self.takes_hparams(path):
                continue
            first = 1 if component in ("optimizer", "scheduler") else 0
            filled_in = {
                *FILLED_IN[component],
                *ours,
                *wrapped,
            }  # a data function may have parameters of `OURS`
            for error in signature_errors(
                path,
                names,
                self.modules,
                given=filled_in,
                more=[name for known in inner if known is not None for name in known.names()],
                first=first,
                home=HOMES[component],
            ):
                fix = f"give it in {config}"
                if component == "criterion":
                    fix += "; a function of outputs and targets becomes a class with such a `forward`"
                yield self.signature_finding(error, key, keys, fix)

    def choices(self, component: str) -> Iterator[tuple[str, Key]]:
        """Every dotted path that a component may have, the run's own or the searched ones."""
        parameter = self.space.parameters.get(component)
        if parameter is None:
            path = getattr(self.sweep.run, component)
            if path is not None and component not in self.space.keys:
                yield path, ("run", component)
            return
        if not isinstance(parameter.domain, Categorical):
            return
        for index, choice in enumerate(parameter.domain.choices):
            if isinstance(choice, str):
                yield choice, (*self.space.keys[component], "choices", index)

    def searched(self, component: str, path: str) -> dict[str, Key]:
        """The searched keyword arguments that a component gets if it is `path`, given their conditions."""
        head = CONFIGS[component] + "."
        return {
            flat.removeprefix(head).split(".")[0]: key
            for flat, key in self.space.keys.items()
            if flat.startswith(head)
            and not (
                flat in self.space.parameters and _never_with(self.space.parameters[flat], component, path)
            )
        }

    def takes_hparams(self, path: str) -> bool:
        """Whether a net has the template's signature `net(hparams, device)`, which accepts any config."""
        known = self._signature(path)
        return known is not None and bool(known.parameters) and known.parameters[0].name == "hparams"

    def _signature(self, path: str) -> Signature | None:
        try:
            return signature(path, self.modules) if path.replace(".", "").isidentifier() else None
        except BrokenModule:
            return None  # reported with the component itself

    def sampler(self) -> Iterator[ConfigFinding]:
        """Check the sampler's constructor; its seed and a grid's space are filled in."""
        keys: dict[str, Key] = {name: ("sampler", "kwargs", name) for name in self.sweep.sampler.kwargs}
        for error in signature_errors(
            self.sweep.sampler.name,
            keys,
            self.modules,
            given=("seed", "search_space"),
            home="optuna.samplers",
        ):
            yield self.signature_finding(error, self.name_of("sampler"), keys, "give it in sampler.kwargs")

    def trial_scheduler(self) -> Iterator[ConfigFinding]:
        """Check the trial scheduler's constructor; for one of ours, that of its rule."""
        path, key = self.sweep.trial_scheduler.name, self.name_of("trial_scheduler")
        foreign = _foreign_scheduler(path)
        if foreign is not None:
            yield self.error(key, *foreign)
            return
        keys: dict[str, Key] = {
            name: ("trial_scheduler", "kwargs", name) for name in self.sweep.trial_scheduler.kwargs
        }
        # A dotted path of ours names the rule (`schedulers.RULES`); its scheduler class accepts these too.
        more = AUDIT_SETTINGS if path.removeprefix("schedulers.") in RULES else ()
        for error in signature_errors(path, keys, self.modules, given=CONTEXT, more=more, home="schedulers"):
            yield self.signature_finding(error, key, keys, "give it in trial_scheduler.kwargs")

    def functions(self) -> Iterator[ConfigFinding]:
        """Check functions without arguments in the file: metrics, weight initialisation, the user's loop."""
        run = self.sweep.run
        functions: list[tuple[str, Key, int]] = [
            (path, ("run", "metrics", name), 2) for name, path in run.metrics.items()
        ]
        if run.init is not None:
            functions.append((run.init, ("run", "init"), 1))
        for path, key, first in functions:
            for error in signature_errors(path, (), self.modules, first=first):
                yield self.signature_finding(error, key, {}, "it is called without keyword arguments")
        if run.train is not None:
            yield from self.own_loop(run.train)

    def own_loop(self, path: str) -> Iterator[ConfigFinding]:
        """Check the user's own loop: of run and data, or a function of its `config`."""
        given: Collection[str] = LOOP_ARGUMENTS
        first, how = 2, "train(run, data, device=, seed=)"
        if is_function_loop(path, self.modules):
            given, first, how = ("config", "state"), 0, "train(config) or train(config, state)"
        for error in signature_errors(path, (), self.modules, first=first, given=given):
            yield self.signature_finding(error, ("run", "train"), {}, f"it is called as {how}")

    def subscribers(self) -> Iterator[ConfigFinding]:
        """Check the constructors of the user's own subscribers."""
        for index, each in enumerate(self.sweep.subscribers):
            at: Key = ("subscribers", index)
            keys: dict[str, Key] = {name: (*at, "kwargs", name) for name in each.kwargs}
            for error in signature_errors(each.name, keys, self.modules):
                yield self.signature_finding(error, at, keys, "give it in its kwargs")

    def criterion(self) -> Iterator[ConfigFinding]:
        """Reject criteria that cannot be called with one output and one target, or contradict `outputs`."""
        run, config = self.sweep.run, self.sweep.run.criterion_config
        for path, key in self.choices("criterion"):
            what, fix = unusable(path, config)
            if what:
                yield self.error(key, what, fix)
            meaning = of_criterion(path, config)
            problem = "" if meaning is None else disagreement(path, meaning, run.outputs)
            if problem:
                what, _, fix = problem.removeprefix("run.outputs: ").partition("; ")
                yield self.error(("run", "outputs"), what, fix)

    def data_file(self) -> Iterator[ConfigFinding]:
        """Check that the table named in the sweep file exists, and has the target column."""
        config = self.sweep.run.data_config
        path, at = config.get("path"), ("run", "data_config")
        if self.sweep.run.data != "trainables.data.load_table" or not isinstance(path, str):
            return
        files = (Path(folder) / path for folder in self.sweep.import_paths)
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            where = "beside the sweep file, in the working directory or in the clone"
            yield self.error((*at, "path"), f"there is no file {shown(path)} {where}", "fix the path")
            return
        columns = header(file, config.get("sep", ","), config.get("encoding"))
        target = config.get("target")
        if columns and isinstance(target, str) and target not in columns:
            separator = separator_in(columns)
            fix = (
                f"set data_config.sep: {SEPARATORS[separator]}" if separator else suggestion(target, columns)
            )
            yield self.error((*at, "target"), f"{path} has no column '{target}'", fix)

    def name_of(self, component: str) -> Key:
        """The key of a component's name, which may be given alone or with kwargs."""
        given = self.document.at((component,))
        return (component, "name") if isinstance(given, dict) else (component,)

    def signature_finding(
        self, error: SignatureError, key: Key, keys: Mapping[str, Key], fix: str
    ) -> ConfigFinding:
        """A finding about a signature, at the keyword's key or else the component's."""
        at = key if error.kwarg is None else keys.get(error.kwarg, key)
        return ConfigFinding(self.document.problem(at, error.what, error.fix or fix), at, error.certain)


def _never_with(parameter: Parameter, component: str, path: str) -> bool:
    """Whether all cases of a parameter require a component other than `path`."""
    cases = parameter.cases or (parameter,)
    return all(path not in wanted(case.when.get(component, path)) for case in cases)


_COUNTERPARTS = (
    (("ASHA", "AsyncHyperBand", "SuccessiveHalving"), "schedulers.ASHA"),
    (("HyperBand", "Hyperband", "BOHB"), "schedulers.Hyperband"),
    (("Median",), "schedulers.MedianStopping"),
    (("Patient",), "schedulers.Patience"),
    (("PopulationBased", "PB2", "PBT"), "schedulers.PBT"),
    (("FIFO", "Nop"), "schedulers.FIFO"),
)
"""Parts of the names of Ray's schedulers and Optuna's pruners, and our counterpart."""


def _foreign_scheduler(path: str) -> tuple[str, str] | None:
    """Problem and fix of a foreign pruner or scheduler, whose decisions a study cannot replay; else None."""
    name = path.rpartition(".")[2]
    ours = next((ours for parts, ours in _COUNTERPARTS if any(part in name for part in parts)), None)
    if name == path:
        return (f"'{path}' is no dotted path", f"did you mean '{ours}'?") if ours else None
    if not path.startswith(("optuna.pruners.", "ray.tune.schedulers.", "pruner.")):
        return None
    return (
        f"'{path}' cannot decide here: a study replays its rule from a journal",
        f"use {ours or 'schedulers.ClassicPFL, schedulers.ASHA or schedulers.PBT'}",
    )
