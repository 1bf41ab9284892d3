"""A private MySQL server: Debian unstable's package run through its own loader.

Elsewhere a ``mysqld`` on PATH is used, and ``CDC_MYSQL_URL`` names a server that runs already.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.apt import loader, unpacked
from tests.servers.apt_sources import debian_mirror
from tests.servers.base import ServerUnavailableError
from tests.servers.family import FamilyServer, Program, admin_sql, cdc_sql

_CACHE_NAME = "mysql-debian-unstable"


class MySQLServer(FamilyServer):
    """MySQL with a row-format binary log and, unless told otherwise, GTIDs.

    Args:
        gtid: Whether transactions carry GTIDs.
        settings: See :class:`FamilyServer`.
    """

    kind = "mysql"
    default_options: ClassVar[Mapping[str, str]] = {
        "log_bin": "binlog",
        "binlog_format": "ROW",
        "mysqlx": "OFF",
        "local_infile": "OFF",
        "max_allowed_packet": "64M",
        "innodb_buffer_pool_size": "128M",
        "innodb_redo_log_capacity": "256M",
        "log_error_verbosity": "2",
        "default_time_zone": "+00:00",
    }

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        *,
        gtid: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(directory, port, **settings)
        mode = "ON" if gtid else "OFF"
        self.options = {"gtid_mode": mode, "enforce_gtid_consistency": mode, **self.options}

    @staticmethod
    def _find_program() -> Program:
        return find_program()

    @property
    def _setup_sql(self) -> str:
        cdc = cdc_sql("REPLICATION SLAVE", "REPLICATION CLIENT", "SELECT", "PROCESS")
        return "\n".join([*admin_sql(), *cdc, ""])

    def _base_arguments(self, datadir: Path) -> list[str]:
        arguments = super()._base_arguments(datadir)
        if self.program.root is not None:
            arguments.append(f"--plugin-dir={self.program.root}/usr/lib/mysql/plugin")
        return arguments

    def _initialize(self, datadir: Path) -> None:
        script = datadir.parent / "setup.sql"
        script.write_text(self._setup_sql)
        self._run_initializer(
            [
                *self._base_arguments(datadir),
                "--initialize-insecure",
                f"--init-file={script}",
                "--innodb-redo-log-capacity=8M",  # grown at start; kept small for the copies
                "--secure-file-priv=NULL",
            ]
        )

    def mysqlbinlog(self, *arguments: str) -> str:
        """Run the server's own binary log reader; the tests' independent witness."""
        root = self.program.root
        if root is not None:
            command = [*loader(root), str(root / "usr" / "bin" / "mysqlbinlog")]
        elif found := shutil.which("mysqlbinlog"):
            command = [found]
        else:
            raise ServerUnavailableError("mysqlbinlog is not on PATH")
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        return done.stdout


@functools.cache
def find_program() -> Program:
    """Unpack Debian's MySQL, or find one on PATH.

    Raises:
        ServerUnavailableError: Neither is possible.
    """
    try:
        mirror = debian_mirror().with_suites("unstable")
        root = unpacked(_CACHE_NAME, [mirror], ["mysql-server-core", "mysql-client-core"])
        argv = (*loader(root), str(root / "usr" / "sbin" / "mysqld"))
        return Program.probe(argv, root / "usr", root)
    except ServerUnavailableError as error:
        found = shutil.which("mysqld")
        if found is None:
            raise ServerUnavailableError(f"no mysqld on PATH, and {error}") from error
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    if "mariadb" in version.stdout.lower():
        raise ServerUnavailableError(f"{found} is MariaDB")
    return Program.probe((found,), Path(found).resolve().parent.parent)
