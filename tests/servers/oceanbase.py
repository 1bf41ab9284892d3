"""A private OceanBase kernel (seekdb, from the ``pylibseekdb`` package).

The library starts its server as a child of the process that opens it. Here that is a process of
its own, ``python -m tests.servers.oceanbase DIR``, so that it can be killed without the test.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import select
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pymysql
from pymysql.connections import Connection
from sqlalchemy import URL

from tests.servers.base import (
    CDC_PASSWORD,
    CDC_USER,
    START_TIMEOUT,
    Server,
    ServerStartError,
    ServerUnavailableError,
)
from tests.servers.process import Command, signal_group

_FIRST_DDL = 60
"""Seconds a kernel just started has for a statement."""
_STARTS = 3
_PROJECT = Path(__file__).resolve().parents[2]


class OceanBaseServer(Server):
    """The OceanBase kernel on a unix socket; it has no binary log and no TCP port."""

    kind = "oceanbase"
    host = "localhost"
    password = ""
    discard_signal = signal.SIGTERM

    def __init__(self, directory: Path | None = None, port: int | None = None) -> None:
        self.probe()
        if port is not None:
            raise ValueError("the OceanBase kernel listens on a unix socket only")
        super().__init__(directory, port=0)
        self.name = self.probe()

    @classmethod
    def probe(cls) -> str:
        """Name of the server to be had; see :meth:`Server.probe`."""
        if importlib.util.find_spec("pylibseekdb") is None:
            raise ServerUnavailableError("the pylibseekdb package is not installed")
        major, minor, *_ = importlib.metadata.version("pylibseekdb").split(".")
        return f"oceanbase-seekdb-{major}.{minor}"

    @property
    def pid(self) -> int:
        """Process id of the kernel itself, not of the process that opened it."""
        file = self.datadir / "run" / "seekdb.pid"
        return int(file.read_text()) if self.running and file.exists() else 0

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the administrator account, over the unix socket."""
        return self.url_for(self.user, self.password)

    def url_for(self, user: str, password: str, database: str | None = None) -> str:
        """SQLAlchemy URL of any account."""
        url = URL.create(
            "mysql+pymysql",
            user,
            password or None,
            self.host,
            database=database,
            query={"unix_socket": str(self.socket)},
        )
        return url.render_as_string(hide_password=False)

    def connect(self, **kwargs: Any) -> Connection[Any]:
        """Open a PyMySQL connection, autocommit, utf8mb4, as administrator."""
        defaults: dict[str, Any] = {
            "unix_socket": self.socket,
            "user": self.user,
            "charset": "utf8mb4",
            "autocommit": True,
        }
        return pymysql.connect(**{**defaults, **kwargs})

    def connect_cdc(self, **kwargs: Any) -> Connection[Any]:
        """Open a connection as the least-privilege account."""
        return self.connect(**{"user": CDC_USER, "password": CDC_PASSWORD, **kwargs})

    def start(self) -> Self:
        """Start it; a kernel that does not answer its first DDL is killed and started again."""
        for _ in range(_STARTS):
            if self.running:
                break
            super().start()
            if not self._answers():
                self.kill()
        if not self.running:
            raise ServerStartError(f"{self.name} answers no DDL:\n{self.log_tail()}")
        return self

    def _answers(self) -> bool:
        """Return whether DDL is done; once it waited for minutes for the kernel's own start."""
        name = "started"
        try:
            with closing(self.connect(read_timeout=_FIRST_DDL)) as connection:
                connection.query(f"CREATE DATABASE IF NOT EXISTS {name}")
                connection.query(f"DROP DATABASE {name}")
        except pymysql.err.OperationalError:
            return False
        return True

    def _prepare(self) -> None:
        self.datadir.mkdir()

    def _command(self) -> Command:
        return Command(
            [sys.executable, "-m", "tests.servers.oceanbase", str(self.datadir)],
            self.log_path,
            cwd=_PROJECT,
            # Asked to end rather than killed, the opener removes its folder in /tmp.
            death_signal=signal.SIGTERM,
            pipe_stdout=True,
        )

    def _after_spawn(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
        line = process.stdout.readline() if ready else b""
        if not line:
            raise ServerStartError(f"{self.name} did not start:\n{self.log_tail()}")
        self.socket = json.loads(line)["socket"]

    def _first_start(self) -> None:
        self.execute(
            f"CREATE USER {CDC_USER} IDENTIFIED BY '{CDC_PASSWORD}'",
            f"GRANT SELECT, PROCESS ON *.* TO {CDC_USER}",
        )

    def _send(self, process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
        if signum == signal.SIGKILL:
            signal_group(process, signum)
        else:
            process.send_signal(signum)  # the opener closes its kernel in order

    def _after_end(self) -> None:
        # The library reaches its socket by a link in a folder of its own, whatever TMPDIR says.
        if self.socket is not None and "/pylibseekdb-uds-" in self.socket:
            shutil.rmtree(Path(self.socket).parents[1], ignore_errors=True)


def main(directory: str) -> None:
    """Open the kernel, print its socket as one JSON line, close it on SIGTERM."""
    import pylibseekdb

    instance = pylibseekdb.open(directory)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        print(json.dumps({"socket": instance.connection_options()["unix_socket"]}), flush=True)
        while True:
            signal.pause()
    finally:
        instance.close()


if __name__ == "__main__":
    main(sys.argv[1])
