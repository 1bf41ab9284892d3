"""Random changes and random kills with a lake's tables as the target: others read equal tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resources.sinks.contract import TargetId
from resources.sinks.lake_types import from_storage
from tests import oracle
from tests.contracts.lake_case import LakeRoom
from tests.e2e import child
from tests.e2e.equality import histories_end_equal
from tests.sinks.delta_room import DeltaRoom
from tests.sinks.iceberg_room import IcebergRoom
from tests.sinks.paimon_room import PaimonRoom
from tests.sinks.parquet_room import ParquetRoom

ROOMS = {
    "delta": DeltaRoom(),
    "iceberg": IcebergRoom(),
    "paimon": PaimonRoom(),
    "parquet": ParquetRoom(),
}


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ROOMS)
def test_random_dml_with_kills_ends_equal_in_a_lake(
    mysql_family: Any, tmp_path: Path, kind: str
) -> None:
    def target(home: Path, database: str) -> dict[str, Any]:
        return {kind: str(home / "lake")}

    def rows(setup: child.Setup, table: str) -> list[tuple[Any, ...]]:
        return read_by_others(ROOMS[kind], getattr(setup, kind), TargetId(setup.database, table))

    histories_end_equal(mysql_family, tmp_path, f"to_{kind}", target, rows)


def read_by_others(room: LakeRoom, place: str, target: TargetId) -> list[tuple[Any, ...]]:
    """Read a table as plain values by a reader of other people."""
    with room.make(place) as sink:
        schema = sink.read_schema(target)
        read = room.others(sink, target)
    assert schema is not None
    return oracle.plain_rows(from_storage(read, schema)) if read.num_rows else []
