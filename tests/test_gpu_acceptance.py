"""benchmarks/gpu_acceptance.py where there is no GPU: each section in its small form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
NEEDS_A_GPU = {"facts", "memory", "together", "project_tests"}

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]


def acceptance(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/gpu_acceptance.py", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_section_holds_on_the_cpu_but_for_what_needs_a_gpu(tmp_path: Path) -> None:
    done = acceptance("--device", "cpu", "--budget", "800", "--json", str(tmp_path / "rows.json"))
    rows: list[dict[str, Any]] = json.loads((tmp_path / "rows.json").read_text())
    assert [row for row in rows if row["verdict"] == "fails"] == []
    assert done.returncode == 0, done.stderr
    assert {row["section"] for row in rows if row["verdict"] == "not here"} == NEEDS_A_GPU
    assert len({row["section"] for row in rows}) == 13
    assert done.stdout.count("\n|") == len(rows) + 1  # a line for each, after the table's head


def test_what_does_not_hold_is_a_row_and_the_exit_code() -> None:
    """A workspace of cuBLAS that the user has set is kept, and is not what bit-equal curves need."""
    done = acceptance("settings", "--device", "cpu", CUBLAS_WORKSPACE_CONFIG=":16:8")
    assert done.returncode == 1
    assert "| settings | a trial's process | {'deterministic': 1.0, 'workspace': 0.0," in done.stdout
    assert "| fails |" in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nosuch"], "no section 'nosuch'; there are facts, memory, "),
        (["--device", "gpu"], "invalid choice: 'gpu'"),
        (["--device", "cuda"], "sees no GPU; --device cpu runs what needs none"),
    ],
)
def test_what_cannot_be_run_is_one_line(words: list[str], line: str) -> None:
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = acceptance(*words)
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]
