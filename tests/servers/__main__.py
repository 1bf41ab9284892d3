"""``python -m tests.servers``: fetch the servers, or run one until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.servers import KINDS, ServerStartError, ServerUnavailableError, available, start_server
from tests.servers import server_class as _server_class
from tests.servers.family import FamilyServer


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the return value is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="download and unpack everything that can be had")
    start = commands.add_parser("start", help="run one server until Ctrl-C or SIGTERM")
    start.add_argument("kind", choices=KINDS)
    start.add_argument("--dir", type=Path, help="keep the data here (default: temporary)")
    start.add_argument("--port", type=int, help="TCP port (default: a free one)")
    arguments = parser.parse_args(argv)
    if arguments.command == "prepare":
        return _prepare()
    try:
        return _run(arguments.kind, arguments.dir, arguments.port)
    except (ServerStartError, ServerUnavailableError) as error:
        print(error, file=sys.stderr)
        return 1


def _prepare() -> int:
    missing = 0
    for found in available():
        reason = found.reason
        if found and issubclass(cls := _server_class(found.kind), FamilyServer):
            server = cls()
            try:
                server.prepare_template()
            except ServerStartError as error:
                reason = str(error)
            finally:
                server.close()
        missing += bool(reason)
        print(f"{found.kind:<10} {f'missing: {reason}' if reason else found.name}", flush=True)
    return 1 if missing else 0


def _run(kind: Any, directory: Path | None, port: int | None) -> int:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    options = {"directory": directory} | ({} if port is None else {"port": port})
    server = start_server(kind, **options)
    try:
        line = {"name": server.name, "url": server.url, "pid": server.pid, "home": str(server.home)}
        print(json.dumps(line), flush=True)
        while server.running:
            time.sleep(0.5)
        print(f"{server.name} ended by itself:\n{server.log_tail()}", file=sys.stderr)
    finally:
        # A second Ctrl-C must not leave half of it behind.
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)
        server.close()
    return 1


if __name__ == "__main__":
    sys.exit(main())
