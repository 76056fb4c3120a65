"""Arrows point down only (docs/architecture.md): who may import whom, read from the source.

Imports inside functions and under TYPE_CHECKING count too: knowing a type is knowing a room.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOOR = {
    "schedulers": 0,
    "trainables": 0,
    "raysweep.config": 1,
    "raysweep.search": 2,
    "raysweep.study": 3,
    "raysweep.tracking": 4,
    "raysweep.report": 4,
    "raysweep.console": 4,
    "raysweep.preflight": 4,
    "raysweep.cluster": 4,
    "raysweep.cli": 5,
    "launch": 6,
}

# Outside library -> where its knowledge lives: folders (ending in /), files, or any file of a name.
HOME = {
    "ray": (
        "tune.py",
        "schedulers/tune/",
        "raysweep/study/tune/",
        "schedulers/tune/ray_private.py",
        "raysweep/cluster/",
    ),
    "torch": ("trainables/",),
    "pytorch_optimizer": ("trainables/",),
    "pytorch_scheduler": ("trainables/",),
    "optuna": ("raysweep/search/", "raysweep/report/"),
    "mlflow": ("raysweep/tracking/",),
    "pydantic": (
        "raysweep/config/",
        "trainables/run_config.py",
        "raysweep/study/journal/log.py",
    ),  # events are read from outside
    "yaml": ("raysweep/config/", "raysweep/study/", "raysweep/report/", "raysweep/cluster/nodes.py"),
    "click": ("launch.py", "raysweep/cli/"),
    "rich": ("raysweep/console/", "raysweep/report/", "raysweep/cli/"),
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


def room_of(module: str) -> str | None:
    """The room a dotted name lives in, or None if it is none of the project's."""
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        if name in FLOOR:
            return name
    return None


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


def project_files() -> list[Path]:
    """The project's own modules; benchmarks/ and tests/ may look anywhere."""
    rooms = [path for name in ("schedulers", "trainables", "service") for path in (ROOT / name).rglob("*.py")]
    return sorted([*rooms, ROOT / "launch.py"])


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in project_files():
        found += imports(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    return found


def arrows_up(found: list[Import]) -> list[str]:
    """Imports of the project's own rooms that do not point down."""
    wrong = []
    for one in found:
        here = room_of(".".join(Path(one.file).with_suffix("").parts))
        there = room_of(one.name)
        if there is None or there == here:
            continue
        if here is None:
            wrong.append(f"{one}: a package above the rooms imports nothing of the project")
        elif FLOOR[there] >= FLOOR[here]:
            wrong.append(
                f"{one}: {here} (floor {FLOOR[here]}) may look down only, {there} is on floor {FLOOR[there]}"
            )
    return wrong


def is_home(file: str, homes: tuple[str, ...]) -> bool:
    return any(
        file.startswith(home)
        if home.endswith("/")
        else file == home or ("/" not in home and Path(file).name == home)
        for home in homes
    )


def out_of_home(found: list[Import]) -> list[str]:
    """Imports of an outside library by a file that should not know it."""
    wrong = []
    for one in found:
        library = one.name.split(".")[0]
        if library in HOME and not is_home(one.file, HOME[library]):
            wrong.append(f"{one}: {library} is known to {', '.join(HOME[library])} only")
    return wrong


def test_arrows_point_down_only():
    """A room imports rooms of lower floors; rooms on one floor never know each other."""
    assert "\n".join(arrows_up(all_imports())) == ""


def test_each_outside_library_is_known_to_one_room():
    """Ray to the seams, torch to trainables, optuna to search, mlflow to tracking."""
    assert "\n".join(out_of_home(all_imports())) == ""


def test_private_names_of_ray_stand_in_three_files():
    """What begins with an underscore in Ray may go with its next release."""
    wrong = [
        str(one)
        for one in all_imports()
        if one.name.startswith("ray.")
        and any(part.startswith("_") for part in one.name.split("."))
        and one.file not in RAY_PRIVATE
    ]
    assert "\n".join(wrong) == ""


def test_no_command_body_exceeds_thirty_lines():
    """A command parses, wires and prints: what needs more belongs in a room."""
    long = {}
    for file in (ROOT / "launch.py", *(ROOT / "service/commands").glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.body[0].lineno + 1
                long |= {node.name: lines} if lines > 30 else {}
    assert long == {}


@pytest.mark.parametrize(
    ("file", "source", "sentence"),
    [
        ("schedulers/asha.py", "import raysweep.config", "may look down only"),
        ("schedulers/asha.py", "from trainables import run", "may look down only"),
        (
            "raysweep/config/sweep.py",
            "def f():\n    from raysweep.study import journal",
            "may look down only",
        ),
        ("raysweep/console/live.py", "from raysweep.tracking import Tracker", "may look down only"),
        ("raysweep/console/live.py", "from ..tracking import Tracker", "may look down only"),
        ("raysweep/__init__.py", "from raysweep.config import Sweep", "imports nothing of the project"),
        ("raysweep/study/journal/records.py", "import ray", "known to tune.py"),
        ("raysweep/study/execution/tuner.py", "import mlflow.tracking", "known to raysweep/tracking/"),
        ("raysweep/console/live.py", "from torch import nn", "known to trainables/"),
        ("raysweep/console/live.py", "importlib.import_module('optuna')", "known to raysweep/search/"),
    ],
)
def test_a_wrong_arrow_is_reported_with_its_line(file, source, sentence):
    """The plan would be no plan if a breach went unseen."""
    found = list(imports(source, file))
    problems = arrows_up(found) + out_of_home(found)
    assert len(problems) == 1
    assert problems[0].startswith(f"{file}:{source.count(chr(10)) + 1}: imports ")
    assert sentence in problems[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "raysweep/study/execution/tuner.py",
            "import ray\nfrom schedulers.tune import RuleScheduler\nfrom raysweep.config import Sweep",
        ),
        (
            "raysweep/console/live.py",
            "from raysweep.study.journal.records import StudyRecord\nfrom raysweep.console import words",
        ),
        ("launch.py", "from raysweep.cli import run\nimport click"),
        ("trainables/training.py", "import torch\nfrom .run import RunConfig"),
    ],
)
def test_a_right_arrow_passes(file, source):
    found = list(imports(source, file))
    assert arrows_up(found) + out_of_home(found) == []


def test_every_package_is_named_for_the_installer():
    """A flat layout's packages are listed in pyproject.toml; one that is not would be left out."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    rooms = ("schedulers", "trainables", "service")
    found = [path.parent for room in rooms for path in (ROOT / room).rglob("__init__.py")]
    assert sorted(listed["packages"]) == sorted(".".join(path.relative_to(ROOT).parts) for path in found)


def test_every_package_ships_its_types():
    """Without the marker a type checker ignores the annotations of an installed package."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packages = {name.partition(".")[0] for name in listed["packages"]}
    assert [name for name in sorted(packages) if not (ROOT / name / "py.typed").is_file()] == []
    assert "py.typed" in listed["package-data"]["*"]
