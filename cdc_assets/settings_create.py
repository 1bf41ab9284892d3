"""The `create_table` section of a sink of SQL: how the tables it creates are made.

In: what the file says. Out: immutable rules whose templates name only what there is.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_types import Part, TablePattern
from resources.sinks.create_template import PLACES, template_problem


class CreateFromTemplate(Part):
    """How some tables are created; the first rule that means a table holds."""

    tables: tuple[TablePattern, ...] = Field(default=("*.*",), min_length=1)
    """Targets: `namespace.table` with fnmatch wildcards."""
    template: str = ""
    """The statement: `CREATE TABLE {table} ({columns}) …`. `{columns}` are the columns, quoted and
    with their types, and the primary key behind them, `{plain_columns}` the same without it,
    `{key}` the names of its columns."""

    places: ClassVar[tuple[str, ...]] = PLACES

    @model_validator(mode="after")
    def _check_template(self) -> CreateFromTemplate:
        problem = template_problem(self.template, self.places) if self.template else ""
        if problem:
            raise PydanticCustomError(
                "template", "{words}", {"words": problem, "at": ("template",)}
            )
        if not self.template and not getattr(self, "options", ""):
            raise PydanticCustomError("template", "says nothing of how tables are created")
        return self

    def rule(self) -> dict[str, object]:
        """Return it as the sinks take it."""
        return self.model_dump()


class CreateTable(CreateFromTemplate):
    """How some tables are created; the first rule that means a table holds."""

    options: str = ""
    """What follows the closing bracket of the sink's own statement; in place of `template`."""

    @model_validator(mode="after")
    def _check_either(self) -> CreateTable:
        if self.template and self.options:
            raise PydanticCustomError(
                "template",
                "stands beside `template`: write them there",
                {"at": ("options",)},
            )
        return self


class CreateClickHouseTable(CreateTable):
    """As for other sinks; `{engine}` is the engine the sink would give the table."""

    places: ClassVar[tuple[str, ...]] = (*PLACES, "engine")
