"""The `existing` section of a sink: tables that are there before the pipeline fills them.

In: what the file says. Out: immutable settings; what a kind of sink cannot do is no value of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_types import Part

if TYPE_CHECKING:
    from cdc_assets.engine.existing import Existing
    from cdc_assets.settings import PipelineSettings


class ExistingTables(Part):
    """What becomes of a table that is there before the pipeline has put anything into it."""

    table: Literal["create_if_missing", "recreate", "error", "ignore"] = "create_if_missing"
    """`create_if_missing` takes a table that is there; `recreate` makes it anew, at the end of
    every load too; `error` refuses it; `ignore` makes none, and never replaces the one there."""
    rows: Literal["truncate", "append", "error"] | None = None
    """Rows that are there: `truncate` gives them up, `append` keeps them, `error` refuses them.
    Left out, a load truncates and a table that begins with the log appends."""

    @model_validator(mode="after")
    def _check_words(self) -> ExistingTables:
        if self.table == "recreate" and self.rows == "append":
            raise PydanticCustomError("existing", "`recreate` keeps no rows to append to")
        return self


class ExistingLakeTables(Part):
    """As for other sinks; a lake's table is changed in place, so that its history goes on."""

    table: Literal["create_if_missing", "error", "ignore"] = "create_if_missing"
    """`create_if_missing` takes a table that is there, `error` refuses it, `ignore` makes none."""
    rows: Literal["truncate", "append", "error"] | None = None
    """Rows that are there: `truncate` gives them up, `append` keeps them, `error` refuses them.
    Left out, a load truncates and a table that begins with the log appends."""


def existing_of(settings: PipelineSettings) -> Existing:
    """Return what a pipeline's sink says of tables that are there, in the engine's words."""
    from cdc_assets.engine.existing import Existing

    section = getattr(settings.sink, "existing", None)
    if section is None:  # a log of messages has no tables
        return Existing()
    return Existing(section.table, section.rows, settings.where("sink", "existing"))
