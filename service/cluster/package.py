"""The working tree as a job takes it along: which files, how large, and laid out how."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from service.cluster.trouble import ClusterError

PROJECT = "project"  # where a working directory outside the clone is put
LIMIT_MB = 100  # the body of one upload, whatever Ray's message says (measured, 2.60)
LARGE_FILE_MB = 50  # data above this belong on storage that the cluster sees
LEFT_OUT = (
    *(".git", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
    *(
        "node_modules",
        "runs",
        "mlruns",
        "mlartifacts",
        "mlflow.db*",
        "*.pyc",
        "*.egg-info",
        ".ipynb_checkpoints",
    ),
    *(".env", "*.pem", "id_rsa*", "id_ed25519*"),  # secrets are nobody's code
)


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
    """

    folder: Path
    cwd: str
    launch: str
    files: int
    megabytes: float
    large: tuple[Path, ...]

    def __str__(self) -> str:
        text = f"{self.files} files, {self.megabytes:.1f} MB"
        if self.large:
            names = ", ".join(path.name for path in self.large[:3])
            text += f"; not {names}: over {LARGE_FILE_MB} MB, read it from storage the cluster sees"
        return text


@contextmanager
def packed(clone: Path, project: Path) -> Iterator[Package]:
    """The clone, and in it the user's own folder where that is another, in a scratch folder.

    The clone is the package's root: that is what workers, too, have on their path.

    Files that git ignores are left out where there is a git tree, and LEFT_OUT everywhere.

    Args:
        clone: where launch.py is.
        project: the working directory of the command.

    Raises:
        ClusterError: if it is too large to send.
    """
    with TemporaryDirectory(prefix="sweep-package-") as scratch:
        root = Path(scratch)
        inside = project == clone or clone in project.parents
        trees = [(clone, root)] if inside else [(clone, root), (project, root / PROJECT)]
        count, size, large = 0, 0, []
        for tree, place in trees:
            place.mkdir(exist_ok=True)
            for file in files_of(tree):
                weight = (tree / file).stat().st_size
                if weight > LARGE_FILE_MB * 2**20:
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
        yield Package(root, cwd, launch, count, megabytes, tuple(large))


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


def files_of(tree: Path) -> Iterator[Path]:
    """Files of a tree worth sending, relative to it, in order."""
    listed = _of_git(tree)
    every = listed if listed is not None else _walk(tree)
    for file in sorted(every):
        unwanted = any(fnmatch(part, pattern) for part in file.parts for pattern in LEFT_OUT)
        if not unwanted and (tree / file).is_file():
            yield file


def _of_git(tree: Path) -> list[Path] | None:
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
