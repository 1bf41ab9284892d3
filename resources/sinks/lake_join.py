"""Keys looked up among rows: which rows of a file have one of them, compared as values.

In: key columns in stored types. Out: pairs of row numbers. DuckDB does the join: floats of either
zero are equal, NaN equals itself, text goes by its bytes, and what memory does not hold is spilled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.sinks.sql import select

Rows = npt.NDArray[np.int64]
_MEMORY = "1GB"


class KeySet:
    """Keys by number, in the order they were added; use it in a `with` block.

    Args:
        types: Stored types of the key columns.
    """

    def __init__(self, types: Sequence[pa.DataType]) -> None:
        self._types = list(types)
        self._names = [f"k{i}" for i in range(len(self._types))]
        self._count = 0
        self._connection = duckdb.connect(
            config={"memory_limit": _MEMORY, "temp_directory": tempfile.gettempdir()}
        )
        self._create()

    def add(self, keys: pa.Table) -> None:
        """Add keys: the key columns in order."""
        if keys.num_rows:
            self._insert(self._numbered(keys, self._count))
            self._count += keys.num_rows

    def match(self, keys: pa.Table) -> tuple[Rows, Rows]:
        """Return the rows whose key is in the set, and each one's number there.

        A key that is in the set several times gives a pair each. NULLs match nothing.
        """
        empty = np.zeros(0, np.int64)
        if not keys.num_rows or not self._count:
            return empty, empty
        on = " AND ".join(f"live.{n} = held.{n}" for n in self._names)
        self._connection.register("live", self._numbered(keys, 0))
        try:
            found = self._connection.sql(
                select(
                    "live.number AS n, held.number AS m",
                    f"live JOIN held ON {on}",
                    "ORDER BY n, m",
                )
            ).to_arrow_table()
        finally:
            self._connection.unregister("live")
        return found["n"].to_numpy(), found["m"].to_numpy()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the memory and what was spilled."""
        self._connection.close()

    def _create(self) -> None:
        schema = pa.schema([*zip(self._names, self._types, strict=True), ("number", pa.int64())])
        self._connection.register("first", schema.empty_table())
        self._connection.execute("CREATE TABLE held AS SELECT * FROM first")
        self._connection.unregister("first")

    def _insert(self, keys: pa.Table) -> None:
        self._connection.register("more", keys)
        self._connection.execute("INSERT INTO held SELECT * FROM more")
        self._connection.unregister("more")

    def _numbered(self, keys: pa.Table, first: int) -> pa.Table:
        numbers = pa.array(np.arange(first, first + keys.num_rows, dtype=np.int64))
        return pa.table([*keys.columns, numbers], names=[*self._names, "number"])
