"""What the repository says of itself beside the code: workflow, citation, docs site."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.config import read_sweep
from raysweep.errors import exit_codes_text

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CI_RUN = (ROOT / ".ci/run").read_text(encoding="utf-8")


def steps_of(job: str) -> Any:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    return workflow["jobs"][job]["steps"]


def parts_of(steps: Any) -> set[str]:
    return {
        part
        for step in steps
        for call in re.findall(r"\.ci/run (.+)", step.get("run", ""))
        for part in call.split()
    }


def test_the_workflow_runs_every_part_of_ci_run_on_linux() -> None:
    parts = re.search(r"^parts=\((.+)\)$", CI_RUN, re.MULTILINE)[1].split()  # type: ignore[index]
    assert parts_of(steps_of("linux")) == set(parts)


@pytest.mark.parametrize("job", ["linux", "macos"])
def test_every_action_of_the_workflow_is_pinned_by_version(job: str) -> None:
    used = [step["uses"] for step in steps_of(job) if "uses" in step]
    assert used
    assert [action for action in used if not re.search(r"@v\d+\.\d+\.\d+$", action)] == []


def test_an_unknown_part_of_ci_run_is_refused_before_anything_runs() -> None:
    done = subprocess.run([ROOT / ".ci/run", "tools", "nosuch"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(".ci/run: there is no part 'nosuch'; there are install, tools, ")


def test_the_citation_names_the_version_that_is_installed() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    cited = (citation["title"], citation["version"], citation["license"])
    assert cited == (PROJECT["name"], PROJECT["version"], PROJECT["license"])


def test_every_page_stands_in_the_navigation_of_the_docs_site() -> None:
    """What it names and what it links to, `mkdocs build --strict` holds."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    docs = ROOT / "docs"
    pages = [path.relative_to(docs).as_posix() for path in docs.rglob("*.md")]
    assert [page for page in sorted(pages) if f" {page}\n" not in navigation] == []


def test_every_dependency_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {normal(line.split("==")[0]) for line in pins.splitlines() if "==" in line}
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    names = {normal(re.match(r"[\w.-]+", each)[0]) for each in wanted}  # type: ignore[index]
    assert sorted(names - pinned) == []


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_readme_lists_the_exit_codes_as_they_are() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert exit_codes_text() in readme


def test_the_first_sweep_that_readme_shows_is_sound(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(# digits\.yaml\n.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block is not None
    (tmp_path / "digits.yaml").write_text(block[1])
    assert read_sweep(tmp_path / "digits.yaml").warnings == ()


def test_a_tests_name_is_one_claim_of_seventy_characters_at_most() -> None:
    names = [
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.M)
    ]
    assert len(names) > 1000
    assert [name for name in names if len(name) > 70] == []
