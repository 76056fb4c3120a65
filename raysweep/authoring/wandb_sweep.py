"""Converts a Weights & Biases sweep configuration to a sweep file."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raysweep.authoring.interview import SCHEMA_LINE
from raysweep.config import Problem, SweepError
from raysweep.config.checks import cells
from raysweep.config.document import Document, read
from raysweep.config.parameter import is_number, read_domain
from raysweep.config.problem import Key, shown
from trainables.run_config import name_fault

EPOCHS, TRIALS = 100, 20  # if the W&B file gives none
LARGEST_EXPONENT = 700  # W&B's log_uniform is given by exponents of e
_SAMPLERS = {"bayes": "TPESampler", "random": "RandomSampler", "grid": "GridSampler"}
_LEFT_ASIDE = ("name", "description", "project", "entity", "imports", "job", "resource", "resource_args")
_KNOWN = (
    *("program", "command", "method", "metric", "parameters", "early_terminate", "run_cap"),
    *_LEFT_ASIDE,
)
_MACRO = re.compile(r"\$\{([^}]*)\}")
_DEFAULT_COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]
_BARE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEEDS_QUOTES = re.compile(r"""[\s'"\\]""")
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


def convert_wandb(file: Path, schema: str) -> str:
    """The text of a sweep file that does what a W&B sweep does.

    Args:
        file: W&B's.
        schema: where the JSON Schema is, from the new file's folder or as a URL.

    Raises:
        SweepError: if it is not a W&B sweep, or uses something without a counterpart; names all problems.
    """
    return _SweepReader(read(file)).text(file, schema)


class _SweepReader:
    """Reads one W&B sweep and collects its problems.

    Args:
        document: W&B's file.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.fields: Mapping[str, Any] = document.value
        self.problems: list[Problem] = []
        self.fixed: dict[str, Any] = {}
        self.searched: dict[str, dict[str, Any]] = {}

    def text(self, file: Path, schema: str) -> str:
        """The text of the sweep file.

        Raises:
            SweepError: with every problem.
        """
        for key in self.fields:
            if key not in _KNOWN:
                self.wrong((key,), "is not a known key of a W&B sweep", "drop it")
        for name, parameter in self.mapping("parameters").items():
            self.parameter(str(name), parameter)
        if not self.searched:
            self.wrong(("parameters",), "searches nothing", "give at least one a range or values")
        lines = [
            f"# Converted from {file.name} by `launch.py init --from-wandb`. The script reports each epoch",
            f"# by raysweep.log({{{json.dumps(self.metric()[0])}: value}}), or prints such a line of JSON.",
            SCHEMA_LINE.format(schema=schema),
            f"study_name: {_NAME.sub('_', str(self.fields.get('name') or file.stem)).strip('_') or 'sweep'}",
            *self.budget(),
            *self.judging(),
            f"sampler: optuna.samplers.{self.sampler()}",
            *self.scheduler(),
            "baseline: false",
            "ignore_advice: [no_baseline]    # a W&B sweep has none",
            "run:",
            f"  command: {json.dumps(self.command(), ensure_ascii=False)}",
            *self.fixed_lines(),
            f"  epochs: {self.epochs()}    # the most reports of a trial",
            "search_space:",
            "  train_config:",
            *(f"    {_key(name)}: {_flow(fields)}" for name, fields in self.searched.items()),
        ]
        if self.problems:
            raise SweepError(dict.fromkeys(self.problems))
        return "\n".join(lines) + "\n"

    def wrong(self, key: Key, what: str, fix: str = "") -> None:
        """Note a problem with its position."""
        self.problems.append(self.document.problem(key, what, fix))

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A section of the file; {} if it is missing or not a mapping."""
        section = self.fields.get(name)
        if section is None and name != "parameters":
            return {}
        if not isinstance(section, Mapping):
            self.wrong((name,), "should be a mapping" if section is not None else "missing")
            return {}
        return section

    def parameter(self, name: str, given: Any) -> None:
        """Read one parameter as fixed or searched."""
        key: Key = ("parameters", name)
        if not isinstance(given, Mapping):
            self.wrong(key, f"{shown(given)} is not a parameter", "as in 'value: 3' or 'values: [1, 2]'")
        elif "parameters" in given:
            self.wrong(key, "nested parameters have no counterpart", f"name them flat: {name}.some_name")
        elif "value" in given:
            self.fixed[name] = given["value"]
        elif "values" in given and not (isinstance(given["values"], list) and given["values"]):
            self.wrong((*key, "values"), f"{shown(given['values'])} is not a list of values")
        elif "values" in given:
            if "probabilities" in given:
                fix = "drop them: all values are equally likely until the sampler has learnt more"
                self.wrong((*key, "probabilities"), "have no counterpart", fix)
            self.searched[name] = {"type": "categorical", "choices": given["values"]}
        elif not all(is_number(given.get(end)) for end in ("min", "max")):
            self.wrong(key, "has no value, no values, and no min and max", "give one of these")
        else:
            self.range(name, given)

    def range(self, name: str, given: Mapping[str, Any]) -> None:
        """Read a parameter with a min and a max."""
        low, high, step = given["min"], given["max"], given.get("q", 1)
        whole = isinstance(low, int) and isinstance(high, int)
        kind = given.get("distribution", "int_uniform" if whole else "uniform")
        domains = {
            "int_uniform": {"type": "int", "min": low, "max": high},
            "uniform": {"type": "float", "min": low, "max": high},
            "log_uniform_values": {"type": "float", "min": low, "max": high, "log": True},
            "q_uniform": {"type": "int" if whole and isinstance(step, int) else "float", "min": low}
            | {"max": high, "step": step},
        }
        if not is_number(step) or step <= 0:
            self.wrong(("parameters", name, "q"), f"{shown(step)} is not a step", "as in 'q: 0.1'")
            return
        if kind == "log_uniform" and max(abs(low), abs(high)) < LARGEST_EXPONENT:
            domains[kind] = {"type": "float", "min": math.exp(low), "max": math.exp(high), "log": True}
        if not isinstance(kind, str) or kind not in domains:
            fix = f"use one of {', '.join(dict.fromkeys((*domains, 'log_uniform')))}, or 'values'"
            self.wrong(("parameters", name), f"distribution {shown(kind)} has no counterpart", fix)
            return
        self.searched[name] = domains[kind]

    def metric(self) -> tuple[str, str]:
        """The metric's name as a trial can report it, and W&B's."""
        name = str(self.mapping("metric").get("name", "loss"))
        ours = name.replace("/", "_")
        return (f"my_{ours}" if name_fault(ours) and ours not in ("val_loss", "train_loss") else ours), name

    def judging(self) -> Iterator[str]:
        """The lines for the metric, its direction and its target."""
        metric = self.mapping("metric")
        ours, theirs = self.metric()
        renamed = f"    # was {theirs}: report it by this name" if ours != theirs else ""
        yield f"metric: {_plain(ours)}{renamed}"
        goal = metric.get("goal", "minimize")
        if goal not in ("minimize", "maximize"):
            self.wrong(("metric", "goal"), f"{shown(goal)} is neither 'minimize' nor 'maximize'")
        yield f"direction: {goal}"
        if is_number(metric.get("target")):
            yield f"stop: {{target: {_plain(metric['target'])}}}"

    def budget(self) -> Iterator[str]:
        """The line for the number of trials: the grid's points, W&B's cap, or a default."""
        cap = self.fields.get("run_cap")
        domains = [read_domain(fields, []) for fields in self.searched.values()]
        sizes = [size for each in domains if each is not None and (size := cells(each)) is not None]
        if self.fields.get("method") == "grid" and len(sizes) == len(domains):
            points = math.prod(sizes)
            yield f"trials: {min(points, cap) if isinstance(cap, int) else points}"
        elif isinstance(cap, int):
            yield f"trials: {cap}"
        else:
            yield f"trials: {TRIALS}    # W&B runs until it is stopped; `launch.py extend` adds more"

    def sampler(self) -> str:
        """The sampler for its method."""
        method = self.fields.get("method", "random")
        if not isinstance(method, str) or method not in _SAMPLERS:
            self.wrong(("method",), f"{shown(method)} is not one of {', '.join(_SAMPLERS)}")
            return ""
        return _SAMPLERS[method]

    def scheduler(self) -> Iterator[str]:
        """The line for the trial scheduler: ASHA for W&B's Hyperband, which stops trials at rungs."""
        ends = self.mapping("early_terminate")
        if not ends:
            yield "trial_scheduler: schedulers.FIFO"
            return
        if ends.get("type") != "hyperband":
            self.wrong(("early_terminate", "type"), f"{shown(ends.get('type'))} is not 'hyperband'")
        eta = ends.get("eta", 3)
        grace, longest, brackets = ends.get("min_iter"), ends.get("max_iter"), ends.get("s", 1)
        whole = isinstance(longest, int) and isinstance(eta, int) and brackets in range(10)
        if grace is None and whole:
            grace = max(1, longest // max(eta, 2) ** brackets)
        kwargs = f"{{grace_period: {_plain(grace or 1)}, reduction_factor: {_plain(eta)}}}"
        yield f"trial_scheduler: {{name: schedulers.ASHA, kwargs: {kwargs}}}    # was hyperband"

    def epochs(self) -> int:
        """The most reports of a trial: those of a fixed `epochs` parameter, or Hyperband's."""
        ends = self.mapping("early_terminate").get("max_iter")
        fixed = next((self.fixed[name] for name in ("epochs", "num_epochs") if name in self.fixed), ends)
        return fixed if isinstance(fixed, int) else EPOCHS

    def fixed_lines(self) -> Iterator[str]:
        """The lines for the parameters that are not searched."""
        if self.fixed:
            yield "  train_config:"
        yield from (f"    {_key(name)}: {json.dumps(value)}" for name, value in self.fixed.items())

    def command(self) -> str:
        """The command, with our placeholders for W&B's macros."""
        args = self.fields.get("command", _DEFAULT_COMMAND)
        args = [args] if isinstance(args, str) else args
        if not isinstance(args, list):
            self.wrong(("command",), f"{shown(args)} is not a list of arguments", "as in [python, train.py]")
            return ""
        names = [*self.fixed, *self.searched]
        program = self.fields.get("program")
        macros = {
            "env": "",
            "interpreter": "python",
            "args": "{args}",
            "args_no_hyphens": " ".join(f"{name}={{{name}}}" for name in names),
            "args_json": "{config}",
        }
        if program is not None:
            macros["program"] = str(program)

        def placeholder(match: re.Match[str]) -> str:
            if match[1] == "program" and program is None:
                self.wrong((), "names no program", "as in 'program: train.py'")
            elif match[1] not in macros:
                self.wrong(("command",), f"{match[0]} has no counterpart", f"write {{args}}; known: {known}")
            return macros.get(match[1], "")

        known = ", ".join(f"${{{name}}}" for name in macros)
        converted = [(str(arg), _MACRO.sub(placeholder, str(arg))) for arg in args]
        return " ".join(
            ours if theirs == "${args_no_hyphens}" or not _NEEDS_QUOTES.search(ours) else shlex.quote(ours)
            for theirs, ours in converted
            if ours
        )


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name)


def _plain(value: Any) -> str:
    """A value as a YAML scalar."""
    return value if isinstance(value, str) and _BARE_KEY.fullmatch(value) else json.dumps(value)


def _flow(fields: Mapping[str, Any]) -> str:
    """A mapping as one line of YAML."""
    return "{" + ", ".join(f"{key}: {_plain(value)}" for key, value in fields.items()) + "}"
