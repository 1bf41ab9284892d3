"""Transform rules: what a pipeline file says, as plain values.

In: nothing. Out: immutable rules that `compile_transform` and `compile_masks` take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from resources.errors import ConfigError
from resources.model.patterns import matches
from resources.model.table_id import TableId

MaskKind = Literal["hash", "hmac", "partial", "truncate", "redact", "fixed", "email", "phone"]
OnFail = Literal["fail", "skip", "dirty"]


@dataclass(frozen=True)
class Mask:
    """How the values of one column are made unreadable. NULL stays NULL.

    Args:
        column: A column of the source table.
        kind: `hash`: SHA-256 of salt and value, in hex. `hmac`: HMAC-SHA-256 with the salt as its
            key, in hex. `partial`: all but the first and last characters become `character`.
            `truncate`: only the first characters are kept. `redact`: `***` for text, no bytes for
            binary, NULL for other types. `fixed`: `value` for every row. `email`: the part before
            the last `@` becomes `***`. `phone`: all digits but the last become `character`.
            `hash`, `hmac` and `redact` take every type but nested ones, the others text, and
            `partial`, `truncate` and `fixed` binary too.
        salt: Salt of `hash`, key of `hmac`.
        keep_first: Characters (or bytes) `partial` keeps at the start.
        keep_last: Characters (or bytes) `partial` keeps at the end; digits `phone` keeps.
        length: Characters (or bytes) `truncate` keeps.
        value: What `fixed` puts in place.
        character: One character, what `partial` and `phone` put in place.
        where: File and line, for errors.
    """

    column: str
    kind: MaskKind
    salt: str = ""
    keep_first: int = 0
    keep_last: int = 0
    length: int = 0
    value: str = ""
    character: str = "*"
    where: str = ""


@dataclass(frozen=True)
class RowRule:
    """What a row must be to reach the target. Judged after the filter, on after-images alone.

    All limits given must hold. NULL passes all of them but `not_null`.

    Args:
        name: Name of the rule, for messages.
        column: An output column; None where `expression` alone is judged.
        not_null: The column must not be NULL.
        min: Smallest value, a literal of the expression language (`0`, `'2020-01-01'`).
        max: Greatest value, likewise.
        min_length: Fewest characters of text or bytes of binary.
        max_length: Most of them.
        regex: The text must match it somewhere (RE2 syntax).
        expression: A condition over output columns and metadata columns that must be true.
        on_fail: `fail`: the run stops. `skip`: the row counts as one that the filter refuses.
            `dirty`: the row is set aside.
        where: File and line, for errors.
    """

    name: str
    column: str | None = None
    not_null: bool = False
    min: str = ""
    max: str = ""
    min_length: int | None = None
    max_length: int | None = None
    regex: str = ""
    expression: str = ""
    on_fail: OnFail = "dirty"
    where: str = ""


@dataclass(frozen=True)
class TransformRule:
    """What is done to the tables that a pattern means.

    Args:
        source: Patterns `database.table` as fnmatch knows them, or `/regex/` over that name.
        projection: Items `*`, `column`, `column AS name`, `expression AS name`; empty is `*`. An
            item of a column's name takes that column's place in `*`.
        filter: Condition; rows for which it is not true are not in the target.
        primary_keys: Output columns that identify a row; empty keeps the source's key.
        partition_keys: Output columns the target is laid out by.
        soft_delete: Name of a boolean column that says a row was deleted; empty deletes rows.
        masks: Done before anything is stored.
        exclude: Columns (fnmatch) that are never stored.
        rules: What rows must be.
        functions: Path of a Python file of functions over Arrow arrays.
        where: File and line of the rule, for errors.
        wheres: File and line of single expressions, by their text.
    """

    source: tuple[str, ...]
    projection: tuple[str, ...] = ()
    filter: str = ""
    primary_keys: tuple[str, ...] = ()
    partition_keys: tuple[str, ...] = ()
    soft_delete: str = ""
    masks: tuple[Mask, ...] = ()
    exclude: tuple[str, ...] = ()
    rules: tuple[RowRule, ...] = ()
    functions: str = ""
    where: str = ""
    wheres: tuple[tuple[str, str], ...] = ()

    def place(self, text: str) -> str:
        """Return where an expression stands, the file and line where they are known."""
        return dict(self.wheres).get(text, self.where)

    @property
    def reads_all(self) -> bool:
        """Whether every column of the table is in the target, whichever it has."""
        return not self.projection or any(item.strip() == "*" for item in self.projection)

    def applies(self, table: TableId, fold_case: bool = False) -> bool:
        """Return whether the rule is about a table.

        Args:
            table: The source table.
            fold_case: Whether the server ignores case in names.

        Raises:
            ConfigError: A regex that is none.
        """
        return any(_means(p, table, fold_case, self.where) for p in self.source)


def _means(pattern: str, table: TableId, fold_case: bool, where: str) -> bool:
    if len(pattern) < 2 or not (pattern.startswith("/") and pattern.endswith("/")):
        return matches(pattern, table, fold_case)
    try:
        compiled = re.compile(pattern[1:-1], re.IGNORECASE if fold_case else 0)
    except re.error as error:
        raise ConfigError(
            f"{pattern} is no regular expression: {error}",
            where=where,
            remedy="write it as Python's re module reads it, or use * and ? without slashes",
        ) from None
    return compiled.fullmatch(str(table)) is not None
