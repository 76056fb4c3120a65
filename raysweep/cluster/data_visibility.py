"""Which of a sweep's data files a cluster will not find, as far as one can tell from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.working_tree import LARGE_FILE_MB, select_files
from raysweep.config import Sweep


@dataclass(frozen=True, slots=True)
class MissingDataFile:
    """A data file that is not sent with a job.

    Attributes:
        key: the setting that names it.
        message: what is wrong, and what to do.
        certain: whether the cluster cannot have it; else it may, on its own storage.
    """

    key: str
    message: str
    certain: bool

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def missing_data_files(
    sweep: Sweep, clone: Path, project: Path, include: Sequence[str] = ()
) -> list[MissingDataFile]:
    """Data files of this machine that a job would not find where it runs.

    Args:
        sweep: its `run.data_config` may name files.
        clone: where launch.py is; it is sent.
        project: the working directory; it is sent too.
        include: what is sent in any case.
    """
    named = list(_named(sweep))
    sent = (
        {tree / file for tree in {clone, project} for file in select_files(tree, include).files}
        if named
        else set()
    )
    return [missing for key, path, file in named if (missing := _check(key, path, file.resolve(), sent))]


def refuse_missing_data_files(
    sweep: Sweep, clone: Path, project: Path, include: Sequence[str] = ()
) -> list[str]:
    """Warnings about data files before a sweep is sent.

    Raises:
        ClusterError: if the cluster cannot have one of them.
    """
    missing = missing_data_files(sweep, clone, project, include)
    certain = [str(each) for each in missing if each.certain]
    if certain:
        raise ClusterError("\n".join(certain))
    return [str(each) for each in missing]


def _named(sweep: Sweep) -> Iterator[tuple[str, str, Path]]:
    """Key, value and file, for each value that is the path of a file here."""
    for key, path in sweep.run.data_config.items():
        if not isinstance(path, str) or "://" in path:
            continue
        candidates = (Path(folder) / path for folder in sweep.import_paths)
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is not None:
            yield f"run.data_config.{key}", path, file


def _check(key: str, path: str, file: Path, sent: set[Path]) -> MissingDataFile | None:
    size = file.stat().st_size / 2**20
    elsewhere = "put it on storage that the cluster sees and give its path there, or a URI (s3://...)"
    if Path(path).is_absolute():
        fix = "; with a relative path it is sent" if file in sent and size <= LARGE_FILE_MB else ""
        return MissingDataFile(
            key, f"{path} is read from the head's own disk, so it must be there too{fix}", False
        )
    if file not in sent:
        return MissingDataFile(
            key, f"{path} is not sent (git ignores it, or it is outside): {elsewhere}", True
        )
    if size > LARGE_FILE_MB:
        return MissingDataFile(
            key, f"{path} is {size:.0f} MB; files over {LARGE_FILE_MB} MB are not sent: {elsewhere}", True
        )
    return None
