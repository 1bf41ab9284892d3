"""Rows per second of the reduction of changes to their last per key.

Run as `python -m benchmarks.reduce [--json] [--quick]`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from benchmarks.figures import Figure, alternate, arguments, rate, show
from benchmarks.rows import change_batches, schema
from cdc_assets.engine.reduce import Reduced, reduce_changes

ROUNDS = 5
KEYS = {"int": ("int", 1), "sparse_int": ("int", 1_000_003)} | {
    key: (key, 1) for key in ("string", "composite")
}
"""Kinds of key, and how far apart they are."""


def figures(changes: int, rows: int) -> Iterator[Figure]:
    """Reduce the same changes with keys of several kinds."""
    for label, (key, stride) in KEYS.items():
        batches = change_batches(changes, rows, stride)
        keys = schema(key).key

        def work(batches: list[pa.RecordBatch] = batches, keys: tuple[str, ...] = keys) -> Reduced:
            return reduce_changes(batches, keys)

        best = alternate(ROUNDS, {label: work})[label]
        yield Figure(f"reduce.{label}", rate(changes, best.seconds), "rows/s")


def main() -> None:
    """Measure and print."""
    chosen = arguments(__doc__).parse_args()
    changes, rows = (50_000, 100_000) if chosen.quick else (500_000, 1_000_000)
    show(figures(changes, rows), chosen.json)


if __name__ == "__main__":
    main()
