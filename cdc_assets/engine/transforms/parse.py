"""Expressions of a pipeline file as syntax trees.

In: text. Out: sqlglot's tree of one expression and its name. sqlglot gives the grammar of MySQL and
nothing else: functions stay as they are written, and their meaning is that of the `functions_*`
modules. This is the only module that loads sqlglot.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from cdc_assets.engine.transforms.typed import Refused

_SPECIAL = ("CAST", "CONVERT", "EXTRACT", "POSITION", "SUBSTRING", "SUBSTR", "TRIM")
"""Functions whose arguments are more than a list."""


@dataclass(frozen=True)
class Item:
    """One item of a projection.

    Args:
        text: As written.
        name: Name of the output column; empty for `*`.
        tree: The expression, without its alias.
        star: Whether it is `*`.
    """

    text: str
    name: str
    tree: Any
    star: bool = False


@cache
def _dialect() -> Any:  # noqa: ANN401 - sqlglot is typed loosely, and loaded late
    from sqlglot.dialects.mysql import MySQL

    base: Any = MySQL.Parser
    special = {k: v for k, v in base.FUNCTION_PARSERS.items() if k in _SPECIAL}
    parser = type("Parser", (base,), {"FUNCTIONS": {}, "FUNCTION_PARSERS": special})
    return type("Expressions", (MySQL,), {"Parser": parser})()


def parse_expression(text: str) -> Any:  # noqa: ANN401 - a sqlglot Expression
    """Return the tree of one expression; an alias stays on top of it.

    Raises:
        Refused: It is no single expression.
    """
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    dialect = _dialect()
    logging.getLogger("sqlglot").addFilter(_quiet)
    try:
        tokens = dialect.tokenize(f"SELECT {text}")
        if any(t.token_type.name == "DPIPE" for t in tokens):
            raise Refused(
                "|| is OR in MySQL and concatenation in Flink", "write OR or CONCAT(a, b)"
            )
        trees = dialect.parse(f"SELECT {text}")
    except SqlglotError as error:
        raise Refused(f"it cannot be read: {_reason(error)}") from None
    select = trees[0] if len(trees) == 1 else None
    extra = {k for k, v in select.args.items() if v and k != "expressions"} if select else {"?"}
    if not isinstance(select, exp.Select) or extra - {"kind"} or len(select.expressions) != 1:
        raise Refused("it is not one expression", "write one expression and, if needed, its name")
    return select.expressions[0]


def parse_item(text: str) -> Item:
    """Return an item of a projection.

    Raises:
        Refused: It is no expression, or a computed one without a name.
    """
    from sqlglot import exp

    tree = parse_expression(text)
    if isinstance(tree, exp.Star):
        if any(tree.args.values()):
            raise Refused("* takes no EXCEPT or REPLACE", "list the columns, or exclude them")
        return Item(text, "", tree, star=True)
    if isinstance(tree, exp.Alias):
        return Item(text, tree.alias, tree.this)
    if isinstance(tree, exp.Column):
        return Item(text, tree.name, tree)
    raise Refused("a computed column needs a name", f"write {text} AS name")


def _quiet(record: logging.LogRecord) -> bool:
    """Keep sqlglot from warning of what is refused in our words."""
    return record.levelno >= logging.ERROR


def _reason(error: Exception) -> str:
    """Return the first line of sqlglot's message without terminal colours and excerpt."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    first = text.splitlines()[0] if text else "no expression"
    return re.sub(r"\. Line \d+, Col: \d+\.", "", first).strip(" .")
