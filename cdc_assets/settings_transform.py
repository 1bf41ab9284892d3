"""The `transform` section of a pipeline file: columns, filters, masks and what rows must be.

In: what the file says. Out: immutable rules; expressions stay text, they are read when a run
opens. Salts and keys stay references until then, too.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.engine.transforms.rule import MaskKind
from cdc_assets.settings_projection import split_items
from cdc_assets.settings_rules import FunctionsFile, Name, Names, RulePatterns
from cdc_assets.settings_types import Count, Kind, Part, Secret

SOFT_DELETE = "_cdc_deleted"
"""The column of `soft_delete: true`."""

_NEEDED = {"hash": "salt", "hmac": "key", "truncate": "length", "fixed": "value"}
_TAKEN = {
    "hash": {"salt"},
    "hmac": {"key"},
    "partial": {"keep_first", "keep_last", "character"},
    "truncate": {"length"},
    "fixed": {"value"},
    "phone": {"keep_last", "character"},
}
_LIMITS = ("not_null", "min", "max", "min_length", "max_length", "regex")


class MaskSettings(Part):
    """How a column is made unreadable before anything is stored. NULL stays NULL."""

    kind: MaskKind
    """`hash`: SHA-256 of salt and value, in hex. `hmac`: HMAC-SHA-256, in hex. `partial`: all but
    the first and last characters are replaced. `truncate`: only the first are kept. `redact`:
    `***` for text, no bytes for binary, NULL for the rest. `fixed`: one text for all rows.
    `email`: `***` before the `@`. `phone`: all digits but the last are replaced."""
    salt: Secret | None = None
    """Salt of `hash`: exactly one environment reference."""
    key: Secret | None = None
    """Key of `hmac`: exactly one environment reference."""
    keep_first: Count | None = None
    """Characters `partial` keeps at the start; none if left out."""
    keep_last: Count | None = None
    """Characters `partial` keeps at the end, digits `phone` keeps; none if left out."""
    length: Count | None = None
    """Characters `truncate` keeps."""
    value: str | None = None
    """What `fixed` puts in place."""
    character: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What `partial` and `phone` put in place of a character; `*` if left out."""

    @model_validator(mode="after")
    def _check_parameters(self) -> MaskSettings:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        wrong = sorted(given - {"kind"} - _TAKEN.get(self.kind, set()))
        if wrong:
            raise PydanticCustomError(
                "mask", "is no key of a mask of kind {kind}", {"kind": self.kind, "at": (wrong[0],)}
            )
        needed = _NEEDED.get(self.kind)
        if needed is not None and needed not in given:
            raise PydanticCustomError(
                "mask", "of kind {kind} needs `{needed}`", {"kind": self.kind, "needed": needed}
            )
        if self.kind == "partial" and not (self.keep_first or self.keep_last):
            raise PydanticCustomError(
                "mask", "of kind partial needs `keep_first` or `keep_last`; `redact` keeps nothing"
            )
        return self


def _literal(value: object) -> object:
    """Return a YAML value as a literal of the expression language."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PydanticCustomError("literal", "must be a number or a text")
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if not math.isfinite(value):
        raise PydanticCustomError("literal", "must be a finite number")
    return format(Decimal(repr(value)), "f")


Limit = Annotated[
    str,
    BeforeValidator(_literal, json_schema_input_type=int | float | str),
    Kind("number or text"),
]
"""A limit; kept as a literal of the expression language."""


class RowRuleSettings(Part):
    """What a row must be to reach the target. NULL passes every limit but `not_null`."""

    name: str = ""
    """Shown with the rows it refuses; made of its column or expression if left out."""
    column: Name | None = None
    """The column of the target that the limits are about."""
    not_null: bool = False
    """The column must not be NULL."""
    min: Limit | None = None
    """Smallest value."""
    max: Limit | None = None
    """Greatest value."""
    min_length: Count | None = None
    """Fewest characters, or bytes of binary values."""
    max_length: Count | None = None
    """Most characters, or bytes of binary values."""
    regex: str = ""
    """The text must match it somewhere; RE2 syntax."""
    expression: str = ""
    """A condition over the target's columns that must be true."""
    on_fail: Literal["fail", "skip", "dirty"] = "dirty"
    """`dirty` sets the row aside, `skip` leaves it out as a filter does, `fail` stops the
    table."""

    @model_validator(mode="after")
    def _check_limits(self) -> RowRuleSettings:
        limits = [name for name in _LIMITS if getattr(self, name) not in (None, False, "")]
        if not limits and not self.expression:
            raise PydanticCustomError(
                "rule", "demands nothing: it needs `expression`, or `column` with a limit"
            )
        if limits and self.column is None:
            raise PydanticCustomError("rule", "has a limit but no `column`", {"at": (limits[0],)})
        if self.column is not None and not limits:
            raise PydanticCustomError("rule", "has no limit beside it", {"at": ("column",)})
        low, high = self.min_length, self.max_length
        if low is not None and high is not None and low > high:
            raise PydanticCustomError("rule", "is above `max_length`", {"at": ("min_length",)})
        return self


def _mask(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


def _soft_delete(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return SOFT_DELETE if value else ""
    return value


def _check_soft_delete(value: str) -> str:
    if value.startswith("_cdc_") and value != SOFT_DELETE:
        raise PydanticCustomError("reserved", "begins with `_cdc_`: such names are taken")
    return value


def _items(value: object) -> object:
    return split_items(value) if isinstance(value, str) else value


MaskOrWord = Annotated[
    MaskSettings, BeforeValidator(_mask, json_schema_input_type=MaskKind | MaskSettings)
]
"""A kind of mask, or a section."""


class TransformRuleSettings(Part):
    """One rule: tables and what becomes of their rows.

    `exclude` and `mask` of every rule that means a table act. Of the other keys a table takes
    those of the first rule that means it and has any.
    """

    source: RulePatterns
    """Tables of the source, patterns as those of `route`."""
    projection: Annotated[
        tuple[Name, ...],
        BeforeValidator(_items, json_schema_input_type=str | list[str]),
        Kind("list of items, or one text with commas"),
    ] = ()
    """Columns of the target: `*`, `column`, `column AS name`, `expression AS name`. An item with a
    column's name takes its place in `*`. All columns if left out."""
    filter: str = ""
    """Condition; rows for which it is not true are not in the target. A row that an update takes
    across it is deleted or inserted there."""
    primary_keys: Names = ()
    """Columns of the target that identify a row; the source's key if left out."""
    partition_keys: Names = ()
    """Columns of the target that its files are laid out by, where the sink has files."""
    soft_delete: Annotated[
        str,
        AfterValidator(_check_soft_delete),
        BeforeValidator(_soft_delete, json_schema_input_type=bool | str),
        Kind("`true` or a name"),
    ] = ""
    """Keep deleted rows and say so in this boolean column; `true` calls it `_cdc_deleted`."""
    exclude: Names = ()
    """Columns of the source that are never stored, with fnmatch wildcards."""
    mask: Annotated[dict[Name, MaskOrWord], Kind("mapping of column to kind or section")] = Field(
        default_factory=dict
    )
    """Columns of the source made unreadable before anything is stored."""
    rules: tuple[RowRuleSettings, ...] = ()
    """What rows must be."""
    functions: FunctionsFile | None = None
    """Python file of functions for expressions, relative to the pipeline file."""

    @property
    def shapes(self) -> bool:
        """Whether it does more than what acts before anything is stored."""
        return bool(self.model_fields_set - {"source", "mask", "exclude", "functions"})

    @model_validator(mode="after")
    def _check_columns(self) -> TransformRuleSettings:
        for number, name in enumerate(self.exclude):
            if name in self.mask:
                raise PydanticCustomError(
                    "columns", "is masked, too: write one or the other", {"at": ("exclude", number)}
                )
        if self.soft_delete and self.soft_delete in (*self.primary_keys, *self.partition_keys):
            raise PydanticCustomError(
                "columns", "cannot be a key: its values change", {"at": ("soft_delete",)}
            )
        return self
