"""The sweep file's JSON Schema, made from the models: an editor completes and checks a file as it is typed.

The models' own schema speaks of what a sweep is once it was read; this one of what may be written: a
component as a bare dotted path, `metric` for `metrics`, a run config's path for `run`, a search space
nested or flat, and the training template's words. What only reading can tell (are these keywords those of
that class?) is left to `launch.py check`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from raysweep.config import Sweep
from raysweep.config.search_space import HEADS
from raysweep.config.stage import KINDS
from raysweep.config.template import OLD_RUN_KEYS, OLD_SWEEP_KEYS
from trainables.run_config import CONFIGS, RunConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")

_WHEN = {
    "type": "object",
    "description": "Searched only while other parameters have these values: {net_config.norm: batch}.",
}
_STEP = "Only min, min + step, min + 2 step, … are values; not together with log."
_LOG = "Spread evenly over orders of magnitude instead of over values; needs min > 0."
_SHORT = {
    "Component": {"type": "string", "description": "the dotted path of anything importable."},
    "Metric": {"type": "string", "description": "the name of one that is minimised."},
    "Tracking": {"type": "string", "description": "the uri."},
    "Resources": {"const": "auto", "type": "string", "description": "`auto`: chosen by what trials take."},
    "Constraint": {"type": "string", "pattern": "[<>]=", "description": "`parameters <= 1e6`."},
    "Stage": {"enum": list(KINDS), "type": "string", "description": "the name of a kind."},
}
"""What is written in place of a mapping."""

_TEXT = {"type": "string", "description": "its first key."}


def sweep_schema() -> dict[str, Any]:
    """The JSON Schema of a sweep file, as plain data."""
    schema = Sweep.model_json_schema()
    defs: dict[str, Any] = schema.pop("$defs")
    classes = dict(_models(Sweep))
    for name in ("Float", "Int", "Categorical", "Parameter"):
        del defs[name]  # written in other words than they are read into
    for name in defs.keys() & classes.keys():
        if _has_a_short_form(classes[name]):
            defs[name] = {"anyOf": [_SHORT.get(name, _TEXT), defs[name]]}
    for name, definition in [*defs.items(), ("Sweep", schema)]:
        if name in classes:
            _describe(definition, classes[name])
    _as_written(schema, defs["RunConfig"])
    stage = next(part for part in defs["Stage"]["anyOf"] if "properties" in part)
    stage |= {
        "required": [],
        "anyOf": [{"required": [word]} for word in ("kind", "name")],
    }  # one tells the other
    for words in [part for one in (schema, *defs.values()) for part in one.get("properties", {}).values()]:
        if "$ref" in words:  # whose class says more than its holder does
            words.setdefault("description", defs[words["$ref"].rpartition("/")[2]].get("description", ""))
    defs |= {"Parameter": _parameter(), "Group": _group()}
    found = {"$schema": DIALECT, "title": "A sweep file", **schema, "$defs": dict(sorted(defs.items()))}
    untitled: dict[str, Any] = _without_titles(found)
    return untitled | {"title": "A sweep file"}


def descriptions(model: type) -> dict[str, str]:
    """What a class's docstring says of each attribute, by name.

    >>> from raysweep.config import Metric
    >>> descriptions(Metric)["name"]
    'as the trial reports it.'
    """
    found: dict[str, str] = {}
    name = ""
    _, _, attributes = (inspect.getdoc(model) or "").partition("Attributes:\n")
    for line in attributes.split("\n"):
        begins = _ATTRIBUTE.match(line)
        if begins:
            name, found[begins[1]] = begins[1], begins[2]
        elif line.startswith("     ") and name:
            found[name] += f" {line.strip()}"
        else:
            break
    return found


def _models(model: Any) -> Iterator[tuple[str, type]]:
    """A model and those in its fields, however deep, by name."""
    if hasattr(model, "model_fields"):
        yield model.__name__, model
    for inner in [field.annotation for field in getattr(model, "model_fields", {}).values()] or get_args(
        model
    ):
        if inner is not model:
            yield from _models(inner) if not _is_recursive(model, inner) else ()


def _has_a_short_form(model: Any) -> bool:
    """Whether a text may stand for the mapping: something is made of what is written before it is read."""
    if model in (Sweep, RunConfig):  # theirs sees to words of a mapping
        return False
    validators = model.__pydantic_decorators__.model_validators.values()
    return any(validator.info.mode == "before" for validator in validators)


def _is_recursive(model: Any, inner: Any) -> bool:
    """Whether a field's type speaks of the model itself: a parameter's cases are parameters."""
    return model in get_args(inner)


def _describe(definition: dict[str, Any], model: type) -> None:
    """Put the docstring's sentences into a model's definition."""
    own = next((part for part in definition.get("anyOf", ()) if "properties" in part), definition)
    own["description"] = (inspect.getdoc(model) or "").partition("\n")[0]
    for name, sentence in descriptions(model).items():
        if name in own.get("properties", {}):
            own["properties"][name]["description"] = re.sub(r"\bNone\b", "null", sentence)


def _as_written(schema: dict[str, Any], run: dict[str, Any]) -> None:
    """Turn what a sweep is into what a file says."""
    words = schema["properties"]
    schema["required"] = ["run"]  # `study_name` is the file's name, `metrics` is made of `metric`
    words["study_name"]["description"] += " The file's name where it is left out."
    words["run"] = {
        "description": words["run"].get("description", ""),
        "anyOf": [{"type": "string", "description": "A run config's file."}, {"$ref": "#/$defs/RunConfig"}],
    }
    words["search_space"] = {"description": words["search_space"]["description"], **_space()}
    old = "A word of the training template."
    for name in OLD_SWEEP_KEYS:
        means = {"$ref": "#/$defs/Component"} if name == "pruner" else {}
        said = f"{old} Today: trial_scheduler." if name == "pruner" else f"{old} Ignored."
        words[name] = {**means, "description": said, "deprecated": True}
    for name in OLD_RUN_KEYS:
        run["properties"][name] = {"description": f"{old} Ignored.", "deprecated": True}
    for word, config in CONFIGS.items():
        run["properties"][config].setdefault("description", f"keyword arguments of `{word}`.")


def _space() -> dict[str, Any]:
    """A search space: groups as in `run`, or flat keys, or both."""
    groups = sorted(word for word in HEADS if word.endswith("_config"))
    single = "|".join(sorted(set(HEADS) - set(groups)))
    group = {"$ref": "#/$defs/Group"}
    return {
        "type": "object",
        "properties": dict.fromkeys(groups, group),
        "patternProperties": {rf"^({single})$|^({'|'.join(groups)})\..+$": group},
        "additionalProperties": False,
    }


def _group() -> dict[str, Any]:
    """A parameter, its cases, or a mapping of such; told apart so that a slip is marked where it is."""
    parameter, group = {"$ref": "#/$defs/Parameter"}, {"$ref": "#/$defs/Group"}
    return {
        "description": "One searched parameter, a list of its cases, or a group of parameters.",
        "if": {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
        "then": parameter,
        "else": {
            "if": {"type": "array"},
            "then": {"items": parameter, "minItems": 1},
            "else": {"type": "object", "additionalProperties": group},
        },
    }


def _parameter() -> dict[str, Any]:
    """One searched parameter, by its type."""
    ranged = {
        kind: {
            "min": {"type": number, "description": "Smallest value, itself included."},
            "max": {"type": number, "description": "Largest value, itself included."},
            "log": {"type": "boolean", "default": False, "description": _LOG},
            "step": {"type": [number, "null"], "exclusiveMinimum": 0, "description": _STEP},
        }
        for kind, number in (("float", "number"), ("int", "integer"))
    }
    choices = {
        "choices": {
            "type": "array",
            "minItems": 1,
            "description": "One of these: words, numbers, null.",
        },
        "ordered": {
            "type": "boolean",
            "default": False,
            "description": "Neighbours are alike (32, 64, 128): a population moves from one to the next.",
        },
    }
    return {
        "description": "One searched parameter: {type: float, min: 1e-4, max: 1e-1, log: true}.",
        "type": "object",
        "properties": {"type": {"enum": ["float", "int", "categorical"]}},
        "required": ["type"],
        "allOf": [
            _typed("float", ranged["float"], ("min", "max")),
            _typed("int", ranged["int"], ("min", "max")),
            _typed("categorical", choices, ("choices",)),
        ],
    }


def _typed(kind: str, words: Mapping[str, Any], needed: tuple[str, ...]) -> dict[str, Any]:
    """What holds of a parameter of one type."""
    return {
        "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
        "then": {
            "properties": {"type": {"const": kind}, **words, "when": _WHEN},
            "required": list(needed),
            "additionalProperties": False,
        },
    }


def _without_titles(value: Any) -> Any:
    """Leave out pydantic's titles, which say a field's name once more; a property named `title` stays."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_titles(item)
        for key, item in value.items()
        if key != "title" or not isinstance(item, str)
    }
