"""A MySQL server that somebody else runs, named by ``CDC_MYSQL_URL``."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Never, Self

import pymysql
from sqlalchemy import make_url

from tests.servers.base import CDC_PASSWORD, CDC_USER, ServerUnavailableError
from tests.servers.family import FamilyClient
from tests.servers.process import Command

URL_VARIABLE = "CDC_MYSQL_URL"


class ExternalMySQL(FamilyClient):
    """Connects only: tests that stop, kill or configure the server cannot use it."""

    kind = "mysql"
    socket = None

    def __init__(self, directory: Path | None = None, **settings: object) -> None:
        url = make_url(os.environ[URL_VARIABLE])
        if settings:
            raise ServerUnavailableError(f"{URL_VARIABLE} names a server that takes no {settings}")
        super().__init__(directory, url.port or 3306)
        self.host = url.host or self.host
        self.user = url.username or self.user
        self.password = str(url.password or "")

    @classmethod
    def probe(cls) -> str:
        """Name of the server to be had; see :meth:`Server.probe`."""
        return "mysql-external"

    def start(self) -> Self:
        """Check the server and make the least-privilege account."""
        try:
            version = self.execute("SELECT VERSION()")[0][0]
        except pymysql.err.OperationalError as error:
            raise ServerUnavailableError(f"{URL_VARIABLE}: {error}") from error
        self.name = f"mysql-{'.'.join(version.split('.')[:2])}"
        self.execute(
            f"CREATE USER IF NOT EXISTS '{CDC_USER}'@'%' IDENTIFIED BY '{CDC_PASSWORD}'",
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT, PROCESS ON *.* "
            f"TO '{CDC_USER}'@'%'",
        )
        return self

    def stop(self) -> Never:
        """Refused: the server is not ours."""
        raise ServerUnavailableError(f"the server of {URL_VARIABLE} is not ours to stop")

    def kill(self) -> Never:
        """Refused: the server is not ours."""
        raise ServerUnavailableError(f"the server of {URL_VARIABLE} is not ours to kill")

    def _send(self, process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
        raise NotImplementedError

    def _command(self) -> Command:
        raise NotImplementedError

    def _prepare(self) -> None:
        raise NotImplementedError
