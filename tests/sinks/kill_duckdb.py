"""Run as `python -m tests.sinks.kill_duckdb <step> <folder>`: die before the n-th write.

For n = 1, 2, 3 … a forked copy of this process opens a copy of the prepared database, does the
step, and ends without any clean-up just before its n-th statement that is no SELECT. On a file
that exists, the statements of opening it do not count. The folder is left
with one database per n, as a kill -9 leaves it. This process itself never opens DuckDB, so that
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

import duckdb

from resources.sinks.duckdb import DuckDBSink
from tests.contracts.sink_shared_steps import ALL_STEPS

KILLED = 137


class Countdown:
    """A DuckDB connection that ends the process before its n-th writing statement."""

    def __init__(self, connection: Any, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def execute(self, statement: str, *parameters: Any) -> Any:
        self._left -= not statement.startswith("SELECT")
        if not self._left:
            os._exit(KILLED)
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a forked process; its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepare(step: str, path: Path) -> None:
    with DuckDBSink(str(path)) as sink:
        ALL_STEPS[step].prepare(sink)


def die_before(step: str, path: Path, statement: int) -> None:
    """Do the step on the file, at most up to the n-th statement; no `close` follows."""
    connect = duckdb.connect
    sink = DuckDBSink(str(path))
    if path.exists():
        sink._file._connection = Countdown(sink._file.connection, statement)  # type: ignore[assignment]
    else:

        def counting(*arguments: Any, **options: Any) -> Any:
            return Countdown(connect(*arguments, **options), statement)

        duckdb.connect = counting
    ALL_STEPS[step].work(sink)


def main(step: str, folder: Path) -> None:
    base = folder / "base.duckdb"
    if in_child(partial(prepare, step, base)):
        raise SystemExit("the step could not be prepared")
    for statement in range(1, 1000):
        path = folder / f"{statement:03}.duckdb"
        if base.exists():
            shutil.copy(base, path)
        code = in_child(partial(die_before, step, path, statement))
        if code == 0:
            return
        if code != KILLED:
            raise SystemExit(f"statement {statement} ended with {code}")
    raise SystemExit("the step does not end")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
