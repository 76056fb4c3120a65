"""Sentences are for eyes: no line of the product decides by the text of a reason or an error."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = (
    ROOT / "launch.py",
    *(
        file
        for package in ("schedulers", "trainables", "raysweep")
        for file in sorted((ROOT / package).rglob("*.py"))
    ),
)
SENTENCES = frozenset({"reason", "message", "msg", "error", "sentence", "why", "trouble", "exception", "exc"})
"""Names of what is said to people; `error` is also a caught exception, whose text is `str(error)`."""
METHODS = frozenset({"startswith", "endswith", "removeprefix", "removesuffix", "find", "index", "count"})
PATTERNS = frozenset({"match", "search", "fullmatch", "findall"})
FOREIGN = {
    "schedulers/tune/ray_private.py": "Ray tells why a worker was lost in words only",
    "trainables/device.py": "torch's CPU allocator and CUDA's libraries tell of it in words only",
    "raysweep/search/samplers.py": "Optuna's samplers raise one class of error for all that they cannot do",
}
"""Files that read a sentence of another library, each with the reason: it comes with nothing but words."""


def speaks(node: ast.AST) -> bool:
    """Whether an expression is the text of a reason or an error: `event.reason`, `str(error)`, `why`."""
    if isinstance(node, ast.Attribute):
        return node.attr in SENTENCES
    if isinstance(node, ast.Name):
        return node.id in SENTENCES
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr"):
        return any(map(speaks, node.args))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("lower", "strip", "casefold") and speaks(node.func.value)
    return False


def is_text(node: ast.AST) -> bool:
    """Whether it is a text that says something, or a constant that may hold one."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value != ""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Name) and node.id.isupper())


def decisions_by_text(source: str) -> Iterator[tuple[int, str]]:
    """Line and code of every expression that reads what a sentence says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            reads = any(map(speaks, sides))
            contains = isinstance(node.ops[0], ast.In | ast.NotIn) and speaks(node.comparators[0])
            compares = isinstance(node.ops[0], ast.Eq | ast.NotEq) and any(map(is_text, sides))
            if contains or (reads and compares):
                yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            begins = node.func.attr in METHODS and speaks(node.func.value)
            matches = node.func.attr in PATTERNS and any(map(speaks, node.args))
            if begins or matches:
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        "if event.reason.startswith(PREFIX): pass",
        "word = reason.removeprefix('audit: ')",
        "if 'damaged' in error: pass",
        "if DAMAGED in str(error): pass",
        "if reason == LOST: pass",
        "if str(error) != 'no': pass",
        "if re.search('step', sentence): pass",
        "if 'x' in trial.error.lower(): pass",
    ],
)
def test_a_decision_by_text_is_seen(source: str) -> None:
    assert [line for line, _ in decisions_by_text("import re\n" + source)] == [2]


@pytest.mark.parametrize(
    "source",
    [
        "if event.code is ReasonCode.AUDITED: pass",
        "if reason == '': pass",
        "if not error: pass",
        "print(reason.strip())",
        "if error.errno in VANISHED: pass",
    ],
)
def test_a_decision_by_a_value_is_none(source: str) -> None:
    assert list(decisions_by_text(source)) == []


def test_no_line_decides_by_what_a_reason_or_an_error_says() -> None:
    offences = [
        f"{file.relative_to(ROOT)}:{line}: {code}"
        for file in PRODUCT
        if str(file.relative_to(ROOT)) not in FOREIGN
        for line, code in decisions_by_text(file.read_text(encoding="utf-8"))
    ]
    assert offences == [], "give the decision a code, or the exception a field"


@pytest.mark.parametrize("file", FOREIGN)
def test_each_exception_is_still_needed(file: str) -> None:
    assert list(decisions_by_text((ROOT / file).read_text(encoding="utf-8")))
