"""What the docs site takes from outside docs/: the README as its home, and every file that a page links to.

A hook of mkdocs (`mkdocs.yml`). The pages link as they do in a clone, to `../cluster.yaml` say; in the site
such a file lies under `repository/`, so that `mkdocs build --strict` holds every link. A link to a folder
becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
HOME = "index.md"
LINK = re.compile(r"\[([^\[\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, and what the pages link to outside docs/, and what that links to."""
    files.append(File.generated(config, HOME, abs_src_path=str(ROOT / "README.md")))
    pages = [Path(str(file.abs_src_path)) for file in files.documentation_pages()]
    while pages:
        page = pages.pop()
        for _, link, _ in LINK.findall(page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            uri = _uri(target)
            if target.is_file() and target.is_relative_to(ROOT) and files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(target)))
                pages += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point each relative link to where its file lies in the site."""
    source = Path(str(page.file.abs_src_path)).parent

    def moved(match: re.Match[str]) -> str:
        text, link, anchor = match.groups(default="")
        target = (source / link).resolve()
        if target.is_dir():
            return text
        return f"[{text}]({posixpath.relpath(_uri(target), posixpath.dirname(page.file.src_uri))}{anchor})"

    return LINK.sub(moved, markdown)


def _uri(target: Path) -> str:
    """Where a file of the repository lies in the site."""
    if target == ROOT / "README.md":
        return HOME
    docs = ROOT / "docs"
    inside = target.is_relative_to(docs)
    return posixpath.relpath(target, docs) if inside else f"repository/{posixpath.relpath(target, ROOT)}"
