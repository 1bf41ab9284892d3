"""Which flavor a URL belongs to.

In: a SQLAlchemy URL. Out: its flavor, not connected yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from resources.errors import ConfigError, NotBuiltYet
from resources.sql.flavor import Flavor

ZeroDates = Literal["null", "dirty"]


def open_flavor(
    url: str, connect_args: Mapping[str, Any], application: str, zero_dates: ZeroDates
) -> Flavor:
    """Return the flavor of a URL.

    Args:
        url: SQLAlchemy URL; the driver may be left out.
        connect_args: Passed to the driver; for the MySQL family the fields of `MySQLSettings`.
        application: Name the server shows for our session.
        zero_dates: What becomes of dates that do not exist (MySQL family).

    Raises:
        ConfigError: It is no URL, or names a file that is not there.
        NotBuiltYet: Its server cannot be polled.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # The error's own text holds the whole URL, password included.
        raise ConfigError(
            "the source's URL cannot be read",
            remedy="write it as dialect+driver://user:password@host:port/database",
        ) from None
    # Drivers are loaded where they are used.
    match parsed.get_backend_name():
        case "sqlite":
            from resources.sql.sqlite import SqliteFlavor

            return SqliteFlavor(parsed, connect_args)
        case "postgresql":
            from resources.sql.postgres import PostgresFlavor

            return PostgresFlavor(parsed, connect_args, application)
        case "mysql" | "mariadb" | "oceanbase":
            from resources.sql.family import FamilyFlavor

            return FamilyFlavor(parsed, connect_args, zero_dates)
        case name:
            raise NotBuiltYet(
                f"{name} cannot be polled",
                remedy="poll mysql, mariadb, oceanbase, postgresql or sqlite",
            )
