"""A model hub on loopback that serves one folder, with the headers that its client needs."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

COMMIT = "a" * 40


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Yield the hub's address, and what was asked of it: (method, path, bytes sent)."""
    asked: list[tuple[str, str, int]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.partition("?")[0]
            name = path.partition("/resolve/")[2].partition("/")[2]
            file = folder / name
            if not name or not file.is_file():
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            data, status, headers = file.read_bytes(), 200, {}
            headers["ETag"] = f'"{hashlib.sha256(data).hexdigest()}"'
            if wanted := self.headers.get("Range"):
                first, last = wanted.removeprefix("bytes=").split("-")
                headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                data, status = data[int(first) : int(last) + 1], 206
            self._send(status, data, headers)

        def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {
                "X-Repo-Commit": COMMIT, "Content-Length": str(len(data)), **headers
            }.items():  # fmt: skip
                self.send_header(key, value)
            self.end_headers()
            sent = data if self.command == "GET" else b""
            asked.append((self.command, self.path, len(sent)))
            self.wfile.write(sent)

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
