"""Whatever becomes of a sweep file, the user gets a sweep or a line to fix, never a traceback."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysweep.config import LoadedSweep, Sweep, SweepError, read_sweep

FILES = Path(__file__).parent / "files"
SWEEPS = [*sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml")), FILES / "full.yaml"]
TEXTS = {file.stem: file.read_bytes() for file in SWEEPS}
KEY = re.compile(rb"^( *(?:- )?)([A-Za-z_.]{3,})(?=:)", re.MULTILINE)
WORDS = [
    *("null", "true", "no", "~", "[]", "{}", "''", "1", "0", "-1", "1e-3", ".inf", ".nan", "1e999", "9" * 25),
    *("x", "a.b", "torch.optim.SGD", "schedulers.PBT", "schedulers.FIFO", "[1, 2]", "{a: 1}", "{name: 3}"),
    *("{type: int}", "*net", "&net x", "!!int x", "? a", "- a", "'", '"\\u0000"', "|", "%", "@"),
    *("x: y: z", "<<: 1"),
    *("optuna.samplers.GridSampler", "{type: categorical, choices: [[1], {a: 1}]}", "{when: {a: b}}"),
]  # fmt: skip

lines_of = st.integers(0, 10_000)
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("value"), lines_of, st.sampled_from(WORDS)),
        st.tuples(st.just("key"), lines_of, st.text(min_size=1, max_size=8)),
        st.tuples(st.just("drop"), lines_of, st.just("")),
        st.tuples(st.just("double"), lines_of, st.just("")),
        st.tuples(st.just("indent"), lines_of, st.sampled_from([" ", "  ", "\t", "- ", "      "])),
        st.tuples(st.just("dedent"), lines_of, st.just("")),
        st.tuples(st.just("bytes"), lines_of, st.text(max_size=4)),
        st.tuples(st.just("raw"), lines_of, st.sampled_from(["\udcff", "\x00", "\x85", "\u2028", "\x1b"])),
    ),
    min_size=1,
    max_size=4,
)


def mutated(text: bytes, changes: list[tuple[str, int, str]]) -> bytes:
    """Apply every change to the line it names, counted around."""
    for kind, number, word in changes:
        lines = text.decode(errors="surrogateescape").split("\n")
        at = number % len(lines)
        line = lines[at]
        head, colon, _ = line.partition(":")
        if kind == "value":
            lines[at] = f"{head}{colon} {word}"
        elif kind == "key":
            lines[at] = f"{head[: number % (len(head) + 1)]}{word}{line[number % (len(head) + 1) :]}"
        elif kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(number * 7 % len(lines), line)
        elif kind == "indent":
            lines[at] = word + line
        elif kind == "dedent":
            lines[at] = line[1:]
        else:
            place = number * 13 % (len(line) + 1)
            lines[at] = line[:place] + word + line[place:]
        text = "\n".join(lines).encode(errors="surrogateescape")
    return text


def outcome(raw: bytes, overrides: list[str] | None = None) -> LoadedSweep | SweepError:
    """Read the file as a user would have it, beside nothing."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_bytes(raw)
        try:
            return read_sweep(file, overrides=overrides or [])
        except SweepError as error:
            return error


def check_a_sweep_or_a_line(name: str, changes: list[tuple[str, int, str]]) -> None:
    result = outcome(mutated(TEXTS[name], changes))
    if isinstance(result, LoadedSweep):
        assert Sweep.model_validate(result.sweep.model_dump(mode="json")) == result.sweep
        return
    for problem in result.problems:
        assert problem.line is not None, problem
        assert "\n" not in str(problem)
        str(problem).encode()


@settings(max_examples=max(1, 1000 // len(TEXTS)), suppress_health_check=list(HealthCheck))
@given(changes=mutations)
@pytest.mark.parametrize("name", TEXTS)
def test_a_mutated_file_gives_a_sweep_or_positions(name: str, changes: list[tuple[str, int, str]]) -> None:
    check_a_sweep_or_a_line(name, changes)


@pytest.mark.nightly
@settings(max_examples=max(1, 10_000 // len(TEXTS)), suppress_health_check=list(HealthCheck))
@given(changes=mutations)
@pytest.mark.parametrize("name", TEXTS)
def test_many_mutated_files_give_sweeps_or_positions(name: str, changes: list[tuple[str, int, str]]) -> None:
    check_a_sweep_or_a_line(name, changes)


@pytest.mark.parametrize("name", TEXTS)
def test_one_misspelt_key_is_reported_at_its_own_line_and_nowhere_else(name: str) -> None:
    """Every key of every file loses a letter in its middle, one file a key."""
    text = TEXTS[name]
    for match in KEY.finditer(text):
        key = match[2]
        middle = len(key) // 2
        raw = text[: match.start(2)] + key[:middle] + key[middle + 1 :] + text[match.end(2) :]
        line = text[: match.start(2)].count(b"\n") + 1
        result = outcome(raw)
        if isinstance(result, SweepError):
            wrong = [
                str(problem)
                for problem in result.problems
                if problem.line != line and not _about_a_table(problem)
            ]
            assert not wrong, (key, line, wrong)


def _about_a_table(problem: object) -> bool:
    """The shipped sweeps' tables lie beside them, not beside the copy."""
    return "there is no file" in str(problem)


@settings(max_examples=100)
@given(st.text(max_size=12), st.sampled_from(WORDS))
def test_no_override_gives_a_traceback(key: str, value: str) -> None:
    result = outcome(TEXTS["full"], [f"{key}={value}"])
    if isinstance(result, SweepError):
        assert all("\n" not in str(problem) for problem in result.problems)
