"""What is done when a sweep has ended."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from raysweep.cluster.end_notification import announce

FACTS = {"study": "s", "state": "done", "exit_code": 0}


def test_a_command_finds_what_happened_in_its_environment_and_on_its_input(tmp_path: Path) -> None:
    assert announce(f'cat > {tmp_path}/in; echo "$SWEEP_STUDY $SWEEP_STATE" > {tmp_path}/env', FACTS) == ""
    assert json.loads((tmp_path / "in").read_text()) == FACTS
    assert (tmp_path / "env").read_text() == "s done\n"


def test_a_web_address_is_sent_it_as_json() -> None:
    taken = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        Thread(target=server.handle_request, daemon=True).start()
        assert announce(f"http://127.0.0.1:{server.server_port}/hook", FACTS) == ""
    assert taken == [FACTS]


@pytest.mark.parametrize(
    ("on_end", "message"),
    [
        ("echo no such room >&2; exit 3", "on_end: exit code 3 no such room"),
        ("http://127.0.0.1:1/hook", "on_end: http://127.0.0.1:1/hook: "),
    ],
)
def test_what_goes_wrong_is_one_line_and_never_raises(on_end: str, message: Any) -> None:
    answer = announce(on_end, FACTS)
    assert answer.startswith(message)
    assert "\n" not in answer
