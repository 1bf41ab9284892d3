"""How a ClickHouse table keeps one row per key, chosen by its engine.

In: a table as it is, and the target it shall be. Out: a strategy, or why there is none.

    engine                                        strategy
    ReplacingMergeTree, sorted by the key         replacing: upserts are inserts; deletes too where
                                                  the engine has an is_deleted column, else
                                                  lightweight deletes
    CollapsingMergeTree, Versioned… , likewise    collapsing: old rows are cancelled by their like
    MergeTree; the above sorted by something      lightweight_delete: touched keys that are there
    else, or by a version that the source has     are deleted, then rows inserted
    the same with a projection                    mutation: ALTER TABLE … DELETE instead
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from resources.sinks.clickhouse_ddl import DELETED, VERSION, Dialect, StoredColumn
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_names import quote
from resources.sinks.contract import TargetTable

Kind = Literal["replacing", "collapsing", "lightweight_delete", "mutation"]
Wish = Literal["auto", "replacing", "collapsing", "lightweight_delete", "mutation"]
SIGN = "_cdc_sign"
_KEYED = (
    *("MergeTree", "ReplacingMergeTree"),
    *("CollapsingMergeTree", "VersionedCollapsingMergeTree"),
)
OWN_COLUMNS = (VERSION, DELETED, SIGN)
"""Names of the columns that the sink adds to tables it creates."""


@dataclass(frozen=True)
class Strategy:
    """How rows come into a table by key.

    Args:
        kind: See the module.
        version: The column that the sink fills with a version, empty if there is none.
        deleted: The column that says a key is deleted, likewise.
        sign: The column that says whether a row cancels another, likewise.
    """

    kind: Kind
    version: str = ""
    deleted: str = ""
    sign: str = ""

    @property
    def own(self) -> tuple[str, ...]:
        """The columns the sink fills by itself."""
        return tuple(name for name in (self.version, self.deleted, self.sign) if name)

    @property
    def final(self) -> str:
        """What a query says after the table's name to see one row per key."""
        return " FINAL" if self.kind in ("replacing", "collapsing") else ""


def own_columns(live: LiveTable) -> Strategy:
    """Return which columns the engine has for itself, as the strategy that would fill them."""
    names = [n for n in live.arguments if live.column(n) is not None]
    types = [c.type for n in names if (c := live.column(n))]
    match live.engine:
        case "ReplacingMergeTree":
            version = names[0] if names and types[0] == "UInt64" else ""
            deleted = names[1] if len(names) > 1 and version else ""
            return Strategy("replacing", version, deleted)
        case "CollapsingMergeTree" if names:
            return Strategy("collapsing", sign=names[0])
        case "VersionedCollapsingMergeTree" if len(names) > 1 and types[1] == "UInt64":
            return Strategy("collapsing", names[1], sign=names[0])
    return Strategy("mutation" if live.projected else "lightweight_delete")


def choose(live: LiveTable, key: Sequence[str], names: Collection[str], wish: Wish) -> Strategy:
    """Return the strategy of a table that is there.

    Args:
        live: The table.
        key: The target's key.
        names: The target's columns.
        wish: What the pipeline file says; it chooses how rows are deleted in a plain table.
    """
    found = own_columns(live)
    by_version = live.engine == "ReplacingMergeTree" and live.arguments and not found.version
    sorted_by = [*key, found.version] if "Versioned" in live.engine else key
    keeps_key = live.sorts_by(key) or live.sorts_by(sorted_by)
    usable = keeps_key and not by_version and not set(found.own) & set(names)
    if found.kind in ("replacing", "collapsing") and usable:
        return found
    return Strategy("mutation" if live.projected or wish == "mutation" else "lightweight_delete")


def created(wish: Wish) -> Strategy:
    """Return the strategy of tables that the sink creates."""
    if wish == "collapsing":
        return Strategy("collapsing", VERSION, sign=SIGN)
    if wish in ("lightweight_delete", "mutation"):
        return Strategy("mutation" if wish == "mutation" else "lightweight_delete")
    return Strategy("replacing", VERSION, DELETED)


def engine_of(strategy: Strategy, dialect: Dialect) -> str:
    """Return the engine of a table that the sink creates for a strategy."""
    if strategy.kind == "replacing":
        return dialect.engine(
            "ReplacingMergeTree", quote(strategy.version), quote(strategy.deleted)
        )
    if strategy.kind == "collapsing":
        return dialect.engine(
            "VersionedCollapsingMergeTree", quote(strategy.sign), quote(strategy.version)
        )
    return dialect.engine("MergeTree")


def filled_columns(strategy: Strategy) -> list[StoredColumn]:
    """Return the columns that the sink adds to a table it creates."""
    types = ((strategy.version, "UInt64"), (strategy.deleted, "UInt8"), (strategy.sign, "Int8"))
    return [StoredColumn(name, type_) for name, type_ in types if name]


def refusal(live: LiveTable, target: TargetTable) -> str:
    """Return why a table's engine cannot hold the target's rows as they are, empty if it can."""
    if live.engine not in (_KEYED if target.mode == "merge" else _KEYED[:1]):
        return f"its engine {live.engine} does not keep rows as they are written"
    if target.owner and target.mode == "merge" and not own_columns(live).deleted:
        return (
            f"its engine {live.engine} cannot hold rows of several feeds: that takes a "
            "ReplacingMergeTree(version, is_deleted)"
        )
    return ""
