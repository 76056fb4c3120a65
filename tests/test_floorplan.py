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
    "service.spec": 1,
    "service.search": 2,
    "service.study": 3,
    "service.tracking": 4,
    "service.report": 4,
    "service.view": 4,
    "service.before": 4,
    "service.cluster": 4,
    "service.commands": 5,
    "launch": 6,
}

# Outside library -> where its knowledge lives: folders (ending in /), files, or any file of a name.
HOME = {
    "ray": (
        "tune.py",
        "schedulers/tune/",
        "service/study/tune/",
        "schedulers/ray_private.py",
        "service/cluster/",
    ),
    "torch": ("trainables/",),
    "pytorch_optimizer": ("trainables/",),
    "pytorch_scheduler": ("trainables/",),
    "optuna": ("service/search/", "service/report/"),
    "mlflow": ("service/tracking/",),
    "pydantic": (
        "service/spec/",
        "trainables/run.py",
        "service/study/journal.py",
    ),  # events are read from outside
    "yaml": ("service/spec/", "service/study/", "service/report/", "service/cluster/nodes.py"),
    "click": ("launch.py", "service/commands/"),
    "rich": ("service/view/", "service/report/", "service/commands/"),
    "plotly": ("service/report/",),
}

RAY_PRIVATE = (
    "schedulers/ray_private.py",
    "service/study/tune/search.py",
    "service/cluster/ray_private.py",
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
        ("schedulers/asha.py", "import service.spec", "may look down only"),
        ("schedulers/asha.py", "from trainables import run", "may look down only"),
        ("service/spec/sweep.py", "def f():\n    from service.study import journal", "may look down only"),
        ("service/view/live.py", "from service.tracking import Tracker", "may look down only"),
        ("service/view/live.py", "from ..tracking import Tracker", "may look down only"),
        ("service/__init__.py", "from service.spec import Sweep", "imports nothing of the project"),
        ("service/study/record.py", "import ray", "known to tune.py"),
        ("service/study/tune/__init__.py", "import mlflow.tracking", "known to service/tracking/"),
        ("service/view/live.py", "from torch import nn", "known to trainables/"),
        ("service/view/live.py", "importlib.import_module('optuna')", "known to service/search/"),
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
            "service/study/tune/__init__.py",
            "import ray\nfrom schedulers.tune import RuleScheduler\nfrom service.spec import Sweep",
        ),
        (
            "service/view/live.py",
            "from service.study.record import StudyRecord\nfrom service.view import words",
        ),
        ("launch.py", "from service.commands import run\nimport click"),
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
