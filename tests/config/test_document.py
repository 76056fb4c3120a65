"""YAML as users mean it: numbers are numbers, words are words, every slip has its line."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.config.document import parse, parse_value
from raysweep.config.problem import Problem, SweepError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.e-1", 0.1),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("012", 12),  # YAML 1.1 would read ten
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("1:30", "1:30"),  # YAML 1.1 would read ninety
        ("1_000", "1_000"),
        ("2026-01-31", "2026-01-31"),
        ("~", None),
        ("", None),
        ("null", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_a_plain_value_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    seen = parse_value(text, "--set x")
    assert (seen, type(seen)) == (value, type(value))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "f.yaml:1: the file is empty; a sweep file needs at least 'run:'"),
        (b"- a\n", "f.yaml:1: the top level is a list, not a mapping of keys; write 'key: value' lines"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: byte 0xff is not UTF-8 text; save the file as UTF-8"),
        (b"a: 1\nb: \x07\n", "f.yaml:2: control character U+0007 in the text; delete it"),
        (b"a:\n\tb: 1\n", "f.yaml:2: a tab; indent with spaces: YAML allows no tabs there"),
        (b"a: 1\nb: 2\na: 3\n", "f.yaml:3: a: already given on line 1; a key may be given once: delete one"),
        (b"a: @x\n", "f.yaml:1: a value cannot begin with '@'; put it in quotes"),
        (b"a: 1\nb: 'x\nc: 1\n", "f.yaml:2: a quote is never closed; close it"),
        (b"a: 1\n--- \nb: 1\n", "f.yaml:2: a second '---' document; one file is one sweep: split it"),
        (b"a: *b\n", "f.yaml:1: alias *b has no anchor &b before it; define it first"),
        (b"a: 1\nb: .nan\n", "f.yaml:2: b: '.nan' is not a finite number; write another value"),
        (
            b"a: 1e999\n",
            "f.yaml:1: a: '1e999' is not a finite number; write another value",
        ),
        (
            b"a: 99999999999999999999\n",
            "f.yaml:1: a: '99999999999999999999' is too large a number (63 bits at most); "
            "write another value",
        ),
        (
            b"a: &x [*x]\n",
            "f.yaml:1: a[0]: an anchor that contains itself; move the alias out of its anchor",
        ),
        (
            b"a: 1\n2: 1\n",
            "f.yaml:2: the key 2 is not text; "
            "put a key that looks like a number or true/false/null in quotes",
        ),
        (b"a: " + b"[" * 1000, "f.yaml:1: nested deeper than 40 levels; use fewer levels"),
        (
            b"a: !!python/object:os.system x\n",
            "f.yaml:1: a: the tag 'tag:yaml.org,2002:python/object:os.system' means nothing here; drop it",
        ),
        (b'a: "\\uD800"\n', "f.yaml:1: a: '\\ud800' has a character that cannot be printed; delete it"),
    ],
)
def test_invalid_yaml_is_reported_in_one_line_with_its_position(raw: bytes, message: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse(raw, "f.yaml")
    assert str(caught.value) == message


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    """Nine lines of ten aliases each would be a billion values."""
    lines = [b"a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)]
    with pytest.raises(SweepError, match="more than 20,000 values"):
        parse(b"\n".join(lines), "f.yaml")


def test_all_doubled_keys_are_reported_at_once() -> None:
    with pytest.raises(SweepError) as caught:
        parse(b"a: 1\na: 2\nb:\n  c: 1\n  c: 2\n", "f.yaml")
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [(2, "a"), (5, "b.c")]


def test_merge_keys_fill_in_what_is_not_given_and_keep_their_lines() -> None:
    document = parse(b"a: &x\n  b: 1\n  c: 2\nd:\n  <<: *x\n  c: 3\n", "f.yaml")
    assert document.value["d"] == {"b": 1, "c": 3}
    assert [document.problem(("d", word), "").line for word in ("b", "c")] == [2, 6]


def test_a_mapping_s_own_key_wins_over_a_merged_one_wherever_it_stands() -> None:
    document = parse(
        b"base: &base {a: 1, b: {c: 2}}\nx:\n  b: 3\n  <<: *base\ny:\n  <<: *base\n  b: 4\n", "f"
    )
    assert (document.value["x"], document.value["y"]) == ({"a": 1, "b": 3}, {"a": 1, "b": 4})
    assert str(document.problem(("y", "b"), "wrong")) == "f:7: y.b: wrong"
    assert ("y", "b", "c") not in document.locations


def test_the_work_of_reading_grows_with_the_file_not_its_square() -> None:
    def calls(keys: int) -> int:
        text = "".join(f"k{number}: {{a: 1, b: [2, 3]}}\n" for number in range(keys)).encode()
        count = 0

        def tally(_frame: FrameType, _event: str, _arg: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(tally)
        try:
            parse(text, "f")
        finally:
            sys.setprofile(None)
        return count

    assert calls(200) < 5 * calls(50)


def test_a_problem_with_what_is_missing_stands_at_what_is_around_it() -> None:
    document = parse(b"run:\n  net: x\n", "f.yaml")
    assert str(document.problem(("run", "data"), "missing")) == "f.yaml:1: run.data: missing"


def test_a_grafted_file_keeps_its_own_name_lines_and_keys() -> None:
    document = parse(b"run: run.yaml\n", "f.yaml")
    document.graft(("run",), parse(b"\nepochs: 1\n", "run.yaml"))
    assert str(document.problem(("run", "epochs"), "wrong")) == "run.yaml:2: epochs: wrong"


def test_lines_are_counted_as_editors_count_them() -> None:
    """PyYAML would end a line at U+2028 too; an editor does not."""
    document = parse("a: 'x\u2028y'\nb: 1\n".encode().replace("\u2028".encode(), b" "), "f.yaml")
    assert document.problem(("b",), "").line == 2


def test_a_message_is_one_line_whatever_the_file_held() -> None:
    assert str(Problem("f.yaml", 1, "a\nb", "x\x1b[31my")) == "f.yaml:1: a\\nb: x\\x1b[31my"


def complaints(raw: bytes) -> list[Problem]:
    try:
        parse(raw, "f.yaml")
    except SweepError as error:
        return list(error.problems)
    return []


@given(st.binary(max_size=200))
def test_no_bytes_give_a_traceback(raw: bytes) -> None:
    assert all(str(problem).startswith("f.yaml:") for problem in complaints(raw))


@given(st.text(alphabet="ab:-[]{}&*!#|>'\"%@`?,<~.01 \n\t", max_size=60))
def test_no_yaml_like_text_gives_a_traceback(text: str) -> None:
    assert all(problem.line is not None for problem in complaints(text.encode()))
