"""The command itself: `launch.py COMMAND ...`, and `launch.py SWEEP.yaml` for `run`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import click

from raysweep.errors import exit_codes_text


def several_sets(args: Sequence[str]) -> list[str]:
    """Repeat `--set` before each further value of a `--set` with several values.

    >>> several_sets(["run", "a.yaml", "--set", "trials=4", "run.epochs=3", "--dry-run"])
    ['run', 'a.yaml', '--set', 'trials=4', '--set', 'run.epochs=3', '--dry-run']
    """
    spread: list[str] = []
    within_set = False
    for arg in args:
        if spread[-1:] == ["--set"]:
            within_set = True
        elif arg.startswith("-") or "=" not in arg:
            within_set = arg.startswith("--set=")
        elif within_set:
            spread.append("--set")
        spread.append(arg)
    return spread


SECTIONS = {
    "Before": ("init", "check", "preflight", "plan", "lr-range", "doctor", "schema"),
    "Run": ("run", "status", "list", "logs", "stop", "resume", "extend", "sync", "repair", "ui"),
    "Learn": ("report", "compare", "export", "replay", "best", "retrain", "predict", "reproduce"),
}
"""Commands in the order in which they are needed, as in the README."""
MOST_HELP = 200  # characters of a command's line in the help: more than any first sentence


class RunByDefault(click.Group):
    """Commands, with `run` as the default: `launch.py sweep.yaml` is `launch.py run sweep.yaml`."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, with whole first sentences."""
        listed = {name for names in SECTIONS.values() for name in names}
        rest = {"Commands": tuple(name for name in self.list_commands(ctx) if name not in listed)}
        for title, names in (SECTIONS | rest).items():
            rows = [(name, self.commands[name].get_short_help_str(MOST_HELP)) for name in names]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in front of arguments that begin with a file or an option instead of a command."""
        args = several_sets(args)
        first = args[0] if args else "--help"
        if first not in self.commands and first not in ("-h", "--help", "--version"):
            if (
                not first.startswith("-")
                and Path(first).suffix not in (".yaml", ".yml")
                and not Path(first).exists()
            ):
                matches = difflib.get_close_matches(first, self.commands, n=1)
                fix = (
                    f"did you mean {matches[0]!r}?"
                    if matches
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
