"""Run as `python -m tests.sinks.kill_postgres <step> <url> <prefix>`: die before the n-th write.

For n = 1, 2, 3 … a forked copy of this process opens a sink on a copy of the prepared database,
does the step, and ends without any clean-up just before its n-th statement that is no SELECT. The
databases `<prefix>_<n>` are left as a kill -9 leaves them. This process holds no connection when
it forks.
"""

from __future__ import annotations

import sys

import psycopg

from resources.sinks.postgres import PostgresSink
from resources.sinks.postgres_copy import encode
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_steps import rows_of
from tests.processes import KILLED, in_child
from tests.sinks.count_down import count_down

_READS = ("SELECT", "\nSELECT", "SET ", "BEGIN")
_CALLS = ((psycopg.Connection, "execute"), (psycopg.Cursor, "copy"))


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def database(url: str, name: str) -> str:
    """The URL of another database of the server."""
    return url.rpartition("/")[0] + "/" + name


def main(step: str, url: str, prefix: str) -> None:
    base = f"{prefix}_base"

    def prepare() -> None:
        with PostgresSink(database(url, base)) as sink:
            ALL_STEPS[step].prepare(sink)
            sink.list_watermarks("")  # the ledger is there even if nothing was prepared

    def die(number: int) -> None:
        sink = PostgresSink(database(url, f"{prefix}_{number}"))
        count_down(_CALLS, _READS, number)
        ALL_STEPS[step].work(sink)

    list(encode(rows_of({1: "x"}), ""))  # the kernels are loaded once, not by every child
    run(url, f"CREATE DATABASE {base}")
    if in_child(prepare):
        raise SystemExit("the step could not be prepared")
    for number in range(1, 1000):
        run(url, f"CREATE DATABASE {prefix}_{number} TEMPLATE {base}")
        code = in_child(lambda number=number: die(number))  # type: ignore[misc]
        if code == 0:
            run(url, f"DROP DATABASE {base}")
            return
        if code != KILLED:
            raise SystemExit(f"statement {number} ended with {code}")
    raise SystemExit("the step does not end")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].replace("+psycopg", ""), sys.argv[3])
