"""The `source` section of a pipeline file.

In: what the file says. Out: immutable settings in plain units; secrets stay references.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_env import server_of, user_of
from cdc_assets.settings_place import FilesStartup, LogPlace, ServerStartup, check_dialect
from cdc_assets.settings_types import (
    Duration,
    LocalPath,
    Part,
    Port,
    PositiveCount,
    PositiveDuration,
    Secret,
    SecretUrl,
    Section,
    TablePattern,
)
from resources.mysql.binlog.gtid import Flavor


class Tls(Part):
    """Encryption of every connection."""

    mode: Literal["verify", "require", "off"] = "verify"
    """`verify` checks the certificate and the host name; `require` encrypts without checking
    (open to a man in the middle); `off` sends everything in clear text. A socket needs none."""
    ca: LocalPath | None = None
    """File with the certificate authority; the system's own if left out."""
    cert: LocalPath | None = None
    """File with the client's certificate."""
    key: LocalPath | None = None
    """File with the client certificate's key."""


class SnapshotOptions(Part):
    """How whole tables are read."""

    chunk_rows: PositiveCount = 50_000
    """Rows of a chunk: the unit of work and of resuming."""
    parallel: PositiveCount = 4
    """Chunks read at the same time, each on a connection of its own."""
    batch_rows: PositiveCount = 20_000
    """Rows held at once while a chunk is read."""


class MySQLSourceSettings(Part):
    """A server that speaks the MySQL protocol and binlog."""

    type: Literal["mysql", "mariadb", "oceanbase"]
    """The kind of server."""
    tables: tuple[TablePattern, ...] = Field(min_length=1)
    """Tables to take, `database.table` with fnmatch wildcards."""
    exclude: tuple[TablePattern, ...] = ()
    """Tables to leave out although `tables` selects them."""
    host: str | None = None
    """Host name or address. One of `host`, `socket` and `url` is needed."""
    port: Port = 3306
    """TCP port."""
    socket: str | None = None
    """Unix socket of a server on this machine."""
    user: str | None = None
    """User name; needed unless `url` has it."""
    password: Secret | None = None
    """Exactly one environment reference."""
    url: SecretUrl | None = None
    """`mysql://user:${env:PASSWORD}@host:3306`, in place of host, port, socket, user, password."""
    tls: Annotated[Tls, Section] = Tls()
    """Encryption."""
    server_id: Annotated[PositiveCount, Field(le=4294967295)] | None = None
    """The replica id this pipeline shows to the server; must differ from every other replica's.
    Derived from the pipeline's name if left out."""
    connect_timeout: PositiveDuration = 10.0
    """Longest wait for a connection."""
    read_timeout: PositiveDuration = 600.0
    """Longest silence on a connection before it is taken for dead."""
    heartbeat: PositiveDuration = 5.0
    """Interval at which an idle server is asked to show a sign of life in the binlog stream."""
    startup: ServerStartup = "initial"
    """`initial` loads the tables in full, then follows the log; `snapshot` loads them and does not
    follow; `latest` only follows, from now on; `earliest` follows from the oldest log the server
    still has. A section names a place in the log to follow from. Tables that are not loaded begin
    empty and hold what the log has from there on."""
    stop_at: LogPlace | None = None
    """Where syncs stop: they end at this place and read nothing past it. A snapshot still loads a
    table as it is now."""
    snapshot: Annotated[SnapshotOptions, Section] = SnapshotOptions()
    """How whole tables are read."""

    @model_validator(mode="after")
    def _check_address(self) -> MySQLSourceSettings:
        given = [k for k in ("host", "socket", "url") if getattr(self, k) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "address",
                "needs exactly one of `host`, `socket` and `url`; it has {given}",
                {"given": " and ".join(given) or "none"},
            )
        apart = [k for k in ("user", "password", "port") if k in self.model_fields_set]
        if self.url is not None and apart:
            raise PydanticCustomError(
                "address",
                "`url` already says `{apart}`: write one or the other",
                {"apart": "`, `".join(apart)},
            )
        if self.url is None and not self.user:
            raise PydanticCustomError("address", "needs `user`")
        return self

    @model_validator(mode="after")
    def _check_dialects(self) -> MySQLSourceSettings:
        flavor: Flavor = "mariadb" if self.type == "mariadb" else "mysql"
        check_dialect("startup", self.startup, flavor)
        check_dialect("stop_at", self.stop_at, flavor)
        return self

    @property
    def loads(self) -> bool:
        """Whether tables are loaded in full before their changes are merged."""
        return self.startup in ("initial", "snapshot")

    @property
    def follows(self) -> bool:
        """Whether syncs read the log."""
        return self.startup != "snapshot"

    @property
    def server(self) -> str:
        """What names the server, the same for every pipeline on it; never a secret.

        A tenant of OceanBase is a server: it has a log of its own behind the address that all
        tenants share.
        """
        tenant = unquote(user_of(self.url.get_secret_value()) if self.url else self.user or "")
        tenant = tenant.partition("@")[2] if self.type == "oceanbase" else ""
        return f"{self._address()}/{tenant}" if tenant else self._address()

    def _address(self) -> str:
        if self.url is not None:
            name = server_of(self.url.get_secret_value())
            _, found, rest = name.partition("://")
            address = rest.partition("/")[0] if found else name
            return address if not found or ":" in address.rpartition("]")[2] else f"{address}:3306"
        return f"{self.host}:{self.port}" if self.host else str(self.socket)


class BinlogFilesSourceSettings(Part):
    """Archived binary logs of a MySQL or MariaDB server, read without the server."""

    type: Literal["binlog_files"]
    """A folder of log files."""
    path: LocalPath
    """Folder, or fsspec URL of one (`s3://backups/shop/binlog`): files `<name>.<number>` of one
    server, as they are or compressed (`.gz`, `.zst`, `.xz`, `.bz2`)."""
    tables: tuple[TablePattern, ...] = Field(min_length=1)
    """Tables to take, `database.table` with fnmatch wildcards."""
    exclude: tuple[TablePattern, ...] = ()
    """Tables to leave out although `tables` selects them."""
    startup: FilesStartup = "earliest"
    """`earliest` begins with the first file; a section names another place. Tables begin empty and
    hold what the files have from there on."""
    stop_at: LogPlace | None = None
    """Where syncs stop: they end at this place and read nothing past it."""
    poll_interval: PositiveDuration = 5.0
    """Pause between looks for new files while a run follows."""

    @property
    def server(self) -> str:
        """What names the archive, the same for every pipeline on it; never a secret."""
        return self.path

    @property
    def loads(self) -> bool:
        """Whether tables are loaded in full before their changes are merged."""
        return False

    @property
    def follows(self) -> bool:
        """Whether syncs read the log."""
        return True


class SqlSourceSettings(Part):
    """Insert-only tables of any SQLAlchemy database, read by polling their auto-increment key."""

    stop_at: ClassVar[None] = None  # a polled table has no places to stop at

    type: Literal["sql"]
    """Polling of any SQL database."""
    url: SecretUrl
    """SQLAlchemy URL, `postgresql+psycopg://user:${env:PG_PASSWORD}@host/database`."""
    tables: tuple[TablePattern, ...] = Field(min_length=1)
    """Tables to take, `schema.table` with fnmatch wildcards."""
    exclude: tuple[TablePattern, ...] = ()
    """Tables to leave out although `tables` selects them."""
    keys: dict[TablePattern, str] = Field(default_factory=dict)
    """`schema.table: column` where the increasing column is not the table's own
    auto-increment key."""
    page_rows: PositiveCount = 50_000
    """Rows read by one query."""
    grace: Duration = 60.0
    """How long an absent id is waited for where the source cannot tell which transactions are
    open. Must exceed the longest writing transaction."""
    poll_interval: PositiveDuration = 5.0
    """Pause between rounds while a run follows."""
    tls: Tls | None = None
    """Encryption, for servers of the MySQL family only (`verify` if left out); PostgreSQL has it
    in the URL: `?sslmode=verify-full`."""

    @property
    def server(self) -> str:
        """What names the server, the same for every pipeline on it; never a secret."""
        return server_of(self.url.get_secret_value())

    @property
    def loads(self) -> bool:
        """Whether tables are loaded in full before their changes are merged."""
        return False

    @property
    def follows(self) -> bool:
        """Whether syncs read the log."""
        return True


Source = Annotated[
    MySQLSourceSettings | BinlogFilesSourceSettings | SqlSourceSettings,
    Field(discriminator="type"),
]
"""Where data comes from."""

_TABLES: TypeAdapter[Any] = TypeAdapter(Annotated[tuple[TablePattern, ...], Field(min_length=1)])


def share_tables(data: dict[str, Any]) -> dict[str, Any]:
    """Return what a file says, with the tables that `sources` share in those that name none.

    Args:
        data: As read; a copy is changed. Tables that are wrong have their error where they stand.
    """
    sources, tables = data.get("sources"), data.get("tables")
    if not isinstance(sources, dict) or tables is None:
        return data
    try:
        _TABLES.validate_python(tables)
    except ValidationError:
        tables = ["*.*"]
    filled = {
        name: {"tables": tables, **source} if isinstance(source, dict) else source
        for name, source in sources.items()
    }
    return {**data, "sources": filled}
