"""A table that stands in the sink before a feed has put anything into it: what becomes of it.

In: the `existing` section of a pipeline file, and what the sink has. Out: the table may be taken,
or an error that says what stands there.

A feed's watermark says that the table is its own. It is looked for every time, and nothing is
destroyed before the same moment sets it: a load takes a table's place with its watermark
(`TargetTable.existing`), a truncate has one. So a run that was killed can be repeated at will.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resources.errors import ConfigError
from resources.sinks.contract import Existing as OfLoad
from resources.sinks.contract import Feed, Sink, TargetTable
from resources.sinks.shape import show_schema

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.routing import Route

TableWord = Literal["create_if_missing", "recreate", "error", "ignore"]
RowsWord = Literal["truncate", "append", "error"]


@dataclass(frozen=True)
class Existing:
    """What the pipeline file says of tables that are there already.

    Args:
        table: `create_if_missing` takes one that is there; `recreate` makes it anew; `error`
            refuses it; `ignore` makes none and leaves the one there as it was made.
        rows: `truncate` puts the feed's rows in the place of those there, `append` beside them;
            `error` refuses them. None for what the way in does: a load truncates, a log appends.
        where: The section's place in the pipeline file.
    """

    table: TableWord = "create_if_missing"
    rows: RowsWord | None = None
    where: str = ""

    @property
    def of_load(self) -> OfLoad:
        """What a load does with a table of one feed."""
        if self.table == "recreate":
            return "anew"
        return "kept" if self.table == "ignore" else "taken"

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to look for."""
        return self.table == "create_if_missing" and self.rows is None


def stands(
    pipeline: Pipeline, route: Route, target: TargetTable, sink: Sink, *, loads: bool
) -> bool:
    """Return whether a table stands where a feed begins, that no feed of the target has begun.

    An empty table that is what the sink would make is none: a run that was killed leaves such.

    Args:
        pipeline: The opened pipeline.
        route: The feed's way.
        target: What the table shall look like.
        sink: Where.
        loads: Whether the feed begins with a load.

    Raises:
        ConfigError: The pipeline file refuses it, or it cannot be had as the file wants it.
    """
    existing, feed = pipeline.options.existing, pipeline.feed(route.table)
    if existing.is_plain:
        return False
    feeds = sink.list_feeds(target.id)
    others = [f for f in feeds if f != feed]
    if existing.table == "recreate" and others and not route.shared:
        raise _shared(existing, target, others[0])
    if feed in feeds or (others and route.shared):
        return False
    live = sink.read_schema(target.id)
    if live is None:
        _require_making(existing, target)
        return False
    misfits = [f for f in sink.check_table(target) if f.level == "error"]
    rows = sink.count_rows(target.id)
    if not (rows or misfits):
        return False
    if existing.table == "ignore" and misfits:
        raise ConfigError(misfits[0].message, where=existing.where, remedy=misfits[0].remedy)
    what = f"{target.id} is there already, with {rows:,} rows and the columns {show_schema(live)}"
    _require_taking(existing, what, rows)
    if existing.table == "recreate" or existing.rows == "truncate":
        if others:
            raise _shared(existing, target, others[0])
        if route.shared:
            raise ConfigError(
                f"{what}; several tables will share it, so none of them may destroy it",
                where=existing.where,
                remedy="drop it by hand, or take it: `table: create_if_missing, rows: append`",
            )
    elif existing.rows == "append" and loads and rows and not route.shared:
        raise ConfigError(
            f"{what}; a load takes the place of all rows, so nothing can be appended to them",
            where=existing.where,
            remedy="`rows: truncate`; or route it to a target that several tables share; or let "
            "the table begin with the log (`source.startup`)",
        )
    return True


def _require_making(existing: Existing, target: TargetTable) -> None:
    if existing.table == "ignore":
        raise ConfigError(
            f"{target.id} is not there, and `table: ignore` leaves making it to others",
            where=existing.where,
            remedy=f"make it with the columns {_wanted(target)}, or write `table: "
            "create_if_missing`",
        )


def _require_taking(existing: Existing, what: str, rows: int) -> None:
    if existing.table == "error":
        raise ConfigError(
            what,
            where=existing.where,
            remedy="drop or rename it, route the source's table elsewhere, or take it with "
            "`table: create_if_missing`",
        )
    if existing.rows == "error" and rows:
        raise ConfigError(
            what,
            where=existing.where,
            remedy="empty it, route the source's table elsewhere, or give its rows up with "
            "`rows: truncate`",
        )


def _shared(existing: Existing, target: TargetTable, other: Feed) -> ConfigError:
    verb = "made anew" if existing.table == "recreate" else "emptied"
    return ConfigError(
        f"{target.id} is filled by {other} too, so it is not {verb} under it",
        where=existing.where,
        remedy="route one of them to another target; or drop the table by hand, if nothing "
        f"fills it from {other.pipeline} any more",
    )


def _wanted(target: TargetTable) -> str:
    return "(" + ", ".join(f"{c.name} {c.type}" for c in target.schema.columns) + ")"
