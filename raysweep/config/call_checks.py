"""Every call that a sweep will make, held against the signature of what it calls."""

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
from raysweep.config.sweep import Sweep
from schedulers import RULES
from schedulers.space import Categorical
from schedulers.stop_audit import AUDIT_WORDS
from trainables.criteria import disagreement, of_criterion, unusable
from trainables.csv_header import SEPARATORS, header, separator_in
from trainables.optimizers import GROUP_OF_MATRICES, WRAPPED, why_unusable
from trainables.run_config import CONFIGS, DATA_WORDS, FILLED_LENGTHS, GROUPS, LOOP_WORDS, SCHEDULE_WORDS

FILLED_IN: Mapping[str, Collection[str]] = {
    "net": ("in_features", "out_features", "input_size", "output_size"),
    "optimizer": ("num_data", "num_iterations", "params"),
    "scheduler": (*FILLED_LENGTHS, "max_lr", "steps_per_epoch"),
    "criterion": (),
    "data": ("folders",),
}
"""What the trainer gives by name, where the component has such a parameter."""

HOMES = {
    "net": "trainables.mlp",
    "optimizer": "torch.optim",
    "scheduler": "torch.optim.lr_scheduler",
    "criterion": "torch.nn",
    "data": "trainables.data",
}
"""Where somebody who writes a bare name most likely thinks it is."""

OURS: Mapping[str, Collection[str]] = {"scheduler": SCHEDULE_WORDS, "data": DATA_WORDS}
"""Words of a config that are the trainer's own and never reach the component."""

CONTEXT = (*RULE_CONTEXT, "metric", "mode", "time_attr")
"""What the service gives a trial scheduler, where it has such a parameter."""


@dataclass(frozen=True, slots=True)
class ConfigFinding:
    """A problem, the key it is about, and whether the sweep cannot run with it."""

    problem: Problem
    key: Key
    fatal: bool = True


class Calls:
    """Checks the components of one sweep.

    Args:
        document: where everything stands.
        sweep: its values.
        space: its search space, as read.
        modules: where modules are looked for.
    """

    def __init__(self, document: Document, sweep: Sweep, space: SearchSpace, modules: Modules) -> None:
        self.document = document
        self.sweep = sweep
        self.space = space
        self.modules = modules

    def findings(self) -> Iterator[ConfigFinding]:
        """Say what is wrong with any of them."""
        yield from self.unsearchable()
        # A loop of the user's own reads these configs as it likes; the data are loaded by us in any case.
        for word in CONFIGS if self.sweep.run.train is None else ("data",):
            yield from self.run_component(word)
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
        """Modules of the user's that have the name of an installed one, which is what everybody gets."""
        for name, file in self.modules.hidden():
            what = f"{file} is not used: '{name}' is an installed module, and those come first"
            yield ConfigFinding(
                self.document.problem((), what, "give the file another name"), (), fatal=False
            )

    def unsearchable(self) -> Iterator[ConfigFinding]:
        """Searched parameters that cannot differ between trials, or that name a config as a whole."""
        for flat, key in self.space.keys.items():
            head = flat.split(".")[0]
            if head in NEVER_SEARCHED:
                yield self.wrong(key, f"'{head}' cannot be searched", NEVER_SEARCHED[head])
            elif head == "param_groups":
                yield from self._group_unsearchable(flat, key)
            elif head in GROUPS and "." not in flat:
                example = "optimizer_config.lr" if head == "optimizer_config" else f"{head}.some_name"
                yield self.wrong(
                    key, f"'{flat}' is no parameter", f"name the parameter in it, as in '{example}'"
                )
            elif head not in GROUPS and "." in flat:
                yield self.wrong(key, f"'{flat}' is no parameter", f"'{head}' has no parts: write '{head}'")

    def _group_unsearchable(self, flat: str, key: Key) -> Iterator[ConfigFinding]:
        """A searched parameter of a group: its learning rate's factor, or a keyword of its optimizer."""
        groups = self.sweep.run.param_groups
        _, name, word, *rest = [*flat.split("."), "", ""]
        if name not in groups:
            yield self.wrong(key, f"run.param_groups has no '{name}'", suggestion(name, groups))
        elif word != "lr_factor" and not (word == "optimizer_config" and any(rest)):
            yield self.wrong(
                key,
                f"'{flat}' cannot be searched",
                "search lr_factor or optimizer_config.some_name of a group",
            )

    def param_groups(self) -> Iterator[ConfigFinding]:
        """What each group gives the optimizer in place of the run's own keyword arguments."""
        for path, _ in self.choices("optimizer"):
            for name, group in self.sweep.run.param_groups.items():
                at: Key = ("run", "param_groups", name, "optimizer_config")
                keys: dict[str, Key] = {word: (*at, word) for word in group.optimizer_config}
                names = {*keys, *self.sweep.run.optimizer_config, *self.searched("optimizer", path)}
                for misfit in signature_errors(
                    path,
                    names - {WRAPPED[0], GROUP_OF_MATRICES},
                    self.modules,
                    given=FILLED_IN["optimizer"],
                    first=1,
                    home=HOMES["optimizer"],
                ):
                    if misfit.kwarg in keys:
                        yield self.placed(misfit, at, keys, "it is a keyword of the optimizer")

    def wrapped_optimizer(self) -> Iterator[ConfigFinding]:
        """The optimizer that another wraps, which has to be named."""
        config = self.sweep.run.optimizer_config
        for path, key in self.choices("optimizer"):
            try:
                read = signature(path, self.modules) if path.replace(".", "").isidentifier() else None
            except BrokenModule:
                continue  # reported with the component itself
            for word in set(WRAPPED) & set(read.names() if read else ()):
                at: Key = ("run", "optimizer_config", word)
                if isinstance(inner := config.get(word), str):
                    for misfit in signature_errors(inner, (), self.modules, first=1, home=HOMES["optimizer"]):
                        yield self.placed(misfit, at, {}, "")
                elif word in config:
                    yield self.wrong(at, f"{shown(inner)} is no dotted path", "write torch.optim.AdamW")
                elif word not in self.searched("optimizer", path):
                    what = f"{path.rpartition('.')[2]} wraps another optimizer, and none is named"
                    yield self.wrong(key, what, f"say optimizer_config: {{{word}: torch.optim.AdamW}}")

    def run_component(self, word: str) -> Iterator[ConfigFinding]:
        """Net, optimizer, scheduler, criterion or data: each one that a trial may have."""
        config = CONFIGS[word]
        given: dict[str, Any] = getattr(self.sweep.run, config)
        for path, key in self.choices(word):
            if reason := why_unusable(path):
                yield self.wrong(key, f"{path} cannot be used here", reason)
                continue
            keys: dict[str, Key] = {name: ("run", config, name) for name in given}
            keys |= self.searched(word, path)
            ours = keys.keys() & set(OURS.get(word, ()))
            # An optimizer that wraps another takes that one's class in the place of its parameters.
            wrapped = WRAPPED if word == "optimizer" else ()
            names = [name for name in keys if name not in ours and name not in wrapped]
            if word == "net" and self.takes_hparams(path):
                continue
            first = 1 if word in ("optimizer", "scheduler") else 0
            given_too = {*FILLED_IN[word], *ours, *wrapped}  # a data function may ask for our words by name
            for misfit in signature_errors(
                path, names, self.modules, given=given_too, first=first, home=HOMES[word]
            ):
                yield self.placed(misfit, key, keys, f"give it in {config}")

    def choices(self, word: str) -> Iterator[tuple[str, Key]]:
        """Every dotted path that a word may have: the run's own, or the searched ones."""
        parameter = self.space.parameters.get(word)
        if parameter is None:
            path = getattr(self.sweep.run, word)
            if path is not None and word not in self.space.keys:
                yield path, ("run", word)
            return
        if not isinstance(parameter.domain, Categorical):
            return
        for index, choice in enumerate(parameter.domain.choices):
            if isinstance(choice, str):
                yield choice, (*self.space.keys[word], "choices", index)

    def searched(self, word: str, path: str) -> dict[str, Key]:
        """The searched keyword arguments that `path` would get, conditions on `word` respected."""
        head = CONFIGS[word] + "."
        return {
            flat.removeprefix(head).split(".")[0]: key
            for flat, key in self.space.keys.items()
            if flat.startswith(head)
            and not (flat in self.space.parameters and _never_with(self.space.parameters[flat], word, path))
        }

    def takes_hparams(self, path: str) -> bool:
        """Whether a net is the template's kind, `net(hparams, device)`, which takes any config."""
        try:
            read = signature(path, self.modules) if path.replace(".", "").isidentifier() else None
        except BrokenModule:
            return False  # reported with the component itself
        return read is not None and bool(read.parameters) and read.parameters[0].name == "hparams"

    def sampler(self) -> Iterator[ConfigFinding]:
        """The sampler's constructor; its seed and a grid's space are filled in."""
        keys: dict[str, Key] = {name: ("sampler", "kwargs", name) for name in self.sweep.sampler.kwargs}
        for misfit in signature_errors(
            self.sweep.sampler.name,
            keys,
            self.modules,
            given=("seed", "search_space"),
            home="optuna.samplers",
        ):
            yield self.placed(misfit, self.name_of("sampler"), keys, "give it in sampler.kwargs")

    def trial_scheduler(self) -> Iterator[ConfigFinding]:
        """The trial scheduler's constructor; of our own, that of the rule behind it."""
        path, key = self.sweep.trial_scheduler.name, self.name_of("trial_scheduler")
        foreign = _foreign_scheduler(path)
        if foreign is not None:
            yield self.wrong(key, *foreign)
            return
        keys: dict[str, Key] = {
            name: ("trial_scheduler", "kwargs", name) for name in self.sweep.trial_scheduler.kwargs
        }
        # A dotted path of ours leads to the rule (`schedulers.RULES`); its scheduler class takes these too.
        more = AUDIT_WORDS if path.removeprefix("schedulers.") in RULES else ()
        for misfit in signature_errors(path, keys, self.modules, given=CONTEXT, more=more, home="schedulers"):
            yield self.placed(misfit, key, keys, "give it in trial_scheduler.kwargs")

    def functions(self) -> Iterator[ConfigFinding]:
        """Functions that are named only: metrics, weight initialisation, the user's own loop."""
        run = self.sweep.run
        named: list[tuple[str, Key, int]] = [
            (path, ("run", "metrics", name), 2) for name, path in run.metrics.items()
        ]
        if run.init is not None:
            named.append((run.init, ("run", "init"), 1))
        for path, key, first in named:
            for misfit in signature_errors(path, (), self.modules, first=first):
                yield self.placed(misfit, key, {}, "it is called without keyword arguments")
        if run.train is not None:
            yield from self.own_loop(run.train)

    def own_loop(self, path: str) -> Iterator[ConfigFinding]:
        """The user's own loop: of Epochs, or a function of its `config` alone."""
        given: Collection[str] = LOOP_WORDS
        first, how = 2, "train(run, data, device=, seed=)"
        if is_function_loop(path, self.modules):
            given, first, how = ("config", "state"), 0, "train(config) or train(config, state)"
        for misfit in signature_errors(path, (), self.modules, first=first, given=given):
            yield self.placed(misfit, ("run", "train"), {}, f"it is called as {how}")

    def subscribers(self) -> Iterator[ConfigFinding]:
        """The constructors of the user's own subscribers."""
        for index, each in enumerate(self.sweep.subscribers):
            at: Key = ("subscribers", index)
            keys: dict[str, Key] = {name: (*at, "kwargs", name) for name in each.kwargs}
            for misfit in signature_errors(each.name, keys, self.modules):
                yield self.placed(misfit, at, keys, "give it in its kwargs")

    def criterion(self) -> Iterator[ConfigFinding]:
        """Criteria that cannot be called with one output and one target, or contradict `outputs`."""
        run, config = self.sweep.run, self.sweep.run.criterion_config
        for path, key in self.choices("criterion"):
            what, fix = unusable(path, config)
            if what:
                yield self.wrong(key, what, fix)
            known = of_criterion(path, config)
            problem = "" if known is None else disagreement(path, known, run.outputs)
            if problem:
                what, _, fix = problem.removeprefix("run.outputs: ").partition("; ")
                yield self.wrong(("run", "outputs"), what, fix)

    def data_file(self) -> Iterator[ConfigFinding]:
        """The table that is read, where the sweep file names one: it is there, and has the target column."""
        config = self.sweep.run.data_config
        path, at = config.get("path"), ("run", "data_config")
        if self.sweep.run.data != "trainables.data.load_table" or not isinstance(path, str):
            return
        file = next((file for file in self.beside(path) if file.is_file()), None)
        if file is None:
            places = "beside the sweep file, in the working directory or in the clone"
            yield self.wrong((*at, "path"), f"there is no file {shown(path)} {places}", "fix the path")
            return
        columns = header(file, config.get("sep", ","), config.get("encoding"))
        target = config.get("target")
        if columns and isinstance(target, str) and target not in columns:
            found = separator_in(columns)
            fix = f"set data_config.sep: {SEPARATORS[found]}" if found else suggestion(target, columns)
            yield self.wrong((*at, "target"), f"{path} has no column '{target}'", fix)

    def beside(self, path: str) -> Iterator[Path]:
        """Where a relative file path may lie."""
        return (Path(folder) / path for folder in self.sweep.import_paths)

    def name_of(self, word: str) -> Key:
        """Where a component's name stands: it may be given bare."""
        return (word, "name") if isinstance(self.document.at((word,)), dict) else (word,)

    def wrong(self, key: Key, what: str, fix: str) -> ConfigFinding:
        """Make a fatal finding."""
        return ConfigFinding(self.document.problem(key, what, fix), key)

    def placed(self, misfit: SignatureError, key: Key, keys: Mapping[str, Key], how: str) -> ConfigFinding:
        """Give a misfit its place: at the keyword, or at the component."""
        at = key if misfit.kwarg is None else keys.get(misfit.kwarg, key)
        return ConfigFinding(self.document.problem(at, misfit.what, misfit.fix or how), at, misfit.certain)


def _never_with(parameter: Parameter, word: str, path: str) -> bool:
    """Whether a parameter, in all its cases, waits for a component to be another than `path`."""
    return all(path not in wanted(case.when.get(word, path)) for case in parameter.cases or (parameter,))


_COUNTERPARTS = (
    (("ASHA", "AsyncHyperBand", "SuccessiveHalving"), "schedulers.ASHA"),
    (("HyperBand", "Hyperband", "BOHB"), "schedulers.Hyperband"),
    (("Median",), "schedulers.MedianStopping"),
    (("Patient",), "schedulers.Patience"),
    (("PopulationBased", "PB2", "PBT"), "schedulers.PBT"),
    (("FIFO", "Nop"), "schedulers.FIFO"),
)
"""Parts of the names of Ray's schedulers and Optuna's pruners, and ours that does the same."""


def _foreign_scheduler(path: str) -> tuple[str, str] | None:
    """What to use in place of a pruner or scheduler whose decisions a study could not replay."""
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
