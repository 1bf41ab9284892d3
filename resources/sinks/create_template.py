"""Templates of CREATE TABLE: what they may name, and why a text is none.

In: texts of a pipeline file. Out: problems in words. It is imported with every pipeline file, so
nothing heavier than the standard library may be imported here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Formatter

PLACES = ("table", "columns", "plain_columns", "key")
"""What every template may name: the table's name, its columns with and without the primary key
behind them, and the names of its key's columns."""
_CREATE = re.compile(r"\s*CREATE\s+(?!TEMP)(\w+\s+)?TABLE\s", re.IGNORECASE)


def names_of(template: str) -> list[str]:
    """Return the places a template names, in order. Raises ValueError: a brace is not closed."""
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]


def template_problem(template: str, places: Sequence[str]) -> str:
    """Return why a text cannot be a template, empty if it can.

    Args:
        template: The text.
        places: What it may name.
    """
    known = ", ".join(f"{{{place}}}" for place in places)
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError:
        return f"has a brace without its like; a brace of SQL is written twice; there are {known}"
    for _, name, spec, conversion in parts:
        if name not in places or spec or conversion:
            return f"names {{{name}}}; there are {known}"
    names = {part[1] for part in parts}
    if not _CREATE.match(template):
        return "does not begin with CREATE TABLE"
    if "table" not in names or not names & {"columns", "plain_columns"}:
        return "must name {table} and {columns}"
    return ""
