"""Options of Paimon tables that decide how rows are written, which this sink says or must know.

In: options as a person or another engine gave them. Out: those that it cannot keep.
"""

from __future__ import annotations

from collections.abc import Mapping

ENGINE = "merge-engine"
DEDUPLICATE = "deduplicate"
"""The engine that keeps the last row of a key: without others a table equals its source."""
ENGINES = (DEDUPLICATE, "partial-update", "aggregation")
"""The merge engines a table may have; tables of `first-row` are read after a compaction only."""
PRODUCER = "changelog-producer"
MERGED_ELSEWHERE = frozenset({"lookup", "full-compaction"})
"""Producers of change logs made by compactions: only an engine that writes them may compact."""
OWN = (ENGINE, "bucket", "bucket-key", "file.format", "manifest.format")
"""What the sink says itself."""
_KEPT: Mapping[str, frozenset[str]] = {
    PRODUCER: frozenset({"none"}) | MERGED_ELSEWHERE,
    "file.format": frozenset({"parquet"}),
    "deletion-vectors.enabled": frozenset({"false"}),
    "row-tracking.enabled": frozenset({"false"}),
    "data-evolution.enabled": frozenset({"false"}),
    "data-file.thin-mode": frozenset({"false"}),
    "ignore-delete": frozenset({"false"}),
}
"""Options of which only these values are kept."""
_REFUSED = ("sequence.field", "rowkind.field", "bucket-key", "data-file.external-paths")
"""Options that are not kept, whatever their value."""


def refused_options(options: Mapping[str, str], engine: str = DEDUPLICATE) -> list[str]:
    """Return the options that a writer must keep and this one does not, as `name: value`.

    Args:
        options: The options.
        engine: The merge engine that was asked for.
    """
    known = {**_KEPT, ENGINE: frozenset({engine})}
    found = [n for n, values in known.items() if _text(options.get(n, "")) not in {"", *values}]
    if engine != DEDUPLICATE and ENGINE not in options:
        return [f"{ENGINE}: {DEDUPLICATE}"]
    return [f"{name}: {options[name]}" for name in (*found, *(n for n in _REFUSED if n in options))]


def _text(value: str) -> str:
    return value.strip().lower()
