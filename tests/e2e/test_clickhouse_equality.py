"""Random changes and random kills with ClickHouse as the target: the tables end equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.clickhouse_types import from_storage
from resources.sinks.contract import TargetId
from tests import oracle
from tests.e2e import child
from tests.e2e.equality import histories_end_equal


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_clickhouse(mysql_family: Any, tmp_path: Path) -> None:
    def target(home: Path, database: str) -> dict[str, Any]:
        return {"clickhouse": str(home / "clickhouse")}

    histories_end_equal(mysql_family, tmp_path, "to_clickhouse", target, shown)


def shown(setup: child.Setup, table: str) -> list[tuple[Any, ...]]:
    """What the view with FINAL shows."""
    target = TargetId(setup.database, table)
    with ClickHouseSink(setup.clickhouse) as sink:
        schema = sink.read_schema(target)
        query = f"SELECT * FROM `{target.namespace}`.`{target.table}_final`"
        return oracle.plain_rows(from_storage(sink._server.select(query, str(target)), schema))
