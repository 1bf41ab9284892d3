"""The `sink` section of ClickHouse.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_create import CreateClickHouseTable
from cdc_assets.settings_existing import ExistingTables
from cdc_assets.settings_types import (
    Duration,
    ListSection,
    LocalPath,
    Part,
    Port,
    PositiveCount,
    PositiveDuration,
    Secret,
    Section,
)

_SERVER_ONLY = ("port", "user", "password", "secure", "verify", "ca", "cert", "key", "cluster")


class ClickHouseSinkSettings(Part):
    """Tables in ClickHouse; databases are the source's."""

    type: Literal["clickhouse"]
    """A ClickHouse server, or its engine in the run's own process."""
    host: str | None = None
    """Host name or address of a server. One of `host` and `path` is needed."""
    path: LocalPath | None = None
    """Folder of the engine in the run's own process (chDB); one process has it open at a time."""
    port: Port | None = None
    """The server's HTTP port; 8443, or 8123 where `secure` is false."""
    user: str = "default"
    """User name."""
    password: Secret | None = None
    """Exactly one environment reference."""
    secure: bool = True
    """HTTPS; false sends everything, the password too, in clear text."""
    verify: bool = True
    """Whether the server's certificate and name are checked."""
    ca: LocalPath | None = None
    """File with the certificate authority; the system's own if left out."""
    cert: LocalPath | None = None
    """File with the client's certificate."""
    key: LocalPath | None = None
    """File with the client certificate's key."""
    connect_timeout: PositiveDuration = 10.0
    """How long a connection may take."""
    timeout: PositiveDuration = 300.0
    """How long an answer may take; a change of a column's type answers when it is done."""
    lock_timeout: Duration = 30.0
    """How long to wait for another process that has the folder open."""
    max_connections: PositiveCount = 4
    """How many tables one process writes at a time; one where `path` is given."""
    strategy: Literal["auto", "replacing", "collapsing", "lightweight_delete", "mutation"] = "auto"
    """How tables keep one row per key: `auto` makes ReplacingMergeTree tables, and goes by the
    engine of those that are there."""
    final_view: str | None = "{table}_final"
    """Name of the view beside each table that shows one row per key; null for none."""
    cluster: str | None = None
    """Cluster to run DDL on."""
    replicated: bool = False
    """Whether tables that are created are replicated."""
    existing: Annotated[ExistingTables, Section] = ExistingTables()
    """Tables that are there before the pipeline fills them."""
    create_table: Annotated[tuple[CreateClickHouseTable, ...], ListSection] = ()
    """How tables are created; those that no rule means as the sink sees fit."""

    @model_validator(mode="after")
    def _check_place(self) -> ClickHouseSinkSettings:
        if (self.host is None) == (self.path is None):
            raise PydanticCustomError("address", "needs exactly one of `host` and `path`")
        useless = [k for k in _SERVER_ONLY if k in self.model_fields_set]
        if self.path is not None and useless:
            raise PydanticCustomError(
                "address", "`path` has no `{names}`", {"names": "`, `".join(useless)}
            )
        if self.final_view is not None and (
            "{table}" not in self.final_view or self.final_view == "{table}"
        ):
            raise PydanticCustomError(
                "final_view", "needs `{table}` and something beside it, or null"
            )
        return self


def clickhouse_options(sink: ClickHouseSinkSettings) -> dict[str, object]:
    """Return the arguments of the ClickHouse sink; secrets as they are in the settings."""
    options: dict[str, object] = {
        "strategy": sink.strategy,
        "final_view": sink.final_view or "",
        "lock_timeout": sink.lock_timeout,
        "create_table": [rule.rule() for rule in sink.create_table],
    }
    if sink.path is not None:
        return options | {"path": sink.path}
    options |= {"host": sink.host, "port": sink.port, "user": sink.user}
    options |= {"password": sink.password.get_secret_value()} if sink.password else {}
    options |= {"secure": sink.secure, "verify": sink.verify}
    options |= {"ca": sink.ca, "cert": sink.cert, "key": sink.key}
    options |= {"connect_timeout": sink.connect_timeout, "timeout": sink.timeout}
    options |= {"max_connections": sink.max_connections}
    return options | {"cluster": sink.cluster or "", "replicated": sink.replicated}
