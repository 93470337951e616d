"""A server that says what it was asked: server.py PORT. /pub/page has a page whose script asks for more."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PAGE = Path(__file__).with_name("page.html").read_bytes()


class Handler(BaseHTTPRequestHandler):
    """Answers with the method, the path's length and the body's."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Read the body, however it is framed, and answer."""
        body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else b""
        body = body or self.rfile.read(int(self.headers.get("Content-Length", 0)))
        page = self.path == "/pub/page"
        text = _PAGE if page else f"{self.command} {len(self.path)} {len(body)}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if page else "text/plain")
        self.send_header("Content-Length", str(len(text)))
        for i in range(3 * page):
            self.send_header("Set-Cookie", f"large{i}={'c' * 3000}; Path=/")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer  # noqa: N815 - names of BaseHTTPRequestHandler

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
