"""What a polled source has to say before start, each with its remedy.

In: facts of a table. Out: findings with stable codes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from resources.errors import ConfigError
from resources.model.source import Finding
from resources.model.table import TableId

_NO_SELECT = "no_select"


def no_auto_increment(table: TableId, wanted: str) -> Finding:
    """Return the refusal of a table whose rows have no id that only grows."""
    return Finding(
        "error",
        "no_auto_increment",
        f"{table} cannot be polled: it has no single-column key that counts up by itself",
        f"give it {wanted}, name a column whose values only grow under `keys`, exclude the "
        "table, or capture it from the log",
        table,
    )


def key_not_unique(table: TableId, key: str) -> Finding:
    """Return the refusal of a declared key that two rows may share."""
    return Finding(
        "error",
        "key_not_unique",
        f"{table}.{key} has no unique index of its own: rows that share an id could be missed",
        f"add a unique index on {key} alone, or name another column under `keys`",
        table,
    )


def unsupported_type(table: TableId, column: str, declared: str, why: str = "") -> Finding:
    """Return the refusal of a column that has no exact Arrow type."""
    return Finding(
        "error",
        "unsupported_type",
        f"{table}.{column} has type {declared or '(none)'}, which has no exact Arrow type"
        + (f": {why}" if why else ""),
        "exclude the table, or poll a view of it that casts or leaves out the column "
        "(views are named under `keys`)",
        table,
    )


def gap_grace(table: TableId | None, why: str, remedy: str) -> Finding:
    """Return the warning that late rows are waited for by time instead of by proof."""
    subject = str(table) if table else "this source"
    return Finding(
        "warning",
        "gap_grace",
        f"absent ids of {subject} are given up after the grace period, not by proof: {why}",
        remedy,
        table,
    )


def no_tables(include: tuple[str, ...]) -> Finding:
    """Return the refusal of patterns that select nothing."""
    return Finding(
        "error",
        "no_tables",
        f"no table matches {', '.join(include)}",
        "mend the patterns (`schema.table`, fnmatch), or grant SELECT on the tables",
    )


def no_select(table: TableId) -> Finding:
    """Return the refusal of a table we may not read."""
    return Finding(
        "error",
        _NO_SELECT,
        f"{table} may not be read",
        f"GRANT SELECT ON {table} TO the account of the source",
        table,
    )


def require_readable(findings: Iterable[Finding], begun: Container[str]) -> None:
    """Refuse to pass over a table that was polled until its right was taken away.

    Args:
        findings: What a source has to say now.
        begun: Names of the tables that were polled before.

    Raises:
        ConfigError: One of them may not be read; its mark stays where it is.
    """
    lost = [f for f in findings if f.code == _NO_SELECT and str(f.table) in begun]
    if lost:
        raise ConfigError(
            "; ".join(f.message for f in lost), remedy="; ".join(f.remedy for f in lost)
        )
