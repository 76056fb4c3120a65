"""An MLflow server seen through a line on which every call takes its time."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def slowly(port: int, seconds: float) -> Iterator[str]:
    """An address at which every call to the server at `port` takes so many seconds longer."""

    class Slow(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            time.sleep(seconds)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            link = http.client.HTTPConnection("127.0.0.1", port)
            link.request(self.command, self.path, body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            content = answer.read()
            link.close()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # whoever asked has gone

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as proxy:
        proxy.daemon_threads = True
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()
        thread.join()
