"""What the account may do, from SHOW GRANTS.

In: the statements the server prints. Out: whether a privilege holds for the server or a table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pymysql.connections import Connection

from resources.model.table import TableId

_GRANT = re.compile(r"GRANT (?P<privileges>.+?) ON (?P<object>.+?) TO ", re.DOTALL)
_OBJECT = re.compile(
    r"(?:TABLE )?(?:\*|[`\"](?P<d>(?:[^`\"]|``)+)[`\"])\.(?:\*|[`\"](?P<t>(?:[^`\"]|``)+)[`\"])$"
)
_ALL = frozenset({"ALL", "ALL PRIVILEGES"})


@dataclass(frozen=True)
class Grants:
    """Privileges of an account.

    Args:
        account: As GRANT takes it, e.g. `'cdc'@'%'`.
        server: Privileges on `*.*`.
        scoped: Database pattern (LIKE), table name or None for all, privileges there.
    """

    account: str
    server: frozenset[str] = frozenset()
    scoped: tuple[tuple[str, str | None, frozenset[str]], ...] = field(default=())

    def has(self, *names: str) -> bool:
        """Return whether one of these privileges holds for the whole server."""
        return bool(self.server & ({*names} | _ALL))

    def may_select(self, table: TableId) -> bool:
        """Return whether every column of a table may be read."""
        if self.has("SELECT"):
            return True
        return any(
            privileges & {"SELECT", *_ALL}
            and _like(database, table.database)
            and name in (None, table.table)
            for database, name, privileges in self.scoped
        )


def read_grants(connection: Connection[Any]) -> Grants:
    """Read the grants of the account the session runs as, active roles included."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        user, _, host = cursor.fetchone()[0].rpartition("@")
        cursor.execute("SHOW GRANTS")
        lines = [str(row[0]) for row in cursor.fetchall()]
    return parse_grants(lines, f"{_quote(user)}@{_quote(host)}")


def parse_grants(lines: list[str], account: str) -> Grants:
    """Collect SHOW GRANTS lines; PROXY, role and routine grants do not matter here."""
    server: set[str] = set()
    scoped: list[tuple[str, str | None, frozenset[str]]] = []
    for line in lines:
        grant = _GRANT.match(line)
        target = _OBJECT.match(grant["object"]) if grant else None
        if grant is None or target is None:
            continue
        names = frozenset(p.strip().upper() for p in grant["privileges"].split(","))
        if target["d"] is None:
            server |= names
        else:
            table = target["t"]
            scoped.append((_unquote(target["d"]), table and _unquote(table), names))
    return Grants(account, frozenset(server), tuple(scoped))


def _unquote(name: str) -> str:
    return name.replace("``", "`")


def _quote(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"


def _like(pattern: str, text: str) -> bool:
    """Compare by the rules of LIKE, which database names in grants follow."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    regex = "".join(wild.get(p) or re.escape(p[-1]) for p in parts)
    return re.fullmatch(regex, text, re.DOTALL) is not None
