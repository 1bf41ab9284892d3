"""Finding the rows an engine refuses, by trying parts of a batch.

In: a trial that writes some rows and takes them back. Out: every refused row with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resources.sinks.contract import RejectedWrite

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Refusal:
    """Why a trial failed: the column at fault, if known, and the reason without the value."""

    field: str
    message: str


def bisect_rejected(count: int, trial: Callable[[Rows], Refusal | None]) -> list[RejectedWrite]:
    """Name every row that has to be left out for the others to be taken.

    Halves are tried until single rows remain. Rows refused only in company (two of one value
    under a UNIQUE constraint) are found after that: the last row of the shortest refused run.

    Args:
        count: Number of rows.
        trial: Tries the rows with these indices, undoes it, and returns the refusal if any.
    """
    rejected: dict[int, Refusal] = {}
    pending = [np.arange(count, dtype=np.int64)]
    while pending:
        rows = pending.pop()
        refusal = trial(rows) if len(rows) else None
        if refusal is None:
            continue
        if len(rows) == 1:
            rejected[int(rows[0])] = refusal
        else:
            pending += [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    good = np.setdiff1d(np.arange(count, dtype=np.int64), list(rejected), assume_unique=True)
    while (refusal := trial(good)) is not None:
        low, high = 0, len(good)  # the first `low` rows are taken, the first `high` are not
        while high - low > 1:
            middle = (low + high) // 2
            found = trial(good[:middle])
            if found is None:
                low = middle
            else:
                high, refusal = middle, found
        rejected[int(good[low])] = refusal
        good = np.delete(good, low)
    return [RejectedWrite(i, r.field, r.message) for i, r in sorted(rejected.items())]
