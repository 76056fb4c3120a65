"""Whether `run.command` can be run, and is handed what is searched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from raysweep.config.problem import suggestion
from trainables.command import ARGS, GIVEN, InvalidCommand, placeholders, split_command


def command_errors(
    command: str, settings: Collection[str], folders: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with a command, and how to fix it.

    Args:
        command: as in the sweep file.
        settings: keys of `train_config`, fixed or searched.
        folders: where the files that it names are looked for.
    """
    try:
        words = split_command(command)
    except InvalidCommand as error:
        yield error.what, error.fix
        return
    heads = {name.partition(".")[0] for name in settings}
    known = {*settings, *heads, *GIVEN, ARGS}
    for name in placeholders(command):
        if name not in known:
            fix = suggestion(name, sorted(known), f"set train_config.{name}, or search it")
            yield f"{{{name}}} is no setting of train_config", fix
    script = words[1] if words[0] == "python" and len(words) > 1 else ""
    if script.endswith(".py") and "{" not in script and not _is_found(script, folders):
        yield (
            f"{script} is neither beside the sweep file nor in the working directory",
            "correct the path, or add its folder to import_paths",
        )


def settings_not_handed_over(command: str, searched: Collection[str]) -> list[str]:
    """Searched settings that a command has no placeholder for, if it has one for any other."""
    named = set(placeholders(command))
    if named & {ARGS, "config"} or not named:
        return []
    return [name for name in searched if not {name, name.partition(".")[0]} & named]


def _is_found(script: str, folders: Sequence[str]) -> bool:
    return any((folder / script).is_file() for folder in (*map(Path, folders), Path.cwd()))
