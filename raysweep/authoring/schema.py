"""The sweep file's JSON Schema, made from the models, with which an editor completes and checks a file.

The models' own schema describes a sweep after it was read; this one describes what may be written: a
component as a bare dotted path, `metric` for `metrics`, a run config's path for `run`, a nested or flat
search space, and the training template's keys. What needs more than the file (are these keywords those of
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
_STEP = "The values are min, min + step, min + 2 step, …; not together with log."
_LOG = "Drawn evenly over orders of magnitude instead of over values; needs min > 0."
_SHORT = {
    "Component": {"type": "string", "description": "the dotted path of anything importable."},
    "Metric": {"type": "string", "description": "the name of one that is minimised."},
    "Tracking": {"type": "string", "description": "the uri."},
    "Resources": {"const": "auto", "type": "string", "description": "`auto`: chosen by what trials take."},
    "Constraint": {"type": "string", "pattern": "[<>]=", "description": "`parameters <= 1e6`."},
    "Stage": {"enum": list(KINDS), "type": "string", "description": "the name of a kind."},
}
"""What may be written in place of a mapping."""

_TEXT = {"type": "string", "description": "its first key."}


def sweep_schema() -> dict[str, Any]:
    """The JSON Schema of a sweep file, as plain data."""
    schema = Sweep.model_json_schema()
    defs: dict[str, Any] = schema.pop("$defs")
    classes = dict(_models(Sweep))
    for name in ("Float", "Int", "Categorical", "Parameter"):
        del defs[name]  # the file writes them differently, see `_parameter`
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
        "anyOf": [{"required": [key]} for key in ("kind", "name")],
    }  # one implies the other
    for field in [part for one in (schema, *defs.values()) for part in one.get("properties", {}).values()]:
        if "$ref" in field:  # a field without a description gets its class's
            field.setdefault("description", defs[field["$ref"].rpartition("/")[2]].get("description", ""))
    defs |= {"Parameter": _parameter(), "Group": _group()}
    titled = {"$schema": DIALECT, "title": "A sweep file", **schema, "$defs": dict(sorted(defs.items()))}
    untitled: dict[str, Any] = _without_titles(titled)
    return untitled | {"title": "A sweep file"}


def descriptions(model: type) -> dict[str, str]:
    """The description of each attribute in a class's docstring, by name.

    >>> from raysweep.config import Metric
    >>> descriptions(Metric)["name"]
    'as the trial reports it.'
    """
    by_name: dict[str, str] = {}
    name = ""
    _, _, attributes = (inspect.getdoc(model) or "").partition("Attributes:\n")
    for line in attributes.split("\n"):
        begins = _ATTRIBUTE.match(line)
        if begins:
            name, by_name[begins[1]] = begins[1], begins[2]
        elif line.startswith("     ") and name:
            by_name[name] += f" {line.strip()}"
        else:
            break
    return by_name


def _models(model: Any) -> Iterator[tuple[str, type]]:
    """A model and all models nested in its fields, by name."""
    if hasattr(model, "model_fields"):
        yield model.__name__, model
    for inner in [field.annotation for field in getattr(model, "model_fields", {}).values()] or get_args(
        model
    ):
        if inner is not model:
            yield from _models(inner) if not _is_recursive(model, inner) else ()


def _has_a_short_form(model: Any) -> bool:
    """Whether a text may replace the mapping: the model has a validator that runs before the others."""
    if model in (Sweep, RunConfig):  # theirs only change a mapping
        return False
    validators = model.__pydantic_decorators__.model_validators.values()
    return any(validator.info.mode == "before" for validator in validators)


def _is_recursive(model: Any, inner: Any) -> bool:
    """Whether a field's type contains the model itself, as a parameter's cases are parameters."""
    return model in get_args(inner)


def _describe(definition: dict[str, Any], model: type) -> None:
    """Add the descriptions from the docstring to a model's definition."""
    own = next((part for part in definition.get("anyOf", ()) if "properties" in part), definition)
    own["description"] = (inspect.getdoc(model) or "").partition("\n")[0]
    for name, sentence in descriptions(model).items():
        if name in own.get("properties", {}):
            own["properties"][name]["description"] = re.sub(r"\bNone\b", "null", sentence)


def _as_written(schema: dict[str, Any], run: dict[str, Any]) -> None:
    """Change the schema of a sweep to that of a file."""
    fields = schema["properties"]
    schema["required"] = ["run"]  # `study_name` is the file's name, `metrics` is made from `metric`
    fields["study_name"]["description"] += " The file's name if it is left out."
    fields["run"] = {
        "description": fields["run"].get("description", ""),
        "anyOf": [{"type": "string", "description": "A run config's file."}, {"$ref": "#/$defs/RunConfig"}],
    }
    fields["search_space"] = {"description": fields["search_space"]["description"], **_space()}
    old = "A key of the training template"
    for name in OLD_SWEEP_KEYS:
        meaning = {"$ref": "#/$defs/Component"} if name == "pruner" else {}
        description = f"{old}; now trial_scheduler." if name == "pruner" else f"{old}; ignored."
        fields[name] = {**meaning, "description": description, "deprecated": True}
    for name in OLD_RUN_KEYS:
        run["properties"][name] = {"description": f"{old}; ignored.", "deprecated": True}
    for component, config in CONFIGS.items():
        run["properties"][config].setdefault("description", f"keyword arguments of `{component}`.")


def _space() -> dict[str, Any]:
    """A search space: groups as in `run`, or flat keys, or both."""
    groups = sorted(key for key in HEADS if key.endswith("_config"))
    single = "|".join(sorted(set(HEADS) - set(groups)))
    group = {"$ref": "#/$defs/Group"}
    return {
        "type": "object",
        "properties": dict.fromkeys(groups, group),
        "patternProperties": {rf"^({single})$|^({'|'.join(groups)})\..+$": group},
        "additionalProperties": False,
    }


def _group() -> dict[str, Any]:
    """A parameter, its cases, or a mapping of these; distinguished so that mistakes are marked in place."""
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
    """The schema of one searched parameter, by its type."""
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
            "description": "One of these: texts, numbers, null.",
        },
        "ordered": {
            "type": "boolean",
            "default": False,
            "description": "Neighbours are similar (32, 64, 128): a population moves from one to the next.",
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


def _typed(kind: str, fields: Mapping[str, Any], needed: tuple[str, ...]) -> dict[str, Any]:
    """The schema of a parameter of one type."""
    return {
        "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
        "then": {
            "properties": {"type": {"const": kind}, **fields, "when": _WHEN},
            "required": list(needed),
            "additionalProperties": False,
        },
    }


def _without_titles(value: Any) -> Any:
    """Drop pydantic's titles, which repeat a field's name; a property named `title` stays."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_titles(item)
        for key, item in value.items()
        if key != "title" or not isinstance(item, str)
    }
