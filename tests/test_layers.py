"""Imports point down only (docs/architecture.md): who may import whom, read from the source.

Imports inside functions and under TYPE_CHECKING count too: knowing a type is knowing a package.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = (
    {"schedulers", "trainables"},
    {"raysweep.errors", "raysweep.formatting", "raysweep.launch_command"},
    {"raysweep.config"},
    {"raysweep.search"},
    {"raysweep.study.storage"},
    {"raysweep.study.journal"},
    {"raysweep.study.results"},
    {"raysweep.study.execution"},
    {"raysweep.study.stages"},
    {"raysweep.advice", "raysweep.cluster", "raysweep.report", "raysweep.tracking"},
    {"raysweep.preflight"},
    {"raysweep.planning"},
    {"raysweep.authoring"},
    {"raysweep.console"},
    {"raysweep.runner"},
    {"raysweep.cli", "raysweep.api"},
    {"launch", "raysweep.__init__"},
)
"""From the bottom up. Packages of one layer never import each other."""

RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}

# Outside library -> where its knowledge lives: folders (ending in /), files, or any file of a name.
HOME = {
    "ray": (
        "trainables/tune.py",
        "schedulers/tune/",
        "raysweep/search/ray_optuna_search.py",
        "raysweep/study/execution/ray_search.py",
        "raysweep/study/execution/ray_callbacks.py",
        "raysweep/study/execution/tuner.py",
        "raysweep/cluster/",
    ),
    "torch": ("trainables/",),
    "pytorch_optimizer": ("trainables/",),
    "pytorch_scheduler": ("trainables/",),
    "optuna": ("raysweep/search/", "raysweep/report/", "raysweep/api/study.py"),  # there, as a type
    "mlflow": ("raysweep/tracking/",),
    # events are read from outside
    "pydantic": ("raysweep/config/", "trainables/run_config.py", "raysweep/study/journal/log.py"),
    "yaml": (
        "raysweep/formatting.py",
        "raysweep/config/",
        "raysweep/study/",
        "raysweep/report/",
        "raysweep/cluster/nodes.py",
    ),
    "click": ("launch.py", "raysweep/cli/", "raysweep/runner/"),
    "rich": ("raysweep/console/", "raysweep/report/", "raysweep/cli/", "raysweep/runner/"),
    "plotly": ("raysweep/report/",),
}

RAY_PRIVATE = (
    "schedulers/tune/ray_private.py",
    "raysweep/study/execution/ray_search.py",
    "raysweep/cluster/ray_private.py",
)


@dataclass(frozen=True)
class Import:
    """One imported name, where it stands."""

    file: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: imports {self.name}"


def package_of(module: str) -> str | None:
    """The package of `LAYERS` that a dotted name lives in, or None if it is none of the project's."""
    parts = module.split(".")
    for length in (3, 2, 1):
        if (name := ".".join(parts[:length])) in RANK:
            return name
    return "raysweep" if parts[0] == "raysweep" else None


def imports(source: str, file: str) -> Iterator[Import]:
    """Every absolute and relative import of a source text, and import_module of a literal."""
    package = Path(file).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            yield from (Import(file, node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("import_module")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield Import(file, node.lineno, str(node.args[0].value))


def project_files() -> list[Any]:
    """The project's own modules; benchmarks/ and tests/ may look anywhere."""
    packages = ("schedulers", "trainables", "raysweep")
    return sorted([*(path for name in packages for path in (ROOT / name).rglob("*.py")), ROOT / "launch.py"])


def all_imports() -> list[Any]:
    every_import: list[Import] = []
    for path in project_files():
        every_import += imports(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    return every_import


def imports_up(found: list[Any]) -> list[str]:
    """Imports of the project's own packages that do not point down."""
    wrong = []
    for one in found:
        here = package_of(".".join(Path(one.file).with_suffix("").parts))
        there = package_of(one.name)
        if there is None or there == here:
            continue
        if here not in RANK:
            wrong.append(f"{one}: a package above the layers imports nothing of the project")
        elif RANK.get(there, len(LAYERS)) >= RANK[here]:
            wrong.append(f"{one}: {here} may import lower layers only, {there} is none of them")
    return wrong


def is_home(file: str, homes: tuple[Any, ...]) -> bool:
    return any(
        file.startswith(home)
        if home.endswith("/")
        else file == home or ("/" not in home and Path(file).name == home)
        for home in homes
    )


def out_of_home(found: list[Any]) -> list[str]:
    """Imports of an outside library by a file that should not know it."""
    wrong = []
    for one in found:
        library = one.name.split(".")[0]
        if library in HOME and not is_home(one.file, HOME[library]):
            wrong.append(f"{one}: {library} is known to {', '.join(HOME[library])} only")
    return wrong


def test_imports_point_down_only() -> None:
    """A package imports those of lower layers; packages of one layer never know each other."""
    assert "\n".join(imports_up(all_imports())) == ""


def circle(graph: dict[str, Any]) -> list[str]:
    """Modules of which each imports the next and the last the first; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_module_imports_itself_in_a_circle() -> None:
    """Imports within a package, too, have an order: those that only types need included."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in project_files()}
    graph: dict[str, set[str]] = {}
    for one in all_imports():
        named = (one.name, one.name.rpartition(".")[0])
        here = ".".join(Path(one.file).with_suffix("").parts)
        graph.setdefault(here, set()).update({name for name in named if name in modules} - {here})
    assert circle(graph) == []


def test_a_circle_is_reported_with_its_modules() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def test_each_outside_library_is_known_to_one_package() -> None:
    """Ray to its adapters, torch to trainables, optuna to search, mlflow to tracking."""
    assert "\n".join(out_of_home(all_imports())) == ""


def test_private_names_of_ray_stand_in_three_files() -> None:
    """What begins with an underscore in Ray may go with its next release."""
    wrong = [
        str(one)
        for one in all_imports()
        if one.name.startswith("ray.")
        and any(part.startswith("_") for part in one.name.split("."))
        and one.file not in RAY_PRIVATE
    ]
    assert "\n".join(wrong) == ""


def test_no_command_body_exceeds_thirty_lines() -> None:
    """A command parses, calls and prints: what needs more belongs in a package below."""
    long: dict[Any, Any] = {}
    for file in (ROOT / "launch.py", *(ROOT / "raysweep/cli").glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.body[0].lineno + 1
                long |= {node.name: lines} if lines > 30 else {}
    assert long == {}


@pytest.mark.parametrize(
    ("file", "source", "sentence"),
    [
        ("schedulers/asha.py", "import raysweep.config", "may import lower layers only"),
        ("schedulers/asha.py", "from trainables import run_config", "may import lower layers only"),
        ("raysweep/config/sweep.py", "def f():\n    from raysweep.study import journal", "lower layers only"),
        ("raysweep/study/storage/sync.py", "from raysweep.study.journal import log", "lower layers only"),
        ("raysweep/report/page.py", "from raysweep.tracking import Tracker", "may import lower layers only"),
        ("raysweep/report/page.py", "from ..tracking import Tracker", "may import lower layers only"),
        ("raysweep/cli/run.py", "from raysweep.api.running import run", "may import lower layers only"),
        ("raysweep/study/journal/records.py", "import ray", "known to trainables/tune.py"),
        ("raysweep/study/execution/tuner.py", "import mlflow.tracking", "known to raysweep/tracking/"),
        ("raysweep/console/live.py", "from torch import nn", "known to trainables/"),
        ("raysweep/console/live.py", "importlib.import_module('optuna')", "known to raysweep/search/"),
    ],
)
def test_a_wrong_import_is_reported_with_its_line(file: str, source: str, sentence: str) -> None:
    """The order would be none if a breach went unseen."""
    read_imports = list(imports(source, file))
    problems = imports_up(read_imports) + out_of_home(read_imports)
    assert len(problems) == 1
    assert problems[0].startswith(f"{file}:{source.count(chr(10)) + 1}: imports ")
    assert sentence in problems[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "raysweep/study/execution/tuner.py",
            "import ray\nfrom schedulers.tune.adapter import RuleScheduler",
        ),
        ("raysweep/console/live.py", "from raysweep.study.journal.records import StudyRecord"),
        ("launch.py", "from raysweep.cli import run\nimport click"),
        ("trainables/training.py", "import torch\nfrom .run_config import RunConfig"),
    ],
)
def test_a_right_import_passes(file: str, source: str) -> None:
    read_imports = list(imports(source, file))
    assert imports_up(read_imports) + out_of_home(read_imports) == []


@pytest.mark.parametrize("package", ["schedulers", "trainables", "raysweep"])
def test_a_package_ships_its_types(package: str) -> None:
    """Without the marker a type checker ignores the annotations of an installed package."""
    assert (ROOT / package / "py.typed").is_file()
