"""The command line: parses, wires the rooms together, prints. `python launch.py --help`.

Ray, torch and MLflow are imported inside the functions that need them: `check` and a mistyped
command answer at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

import click

from raysweep.cli import learn, look, prepare, run, winner
from raysweep.cli.codes import CANNOT_WRITE, EXIT_CODES, INTERRUPTED
from raysweep.cli.group import cli
from raysweep.config.problem import printable
from raysweep.console.streams import protect_streams, unwritten

COMMANDS = (run, look, learn, winner, prepare)  # each of them has put its own into `cli`


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; whatever a user can mend is a line on stderr and an exit code."""
    try:
        code = cli.main(args, prog_name="launch.py", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        click.echo(f"launch.py: {error.format_message()}", err=True)
        return 2
    except tuple(EXIT_CODES) as error:
        click.echo(printable(str(error), "\n"), err=True)
        return EXIT_CODES[type(error)]
    except (KeyboardInterrupt, click.Abort):
        click.echo("aborted; what was reported is kept: `launch.py resume` carries on", err=True)
        return INTERRUPTED


if __name__ == "__main__":
    gc.set_threshold(100_000, 50, 50)  # imports make no garbage: looking for it is a tenth of their time
    streams = protect_streams()
    code = main()
    if lost := unwritten(streams):
        click.echo(lost, err=True)
        code = code or CANNOT_WRITE
    gc.freeze()  # or the interpreter spends half a second on taking apart what ends with it anyway
    sys.exit(code)
