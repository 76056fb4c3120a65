"""docs/notebook.ipynb runs unchanged, in its own kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.ray
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_every_cell_of_the_notebook_runs_and_shows_what_it_says(tmp_path: Path) -> None:
    """A cell's function, its event loop, live progress, retraining and predictions."""
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "\n".join(str(output.get("data") or output.get("text")) for output in outputs)
    assert "6/6 trials over" in shown, "the live view is the cell's own output"
    assert "True" in shown
    assert "<b>digits</b>" in shown
    assert not [output for output in outputs if output["output_type"] == "error"]
