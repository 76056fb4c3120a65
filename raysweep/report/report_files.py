"""Writes a report's files in runs/<study>/report/, each replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from raysweep.report.markdown import as_markdown
from raysweep.report.report import Report, as_json

FOLDER = "report"


def write(report: Report, folder: Path) -> list[Path]:
    """Write report.html, report.md and report.json into a folder, made if missing; returns their paths.

    Raises:
        OSError: if a file cannot be written.
    """
    from raysweep.report.figures import figures
    from raysweep.report.html_page import as_page

    return put_file(
        folder,
        {
            "report.html": as_page(report, figures(report)),
            "report.md": as_markdown(report),
            "report.json": json.dumps(as_json(report), indent=1) + "\n",
        },
    )


def put_file(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write files into a folder, made if missing, each replaced atomically; returns their paths.

    Raises:
        OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        draft = folder / f".{name}.tmp"
        draft.write_text(text, encoding="utf-8")
        draft.replace(folder / name)
    return [folder / name for name in texts]
