"""Statements of any dialect, put together from parts that are SQL already.

In: names quoted by the dialect's own `quote`, conditions and expressions whose values are literals
or marks. Out: one statement. Nothing is quoted here: a name as it came must never get here, and
the tests of each sink write hostile names and values to see that none does.
"""

from __future__ import annotations


def select(what: str, source: str, *clauses: str) -> str:
    """Return a query.

    Args:
        what: Columns or expressions, with commas.
        source: What follows FROM.
        clauses: What follows it, `WHERE …` and so on; empty ones are left out.
    """
    return _joined("SELECT", what, "FROM", source, *clauses)


def insert(table: str, columns: str, rows: str, *clauses: str) -> str:
    """Return a statement that inserts rows.

    Args:
        table: The table.
        columns: Its columns, with commas; empty for all of them in their order.
        rows: `VALUES (…)`, or a query.
        clauses: What follows.
    """
    return _joined("INSERT INTO", table, f"({columns})" if columns else "", rows, *clauses)


def update(table: str, assignments: str, *clauses: str) -> str:
    """Return a statement that changes rows: `column = value`, with commas."""
    return _joined("UPDATE", table, "SET", assignments, *clauses)


def delete(table: str, *clauses: str) -> str:
    """Return a statement that deletes rows, all of them without a clause."""
    return _joined("DELETE FROM", table, *clauses)


def where_all(*conditions: str) -> str:
    """Return the clause that all conditions hold; empty ones are left out, and so is it."""
    held = [condition for condition in conditions if condition]
    return "WHERE " + " AND ".join(held) if held else ""


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
