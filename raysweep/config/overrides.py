"""Overrides of a sweep file from the command line: `--set run.epochs=5`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from raysweep.config.document import Document, Location, parse_value
from raysweep.config.field_errors import unknown_keys, wrong_values
from raysweep.config.problem import Key, Problem, SweepError
from raysweep.config.stage import OVERLAYS
from raysweep.config.sweep import Sweep
from trainables.run_config import RunConfig


def override(document: Document, text: str) -> None:
    """Apply one override `key=value` to a document.

    The key is the full path from the top of the sweep file (`run.` may be left out before a key that
    only a run has); the value is read as YAML; `run.seeds[0]` and `run.seeds.0` name a list's item, and
    `stages.refine.trials` an item by its name. An override of a sweep's key also applies to every stage that
    has this key: `trials=4` means few trials everywhere.

    Raises:
        SweepError: if it is not `key=value`, or the path leads through a value without keys.
    """
    path, equals, raw = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise SweepError([Problem(f"--set {text}", None, "", "is no key=value", "write --set run.epochs=5")])
    where = f"--set {path}"
    value = parse_value(raw, where)
    parts = path.replace("[", ".").replace("]", "").split(".")
    if "" in parts:
        raise SweepError(
            [Problem(where, None, "", "has an empty part", "write --set run.optimizer_config.lr=0.1")]
        )
    if parts[0] not in Sweep.model_fields and parts[0] in RunConfig.model_fields:
        parts.insert(0, "run")
    _set_value(document, parts, value, where)
    stages = document.value.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if parts[0] in OVERLAYS and isinstance(stage, dict) and parts[0] in stage:
            _set_value(document, ["stages", str(index), *parts], value, where)


def _set_value(document: Document, parts: list[str], value: Any, where: str) -> None:
    """Set the value at a path, creating missing mappings."""
    holder: Any = document.value
    key: Key = ()
    while True:
        name, used = _next_key(holder, parts)
        if name is None:
            what = f"'{'.'.join(map(str, key))}' has no '{parts[0]}'"
            raise SweepError([Problem(where, None, "", what, "name an existing key, or an item's number")])
        key, parts = (*key, name), parts[used:]
        if not parts:
            break
        inner = holder.get(name) if isinstance(holder, dict) else holder[int(name)]
        if inner is None:
            inner = holder[name] = {}
            document.locations.setdefault(key, Location(where, None))
        elif isinstance(inner, str) and isinstance(holder, list):
            inner = holder[int(name)] = {"name": inner}  # a stage or a metric given by its name alone
        holder = inner
    holder[name] = value  # not shared with an anchor: the document's builder copies the value of an alias
    for stale in [old for old in document.locations if old[: len(key)] == key]:
        del document.locations[stale]
    document.locations[key] = Location(where, None)


def _next_key(holder: Any, parts: list[str]) -> tuple[str | int | None, int]:
    """The key that the next parts of a path name, and their number: a flat key contains dots of its own."""
    if isinstance(holder, list):
        if parts[0].isdecimal() and int(parts[0]) < len(holder):
            return int(parts[0]), 1
        return next((index for index, item in enumerate(holder) if parts[0] in _names(item)), None), 1
    if not isinstance(holder, dict):
        return None, 0
    for length in range(len(parts), 1, -1):
        if ".".join(parts[:length]) in holder:
            return ".".join(parts[:length]), length
    return parts[0], 1


def _names(item: Any) -> tuple[Any, ...]:
    """The names of an item of a list."""
    return (item.get("name"), item.get("kind")) if isinstance(item, dict) else (item,)


def with_overrides(sweep: Sweep, texts: Sequence[str], name: str) -> Sweep:
    """A copy of a sweep with overrides.

    Args:
        sweep: the sweep.
        texts: `key=value` each, as given to `--set`.
        name: in messages, in place of a file's name.

    Raises:
        SweepError: with all problems.
    """
    document = Document(name, sweep.model_dump(mode="json", exclude={"import_paths"}))
    for text in texts:
        override(document, text)
    problems = unknown_keys(document, (), Sweep) + unknown_keys(document, ("run",), RunConfig)
    if problems:
        raise SweepError(problems)
    try:
        return Sweep.model_validate(document.value | {"import_paths": sweep.import_paths})
    except ValidationError as error:
        raise SweepError(wrong_values(document, error)) from None


def split_off(texts: Sequence[str], keys: Sequence[str]) -> tuple[int | None, list[str]]:
    """The whole number that one of `keys` is set to, or None, and the other overrides.

    >>> split_off(["run.epochs=5", "batch_size=8"], ["epochs", "run.epochs"])
    (5, ['batch_size=8'])

    Raises:
        SweepError: if it is not a whole number above 0.
    """
    number, others = None, []
    for text in texts:
        key, _, raw = text.partition("=")
        if key.strip() not in keys:
            others.append(text)
            continue
        number = parse_value(raw, f"--set {key.strip()}")
        if not isinstance(number, int) or number < 1:
            what = f"{raw!r} is no whole number above 0"
            raise SweepError([Problem(f"--set {key.strip()}", None, "", what, "write --set run.epochs=50")])
    return number, others
