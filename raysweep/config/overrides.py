"""`--set run.epochs=5`: values laid over a sweep file from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from raysweep.config.document import Document, Location, parse_value
from raysweep.config.field_errors import unknown_words, wrong_values
from raysweep.config.problem import Key, Problem, SweepError
from raysweep.config.stage import OVERLAYS
from raysweep.config.sweep import Sweep
from trainables.run_config import RunConfig


def override(document: Document, text: str) -> None:
    """Lay one `key=value` over a document.

    The key is the full path from the top of the sweep file (`run.` may be left out before a word that
    only a run has); the value is read as YAML; `run.seeds[0]` and `run.seeds.0` name a list's item, and
    `stages.refine.trials` that of its name. What is laid over the sweep's own word is laid over that of
    every stage which has it too: `trials=4` is few trials everywhere.

    Raises:
        SweepError: if it is no `key=value`, or the path leads through something that has no keys.
    """
    path, equals, raw = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise SweepError([Problem(f"--set {text}", None, "", "is no key=value", "write --set run.epochs=5")])
    where = f"--set {path}"
    value = parse_value(raw, where)
    words = path.replace("[", ".").replace("]", "").split(".")
    if "" in words:
        raise SweepError(
            [Problem(where, None, "", "has an empty part", "write --set run.optimizer_config.lr=0.1")]
        )
    if words[0] not in Sweep.model_fields and words[0] in RunConfig.model_fields:
        words.insert(0, "run")
    _lay(document, words, value, where)
    stages = document.value.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if words[0] in OVERLAYS and isinstance(stage, dict) and words[0] in stage:
            _lay(document, ["stages", str(index), *words], value, where)


def _lay(document: Document, words: list[str], value: Any, where: str) -> None:
    """Walk down, making mappings where there are none, and put the value there."""
    holder: Any = document.value
    key: Key = ()
    while True:
        name, taken = _next(holder, words)
        if name is None:
            what = f"'{'.'.join(map(str, key))}' has no '{words[0]}'"
            raise SweepError(
                [Problem(where, None, "", what, "name a key, or an item's number, that is there")]
            )
        key, words = (*key, name), words[taken:]
        if not words:
            break
        inner = holder.get(name) if isinstance(holder, dict) else holder[int(name)]
        if inner is None:
            inner = holder[name] = {}
        elif isinstance(inner, str) and isinstance(holder, list):
            inner = holder[int(name)] = {"name": inner}  # a stage or a metric, by its bare name
        holder = inner
    # Copied from an anchor, `holder` may be shared; the document's builder makes a fresh value of each alias.
    holder[name] = value
    for stale in [old for old in document.places if old[: len(key)] == key]:
        del document.places[stale]
    document.places[key] = Location(where, None)


def _next(holder: Any, words: list[str]) -> tuple[str | int | None, int]:
    """The key that the next word names, and how many words it takes: a flat key holds dots of its own."""
    if isinstance(holder, list):
        if words[0].isdecimal() and int(words[0]) < len(holder):
            return int(words[0]), 1
        return next((place for place, item in enumerate(holder) if words[0] in _names(item)), None), 1
    if not isinstance(holder, dict):
        return None, 0
    for length in range(len(words), 1, -1):
        if ".".join(words[:length]) in holder:
            return ".".join(words[:length]), length
    return words[0], 1


def _names(item: Any) -> tuple[Any, ...]:
    """What an item of a list may be called by."""
    return (item.get("name"), item.get("kind")) if isinstance(item, dict) else (item,)


def lay_over(sweep: Sweep, texts: Sequence[str], name: str) -> Sweep:
    """A sweep with `key=value`s laid over it.

    Args:
        sweep: stays as it was.
        texts: as given to `--set`.
        name: what stands for a file's name in messages.

    Raises:
        SweepError: with every problem found.
    """
    document = Document(name, sweep.model_dump(mode="json", exclude={"import_paths"}))
    for text in texts:
        override(document, text)
    problems = unknown_words(document, (), Sweep) + unknown_words(document, ("run",), RunConfig)
    if problems:
        raise SweepError(problems)
    try:
        return Sweep.model_validate(document.value | {"import_paths": sweep.import_paths})
    except ValidationError as error:
        raise SweepError(wrong_values(document, error)) from None


def without(texts: Sequence[str], keys: Sequence[str]) -> tuple[int | None, list[str]]:
    """The whole number that one of `keys` is set to, if any is, and the other overrides.

    >>> without(["run.epochs=5", "batch_size=8"], ["epochs", "run.epochs"])
    (5, ['batch_size=8'])

    Raises:
        SweepError: if it is no whole number above 0.
    """
    found, others = None, []
    for text in texts:
        key, _, raw = text.partition("=")
        if key.strip() not in keys:
            others.append(text)
            continue
        found = parse_value(raw, f"--set {key.strip()}")
        if not isinstance(found, int) or found < 1:
            what = f"{raw!r} is no whole number above 0"
            raise SweepError([Problem(f"--set {key.strip()}", None, "", what, "write --set run.epochs=50")])
    return found, others
