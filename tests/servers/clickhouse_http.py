"""The ClickHouse engine behind HTTP, in a process of its own: no server binary is to be had here.

python -m tests.servers.clickhouse_http <folder> <port>

It speaks what clickhouse-connect says: a statement in `query` or the body, settings beside it, rows
of an insert as the body. The engine is the real one (chDB); users, TLS and quotas are not in it.
"""

from __future__ import annotations

import base64
import gzip
import sys
import tempfile
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import chdb

PASSWORD = "s3cret"
_NOT_SETTINGS = frozenset(
    {"query", "database", "session_id", "query_id", "client_protocol_version", "compress"}
    | {"wait_end_of_query", "send_progress_in_http_headers", "enable_http_compression"}
    | {"http_headers_progress_interval_ms", "buffer_size", "role", "decompress"}
)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    connection_: Any
    lock = threading.Lock()
    settings: ClassVar[dict[str, str]] = {}
    """What the engine is set to; requests that want the same need not say it again."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(parts)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        coding = self.headers.get("Content-Encoding")
        if coding == "gzip":
            return gzip.decompress(data)
        return zlib.decompress(data) if coding == "deflate" else data

    def _answer(self, body: bytes) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if not self._let_in():
            self._send(401, b"Code: 516. DB::Exception: no. (AUTHENTICATION_FAILED)", 516)
            return
        try:
            with self.lock:
                data = self._run(parameters, body)
        except Exception as error:
            text = str(error)
            code = int(text.partition("Code: ")[2].partition(".")[0] or 0)
            self._send(500, text.encode(), code)
        else:
            self._send(200, data)

    def _let_in(self) -> bool:
        said = self.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(said).partition(b":")[2].decode() == PASSWORD

    def _run(self, parameters: dict[str, str], body: bytes) -> bytes:
        query = parameters.get("query", "")
        settings = {k: v for k, v in parameters.items() if k not in _NOT_SETTINGS}
        if not query:
            query, body = body.decode(), b""
        for name in self.settings.keys() - settings.keys():
            self.connection_.query(f"SET {name} = DEFAULT", "TabSeparated")
            del self.settings[name]
        for name, value in settings.items() - self.settings.items():
            self.connection_.query(f"SET {name} = '{value}'", "TabSeparated")
            self.settings[name] = value
        form = self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        if not body:
            return bytes(self.connection_.query(query, form).bytes() or b"")
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            head, word, tail = query.rpartition(" FORMAT ")
            infile = f"{head} FROM INFILE '{file.name}'{word}{tail.strip()}"
            self.connection_.query(infile, "TabSeparated")
        return b""

    def _send(self, status: int, data: bytes, code: int = 0) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main(folder: str, port: int) -> None:
    Handler.connection_ = chdb.connect(folder)
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print("ready", server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
