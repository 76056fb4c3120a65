"""Text from other people's files is printed, never interpreted."""

from __future__ import annotations

import pytest
from rich.table import Table

from raysweep.console.console import stdout
from raysweep.console.rows import print_row


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
        ("[red]a[/red] :smile:", "[red]a[/red] :smile:"),
        ("up\x9b1A", "up\\x9b1A"),
        ("right\u202eleft", "right\\u202eleft"),
        ("η = ½ …", "η = ½ …"),
    ],
)
def test_control_characters_and_markup_are_shown(
    text: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = stdout()
    console.print(text, highlight=False)
    print_row(console, "label", text)
    table = Table(box=None, show_header=False)
    table.add_row(text)
    console.print(table)
    plain, labelled, row = capsys.readouterr().out.splitlines()
    assert plain == printed
    assert labelled == f"{'label':<17}{printed}"
    assert row.split() == printed.split()
