"""Reads YAML 1.2, and keeps the line of every key.

PyYAML implements YAML 1.1, where ``1e-3`` is a string and ``no`` is false; both cost users hours. Its
scanner and composer are used as they are; scalars are read by YAML 1.2's core schema. Merge keys
(``<<``) of 1.1 are supported, since people use them. Numbers must be finite, since they go into JSON,
MLflow and a search space.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.scanner import Scanner

from raysweep.config.problem import Key, Problem, SweepError, dotted, shown
from raysweep.config.yaml_scalars import SCALARS, TAG, CoreSchema

MAX_BYTES = 1 << 20  # a sweep file has a few kilobytes; a megabyte is some other file
MAX_DEPTH = 40  # the deepest real sweep file has six levels
MAX_VALUES = 20_000  # with aliases expanded, so that nine lines cannot become a billion values


class _Loader(Reader, Scanner, Parser, Composer, CoreSchema):
    """PyYAML's pipeline up to the node tree, with a limit on its depth."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        CoreSchema.__init__(self)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


@dataclass(frozen=True, slots=True)
class Location:
    """The position of a key, and its name there.

    Attributes:
        file: the file, or ``--set a.b``.
        line: from 1; None in an override.
        key: as in its own file, before any `move` or `graft`.
    """

    file: str
    line: int | None
    key: Key = ()


@dataclass(slots=True)
class Document:
    """A YAML file's values, and the position of every key.

    Attributes:
        file: the file as the user named it.
        value: the top-level mapping.
        locations: position by key; for keys of an alias, in its anchor.
    """

    file: str
    value: dict[str, Any]
    locations: dict[Key, Location] = field(default_factory=dict)

    def problem(self, key: Key, what: str, fix: str = "") -> Problem:
        """A problem with a key, at its position or that of the nearest key around it."""
        length = len(key)
        while length and key[:length] not in self.locations:
            length -= 1
        location = self.locations.get(key[:length], Location(self.file, 1))
        return Problem(location.file, location.line, dotted(location.key + key[length:]), what, fix)

    def at(self, key: Key) -> Any:
        """The value at `key`; None if there is none."""
        value: Any = self.value
        for part in key:
            if isinstance(value, dict) and isinstance(part, str):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and -len(value) <= part < len(value):
                value = value[part]
            else:
                return None
        return value

    def move(self, source: Key, target: Key) -> None:
        """Move the value at `source`, with its positions."""
        holder = self.at(source[:-1])
        value = holder.pop(source[-1])
        self.at(target[:-1])[target[-1]] = value
        for key in [key for key in self.locations if key[: len(source)] == source]:
            self.locations[target + key[len(source) :]] = self.locations.pop(key)

    def graft(self, key: Key, other: Document) -> None:
        """Insert another document at `key`."""
        self.at(key[:-1])[key[-1]] = other.value
        self.locations[key] = Location(other.file, 1)
        for inner, location in other.locations.items():
            self.locations[key + inner] = location


def read(path: Path, name: str | None = None) -> Document:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: the file.
        name: of the file in messages; by default `path` as given.

    Raises:
        SweepError: if the file cannot be read or is not valid YAML, with every duplicate or
            non-text key and its line.
    """
    file = name or str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SweepError([Problem(file, None, "", f"cannot be read: {error.strerror}")]) from error
    if len(raw) > MAX_BYTES:
        what = f"has {len(raw) / 1e6:.1f} MB"
        raise SweepError(
            [Problem(file, None, "", what, "a sweep file has a few kilobytes: is this the right file?")]
        )
    return parse(raw, file)


def parse(raw: bytes, file: str) -> Document:
    """Read YAML text whose top level is a mapping; see `read`."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8 text"
        raise SweepError([Problem(file, line, "", what, "save the file as UTF-8")]) from error
    node = _compose(text, file)
    builder = _Builder(file, text)
    if node is None:
        raise SweepError([Problem(file, 1, "", "the file is empty", "a sweep file needs at least 'run:'")])
    if not isinstance(node, yaml.MappingNode):
        what = f"the top level is {_kind(node)}, not a mapping of keys"
        raise SweepError([Problem(file, builder.line(node), "", what, "write 'key: value' lines")])
    value = builder.mapping(node, ())
    if builder.problems:
        raise SweepError(builder.problems)
    return Document(file, value, builder.locations)


def parse_value(text: str, where: str) -> Any:
    """Read one YAML value, as given to ``--set``."""
    builder = _Builder(where, text)
    value = None
    try:
        node = _compose(text, where)
        value = None if node is None else builder.build(node, ())
    except SweepError as error:
        builder.problems = list(error.problems)
    if builder.problems:  # an override has no lines
        raise SweepError(replace(problem, line=None) for problem in builder.problems)
    return value


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        return _Loader(text).get_single_node()
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        what = f"control character U+{error.character:04X} in the text"
        raise SweepError([Problem(file, line, "", what, "delete it")]) from error
    except yaml.MarkedYAMLError as error:
        raise SweepError([_syntax(error, file, text)]) from error


def _syntax(error: yaml.MarkedYAMLError, file: str, text: str) -> Problem:
    """PyYAML's error as a problem, in plain language for the common ones."""
    mark = error.problem_mark or error.context_mark
    if error.context_mark and "end of stream" in (error.problem or ""):
        mark = error.context_mark  # where the quote was opened, not the end of the file
    line = text.count("\n", 0, mark.index) + 1 if mark else 1
    original = error.problem or error.context or "not valid YAML"
    for pattern, what, fix in _PLAIN_MESSAGES:
        match = re.search(pattern, original)
        if match:
            return Problem(file, line, "", match.expand(what), fix)
    around = f" ({error.context})" if error.context and error.problem else ""
    what = f"not valid YAML: {original}{around}"
    return Problem(file, line, "", what, "check indentation, colons and quotes near here")


_PLAIN_MESSAGES = (
    (r"character '\\t'", "a tab", "indent with spaces: YAML allows no tabs there"),
    (r"character '([%@`])'", r"a value cannot begin with '\1'", "put it in quotes"),
    (
        r"mapping values are not allowed here",
        "a second ': ' in one line, or a line indented too far",
        "put a value that contains ': ' in quotes, or fix the indentation",
    ),
    (
        r"could not find expected ':'",
        "a key without its ':'",
        "write 'key: value'; does the line above end a quote or bracket?",
    ),
    (r"expected <block end>", "this line's indentation fits no line above", "indent it like its siblings"),
    (r"expected ',' or '([\]}])'", r"a bracket is not closed with '\1' (or a ',' is missing)", "close it"),
    (r"found undefined alias '?([^']*)'?", r"alias *\1 has no anchor &\1 before it", "define it first"),
    (r"but found another document", "a second '---' document", "one file is one sweep: split it"),
    (r"nested deeper than (\d+) levels", r"nested deeper than \1 levels", "use fewer levels"),
    (r"found unexpected end of stream", "a quote is never closed", "close it"),
)


def _kind(node: yaml.Node) -> str:
    return {"MappingNode": "a mapping", "SequenceNode": "a list"}.get(type(node).__name__, "a single value")


class _Builder:
    """Turns the node tree into values; collects problems instead of stopping at the first."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        # Lines end as in editors; PyYAML would also end one at U+0085 and U+2028.
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.locations: dict[Key, Location] = {}
        self.problems: list[Problem] = []
        self.open: list[int] = []  # ids of the nodes being built: an alias to one is a cycle
        self.count = 0

    def line(self, node: yaml.Node) -> int:
        return bisect_left(self.newlines, node.start_mark.index) + 1

    def complain(self, node: yaml.Node, key: Key, what: str, fix: str = "") -> None:
        self.problems.append(Problem(self.file, self.line(node), dotted(key), what, fix))

    def build(self, node: yaml.Node, key: Key) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            self.complain(node, key, f"more than {MAX_VALUES:,} values", "use fewer aliases")
            raise SweepError(self.problems)
        if id(node) in self.open:
            self.complain(node, key, "an anchor that contains itself", "move the alias out of its anchor")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key)
        self.open.append(id(node))
        if isinstance(node, yaml.MappingNode):
            value: Any = self.mapping(node, key)
        else:
            value = self.sequence(node, key)
        self.open.pop()
        return value

    def sequence(self, node: yaml.Node, key: Key) -> list[Any]:
        if node.tag != TAG + "seq":
            self.complain(node, key, f"the tag '{node.tag}' means nothing here", "drop it")
        items = []
        for index, item in enumerate(node.value):
            self.locations[(*key, index)] = Location(self.file, self.line(item), (*key, index))
            items.append(self.build(item, (*key, index)))
        return items

    def mapping(self, node: yaml.Node, key: Key) -> dict[str, Any]:
        if node.tag != TAG + "map":
            self.complain(node, key, f"the tag '{node.tag}' means nothing here", "drop it")
        value: dict[str, Any] = {}
        lines: dict[str, int] = {}
        own = {name_node.value for name_node, _ in node.value if isinstance(name_node, yaml.ScalarNode)}
        for name_node, value_node in node.value:
            if name_node.tag == TAG + "merge":
                self.merge(value_node, key, value, own)
                continue
            name = self.name(name_node, key)
            if name is None:
                continue
            line = self.line(name_node)
            if name in lines:
                where = f"already given on line {lines[name]}"
                self.complain(name_node, (*key, name), where, "a key may be given once: delete one")
                continue
            lines[name] = line
            self.locations[(*key, name)] = Location(self.file, line, (*key, name))
            value[name] = self.build(value_node, (*key, name))
        return value

    def merge(self, node: yaml.Node, key: Key, value: dict[str, Any], own: set[str]) -> None:
        """Merge the keys of a mapping (``<<: *anchor``, or a list of them).

        Keys already merged, and the mapping's `own`, take precedence.
        """
        if isinstance(node, yaml.SequenceNode) and id(node) not in self.open:
            self.open.append(id(node))
            for item in node.value:
                self.merge(item, key, value, own)
            self.open.pop()
            return
        if not isinstance(node, yaml.MappingNode) or id(node) in self.open:
            self.complain(node, (*key, "<<"), "merges something that is not a mapping", "write '<<: *anchor'")
            return
        inner = _Builder(self.file, self.text)
        inner.open, inner.count = self.open, self.count
        merged = inner.build(node, key)
        self.count = inner.count
        self.problems += inner.problems
        new = {name: item for name, item in merged.items() if name not in value and name not in own}
        value |= new
        self.locations |= {at: location for at, location in inner.locations.items() if at[len(key)] in new}

    def name(self, node: yaml.Node, key: Key) -> str | None:
        """Read a mapping's key, which must be text."""
        if isinstance(node, yaml.ScalarNode) and node.tag == TAG + "str":
            return str(self.scalar(node, key))
        if not isinstance(node, yaml.ScalarNode):
            what = f"a key cannot be {_kind(node)}"
        else:
            what = f"the key {node.value} is not text" if node.value else "a key is missing before ':'"
        self.complain(node, key, what, "put a key that looks like a number or true/false/null in quotes")
        return None

    def scalar(self, node: yaml.Node, key: Key) -> Any:
        text: str = node.value
        if any(not letter.isprintable() and letter not in "\n\t" for letter in text):
            self.complain(node, key, f"{shown(text)} has a character that cannot be printed", "delete it")
            return text
        reader = SCALARS.get(node.tag.removeprefix(TAG))
        if reader is None or not node.tag.startswith(TAG):
            self.complain(node, key, f"the tag '{node.tag}' means nothing here", "drop it")
            return text
        try:
            return reader(text)
        except ValueError as error:
            self.complain(node, key, f"{shown(text)} {error}", "write another value")
            return text
