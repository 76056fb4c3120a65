"""Errors of a file's keys and values, in plain language and with their lines.

pydantic would say "Input should be a valid integer, unable to parse string as an integer" without a line.
After an unknown key, checking continues as if the key most likely meant had been given, so that one mistake
is one message and all others are found, too.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from raysweep.config.document import Document
from raysweep.config.problem import Key, Problem, dotted, how_to_write_number, nearest, shown, suggestion
from trainables.run_config import RunConfig

_OWN_READERS = ("run", "search_space", "points_to_evaluate", "import_paths")
_OF_PEERS = {
    "n_trials": "trials",
    "num_samples": "trials",
    "num_trials": "trials",
    "max_trials": "trials",
    "mode": "direction",
    "goal": "direction",
    "name": "study_name",
    "experiment_name": "study_name",
    "max_t": "run.epochs",
    "max_epochs": "run.epochs",
    "n_epochs": "run.epochs",
    "num_epochs": "run.epochs",
    "param_space": "search_space",
    "parameters": "search_space",
    "early_terminate": "trial_scheduler",
    "scheduler": "trial_scheduler",
    "timeout": "time_budget_s",
    "n_jobs": "max_concurrent_trials",
    "gpu": "resources_per_trial.gpu",
    "gpus": "resources_per_trial.gpu",
    "cpus": "resources_per_trial.cpu",
}
"""Keys of Ray Tune, Optuna, W&B, Katib and Lightning, and our names for them."""


def unknown_keys(
    document: Document, key: Key, model: type[BaseModel], old: Iterable[str] = ()
) -> list[Problem]:
    """Report keys that a model does not have, and replace them by the nearest known ones.

    Args:
        document: is changed: an unknown key is renamed to the nearest known one, or dropped.
        key: of the model's mapping.
        model: has the known keys, as have the models in it.
        old: further known keys, under their old names.
    """
    raw = document.at(key)
    if not isinstance(raw, dict):
        return []
    known = [*model.model_fields, *old]
    for name in [name for name in raw if not key and name.startswith("x-")]:
        del raw[name]  # for anchors, as in Docker Compose
    problems = []
    for name in [name for name in raw if name not in known]:
        at = (*key, name)
        # An override means a key that the file has; another key in the file means one that it lacks.
        overrides = at in document.locations and document.locations[at].line is None
        free = known if overrides else [other for other in known if other not in raw]
        elsewhere = _elsewhere(document, key, name, known)
        near = None if elsewhere else nearest(name, free)
        fix = f"did you mean '{elsewhere}'?" if elsewhere else suggestion(name, free or known)
        problems.append(document.problem(at, "unknown", fix))
        if near is None or near in raw:
            del raw[name]
        else:
            document.move(at, (*key, near))
    for name in [name for name in raw if name not in _OWN_READERS and name in model.model_fields]:
        problems += _check_field(document, (*key, name), model.model_fields[name].annotation)
    return problems


def _elsewhere(document: Document, key: Key, name: str, known: Iterable[str]) -> str | None:
    """The key meant by another tool's name for it, or by a key at the wrong level; None if there is none."""
    if key not in ((), ("run",)):
        return None
    if not key and name in _OF_PEERS:
        return _OF_PEERS[name]
    same = {at for at in document.locations if at[0] == "run" and at[-1] == name} - {(*key, name)}
    if len(same) == 1:
        return dotted(same.pop())
    if key or nearest(name, known):
        return None
    near = nearest(name, RunConfig.model_fields)
    return f"run.{near}" if near else None


def _check_field(document: Document, key: Key, annotation: Any) -> list[Problem]:
    """Check a field's value: the keys of its model, the items of its list, or its number."""
    kinds = _alternatives(annotation)
    value = document.at(key)
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return unknown_keys(document, key, kind)
        if get_origin(kind) in (list, tuple) and isinstance(value, list):
            item = get_args(kind)[0]
            return [
                problem
                for index in range(len(value))
                for problem in _check_field(document, (*key, index), item)
            ]
    return _not_a_number(document, key, kinds)


def _not_a_number(document: Document, key: Key, kinds: list[Any]) -> list[Problem]:
    """Report text or true/false instead of a number: pydantic would accept `true` as 1."""
    value = document.at(key)
    if not {int, float} & set(kinds) or {str, bool} & set(kinds) or not isinstance(value, (str, bool)):
        return []
    expected = "a whole number" if int in kinds else "a number"
    fix = how_to_write_number(value) if isinstance(value, str) else ""
    problem = document.problem(key, f"{shown(value)} is not {expected}", fix)
    holder = document.at(key[:-1])
    if isinstance(holder, dict):
        del holder[key[-1]]
    else:
        holder[key[-1]] = 0
    return [problem]


def _alternatives(annotation: Any) -> list[Any]:
    """The types a value may have: the members of a union, or the one type."""
    if get_origin(annotation) in (Union, types.UnionType):
        return list(get_args(annotation))
    return [annotation]


def wrong_values(document: Document, error: ValidationError) -> list[Problem]:
    """Pydantic's errors as problems in plain language, each with its position."""
    problems = []
    for detail in error.errors():
        if detail["loc"][:1] == ("metrics",) and "metrics" not in document.value:
            continue  # made of `metric` and `direction`, which have errors of their own
        key = _existing(document, detail["loc"])
        if detail["type"] == "missing":
            missing = detail["loc"]
            problems.append(document.problem(missing, "missing", _how_to_give(str(missing[-1]))))
        else:
            problems.append(document.problem(key, *describe(detail)))
    return problems


def _existing(document: Document, key: Key) -> Key:
    """The part of a key that exists in the document: pydantic appends names of its own for unions."""
    length = 0
    while length < len(key) and (
        key[: length + 1] in document.locations or document.at(key[: length + 1]) is not None
    ):
        length += 1
    return key[:length]


def _how_to_give(name: str) -> str:
    examples = {
        "data": "as in 'data: trainables.data.load_table'",
        "run": "say what a trial runs: 'run: {data: trainables.data.load_digits}', or a file's path",
        "name": "give a dotted path",
        "kind": "say what it does: 'kind: explore', refine, validate or lr_range",
    }
    return examples.get(name, "give it")


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "finite": "a finite number",
}


def describe(detail: ErrorDetails) -> tuple[str, str]:
    """Problem and fix of an error of pydantic's."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "literal_error":
        choices = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        near = nearest(value, choices) if isinstance(value, str) else None
        fix = f"did you mean '{near}'?" if near else f"write {context['expected']}"
        return f"{shown(value)} is not {context['expected']}", fix
    for bound, relation in (
        ("ge", "at least"),
        ("gt", "more than"),
        ("le", "at most"),
        ("lt", "less than"),
    ):
        if bound in context and kind.startswith(("greater", "less")):
            return f"{shown(value)} is not allowed", f"it must be {relation} {shown(context[bound])}"
    if kind == "string_pattern_mismatch":
        return (
            f"{shown(value)} cannot be a folder's name",
            "use letters, digits, '.', '_' and '-', a letter or digit first",
        )
    if kind == "too_short":
        return "is empty", "give at least one"
    if kind == "value_error":
        what, _, fix = str(context["error"]).partition("; ")
        return what, fix
    expected = _EXPECTED.get(kind.split("_")[0])
    if expected is None:
        return f"{shown(value)}: {detail['msg'][0].lower()}{detail['msg'][1:]}", ""
    fix = ""
    if expected == "text" and value is not None and not isinstance(value, (dict, list)):
        fix = "put it in quotes"
    return f"{shown(value)} is not {expected}", fix
