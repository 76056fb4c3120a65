"""Which of a sweep's data files a cluster will not see, as far as one can tell from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.working_tree import LARGE_FILE_MB, select_files
from raysweep.config import Sweep


@dataclass(frozen=True, slots=True)
class MissingDataFile:
    """A data file that does not go along.

    Attributes:
        key: the word that names it.
        message: what is the matter, and what to do.
        certain: whether the cluster cannot have it; else it may, on storage of its own.
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
        include: what goes along whatever it is.
    """
    named = list(_named(sweep))
    sent = (
        {tree / file for tree in {clone, project} for file in select_files(tree, include).files}
        if named
        else set()
    )
    return [found for key, word, file in named if (found := _look(key, word, file.resolve(), sent))]


def refuse_missing_data_files(
    sweep: Sweep, clone: Path, project: Path, include: Sequence[str] = ()
) -> list[str]:
    """What the user should know before a sweep is sent.

    Raises:
        ClusterError: if the cluster cannot have one of its data files.
    """
    found = missing_data_files(sweep, clone, project, include)
    certain = [str(each) for each in found if each.certain]
    if certain:
        raise ClusterError("\n".join(certain))
    return [str(each) for each in found]


def _named(sweep: Sweep) -> Iterator[tuple[str, str, Path]]:
    """Key, word and file, for each word that is the path of a file here."""
    for key, word in sweep.run.data_config.items():
        if not isinstance(word, str) or "://" in word:
            continue
        places = (Path(folder) / word for folder in sweep.import_paths)
        file = next((place for place in places if place.is_file()), None)
        if file is not None:
            yield f"run.data_config.{key}", word, file


def _look(key: str, word: str, file: Path, sent: set[Path]) -> MissingDataFile | None:
    size = file.stat().st_size / 2**20
    elsewhere = "put it on storage that the cluster sees and name it by that path, or by a URI (s3://...)"
    if Path(word).is_absolute():
        fix = "; write it relative, and it is sent along" if file in sent and size <= LARGE_FILE_MB else ""
        return MissingDataFile(
            key, f"{word} is read from the head's own disk, where it must be as well{fix}", False
        )
    if file not in sent:
        return MissingDataFile(
            key, f"{word} is not sent along (git ignores it, or it is outside): {elsewhere}", True
        )
    if size > LARGE_FILE_MB:
        return MissingDataFile(
            key, f"{word}: {size:.0f} MB, over {LARGE_FILE_MB} MB nothing is sent: {elsewhere}", True
        )
    return None
