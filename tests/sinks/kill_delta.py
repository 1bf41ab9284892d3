"""Run as `python -m tests.sinks.kill_delta <step> <folder>`: die before the n-th write of the lake.

For n = 1, 2, 3 … a forked copy of this process opens a copy of the prepared lake, does the step,
and ends without any clean-up just before its n-th call that changes a file or commits. The folder
is left with one lake per n, as a kill -9 leaves it. This process itself never opens a lake, so that
forking it is safe.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.table import TableAlterer

from resources.sinks import delta_log
from resources.sinks.delta import DeltaSink
from resources.sinks.lake import LakeSink
from resources.sinks.lake_store import LakeStore
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.sinks.kill_duckdb import KILLED, in_child

Calls = tuple[tuple[Any, str], ...]
CALLS: Calls = (
    *((LakeStore, name) for name in ("write", "create", "delete", "delete_folder")),
    *((DeltaTable, "create_write_transaction"), (TableAlterer, "add_columns")),
    *((TableAlterer, "add_feature"), (delta_log, "create_table_with_add_actions")),
)


def prepare(step: str, path: Path, lake: Callable[[str], LakeSink]) -> None:
    with lake(str(path)) as sink:
        ALL_STEPS[step].prepare(sink)


def die_before(
    step: str, path: Path, number: int, lake: Callable[[str], LakeSink], calls: Calls
) -> None:
    """Do the step on the lake, at most up to its n-th write."""
    left = [number]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os._exit(KILLED)
            return call(*arguments, **options)

        return run

    for owner, name in calls:
        setattr(owner, name, counted(getattr(owner, name)))
    with lake(str(path)) as sink:
        ALL_STEPS[step].work(sink)


def main(
    step: str, folder: Path, lake: Callable[[str], LakeSink] = DeltaSink, calls: Calls = CALLS
) -> None:
    base, place = folder / "base", folder / "lake"  # formats may hold their place: it stays one
    if in_child(partial(prepare, step, place, lake)):
        raise SystemExit("the step could not be prepared")
    if place.exists():
        place.rename(base)
    for number in range(1, 1000):
        if base.exists():
            shutil.copytree(base, place)
        code = in_child(partial(die_before, step, place, number, lake, calls))
        if code == 0:
            shutil.rmtree(place)
            return
        if code != KILLED:
            raise SystemExit(f"write {number} ended with {code}")
        if place.exists():
            place.rename(folder / f"{number:03}")
    raise SystemExit("the step does not end")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
