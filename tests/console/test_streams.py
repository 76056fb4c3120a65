"""A vanished reader, a closed stream or a poor locale never makes a command fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from raysweep.console.streams import protect_streams, unwritten
files = protect_streams()
{body}
lost = unwritten(files)
print(lost, file=sys.stderr)
"""


def run(body: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A program with protected streams, its output redirected as a shell would."""
    command = f'exec "$0" -c "$1" {shell}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, PROGRAM.format(body=body)],
        cwd=CLONE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_reader_that_closes_early_is_not_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    body = "print('x' * 100_000, flush=True); print('on', file=sys.stderr)"
    program = [sys.executable, "-c", PROGRAM.format(body=body)]
    with open(writing, "wb") as closed:  # noqa: PTH123 - a descriptor
        done = subprocess.run(
            program, cwd=CLONE, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "on\n\n")


def test_a_full_disk_is_reported_because_the_output_is_wanted() -> None:
    done = run("print('x' * 100_000, flush=True)", "> /dev/full")
    assert done.stderr == "the output could not be written: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    file = tmp_path / "journal"
    body = f"fd = os.open({str(file)!r}, os.O_RDWR | os.O_CREAT); print('a'); os.write(fd, b'%d' % (fd > 2))"
    assert run(body, closed).returncode == 0
    assert file.read_text() == "1"


def test_what_the_locale_lacks_is_written_as_an_escape() -> None:
    assert run("print('η')", PYTHONIOENCODING="ascii").stdout == "\\u03b7\n"


def test_a_hang_up_ends_neither_the_process_nor_its_children() -> None:
    child = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('child')"
    body = f"""
import signal, subprocess
os.kill(os.getpid(), signal.SIGHUP)
print(subprocess.run([sys.executable, "-c", {child!r}], capture_output=True, text=True).stdout)
"""
    assert run(body).stdout.strip() == "child"
