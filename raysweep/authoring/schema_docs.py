"""Generates the published schema, and the tables of the page on the sweep file.

The page's prose is written by hand; each table is between two comments and is made from the models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raysweep.advice import RULES, AdviceRule
from raysweep.advice import data as data_advice
from raysweep.authoring.schema import sweep_schema
from raysweep.config.problem import shown

SCHEMA = "docs/sweep.schema.json"
PAGE = "docs/sweep-file.md"
_TABLE = re.compile(r"(<!-- (\w+): made by `launch.py schema --write` -->\n).*?(<!-- end -->)", re.DOTALL)


def generated_files(clone: Path) -> dict[Path, str]:
    """The up-to-date text of both files, by path.

    Raises:
        KeyError: if the page names a table for which there is no model.
    """
    schema = sweep_schema()
    page = clone / PAGE
    tables = _TABLE.sub(
        lambda match: f"{match[1]}\n{_table(match[2], schema)}\n\n{match[3]}",
        page.read_text(encoding="utf-8"),
    )
    return {clone / SCHEMA: as_text(schema), page: tables}


def write(clone: Path) -> list[Path]:
    """Write those of the two files that are out of date; returns their paths."""
    stale = {path: text for path, text in generated_files(clone).items() if not _holds(path, text)}
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    return list(stale)


def as_text(schema: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _table(name: str, schema: Mapping[str, Any]) -> str:
    if name == "Advice":
        return "\n".join(("| name | rule | source |", "|---|---|---|", *_advice()))
    definition = schema if name == "Sweep" else schema["$defs"][name]
    return "\n\n".join(_sections("", definition, schema["$defs"]))


def _sections(path: str, definition: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[str]:
    """A mapping's table, then a section for each mapping in it that has keys of its own."""
    own = _mapping_of(definition)
    rows = [_row(key, field, key in own.get("required", ())) for key, field in own["properties"].items()]
    yield "\n".join(("| key | | default | |", "|---|---|---|---|", *rows))
    for key, field in own["properties"].items():
        name = next(_referenced(field), "")
        if name in defs and name not in _ELSEWHERE:
            inner = f"{path}.{key}" if path else key
            yield f"### {inner}"
            yield _mapping_of(defs[name])["description"] + _in_short(defs[name])
            yield from _sections(inner, defs[name], defs)


def _in_short(definition: Mapping[str, Any]) -> str:
    """What may be written in place of the mapping."""
    short = next((part for part in definition.get("anyOf", ()) if part.get("type") == "string"), None)
    return f" Short form: {short['description']}" if short else ""


def _mapping_of(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """A definition without its short form, if it has one."""
    return next((part for part in definition.get("anyOf", ()) if "properties" in part), definition)


def _referenced(schema: Any) -> Iterator[str]:
    """The names of all definitions that a schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for part in schema.values():
            yield from _referenced(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _referenced(part)


def _advice() -> Iterator[str]:
    rules: tuple[AdviceRule, ...] = (*RULES, *data_advice.RULES)
    for rule in rules:
        yield f"| `{rule.name}` | {_cell(rule.message)} | {_cell(rule.source)} |"


def _row(key: str, field: Mapping[str, Any], required: bool) -> str:
    default = "required" if required else _default(field)
    return f"| `{key}` | {_cell(_kind(field))} | {_cell(default)} | {_cell(field.get('description', ''))} |"


def _default(field: Mapping[str, Any]) -> str:
    """The default as a sweep file writes it; "" for a mapping, whose keys have their own."""
    value = field.get("default")
    if isinstance(value, dict):
        return f"`{value['name']}`" if "name" in value else ""
    if value in ([], None) and value != 0:
        return "" if "default" not in field or value == [] else "`null`"
    return f"`{value}`" if isinstance(value, str) else f"`{shown(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _kind(field: Mapping[str, Any]) -> str:
    """The type of a value, in words."""
    if "enum" in field:
        return " or ".join(f"`{shown(value).strip(chr(39))}`" for value in field["enum"])
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return "dotted path, or `{name: …, kwargs: {…}}`" if name == "Component" else "mapping (below)"
    kinds = [part for part in field.get("anyOf", ()) if part.get("type") != "null"]
    if kinds:
        return " or ".join(dict.fromkeys(map(_kind, kinds)))
    kind = field.get("type")
    if kind == "array":
        items = field.get("items", {})
        return f"list of {_PLURALS.get(_kind(items), _kind(items))}" if items else "list"
    return f"{_TYPES.get(str(kind), 'anything')}{_bounds(field)}"


def _bounds(field: Mapping[str, Any]) -> str:
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return "".join(f", {sign} {shown(field[bound])}" for bound, sign in signs if bound in field)


_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "mapping",
}
_PLURALS = {
    "text": "texts",
    "mapping": "mappings",
    "mapping (below)": "mappings (below)",
    "whole number": "whole numbers",
    "number": "numbers",
}
_ELSEWHERE = ("Component", "RunConfig", "Group", "Parameter")
"""Definitions that have a section of their own on the page."""
