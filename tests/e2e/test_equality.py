"""Random changes by several writers, random kills of the runs: the tables end equal every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.e2e.equality import EXAMPLES, histories_end_equal


@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal(
    mysql_family: Any, tmp_path: Path, record_property: Any
) -> None:
    kills, transactions = histories_end_equal(
        *(mysql_family, tmp_path, "history"),
        lambda home, database: {},
        lambda setup, table: oracle.duckdb_rows(str(setup.lake), setup.database, table),
    )
    print(f"{mysql_family.name}: {EXAMPLES} histories, {kills} kills, {transactions} transactions")
    record_property("kills", kills)
