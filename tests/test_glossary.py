"""The names of classes are made of words that docs/glossary.md explains, or of plain words of programming."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PLAIN = frozenset(
    """
    a access activation affordable answer array autoscaler await awaiting axis batch bench block broken
    builder busy by call callback cannot cause change choice classic client column command component
    concurrency connection continue copy core corrupt created cursor custom damage data default deferred
    derived difference distributed document dropout early emitter end engine entrant entry epoch error
    evaluation evidence exact exists exit export extend extension fact failed failure far fault field
    figure file filter finish first fit folder follower forgiving found fusible fusion gathering guard hook
    idle imported improvement initial input interruption invalid jobs kernel key kill layer leave line
    linear listener loaded loader location loop lost matrix missing more name narrowed net never no
    node norm not noted nothing obstacle of op optuna package pair parameter part pause
    place position printable problem procedure progress ranked ray reader ready recovered refused
    region relay reopened replayer request required resolved result resume retries rising rng row running
    saved scale scaler schedule schema scope screen section selection server set setting shard share side
    signal signature so stack stacked started statistics status step stopper storage sum summary table tail
    time tracking unfit unknown unreachable unreadable unsearchable update value vector view warmup weight
    winner write display function notebook resumable thread
    """.split()  # noqa: SIM905 - to be read, and extended, as a list of words
)
ABBREVIATIONS = frozenset(["asha", "fifo", "mlp", "oom", "pbt", "pfl", "rng"])
OWN_WORDS_OF_LIBRARIES = frozenset(["pickled", "plus", "raysweep", "torch", "vmap"])  # SPlus; torch.func.vmap


def parts_of(name: str) -> list[str]:
    """The words of a class name, in lower case.

    >>> parts_of("_ASHARule2")
    ['asha', 'rule']
    """
    return [part.lower() for part in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)]


def stems(word: str) -> set[str]:
    """A word, and what it may be a plural or a form of.

    >>> sorted(stems("studies"))
    ['studi', 'studie', 'studies', 'study']
    """
    forms = {word}
    for ending, instead in (
        ("s", ""),
        ("es", ""),
        ("ies", "y"),
        ("ed", ""),
        ("ed", "e"),
        ("ing", ""),
        ("ing", "e"),
    ):
        if word.endswith(ending):
            forms.add(word[: -len(ending)] + instead)
    return forms


def glossary_words() -> set[str]:
    """Every word that stands in bold, or in the first column, of docs/glossary.md."""
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    explained = " ".join(re.findall(r"\*\*(.+?)\*\*", text)) + " ".join(
        re.findall(r"^\| ([^|]+) \|", text, re.M)
    )
    return set(re.findall(r"[a-z]+", explained.lower()))


def classes() -> dict[str, set[str]]:
    """Word of a class name -> the classes."""
    names = defaultdict(set)
    for package in ("schedulers", "trainables", "raysweep"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    for part in parts_of(node.name):
                        names[part].add(f"{path.relative_to(ROOT)}: {node.name}")
    return names


def unexplained(word: str, explained: set[str]) -> bool:
    return not any(stem in explained for stem in stems(word))


def test_every_word_of_a_class_name_is_explained_or_plain() -> None:
    explained = (
        glossary_words() | {s for word in PLAIN for s in stems(word)} | ABBREVIATIONS | OWN_WORDS_OF_LIBRARIES
    )
    explained |= {s for word in glossary_words() for s in stems(word)}
    assert {word: sorted(names) for word, names in classes().items() if unexplained(word, explained)} == {}


@pytest.mark.parametrize("name", ["Desk", "Courier", "Umbrella", "Narrator", "Goodbye", "Depot"])
def test_a_word_of_nobodys_field_would_be_found(name: str) -> None:
    explained = glossary_words() | PLAIN | ABBREVIATIONS
    assert all(unexplained(part, explained) for part in parts_of(name))


def test_every_plain_word_is_used() -> None:
    """A word that no class needs any more would let one in by accident."""
    used = {stem for word in classes() for stem in stems(word)}
    assert sorted((PLAIN | ABBREVIATIONS | OWN_WORDS_OF_LIBRARIES) - used) == []
