"""The command itself: `launch.py COMMAND ...`, and `launch.py SWEEP.yaml` for `run`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import click

from raysweep.errors import exit_codes_text


def several_sets(args: Sequence[str]) -> list[str]:
    """Give each of several values after one `--set` a `--set` of its own.

    >>> several_sets(["run", "a.yaml", "--set", "trials=4", "run.epochs=3", "--dry-run"])
    ['run', 'a.yaml', '--set', 'trials=4', '--set', 'run.epochs=3', '--dry-run']
    """
    spread: list[str] = []
    setting = False
    for word in args:
        if spread[-1:] == ["--set"]:
            setting = True
        elif word.startswith("-") or "=" not in word:
            setting = word.startswith("--set=")
        elif setting:
            spread.append("--set")
        spread.append(word)
    return spread


SECTIONS = {
    "Before": ("init", "check", "preflight", "plan", "lr-range", "doctor", "schema"),
    "Run": ("run", "status", "list", "logs", "stop", "resume", "extend", "sync", "repair", "ui"),
    "Learn": ("report", "compare", "export", "replay", "best", "retrain", "predict", "reproduce"),
}
"""Commands in the order in which they are needed, as the README has them."""
WHOLE = 200  # characters of a command's line: all of its first sentence


class RunByDefault(click.Group):
    """`launch.py sweep.yaml` is `launch.py run sweep.yaml`."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by when they are needed, none of their lines cut off."""
        named = {name for names in SECTIONS.values() for name in names}
        rest = {"Commands": tuple(name for name in self.list_commands(ctx) if name not in named)}
        for title, names in (SECTIONS | rest).items():
            rows = [(name, self.commands[name].get_short_help_str(WHOLE)) for name in names]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in front of what is no command but looks like a file or an option of `run`."""
        args = several_sets(args)
        first = args[0] if args else "--help"
        if first not in self.commands and first not in ("-h", "--help", "--version"):
            if (
                not first.startswith("-")
                and Path(first).suffix not in (".yaml", ".yml")
                and not Path(first).exists()
            ):
                known = difflib.get_close_matches(first, self.commands, n=1)
                fix = (
                    f"did you mean {known[0]!r}?"
                    if known
                    else f"commands: {', '.join(sorted(self.commands))}"
                )
                raise click.UsageError(f"{first!r} is neither a command nor a sweep file; {fix}")
            args = ["run", *args]
        return super().parse_args(ctx, args or ["--help"])


@click.group(
    cls=RunByDefault,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Exit codes: {exit_codes_text()}",
)
@click.version_option(package_name="raysweep")
def cli() -> None:
    """Hyperparameter sweeps on Ray Tune: one YAML file, one command.

    `launch.py SWEEP.yaml` runs a sweep.
    """
