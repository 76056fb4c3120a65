"""Whose code may run: what a study names is run only if it was made here by this user, or with `--trust`.

A study's folder is data that anybody can send. That it was made on this machine by this user is therefore
marked outside of it, in the user's state folder, by a name that follows from the folder's path, the study's
id and a secret of that user.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from raysweep.errors import RaysweepError
from raysweep.study.storage.files import Unreadable, read_json
from trainables.imports import CLONE

PRODUCT = "raysweep"
META, STUDY_VERSION, MODEL = "study.json", 2, "model.json"
SAFE_CLASSES = re.compile(r"torch\.nn\.[A-Z]\w*|trainables\.mlp\.MLP")
"""Dotted paths that a model may name without being trusted: classes that do nothing but compute."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class NotTrusted(RaysweepError):
    """A folder of others names code that would be run; one line, with `--trust`."""


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """This user's folder for marks: `$XDG_STATE_HOME/raysweep`, by default below `~/.local/state`."""
    base = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / PRODUCT


def mark_trusted(folder: Path) -> None:
    """Remember that this user trusts what stands in a study's or a model's folder.

    Where the state folder cannot be written to, it is not remembered: `--trust` is then asked for each time.
    """
    with suppress(OSError):
        marks = state_folder() / "trusted"
        marks.mkdir(parents=True, exist_ok=True, mode=0o700)
        (marks / _mark(folder)).touch()


def is_trusted(folder: Path) -> bool:
    """Whether the folder, or a study that it lies in, was made or trusted by this user here."""
    try:
        marks = {path.name for path in (state_folder() / "trusted").iterdir()}
        return any(_mark(each) in marks for each in (folder.absolute(), *folder.absolute().parents))
    except OSError:
        return False


def require_trust(folder: Path, trust: bool) -> None:
    """See that the code a study names may run; `trust` says so, from now on.

    Raises:
        NotTrusted: if not.
    """
    if trust:
        mark_trusted(folder)
    elif not is_trusted(folder):
        raise NotTrusted(
            f"{folder}: was not made here by you, and this command runs the code that it names: `--trust`, "
            "once, if you trust whoever made it"
        )


def require_trust_in_model(folder: Path, trust: bool) -> None:
    """The same of a model's folder; one that names only our own nets and torch's needs no trust.

    Raises:
        NotTrusted: with what it names.
    """
    if trust:
        mark_trusted(folder)
    if trust or is_trusted(folder):
        return
    named = next(_foreign_code(folder / MODEL), "")
    if named:
        raise NotTrusted(
            f"{folder}: was not made here by you, and runs {named}: `--trust`, once, if you trust whoever "
            "made it"
        )


def _foreign_code(meta: Path) -> Iterator[str]:
    """What a model would run that is not our own; what cannot be read, reading will say."""
    try:
        words = json.loads(meta.read_text(encoding="utf-8"))
        run = words["run"]
        named = [run.get("net", ""), run.get("criterion", ""), *_texts(run.get("net_config"))]
        named += _texts(run.get("criterion_config"))
        paths = [path for path in words.get("import_paths", []) if Path(path).exists()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    yield from (name for name in named if _DOTTED.fullmatch(name) and not SAFE_CLASSES.fullmatch(name))
    yield from (f"modules of {path}" for path in paths if Path(path).resolve() != CLONE)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []


def _mark(folder: Path) -> str:
    """The name of a folder's mark."""
    study, model = "", folder / MODEL
    with suppress(OSError, Unreadable):
        study = str(read_json(folder / META, version=STUDY_VERSION, what="study").get("id", ""))
    if not study and model.is_file():
        study = hashlib.sha256(model.read_bytes()).hexdigest()
    words = f"{folder.resolve()}\n{study}"
    return hmac.new(_secret(), words.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _secret() -> bytes:
    """This user's secret, made at its first use.

    Raises:
        OSError: if it can be neither read nor made.
    """
    path = state_folder() / "key"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_name(f"key.{secrets.token_hex(8)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, secrets.token_bytes(32))
        os.close(fd)
        with suppress(FileExistsError):
            os.link(draft, path)  # the first of several that make it at once
        draft.unlink()
    return path.read_bytes()
