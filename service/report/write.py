"""A report's files: runs/<study>/report/, each replaced whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from service.report.markdown import as_markdown
from service.report.report import Report, as_json

FOLDER = "report"


def write(found: Report, folder: Path) -> list[Path]:
    """Write report.html, report.md and report.json into a folder, made if missing; their paths.

    Raises:
        OSError: if the disk refuses.
    """
    from service.report.figures import figures
    from service.report.page import as_page

    return put(
        folder,
        {
            "report.html": as_page(found, figures(found.subject, found.tables, found.importance)),
            "report.md": as_markdown(found),
            "report.json": json.dumps(as_json(found), indent=1) + "\n",
        },
    )


def put(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write files into a folder, made if missing, each replaced whole; their paths.

    Raises:
        OSError: if the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        draft = folder / f".{name}.tmp"
        draft.write_text(text, encoding="utf-8")
        draft.replace(folder / name)
    return [folder / name for name in texts]
