"""The `sink` section of a pipeline file.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_create import CreateFromTemplate, CreateTable
from cdc_assets.settings_existing import ExistingTables
from cdc_assets.settings_types import (
    Duration,
    ListSection,
    LocalPath,
    Part,
    Port,
    PositiveCount,
    PositiveDuration,
    PositiveSize,
    Secret,
    SecretUrl,
    Section,
)


class DuckDBTypes(Part):
    """What to do with values DuckDB cannot hold."""

    decimal_overflow: Literal["refuse", "text"] = "refuse"
    """A DECIMAL of more than 38 digits: refuse the table, or keep its values as text."""


class DuckDBSinkSettings(Part):
    """Tables in one DuckDB file; schemas are the source's databases."""

    type: Literal["duckdb"]
    """DuckDB."""
    path: LocalPath
    """The database file."""
    memory_limit: PositiveSize | None = None
    """Memory DuckDB may take; its own default if left out."""
    threads: PositiveCount | None = None
    """Threads DuckDB may use; its own default if left out."""
    lock_timeout: Duration = 30.0
    """How long to wait for another process that has the file open."""
    types: Annotated[DuckDBTypes, Section] = DuckDBTypes()
    """What to do with values DuckDB cannot hold."""
    existing: Annotated[ExistingTables, Section] = ExistingTables()
    """Tables that are there before the pipeline fills them."""
    create_table: Annotated[tuple[CreateFromTemplate, ...], ListSection] = ()
    """How tables are created; those that no rule means as the sink sees fit."""


class PostgresTypes(Part):
    """Types other than those of docs/types.md."""

    json_columns: Literal["text", "json", "jsonb"] = "text"
    """What JSON columns become. `text` and `json` keep the text the source prints; `jsonb` keeps
    its meaning, and sets rows with the character U+0000 aside."""


class PostgresSinkSettings(Part):
    """Tables in a PostgreSQL database; schemas are the source's databases."""

    type: Literal["postgres"]
    """PostgreSQL, or a warehouse of its family."""
    family: Literal["postgres", "greenplum"] = "postgres"
    """`greenplum` for Greenplum, PieCloudDB and their like: rows are distributed by their key."""
    host: str | None = None
    """Host name, address or folder of a socket. One of `host` and `url` is needed."""
    port: Port = 5432
    """TCP port."""
    database: str | None = None
    """The database; needed unless `url` has it. It is not created; its encoding must be UTF8."""
    user: str | None = None
    """User name; needed unless `url` has it. It needs CREATE and TEMPORARY on the database."""
    password: Secret | None = None
    """Exactly one environment reference."""
    url: SecretUrl | None = None
    """`postgresql://user:${env:PASSWORD}@host:5432/database`, in place of host, port, database,
    user, password."""
    sslmode: Literal["verify-full", "verify-ca", "require", "prefer", "allow", "disable"] = (
        "verify-full"
    )
    """libpq's `sslmode`: `verify-full` checks the certificate and the host name; `disable` sends
    everything in clear text. What `url` says of it holds."""
    sslrootcert: LocalPath | None = None
    """File with the certificate authority; the system's own if left out."""
    sslcert: LocalPath | None = None
    """File with the client's certificate."""
    sslkey: LocalPath | None = None
    """File with the client certificate's key."""
    max_connections: PositiveCount = 4
    """The most connections one process holds to the server as this user, over all pipelines it
    runs; tables wait for one to become free. The least number asked for holds for all."""
    lock_timeout: PositiveDuration = 60.0
    """How long a statement waits for a lock that another session holds."""
    types: Annotated[PostgresTypes, Section] = PostgresTypes()
    """Types other than those of docs/types.md."""
    existing: Annotated[ExistingTables, Section] = ExistingTables()
    """Tables that are there before the pipeline fills them."""
    create_table: Annotated[tuple[CreateTable, ...], ListSection] = ()
    """How tables are created; those that no rule means as the sink sees fit."""

    @model_validator(mode="after")
    def _check_address(self) -> PostgresSinkSettings:
        if (self.host is None) == (self.url is None):
            raise PydanticCustomError("address", "needs exactly one of `host` and `url`")
        apart = [k for k in ("port", "database", "user", "password") if k in self.model_fields_set]
        if self.url is not None and apart:
            raise PydanticCustomError(
                "address",
                "`url` already says `{apart}`: write one or the other",
                {"apart": "`, `".join(apart)},
            )
        if self.url is None and not (self.user and self.database):
            raise PydanticCustomError("address", "needs `user` and `database`")
        return self


class MemorySinkSettings(Part):
    """Tables in this process only, for tests and trials."""

    type: Literal["memory"]
    """Memory of this process."""
    existing: Annotated[ExistingTables, Section] = ExistingTables()
    """Tables that are there before the pipeline fills them."""
