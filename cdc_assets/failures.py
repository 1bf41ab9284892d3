"""Errors of the engine -> Dagster failures that say what, where and how to mend it.

In: exceptions and table outcomes. Out: `dagster.Failure`; only a transient one may be retried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from resources.errors import CdcError, TransientError

if TYPE_CHECKING:
    from cdc_assets.engine.report import TableReport
    from resources.model.table_id import TableId
    from resources.stores.table_states import TableState

RETRIES = 2
"""Further attempts of one run after a transient error; sensors and `run_retries` do the rest."""
FIRST_PAUSE_SECONDS = 5.0
"""Pause before the first of them; it doubles."""


def failure_of(error: CdcError) -> dg.Failure:
    """Return the failure that stands for an error of the tree; it holds no row values."""
    metadata: dict[str, dg.MetadataValue] = {"error": dg.TextMetadataValue(type(error).__name__)}
    if error.where:
        metadata["where"] = dg.TextMetadataValue(error.where)
    if error.remedy:
        metadata["remedy"] = dg.TextMetadataValue(error.remedy)
    return dg.Failure(
        description=f"{type(error).__name__}: {error}",
        metadata=metadata,
        allow_retries=isinstance(error, TransientError),
    )


@contextmanager
def failures(attempt: int | None = None) -> Iterator[None]:
    """Turn an error of the tree into a retry or a `dagster.Failure`; anything else passes.

    The retry is asked for here and not by a retry policy: with a policy Dagster 1.13 starts an
    op again that was cancelled (seen on 1.13.27).

    Args:
        attempt: Number of the op's retries so far; None to have none.
    """
    try:
        yield
    except TransientError as error:
        if attempt is None or attempt >= RETRIES:
            raise failure_of(error) from error
        pause = FIRST_PAUSE_SECONDS * 2.0**attempt
        raise dg.RetryRequested(RETRIES, pause) from failure_of(error)
    except CdcError as error:
        raise failure_of(error) from error


def stopped_failure(stopped: Iterable[TableReport | TableState]) -> dg.Failure:
    """Return the failure of a run in which tables stopped; everything else of it was done."""
    reports = list(stopped)
    lines = [named(report.table, report.reason) for report in reports]
    return dg.Failure(
        description=f"{len(reports)} table(s) stopped, the others went on:\n" + "\n".join(lines),
        metadata={str(r.table): dg.TextMetadataValue(r.reason) for r in reports},
        allow_retries=False,
    )


def named(table: TableId, reason: str) -> str:
    """Return a reason with the name of the source table in front, if it is not there already."""
    return reason if reason.startswith(f"{table}: ") else f"{table}: {reason}"
