"""Trust: code that a study names runs only if this user made the study on this machine, or with `--trust`.

A study's folder may come from anywhere, so trust is recorded outside of it: by an empty file in the user's
state folder, whose name is a keyed hash of the folder's path and the study's id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from raysweep.errors import RaysweepError
from raysweep.study.storage.files import Unreadable, read_json
from trainables.imports import CLONE, dotted_paths

PRODUCT = "raysweep"
META, STUDY_VERSION, MODEL = "study.json", 2, "model.json"
SAFE_CLASSES = re.compile(r"torch\.nn\.[A-Z]\w*|trainables\.mlp\.MLP")
"""Dotted paths that an untrusted model may name: classes that only compute."""


class NotTrusted(RaysweepError):
    """The command would run code named by a folder that this user has not trusted."""


def state_folder() -> Path:
    """This user's state folder: `$XDG_STATE_HOME/raysweep`, by default `~/.local/state/raysweep`."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / PRODUCT


def mark_trusted(folder: Path) -> None:
    """Record that this user trusts the folder of a study or a model.

    If the state folder cannot be written to, nothing is recorded, and `--trust` is needed each time.
    """
    with suppress(OSError):
        marks = state_folder() / "trusted"
        marks.mkdir(parents=True, exist_ok=True, mode=0o700)
        (marks / _mark(folder)).touch()


def is_trusted(folder: Path) -> bool:
    """Whether this user made or trusted the folder, or a folder around it, on this machine."""
    try:
        marks = {path.name for path in (state_folder() / "trusted").iterdir()}
        return any(_mark(each) in marks for each in (folder.absolute(), *folder.absolute().parents))
    except OSError:
        return False


def require_trust(folder: Path, trust: bool) -> None:
    """Raise if the code that a study names may not run.

    Args:
        folder: the study.
        trust: trust it from now on.

    Raises:
        NotTrusted: if it is not trusted.
    """
    if trust:
        mark_trusted(folder)
    elif not is_trusted(folder):
        raise NotTrusted(
            f"{folder}: is a copy, was moved, or is another user's, and this command runs the code that "
            "it names: add `--trust` once if you trust its author"
        )


def require_trust_in_model(folder: Path, trust: bool) -> None:
    """The same for a model's folder; a model with only our own and torch's classes needs no trust.

    Raises:
        NotTrusted: if it is not trusted, with the code that it names.
    """
    if trust:
        mark_trusted(folder)
    if trust or is_trusted(folder):
        return
    foreign = next(_foreign_code(folder / MODEL), "")
    if foreign:
        raise NotTrusted(
            f"{folder}: is a copy, was moved, or is another user's, and runs {foreign}: "
            "add `--trust` once if you trust its author"
        )


def _foreign_code(meta: Path) -> Iterator[str]:
    """The code, other than ours and torch's, that a model would run; an unreadable file fails when loaded."""
    try:
        fields = json.loads(meta.read_text(encoding="utf-8"))
        run = fields["run"]
        keys = ("net", "criterion", "net_config", "criterion_config")
        names = list(dotted_paths([run.get(key, ()) for key in keys]))
        paths = [path for path in fields.get("import_paths", []) if Path(path).exists()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    yield from (name for name in names if not SAFE_CLASSES.fullmatch(name))
    yield from (f"modules of {path}" for path in paths if Path(path).resolve() != CLONE)


def _mark(folder: Path) -> str:
    """The name of the file that records trust in a folder."""
    study, model = "", folder / MODEL
    with suppress(OSError, Unreadable):
        study = str(read_json(folder / META, version=STUDY_VERSION, kind="study").get("id", ""))
    if not study and model.is_file():
        study = hashlib.sha256(model.read_bytes()).hexdigest()
    identity = f"{folder.resolve()}\n{study}"
    return hmac.new(_secret(), identity.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _secret() -> bytes:
    """This user's secret, created at its first use.

    Raises:
        OSError: if it can be neither read nor created.
    """
    path = state_folder() / "key"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_name(f"key.{secrets.token_hex(8)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, secrets.token_bytes(32))
        os.close(fd)
        with suppress(FileExistsError):
            os.link(draft, path)  # of several processes that create it at once, the first wins
        draft.unlink()
    return path.read_bytes()
