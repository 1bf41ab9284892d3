"""A private MariaDB server: the machine's own program, or its release's package unpacked."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.apt import loader, unpacked
from tests.servers.apt_sources import own_suite_sources
from tests.servers.base import ServerUnavailableError
from tests.servers.family import FamilyServer, Program, admin_sql, cdc_sql

# mysql_install_db feeds the same files to the server in this order.
_BOOTSTRAP = (
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "fill_help_tables.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "mysql_sys_schema.sql",
)
# The system tables come with password-less accounts for the machine's name and for nobody.
_NO_STRAY_ACCOUNTS = (
    "DELETE FROM mysql.global_priv WHERE User = '' "
    "OR (User = 'root' AND Host NOT IN ('localhost', '127.0.0.1'));"
)


class MariaDBServer(FamilyServer):
    """MariaDB with a row-format binary log; its GTIDs are always on.

    Args:
        gtid_strict: ``gtid_strict_mode``.
        gtid_domain_id: Domain of the GTIDs this server makes.
        settings: See :class:`FamilyServer`.
    """

    kind = "mariadb"
    default_options: ClassVar[Mapping[str, str]] = {
        "log_bin": "binlog",
        "binlog_format": "ROW",
        "local_infile": "OFF",
        "max_allowed_packet": "64M",
        "innodb_buffer_pool_size": "128M",
        "innodb_log_file_size": "96M",
        "character_set_server": "utf8mb4",
        "default_time_zone": "+00:00",
    }

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        *,
        gtid_strict: bool = True,
        gtid_domain_id: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(directory, port, **settings)
        self.options = {
            "gtid_strict_mode": "ON" if gtid_strict else "OFF",
            "gtid_domain_id": str(gtid_domain_id),
            **self.options,
        }

    @staticmethod
    def _find_program() -> Program:
        return find_program()

    @property
    def _setup_sql(self) -> str:
        return "\n".join(
            [
                "FLUSH PRIVILEGES;",  # bootstrap runs without grant tables until told
                *admin_sql(),
                *cdc_sql("REPLICATION SLAVE", "BINLOG MONITOR", "SELECT", "PROCESS"),
                _NO_STRAY_ACCOUNTS,
                "FLUSH PRIVILEGES;",
                "",
            ]
        )

    def _initialize(self, datadir: Path) -> None:
        datadir.mkdir()
        share = self.program.basedir / "share" / "mysql"
        scripts = [(share / name).read_text() for name in _BOOTSTRAP if (share / name).exists()]
        # The system-table script names the account it makes with these two variables.
        prelude = (
            "CREATE DATABASE mysql;\nUSE mysql;\n"
            "SET @auth_root_socket=NULL, @skip_auth_anonymous=1;\n"
        )
        self._run_initializer(
            [
                *self._base_arguments(datadir),
                "--bootstrap",
                "--innodb-log-file-size=4M",  # grown at start; kept small for the copies
                "--max-allowed-packet=8M",
                "--enforce-storage-engine=",
                "--console",
            ],
            stdin=prelude + "\n".join(scripts) + "\nUSE mysql;\n" + self._setup_sql,
        )


@functools.cache
def find_program() -> Program:
    """Find the machine's ``mariadbd``, or unpack the package of the machine's own release.

    Raises:
        ServerUnavailableError: Neither is possible.
    """
    found = shutil.which("mariadbd", path=None) or shutil.which("mariadbd", path="/usr/sbin")
    if found is not None:
        return Program.probe((found,), Path(found).resolve().parent.parent)
    sources = own_suite_sources()
    if not sources or shutil.which("apt-get") is None:
        raise ServerUnavailableError("no mariadbd on PATH and no apt sources of a release")
    suite = sources[0].suites[0]
    root = unpacked(f"mariadb-{suite}", sources, ["mariadb-server-core"])
    argv = (*loader(root), str(root / "usr" / "sbin" / "mariadbd"))
    return Program.probe(argv, root / "usr", root)
