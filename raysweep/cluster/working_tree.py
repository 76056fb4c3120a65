"""The working tree as a job takes it along: which files, how large, and laid out how."""

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

PROJECT = "project"  # where a working directory outside the clone is put
LIMIT_MB = 100  # the body of one upload, whatever Ray's message says (measured, 2.60)
NAMED = 5  # files that a line names
LARGE_FILE_MB = 50  # data above this belong on storage that the cluster sees
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
"""Names of files that hold keys, passwords, what was typed, or a process's memory."""
PRIVATE_KEY = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Package:
    """A folder to be uploaded.

    Attributes:
        folder: what becomes the job's working directory.
        cwd: the working directory of the command, relative to it.
        launch: launch.py, relative to `cwd`.
        files: how many.
        megabytes: how large, before compression.
        large: files left out for their size.
        secret: files left out since they look like secrets, or are links that lead out of the tree.
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
            names = ", ".join(map(str, self.secret[:NAMED]))
            more = f" and {len(self.secret) - NAMED} more" if len(self.secret) > NAMED else ""
            text += f"; keeps back what may be secret: {names}{more} (--include PATH sends one)"
        if self.large:
            names = ", ".join(path.name for path in self.large[:NAMED])
            text += f"; not {names}: over {LARGE_FILE_MB} MB, read it from storage the cluster sees"
        return text


@dataclass(frozen=True, slots=True)
class Selection:
    """Files of a tree, relative to it, in order.

    Attributes:
        files: worth sending.
        secret: kept back: by their names or first bytes secrets, or links to what is outside the tree.
    """

    files: tuple[Path, ...]
    secret: tuple[Path, ...]


@contextmanager
def packed(clone: Path, project: Path, include: Sequence[str] = ()) -> Iterator[Package]:
    """The clone, and in it the user's own folder where that is another, in a scratch folder.

    The clone is the package's root: that is what workers, too, have on their path.

    Args:
        clone: where launch.py is.
        project: the working directory of the command.
        include: see `select_files`; a file named so may be large, too.

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
        for tree, place in trees:
            place.mkdir(exist_ok=True)
            selection = select_files(tree, include)
            secret += selection.secret
            for file in selection.files:
                weight = (tree / file).stat().st_size
                if weight > LARGE_FILE_MB * 2**20 and not _matches(file, include):
                    large.append(tree / file)
                    continue
                target = place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(tree / file, target)
                count, size = count + 1, size + weight
        megabytes = size / 2**20
        if megabytes > LIMIT_MB:
            raise ClusterError(
                f"{project}: {megabytes:.0f} MB to send, at most {LIMIT_MB}; put data on storage the cluster "
                "sees and name it by that path, and what is no code into .gitignore"
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
    for tree, place in ((clone, "."), (project, PROJECT)):
        if tree in path.parents:
            return os.path.relpath(Path(place) / path.relative_to(tree), cwd)
    raise ClusterError(
        f"{file}: neither in the working directory nor beside launch.py, so it is not sent along"
    )


def select_files(tree: Path, include: Sequence[str] = ()) -> Selection:
    """Choose the files of a tree that a job takes along.

    What git ignores stays where there is a git tree, LEFT_OUT everywhere; so do secrets, and links to
    what is outside the tree, whose text would go along.

    Args:
        tree: the folder.
        include: paths, relative to the tree, or patterns of such, that go along whatever they are.
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
    """Whether a file looks like a secret, by its name, its link's end or its first bytes."""
    path = tree / file
    names = [file]
    if path.is_symlink():
        end = path.resolve()
        if not end.is_relative_to(tree.resolve()):
            return True
        names.append(end.relative_to(tree.resolve()))
    for name in names:
        if any(fnmatch(part, pattern) for part in name.parts[:-1] for pattern in SECRET_FOLDERS):
            return True
        # A module of that name is code: `secrets.py`, `core.py`.
        if name.suffix != ".py" and any(fnmatch(name.name, pattern) for pattern in SECRET_FILES):
            return True
    try:
        with path.open("rb") as opened:
            return PRIVATE_KEY in opened.read(200)
    except OSError:  # a folder, a dangling link, a file that we may not read
        return False


def _listed_by_git(tree: Path) -> list[Path] | None:
    """What git knows or does not ignore; None where there is no git tree."""
    command = ["git", "-C", str(tree), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [Path(os.fsdecode(name)) for name in listing.stdout.split(b"\0") if name]


def _walk(tree: Path) -> list[Path]:
    found = []
    for folder, names, files in os.walk(tree):
        names[:] = [name for name in names if not any(fnmatch(name, pattern) for pattern in LEFT_OUT)]
        found += [(Path(folder) / file).relative_to(tree) for file in files]
    return found
