"""Which assets, and which of their columns, read what a schema change is about to change.

In: the code location's asset graph, and column lineage where assets have it. Out: the assets below
a target, as far as they read the columns in question.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

MOST_READERS = 100
"""Assets looked at; a graph may have thousands below a table."""


class LineageStore(Protocol):
    """What is asked of a Dagster instance."""

    def get_latest_materialization_event(self, asset_key: dg.AssetKey) -> Any:  # noqa: ANN401
        """Return an asset's newest materialization event, None if there is none."""


@dataclass(frozen=True)
class Reader:
    """An asset that reads what changes.

    Args:
        key: The asset.
        columns: Its columns that are made of what changes; None if it has no column lineage.
    """

    key: dg.AssetKey
    columns: tuple[str, ...] | None

    def __str__(self) -> str:
        """Return `asset: columns`."""
        name = self.key.to_user_string()
        return name if self.columns is None else f"{name}: {', '.join(self.columns)}"


def asset_graph(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
) -> BaseAssetGraph[Any] | None:
    """Return the code location's graph; None where a run does not know its location."""
    try:
        return context.repository_def.asset_graph
    except CheckError:  # executed in a test or a notebook, not from a code location
        return None


def find_readers(
    instance: LineageStore,
    graph: BaseAssetGraph[Any] | None,
    key: dg.AssetKey,
    columns: Collection[str],
) -> list[Reader]:
    """Return the assets below a target that read some columns of it, nearest first.

    An asset without column lineage counts as one that reads everything above it.

    Args:
        instance: Where newest materializations, and with them column lineage, are asked for.
        graph: The code location's; without one nothing is known.
        key: The target's asset.
        columns: What changes; empty for all columns.
    """
    if graph is None or not graph.has(key):
        return []
    read: dict[dg.AssetKey, set[str] | None] = {key: set(columns) or None}
    found: list[Reader] = []
    queue = deque([key])
    while queue and len(found) < MOST_READERS:
        above = queue.popleft()
        for child in sorted(graph.get(above).child_keys):
            if child in read:
                continue
            lineage = _lineage(instance, graph, child)
            mine = None if lineage is None else _reading(lineage, above, read[above])
            if mine is None or mine:
                read[child] = mine
                found.append(Reader(child, None if mine is None else tuple(sorted(mine))))
                queue.append(child)
    return found


def _reading(lineage: Mapping[str, Any], above: dg.AssetKey, columns: set[str] | None) -> set[str]:
    return {
        column
        for column, deps in lineage.items()
        if any(
            dep.asset_key == above and (columns is None or dep.column_name in columns)
            for dep in deps
        )
    }


def _lineage(
    instance: LineageStore, graph: BaseAssetGraph[Any], key: dg.AssetKey
) -> Mapping[str, Any] | None:
    """Return an asset's column lineage, of its newest materialization or its definition."""
    event = instance.get_latest_materialization_event(key)
    shown = event.asset_materialization.metadata if event and event.asset_materialization else {}
    for metadata in (shown, graph.get(key).metadata):
        value = metadata.get("dagster/column_lineage")
        lineage = getattr(value, "column_lineage", value)
        if isinstance(lineage, dg.TableColumnLineage):
            return lineage.deps_by_column
    return None
