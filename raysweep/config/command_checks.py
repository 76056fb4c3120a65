"""Checks that `run.command` can be run and gets the searched settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from raysweep.config.problem import suggestion
from trainables.command import ARGS, GIVEN, InvalidCommand, placeholders, split_command


def command_errors(
    command: str, settings: Collection[str], folders: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield the problems of a command, each with its fix.

    Args:
        command: as in the sweep file.
        settings: keys of `train_config`, fixed or searched.
        folders: to look for the files that it names.
    """
    try:
        arguments = split_command(command)
    except InvalidCommand as error:
        yield error.what, error.fix
        return
    heads = {name.partition(".")[0] for name in settings}
    known = {*settings, *heads, *GIVEN, ARGS}
    for name in placeholders(command):
        if name not in known:
            fix = suggestion(name, sorted(known), f"set train_config.{name}, or search it")
            yield f"{{{name}}} is no setting of train_config", fix
    script = arguments[1] if arguments[0] == "python" and len(arguments) > 1 else ""
    folders_of_script = (*map(Path, folders), Path.cwd())
    is_fixed = script.endswith(".py") and "{" not in script
    if is_fixed and not any((folder / script).is_file() for folder in folders_of_script):
        yield (
            f"{script} is neither beside the sweep file nor in the working directory",
            "correct the path, or add its folder to import_paths",
        )


def settings_not_handed_over(command: str, searched: Collection[str]) -> list[str]:
    """Searched settings without a placeholder in a command that has any placeholders."""
    names = set(placeholders(command))
    if names & {ARGS, "config"} or not names:
        return []
    return [name for name in searched if not {name, name.partition(".")[0]} & names]
