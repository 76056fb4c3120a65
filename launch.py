"""The command line, `python launch.py --help`: parses, calls and prints.

Ray, torch and MLflow are imported inside the functions that need them, so `check` and a mistyped command
answer at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

try:
    import click

    from raysweep.cli import learn, look, prepare, run, winner
    from raysweep.cli.group import cli
    from raysweep.console.streams import protect_streams, unwritten
    from raysweep.errors import USER_ERRORS, ExitCode, exit_code_of
    from raysweep.formatting import printable
    from trainables.checkpoint_integrity import DISK_REFUSES
except KeyboardInterrupt:  # the imports take half a second
    print("aborted; nothing had begun", file=sys.stderr)
    sys.exit(130)

COMMANDS = (run, look, learn, winner, prepare)  # importing a module adds its commands to `cli`


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; an error that a user can fix is a line on stderr."""
    try:
        code = cli.main(args, prog_name="launch.py", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        click.echo(f"launch.py: {error.format_message()}", err=True)
        return ExitCode.USAGE
    except USER_ERRORS as error:
        click.echo(printable(str(error), "\n"), err=True)
        return exit_code_of(error)
    except OSError as error:
        if error.errno is None or error.errno not in DISK_REFUSES:
            raise
        what = f"{error.filename}: cannot" if error.filename else "a file cannot"
        why = os.strerror(error.errno)
        click.echo(f"{what} be written ({why}); free some space, or write elsewhere", err=True)
        return ExitCode.UNREACHABLE
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "aborted; a study that had begun is kept, and continues with `launch.py resume STUDY`", err=True
        )
        return ExitCode.INTERRUPTED


def _abort(_number: int, _frame: FrameType | None) -> None:
    """End as after Ctrl-C, with the exit code that tells a batch system to run the job again."""
    raise KeyboardInterrupt


def run_from_shell() -> None:
    """Run this process's command line and exit: `python launch.py ...`, or `raysweep ...`."""
    signal.signal(signal.SIGTERM, _abort)  # a running study replaces this by an orderly stop
    gc.set_threshold(100_000, 50, 50)  # imports make no garbage; searching for it takes a tenth of their time
    streams = protect_streams()
    code = main()
    if lost := unwritten(streams):
        click.echo(lost, err=True)
        code = code or ExitCode.UNREACHABLE
    gc.freeze()  # or the interpreter spends half a second on freeing memory at exit
    sys.exit(code)


if __name__ == "__main__":
    run_from_shell()
