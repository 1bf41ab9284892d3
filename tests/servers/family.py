"""What the private MySQL and MariaDB servers share: layout, template, users, client."""

from __future__ import annotations

import abc
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import pymysql
from pymysql.connections import Connection
from sqlalchemy import URL

from tests.servers.apt import exclusive
from tests.servers.base import (
    ADMIN_PASSWORD,
    CDC_PASSWORD,
    CDC_USER,
    Server,
    ServerStartError,
    ServerUnavailableError,
)
from tests.servers.process import Command


@dataclass(frozen=True)
class Program:
    """An installed or unpacked server program.

    Attributes:
        argv: Command prefix up to and including the program.
        basedir: Root of its share and library folders.
        version: As the program states it, for instance ``9.7.4``.
        root: The unpacked tree, or None for a program of the system.
    """

    argv: tuple[str, ...]
    basedir: Path
    version: str
    root: Path | None = None

    @classmethod
    def probe(cls, argv: tuple[str, ...], basedir: Path, root: Path | None = None) -> Self:
        """Ask the program for its version."""
        done = subprocess.run(
            [*argv, "--no-defaults", "--version"], capture_output=True, text=True, check=False
        )
        match = re.search(r"Ver (\d+\.\d+\.\d+)", done.stdout)
        if match is None:
            raise ServerUnavailableError(f"{argv[-1]} does not run: {done.stdout}{done.stderr}")
        return cls(argv, basedir, match[1], root)


class FamilyClient(Server):
    """The client side of a MySQL-family server, ours or one that runs already."""

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the administrator account, over TCP."""
        return self.url_for(self.user, self.password)

    def url_for(self, user: str, password: str, database: str | None = None) -> str:
        """SQLAlchemy URL of any account."""
        url = URL.create("mysql+pymysql", user, password, self.host, self.port, database)
        return url.render_as_string(hide_password=False)

    @property
    def cdc_url(self) -> str:
        """SQLAlchemy URL of the least-privilege account."""
        return self.url_for(CDC_USER, CDC_PASSWORD)

    def connect(self, **kwargs: Any) -> Connection[Any]:
        """Open a PyMySQL connection over TCP, autocommit, utf8mb4, as administrator."""
        defaults: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": 10,
        }
        return pymysql.connect(**{**defaults, **kwargs})

    def connect_cdc(self, **kwargs: Any) -> Connection[Any]:
        """Open a connection as the least-privilege account."""
        return self.connect(**{"user": CDC_USER, "password": CDC_PASSWORD, **kwargs})


class FamilyServer(FamilyClient):
    """A private server of the MySQL family that writes a row-format binary log.

    Args:
        directory: Home that outlives the process; a temporary one when None.
        port: TCP port; a free one when None.
        server_id: Replication id; the port when None, so that two servers differ.
        row_metadata: ``binlog_row_metadata``.
        row_image: ``binlog_row_image``.
        durable: Flush redo and binary log at each commit. Without it a crash of the *machine* can
            lose data, but after ``kill -9`` everything committed is still there.
        cdc_process: Whether the ``cdc`` user has the PROCESS privilege.
        options: Further server variables, which win over the defaults here.
    """

    socket: str
    default_options: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        *,
        server_id: int | None = None,
        row_metadata: str = "FULL",
        row_image: str = "FULL",
        durable: bool = False,
        cdc_process: bool = True,
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        self.program = self._find_program()
        super().__init__(directory, port)
        self.name = self.probe()
        self.cdc_process = cdc_process
        # A socket path is limited to 107 bytes, and a given home may be deep.
        self.socket = str(self.home / "s.sock")
        if len(self.socket) > 100:
            self.socket = f"{tempfile.gettempdir()}/cdcsrv-{self.port}.sock"
        self.options: dict[str, str] = {
            **self.default_options,
            "server_id": str(server_id or self.port),
            "binlog_row_metadata": row_metadata,
            "binlog_row_image": row_image,
            "innodb_flush_log_at_trx_commit": "1" if durable else "2",
            "sync_binlog": "1" if durable else "0",
            **{name: str(value) for name, value in (options or {}).items()},
        }

    def connect(self, **kwargs: Any) -> Connection[Any]:
        """As `FamilyClient.connect`, without TLS: for it PyMySQL reads every certificate there is.

        That takes 35 ms of CPU per connection; `ssl_disabled=False` has TLS all the same.
        """
        return super().connect(**{"ssl_disabled": True, **kwargs})

    @classmethod
    def probe(cls) -> str:
        """Name of the server to be had; see :meth:`Server.probe`."""
        major, minor, *_ = cls._find_program().version.split(".")
        return f"{cls.kind}-{major}.{minor}"

    @staticmethod
    @abc.abstractmethod
    def _find_program() -> Program:
        """Find or fetch the server program."""

    @property
    @abc.abstractmethod
    def _setup_sql(self) -> str:
        """Accounts of a new data directory, one statement per line."""

    @abc.abstractmethod
    def _initialize(self, datadir: Path) -> None:
        """Make a new data directory with the accounts in it."""

    def _base_arguments(self, datadir: Path) -> list[str]:
        arguments = [
            *self.program.argv,
            "--no-defaults",
            f"--basedir={self.program.basedir}",
            f"--datadir={datadir}",
        ]
        if self.program.root is not None:
            share = self.program.basedir / "share" / "mysql"
            arguments += [f"--lc-messages-dir={share}", f"--character-sets-dir={share}/charsets"]
        if os.geteuid() == 0:
            arguments.append("--user=root")
        return arguments

    def _command(self) -> Command:
        (self.home / "tmp").mkdir(exist_ok=True)
        arguments = [
            *self._base_arguments(self.datadir),
            f"--socket={self.socket}",
            f"--pid-file={self.home}/server.pid",
            f"--tmpdir={self.home}/tmp",
            f"--secure-file-priv={self.home}/tmp",
            f"--bind-address={self.host}",
            f"--port={self.port}",
        ]
        # The loose prefix would hide a misspelt variable, so none is used.
        arguments += [f"--{name}={value}" for name, value in self.options.items()]
        return Command(arguments, self.log_path, cwd=self.home)

    def _prepare(self) -> None:
        partial = self.home / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(self.prepare_template(), partial)
        # With a copied auto.cnf all servers would share one server_uuid.
        (partial / "auto.cnf").unlink(missing_ok=True)
        partial.rename(self.datadir)

    def prepare_template(self) -> Path:
        """Return the cached empty data directory all servers of this version start from."""
        recipe = hashlib.sha256(f"{self.program}{self._setup_sql}".encode()).hexdigest()[:10]
        name = f"{self.kind}-{self.program.version}-data-{recipe}"
        with exclusive(name) as root:
            target = root / name
            if not target.is_dir():
                work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
                try:
                    self._initialize(work / "data")
                    (work / "data").rename(target)
                finally:
                    shutil.rmtree(work, ignore_errors=True)
            return target

    def _run_initializer(self, arguments: Sequence[str], stdin: str = "") -> None:
        done = subprocess.run(
            list(arguments), input=stdin, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
            raise ServerStartError(f"{self.name}: making a data directory failed:\n{tail}")

    def _after_end(self) -> None:
        Path(self.socket).unlink(missing_ok=True)

    def _first_start(self) -> None:
        if not self.cdc_process:
            self.execute(f"REVOKE PROCESS ON *.* FROM '{CDC_USER}'@'%'")


def admin_sql() -> list[str]:
    """Statements that let the administrator in over TCP, with or without name resolution."""
    return [
        "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';",
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{ADMIN_PASSWORD}';",
        f"ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY '{ADMIN_PASSWORD}';",
        "GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;",
    ]


def cdc_sql(*privileges: str) -> list[str]:
    """Statements that make the least-privilege account."""
    return [
        f"CREATE USER '{CDC_USER}'@'%' IDENTIFIED BY '{CDC_PASSWORD}';",
        f"GRANT {', '.join(privileges)} ON *.* TO '{CDC_USER}'@'%';",
    ]
