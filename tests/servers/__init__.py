"""Private, real database servers for tests, benchmarks and the demo.

>>> with start_server("mysql") as server:
...     server.execute("CREATE DATABASE shop")
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tests.servers.base import (
    CDC_PASSWORD,
    CDC_USER,
    KINDS,
    Kind,
    Server,
    ServerStartError,
    ServerUnavailableError,
)

__all__ = [
    "CDC_PASSWORD",
    "CDC_USER",
    "KINDS",
    "Availability",
    "Kind",
    "Server",
    "ServerStartError",
    "ServerUnavailableError",
    "available",
    "server_class",
    "start_server",
]


@dataclass(frozen=True)
class Availability:
    """Whether one kind of server can be had here.

    Attributes:
        kind: Which one.
        name: Family and version, empty when there is none.
        reason: Why there is none, else empty.
    """

    kind: Kind
    name: str
    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason


def server_class(kind: Kind) -> type[Server]:
    """The class of a kind; imported on demand, as each needs packages of its own."""
    if kind == "mysql":
        if os.environ.get("CDC_MYSQL_URL"):
            from tests.servers.external import ExternalMySQL

            return ExternalMySQL
        from tests.servers.mysql import MySQLServer

        return MySQLServer
    if kind == "mariadb":
        from tests.servers.mariadb import MariaDBServer

        return MariaDBServer
    if kind == "oceanbase":
        from tests.servers.oceanbase import OceanBaseServer

        return OceanBaseServer
    if kind == "postgres":
        from tests.servers.postgres import PostgresServer

        return PostgresServer
    if kind == "kafka":
        from tests.servers.kafka import KafkaServer

        return KafkaServer
    raise ValueError(f"no server of kind {kind!r}; known: {', '.join(KINDS)}")


def start_server(kind: Kind, **options: Any) -> Server:
    """Start a private server.

    Args:
        kind: ``mysql``, ``mariadb``, ``oceanbase``, ``postgres`` or ``kafka``.
        options: Constructor arguments of the kind's class, for instance ``row_metadata``.

    Raises:
        ServerUnavailableError: The program cannot be had on this machine.
        ServerStartError: It did not come up; the text shows its log.
    """
    server = server_class(kind)(**options)
    try:
        return server.start()
    except BaseException:
        server.close()
        raise


def available(kinds: tuple[Kind, ...] = KINDS) -> list[Availability]:
    """Fetch what has to be fetched and say what can be had."""
    found = []
    for kind in kinds:
        try:
            found.append(Availability(kind, server_class(kind).probe()))
        except ServerUnavailableError as error:
            found.append(Availability(kind, "", str(error)))
    return found
