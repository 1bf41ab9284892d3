"""Run as `python -m tests.sinks.without_rights <folder>`: writers that may not write their files.

In: an empty folder that everybody may enter. Out: on standard output, a line of JSON per sink:
what a writer was told whose user may only read, and the rows that it left when it was allowed to.
Root is bound by no rights, so where this process is root the writers become nobody. Every writer
is a forked process, and this one opens no engine, so that forking it is safe.
"""

from __future__ import annotations

import importlib
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from resources.errors import CdcError
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.contract import Sink
from resources.sinks.delta import DeltaSink
from resources.sinks.duckdb import DuckDBSink
from resources.sinks.iceberg import IcebergSink
from resources.sinks.paimon import PaimonSink
from resources.sinks.parquet import ParquetSink
from tests.contracts.sink_steps import FEED, STEPS, TARGET
from tests.processes import in_child

SINKS: dict[str, Callable[[str], Sink]] = {
    "duckdb": lambda place: DuckDBSink(f"{place}/shop.duckdb", lock_timeout=0.2),
    "delta": DeltaSink,
    "iceberg": IcebergSink,
    "paimon": PaimonSink,
    "parquet": ParquetSink,
    "clickhouse": lambda place: ClickHouseSink(place, lock_timeout=0.2),
}


def become_nobody() -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        os.environ["HOME"] = "/"


def prepare(open_sink: Callable[[], Sink]) -> None:
    with open_sink() as sink:
        STEPS["merge"].prepare(sink)


def write(open_sink: Callable[[], Sink], told: Path) -> None:
    """Merge as nobody; what was raised, or what is there afterwards, goes to a file."""
    with told.open("w") as file:
        become_nobody()
        try:
            with open_sink() as sink:
                STEPS["merge"].redo(sink)
                read = sink.read_table(TARGET.id).sort_by("id")
                rows = list(zip(*(c.to_pylist() for c in read.columns), strict=True))
                mark = sink.read_watermark(TARGET.id, FEED)
            said: dict[str, Any] = {"rows": rows, "seq": mark.seq if mark else None}
        except CdcError as error:
            said = {"kind": type(error).__name__, "text": str(error), "remedy": error.remedy}
        json.dump(said, file)


def import_all() -> None:
    """Import what engines import late: nobody may be unable to read this machine's Python."""
    create_engine("sqlite://").connect().close()
    importlib.import_module("pyiceberg.catalog.sql")


def main(folder: Path) -> None:
    import_all()
    for name, make in SINKS.items():
        place = folder / name
        place.mkdir()
        open_sink = partial(make, str(place))
        if in_child(lambda: prepare(open_sink)):  # noqa: B023 - it ends before the next turn
            raise SystemExit(f"{name} could not be prepared")
        told = []
        for rights in ("a+rX,a-w", "a+rwX"):
            subprocess.run(["chmod", "-R", rights, str(place)], check=True)
            file = folder / f"{name}-{len(told)}.json"
            in_child(lambda: write(open_sink, file))  # noqa: B023 - likewise
            told.append(json.loads(file.read_text()))
        print(json.dumps([name, *told]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
