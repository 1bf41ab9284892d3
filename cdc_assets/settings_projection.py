"""A projection written as one text, divided into its items.

In: `*, upper(name) AS n`. Out: the items. Only quotes and brackets are looked at; expressions are
read when a run opens.
"""

from __future__ import annotations

import re

from pydantic_core import PydanticCustomError

_PIECE = re.compile(
    r"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*`  # quoted
    | [^'"`(),\[\]]+ | .""",
    re.VERBOSE | re.DOTALL,
)


def split_items(text: str) -> list[str]:
    """Divide a projection at the commas outside of quotes and brackets.

    Raises:
        PydanticCustomError: A quote or a bracket is not closed, or there is nothing between two
            commas.
    """
    items, depth = [""], 0
    for piece in _PIECE.findall(text):
        if piece in ("'", '"', "`"):
            raise PydanticCustomError("projection", "has a quote that is not closed")
        depth += (piece in "([") - (piece in ")]")
        if depth < 0:
            raise PydanticCustomError("projection", "has a bracket that was not opened")
        if piece == "," and not depth:
            items.append("")
        else:
            items[-1] += piece
    if depth:
        raise PydanticCustomError("projection", "has a bracket that is not closed")
    stripped = [item.strip() for item in items]
    if not all(stripped):
        raise PydanticCustomError("projection", "has nothing between two commas")
    return stripped
