"""The `sink` section of the MySQL family.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_create import CreateTable
from cdc_assets.settings_existing import ExistingTables
from cdc_assets.settings_source import Tls
from cdc_assets.settings_types import (
    ListSection,
    LocalPath,
    Part,
    Port,
    PositiveCount,
    PositiveDuration,
    Secret,
    Section,
)


class MySQLTypes(Part):
    """Types other than those of docs/types.md."""

    json_columns: Literal["text", "json"] = "text"
    """What JSON columns become. `text` keeps the text the source prints; `json` its meaning."""


class MySQLSinkSettings(Part):
    """Tables in a server of the MySQL family; databases are the source's."""

    type: Literal["mysql"]
    """MySQL, MariaDB or OceanBase; the server says which."""
    host: str | None = None
    """Host name or address; the server's certificate has to carry it. One of `host` and `socket`
    is needed."""
    port: Port = 3306
    """TCP port."""
    socket: LocalPath | None = None
    """Unix socket, in place of host and port."""
    user: str
    """User name."""
    password: Secret | None = None
    """Exactly one environment reference."""
    tls: Annotated[Tls, Section] = Tls()
    """Encryption."""
    max_connections: PositiveCount = 4
    """The most connections one process holds to the server as this user, over all pipelines it
    runs; tables wait for one to become free. The least number asked for holds for all."""
    lock_timeout: PositiveDuration = 60.0
    """How long a statement waits for a lock that another session holds; whole seconds."""
    types: Annotated[MySQLTypes, Section] = MySQLTypes()
    """Types other than those of docs/types.md."""
    existing: Annotated[ExistingTables, Section] = ExistingTables()
    """Tables that are there before the pipeline fills them."""
    create_table: Annotated[tuple[CreateTable, ...], ListSection] = ()
    """How tables are created; those that no rule means as the sink sees fit."""

    @model_validator(mode="after")
    def _check_address(self) -> MySQLSinkSettings:
        if (self.host is None) == (self.socket is None):
            raise PydanticCustomError("address", "needs exactly one of `host` and `socket`")
        if self.socket is not None and "port" in self.model_fields_set:
            raise PydanticCustomError("address", "`socket` has no `port`")
        return self


def mysql_options(sink: MySQLSinkSettings) -> dict[str, object]:
    """Return the arguments of the MySQL sink; secrets as they are in the settings."""
    options: dict[str, object] = {"user": sink.user, "max_connections": sink.max_connections}
    options |= {"lock_timeout": sink.lock_timeout}
    options |= {"types": {"json_columns": sink.types.json_columns}}
    options |= {"create_table": [rule.rule() for rule in sink.create_table]}
    options |= {"password": sink.password.get_secret_value()} if sink.password else {}
    if sink.socket is not None:
        return options | {"socket": sink.socket}
    options |= {"host": sink.host, "port": sink.port, "tls": sink.tls.mode}
    return options | {"ca": sink.tls.ca, "cert": sink.tls.cert, "key": sink.tls.key}
