"""Asks for data, task, budget and machine, and writes a first sweep file with comments."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysweep.authoring.table_interview import Ask, TableAnswers, Tell, ask_of_table
from raysweep.config import Problem, SweepError
from raysweep.config.loading import as_study_name
from raysweep.config.problem import shown, suggestion
from raysweep.planning.strategy import PARAMETERS, Strategy, affordable_parameters, recommend
from raysweep.preflight.check_file import CheckResult, load_checked

TABLES = (".csv", ".csv.gz", ".parquet", ".pq")
SCHEMA_LINE = "# yaml-language-server: $schema={schema}"

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT = ("null", "true", "false", "y", "n", "yes", "no", "on", "off")

_RANGES = {
    "optimizer_config.lr": "lr: {type: float, min: 1e-4, max: 1e-2, log: true}    # where AdamW works",
    "optimizer_config.weight_decay": "weight_decay: {type: float, min: 1e-5, max: 1e-1, log: true}",
    "net_config.layers": "layers: {type: int, min: 1, max: 4}    # depth; `nodes` stays fixed beside it",
    "net_config.dropout": "dropout: {type: float, min: 0.0, max: 0.5}",
    "batch_size": "batch_size: {type: int, min: 32, max: 256, log: true}    # moves with lr",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers that a first sweep file is made from.

    Attributes:
        name: of the study, quoted for YAML if necessary.
        data: a table's path, or the dotted path of a data function.
        target: the table's column to predict; None for a data function.
        task: `regression` or `classification`.
        rows: of the table; None if not known.
        drop: columns of the table that are not inputs.
        reading: how the table is written, if not as comma-separated UTF-8: `sep`, `encoding`, `dayfirst`.
        stratify: whether every split gets its share of each class.
        hours: wall-clock budget.
        slots: trials at once.
        cpus: of the machine.
        gpus: of the machine.
        strategy: how to search.
    """

    name: str
    data: str
    target: str | None
    task: str
    rows: int | None
    drop: tuple[str, ...]
    reading: Mapping[str, Any]
    stratify: bool
    hours: float
    slots: int
    cpus: int
    gpus: int
    strategy: Strategy


def is_table(data: str) -> bool:
    """Whether `data` is a table's path, rather than a dotted path."""
    return data.lower().endswith(TABLES)


def interview(given: Mapping[str, Any], ask: Ask, tell: Tell, *, cpus: int, gpus: int) -> Answers:
    """Ask for the answers that were not given; for a table, first print its columns.

    Args:
        given: answers that need no question, by name; None for those to ask for.
        ask: asks the user, or answers with the default.
        tell: prints a line.
        cpus: of this machine.
        gpus: of this machine.

    Raises:
        SweepError: if the table cannot be read, or has no such column.
    """

    def answer(name: str, question: str, default: Any) -> Any:
        return given[name] if given.get(name) is not None else ask(question, default)

    data = str(answer("data", "Data: a table (.csv, .csv.gz, .parquet), or a function's dotted path", None))
    table, task = TableAnswers.none(), "regression"
    if is_table(data):
        table = ask_of_table(data, given.get("target"), given.get("drop"), ask, tell)
        task = table.task
    elif Path(data).is_file():
        fix = "write it as one, or name a function that loads it, as in my_data.load"
        raise SweepError([Problem(data, None, "", "is no CSV or Parquet file", fix)])
    task = _task(str(answer("task", "Task: regression or classification", task)))
    hours = max(1 / 3600, float(answer("hours", "Budget in hours", 1.0)))
    slots = max(1, int(answer("slots", f"Trials at once ({cpus} cores, {gpus} GPUs here)", gpus or cpus)))
    strategy = recommend(given.get("parameters") or affordable_parameters(hours), hours)
    if given.get("trials"):
        strategy = _with_trials(strategy, given["trials"])
    name = given.get("name") or as_study_name(Path(data).name.partition(".")[0] if table.target else data)
    return Answers(
        _scalar(name),
        data,
        table.target,
        task,
        table.rows,
        table.drop,
        table.reading,
        table.stratify and task == "classification",
        hours,
        slots,
        cpus,
        gpus,
        strategy,
    )


def write(file: Path, text: str) -> CheckResult:
    """Write a new sweep file, and check it.

    Raises:
        SweepError: if the file exists, cannot be written, or is not valid; in the last case it is removed.
    """
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise SweepError([Problem(str(file), None, "", "exists already", "name another file")]) from None
    except OSError as error:
        raise SweepError([Problem(str(file), None, "", f"cannot be written: {error.strerror}")]) from None
    try:
        return load_checked(file)
    except SweepError:
        file.unlink()
        raise


def sweep_text(answers: Answers, file: str, schema: str, ignored: tuple[str, ...] = ()) -> str:
    """The text of the sweep file for these answers.

    Args:
        answers: to the interview.
        file: its name.
        schema: where the JSON Schema is, from the file's folder or as a URL.
        ignored: names of the advice that contradicts the answers.
    """
    strategy = answers.strategy
    sampler = f"{{name: {strategy.sampler}"
    if strategy.n_startup_trials is not None:
        sampler += f", kwargs: {{n_startup_trials: {strategy.n_startup_trials}}}"
    classes = answers.task == "classification"
    silenced = (
        f"\n# As answered when this file was made.\nignore_advice: [{', '.join(ignored)}]\n"
        if ignored
        else ""
    )
    return f"""\
# {answers.name}: made by `launch.py init`; edit it as you like.
#
#   python launch.py check {file}      is it valid, and what could be done better?
#   python launch.py {file}            run it; Ctrl-C stops it, `launch.py resume {answers.name}` continues
#
{SCHEMA_LINE.format(schema=schema)}

study_name: {answers.name}    # its folder: runs/{answers.name}
trials: {strategy.trials}
seed: 42    # the same seed proposes the same configurations
metric: val_loss    # or {"accuracy" if classes else "r2"}, with direction: maximize
direction: minimize
time_budget_s: {round(answers.hours * 3600)}    # {shown(answers.hours)} h; trials that have run by then count

# {strategy.why[0].upper()}{strategy.why[1:]}.
sampler: {sampler}}}

# Trials that will not come near the best are stopped early.
trial_scheduler: {{name: schedulers.PFL}}

# So that {answers.slots} run at once on {answers.cpus} cores and {answers.gpus} GPUs.
resources_per_trial: {_resources(answers)}
max_concurrent_trials: {answers.slots}

run:
  project: {answers.name}
{_data_lines(answers)}
  net: trainables.mlp.MLP                # or any nn.Module of yours, by dotted path
  net_config: {{nodes: 64, layers: 2, dropout: 0.1}}
  optimizer: torch.optim.AdamW
  optimizer_config: {{lr: 1e-3, weight_decay: 1e-2}}   # tried first: the baseline to beat
  scheduler: torch.optim.lr_scheduler.CosineAnnealingLR   # as long as the epochs
  warmup: 0.05                           # of the epochs
  criterion: {"torch.nn.CrossEntropyLoss" if classes else "torch.nn.MSELoss"}
  epochs: 30
  batch_size: {_batch_size(answers.rows)}
  seeds: [42]

search_space:
{_space_lines(strategy.parameters)}{silenced}"""


def _task(word: str) -> str:
    tasks = ("regression", "classification")
    if word not in tasks:
        raise SweepError([Problem("task", None, "", f"{shown(word)} is not a task", suggestion(word, tasks))])
    return word


def _with_trials(strategy: Strategy, trials: int) -> Strategy:
    """The strategy with this number of trials."""
    startup = strategy.n_startup_trials
    startup = None if startup is None else min(startup, max(1, trials - 1))
    return Strategy(strategy.parameters, strategy.sampler, startup, trials, strategy.why)


def _batch_size(rows: int | None) -> int:
    """About a hundred steps an epoch, within 32 and 256."""
    return 64 if rows is None else min(max(32, 1 << int(math.log2(max(rows / 100, 1)))), 256)


def _resources(answers: Answers) -> str:
    """The resources of a trial, so that all slots fit; a share never spans two GPUs."""
    slots, gpus = answers.slots, answers.gpus
    cpu = answers.cpus // slots or max(1, 100 * answers.cpus // slots) / 100
    gpu = min(1, gpus // slots) or (max(1, 100 // -(-slots // gpus)) / 100 if gpus else 0)
    return f"{{cpu: {shown(cpu)}, gpu: {shown(gpu)}}}"


def _data_lines(answers: Answers) -> str:
    if answers.target is None:
        return f"  data: {_scalar(answers.data)}"
    return (
        "  data: trainables.data.load_table\n"
        "  data_config:\n"
        f"    path: {_scalar(answers.data)}    # looked for beside this file, then in the working directory\n"
        f"    target: {_scalar(answers.target)}\n"
        + (f"    drop: [{', '.join(map(_scalar, answers.drop))}]    # not inputs\n" if answers.drop else "")
        + "".join(f"    {word}: {json.dumps(value)}\n" for word, value in answers.reading.items())
        + ("    stratify: true    # some classes are rare\n" if answers.stratify else "")
        + f"    task: {answers.task}"
    )


def _space_lines(parameters: int) -> str:
    """The searched parameters, in groups as `run` has them."""
    chosen = PARAMETERS[:parameters]
    lines: list[str] = []
    for group in dict.fromkeys(flat.rpartition(".")[0] for flat in chosen):
        inside = [_RANGES[flat] for flat in chosen if flat.rpartition(".")[0] == group]
        lines += (
            [f"  {group}:", *(f"    {line}" for line in inside)]
            if group
            else [f"  {line}" for line in inside]
        )
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """A text as a YAML scalar, in quotes if necessary."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
