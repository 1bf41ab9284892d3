"""What every engine does without our sink: the measure of what the sink costs.

In: Arrow tables. Out: what the fastest way took that the engine itself offers, with the primary key
or order our sink's table has, and no watermark, no marks, no checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa

from benchmarks.clock import Spent
from resources.sinks.contract import Mode, Sink


class Bare(Protocol):
    """An engine without our sink.

    Attributes:
        dlt: Name of dlt's destination of this kind; empty if there is none to run here.
        mode: Of our sink's target: `append` where an engine cannot merge.
        most: Rows of the largest table it is measured with; our sink goes on alone.
    """

    dlt: str
    mode: Mode
    most: int

    def open_sink(self) -> Sink:
        """Return our sink on the same engine."""
        ...

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Fill a new table; what it took. Our sink has loaded the same rows just before."""
        ...

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Change that table; what it took. Our sink has made the same changes just before."""
        ...

    def count(self) -> int | None:
        """Return the rows of that table, None if every write was compared with ours already."""
        ...

    def __enter__(self) -> Self:
        """Start the engine."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        ...


class Closing:
    """What is entered is left in the end.

    Args:
        folder: An empty folder.
    """

    dlt = ""
    mode: Mode = "merge"
    most = 1 << 62

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()
