"""Packs the working tree to send with a job: which files, how large, and in which layout."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from raysweep.cluster.errors import ClusterError
from trainables.error_text import few

PROJECT = "project"  # the folder for a working directory outside the clone
LIMIT_MB = 100  # of one upload, whatever Ray's message says (measured, 2.60)
NAMED = 5  # files that a line names at most
LARGE_FILE_MB = 50  # larger data belongs on storage that the cluster sees
LEFT_OUT = (
    *(".git", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
    *("node_modules", "runs", "mlruns", "mlartifacts", "mlflow.db*", "*.pyc", "*.egg-info"),
    ".ipynb_checkpoints",
)
SECRET_FOLDERS = (
    ".aws",
    ".azure",
    ".docker",
    ".gcloud",
    "gcloud",
    ".gnupg",
    ".kube",
    ".ray",
    ".ssh",
    ".vault",
)
SECRET_FILES = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".my.cnf"),
    *(".git-credentials", ".htpasswd", ".vault-token", ".boto", ".s3cfg", "auth_token", "kubeconfig"),
    *("credentials", "credentials.*", "client_secret*.json", "service[-_]account*.json", "token.json"),
    *("secret.*", "secrets.*", "*secret*.y*ml", "*secret*.json", "*secret*.toml"),
    *("*.tfstate", "*.tfstate.*", "*.tfvars", "*.kdbx", "*.ppk", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks"),
    *("*.keystore", "*.crt", "*.cer", "*.der", "*.csr", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *(".*_history", "core", "core.[0-9]*", "*.core", "*.dmp"),
)
"""Names of files with keys, passwords, command histories, or a process's memory."""
PRIVATE_KEY = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Package:
    """A folder to upload.

    Attributes:
        folder: becomes the job's working directory.
        cwd: the working directory of the command, relative to it.
        launch: launch.py, relative to `cwd`.
        files: how many.
        megabytes: size before compression.
        large: files left out because of their size.
        secret: files left out because they look like secrets, or are links out of the tree.
    """

    folder: Path
    cwd: str
    launch: str
    files: int
    megabytes: float
    large: tuple[Path, ...]
    secret: tuple[Path, ...]

    def __str__(self) -> str:
        text = f"{self.files} files, {self.megabytes:.1f} MB"
        if self.secret:
            text += f"; without possible secrets: {few(self.secret, NAMED)} (--include PATH sends one)"
        if self.large:
            names = ", ".join(path.name for path in self.large[:NAMED])
            text += f"; without {names}: over {LARGE_FILE_MB} MB, read it from storage the cluster sees"
        return text


@dataclass(frozen=True, slots=True)
class Selection:
    """Files of a tree, sorted, relative to it.

    Attributes:
        files: to send.
        secret: not to send: secrets by their name or first bytes, or links out of the tree.
    """

    files: tuple[Path, ...]
    secret: tuple[Path, ...]


@contextmanager
def packed(clone: Path, project: Path, include: Sequence[str] = ()) -> Iterator[Package]:
    """Copy the clone, and in it the user's own folder if that is outside, to a temporary folder.

    The clone is the package's root, which workers have on their path too.

    Args:
        clone: where launch.py is.
        project: the working directory of the command.
        include: see `select_files`; a file included by name may also be large.

    Raises:
        ClusterError: if it is too large to send.
    """
    with TemporaryDirectory(prefix="sweep-package-") as scratch:
        root = Path(scratch)
        inside = project == clone or clone in project.parents
        trees = [(clone, root)] if inside else [(clone, root), (project, root / PROJECT)]
        count, size = 0, 0
        large: list[Path] = []
        secret: list[Path] = []
        for tree, destination in trees:
            destination.mkdir(exist_ok=True)
            selection = select_files(tree, include)
            secret += selection.secret
            for file in selection.files:
                file_size = (tree / file).stat().st_size
                if file_size > LARGE_FILE_MB * 2**20 and not _matches(file, include):
                    large.append(tree / file)
                    continue
                target = destination / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(tree / file, target)
                count, size = count + 1, size + file_size
        megabytes = size / 2**20
        if megabytes > LIMIT_MB:
            raise ClusterError(
                f"{project}: {megabytes:.0f} MB to send, at most {LIMIT_MB}; put data on storage the cluster "
                "sees and give its path there, and add what is not code to .gitignore"
            )
        cwd = str(project.relative_to(clone)) if inside else PROJECT
        launch = os.path.relpath(root / "launch.py", root / cwd)
        yield Package(root, cwd, launch, count, megabytes, tuple(large), tuple(secret))


def sent_as(file: Path, clone: Path, project: Path) -> str:
    """A file's path in the package, relative to the command's working directory there.

    Raises:
        ClusterError: if the file is in neither of the two trees that are sent.
    """
    path = file.resolve()
    inside = project == clone or clone in project.parents
    cwd = project.relative_to(clone) if inside else Path(PROJECT)
    for tree, destination in ((clone, "."), (project, PROJECT)):
        if tree in path.parents:
            return os.path.relpath(Path(destination) / path.relative_to(tree), cwd)
    raise ClusterError(f"{file}: neither in the working directory nor beside launch.py, so it is not sent")


def select_files(tree: Path, include: Sequence[str] = ()) -> Selection:
    """Select the files of a tree to send with a job.

    Left out are files that git ignores (in a git tree), LEFT_OUT, secrets, and links out of the tree, whose
    content would be sent.

    Args:
        tree: the folder.
        include: paths relative to the tree, or patterns of paths, that are sent in any case.
    """
    listed = _listed_by_git(tree)
    candidates = set(_walk(tree) if listed is None else listed)
    for pattern in include:
        candidates |= {path.relative_to(tree) for path in tree.glob(pattern) if path.is_file()}
    files, secret = [], []
    for file in sorted(candidates):
        if _matches(file, include):
            files.append(file)
        elif any(fnmatch(part, pattern) for part in file.parts for pattern in LEFT_OUT):
            continue
        elif _is_secret(tree, file):
            secret.append(file)
        elif (tree / file).is_file():
            files.append(file)
    return Selection(tuple(files), tuple(secret))


def _matches(file: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch(str(file), pattern) for pattern in patterns)


def _is_secret(tree: Path, file: Path) -> bool:
    """Whether a file looks like a secret, by its name, its link's target or its first bytes."""
    path = tree / file
    names = [file]
    if path.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(tree.resolve()):
            return True
        names.append(target.relative_to(tree.resolve()))
    for name in names:
        if any(fnmatch(part, pattern) for part in name.parts[:-1] for pattern in SECRET_FOLDERS):
            return True
        # A module with such a name is code: `secrets.py`, `core.py`.
        if name.suffix != ".py" and any(fnmatch(name.name, pattern) for pattern in SECRET_FILES):
            return True
    try:
        with path.open("rb") as opened:
            return PRIVATE_KEY in opened.read(200)
    except OSError:  # a folder, a dangling link, an unreadable file
        return False


def _listed_by_git(tree: Path) -> list[Path] | None:
    """The files that git tracks or does not ignore; None outside a git tree."""
    command = ["git", "-C", str(tree), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [Path(os.fsdecode(name)) for name in listing.stdout.split(b"\0") if name]


def _walk(tree: Path) -> list[Path]:
    paths = []
    for folder, names, files in os.walk(tree):
        names[:] = [name for name in names if not any(fnmatch(name, pattern) for pattern in LEFT_OUT)]
        paths += [(Path(folder) / file).relative_to(tree) for file in files]
    return paths
