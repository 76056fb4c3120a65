"""Keeps what is written of the sweep file true: the published schema, and the tables of its page.

The page's prose is written by hand; each table stands between two comments and is made from the models.
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
    """What the two files should hold, by path.

    Raises:
        KeyError: if the page asks for a table of no model.
    """
    schema = sweep_schema()
    page = clone / PAGE
    tables = _TABLE.sub(
        lambda found: f"{found[1]}\n{_table(found[2], schema)}\n\n{found[3]}",
        page.read_text(encoding="utf-8"),
    )
    return {clone / SCHEMA: as_text(schema), page: tables}


def write(clone: Path) -> list[Path]:
    """Write those of the two files that are not up to date; which they were."""
    stale = {path: text for path, text in generated_files(clone).items() if not _holds(path, text)}
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    return list(stale)


def as_text(schema: Mapping[str, Any]) -> str:
    """A schema as it is published."""
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
    rows = [_row(key, words, key in own.get("required", ())) for key, words in own["properties"].items()]
    yield "\n".join(("| key | | default | |", "|---|---|---|---|", *rows))
    for key, words in own["properties"].items():
        name = next(_referred(words), "")
        if name in defs and name not in _ELSEWHERE:
            inner = f"{path}.{key}" if path else key
            yield f"### {inner}"
            yield _mapping_of(defs[name])["description"] + _in_short(defs[name])
            yield from _sections(inner, defs[name], defs)


def _in_short(definition: Mapping[str, Any]) -> str:
    """What may be written in place of the mapping."""
    short = next((part for part in definition.get("anyOf", ()) if part.get("type") == "string"), None)
    return f" A bare text will do: {short['description']}" if short else ""


def _mapping_of(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """A definition's long form, where it has a short one too."""
    return next((part for part in definition.get("anyOf", ()) if "properties" in part), definition)


def _referred(words: Any) -> Iterator[str]:
    """Names of the definitions that a value is held against."""
    if isinstance(words, dict):
        if "$ref" in words:
            yield words["$ref"].rpartition("/")[2]
        for part in words.values():
            yield from _referred(part)
    elif isinstance(words, list):
        for part in words:
            yield from _referred(part)


def _advice() -> Iterator[str]:
    rules: tuple[AdviceRule, ...] = (*RULES, *data_advice.RULES)
    for rule in rules:
        yield f"| `{rule.name}` | {_cell(rule.message)} | {_cell(rule.source)} |"


def _row(key: str, words: Mapping[str, Any], required: bool) -> str:
    default = "needed" if required else _default(words)
    return f"| `{key}` | {_cell(_kind(words))} | {_cell(default)} | {_cell(words.get('description', ''))} |"


def _default(words: Mapping[str, Any]) -> str:
    """A default as it would be written; nothing for a mapping, whose keys have their own."""
    value = words.get("default")
    if isinstance(value, dict):
        return f"`{value['name']}`" if "name" in value else ""
    if value in ([], None) and value != 0:
        return "" if "default" not in words or value == [] else "`null`"
    return f"`{value}`" if isinstance(value, str) else f"`{shown(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _kind(words: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "enum" in words:
        return " or ".join(f"`{shown(value).strip(chr(39))}`" for value in words["enum"])
    if "$ref" in words:
        name = words["$ref"].rpartition("/")[2]
        return "dotted path, or `{name: …, kwargs: {…}}`" if name == "Component" else "mapping (below)"
    kinds = [part for part in words.get("anyOf", ()) if part.get("type") != "null"]
    if kinds:
        return " or ".join(dict.fromkeys(map(_kind, kinds)))
    kind = words.get("type")
    if kind == "array":
        items = words.get("items", {})
        return f"list of {_PLURALS.get(_kind(items), _kind(items))}" if items else "list"
    return f"{_TYPES.get(str(kind), 'anything')}{_bounds(words)}"


def _bounds(words: Mapping[str, Any]) -> str:
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return "".join(f", {sign} {shown(words[word])}" for word, sign in signs if word in words)


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
"""Definitions that have a place of their own on the page."""
