"""Targets equal what the server itself makes of their sources by the same words, after random DML.

Rows are loaded by a snapshot in the middle of the changes, captured, merged by runs that are
killed, and compared with a SELECT on MySQL.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.engine.routing import Router
from cdc_assets.engine.transforms.rule import RowRule
from tests.e2e.feature_bench import SEEDS, Bench, run_history
from tests.e2e.features import COLUMNS, FEATURES, ROUTES, VALUES, feature
from tests.servers.family import FamilyServer


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_targets_are_what_the_server_makes_of_their_sources(
    mysql: FamilyServer, mysql_db: str, tmp_path: Path, seed: int
) -> None:
    options = {"router": Router(ROUTES, "all")}
    bench = Bench(mysql, mysql_db, tmp_path, FEATURES, options, COLUMNS, VALUES, seed)
    run_history(bench)


def test_a_row_that_must_not_be_stops_its_table_alone(
    mysql: FamilyServer, mysql_db: str, tmp_path: Path
) -> None:
    rules = (RowRule("never 13", "code", expression="code <> 13", on_fail="fail"),)
    features = (feature("guarded", rules=rules), feature("free"))
    bench = Bench(mysql, mysql_db, tmp_path, features, {}, COLUMNS, VALUES, 1)
    bench.execute(
        *(f"INSERT INTO {t} (id, code) VALUES (1, 1), (2, 2)" for t in bench.tables),
    )
    bench.load(*bench.tables)
    bench.execute(*(f"UPDATE {t} SET code = 13 WHERE id = 2" for t in bench.tables))
    for _ in range(2):  # it stays stopped, and nothing of the batch is in the target
        bench.execute(*(f"UPDATE {t} SET a = IFNULL(a, 0) + 1" for t in bench.tables))
        outcomes = bench.outcomes()
        assert outcomes["guarded"][0] == "stopped"
        assert "do not pass the rule never 13" in outcomes["guarded"][1]
        assert outcomes["free"][0] == "applied"
    assert {row["code"] for row in bench.target("guarded").to_pylist()} == {1, 2}
    assert {row["a"] for row in bench.target("guarded").to_pylist()} == {None}
    assert bench.target("free").to_pylist() == bench.select("SELECT * FROM free ORDER BY id")


def test_partition_keys_are_part_of_the_target_s_shape(
    mysql: FamilyServer, mysql_db: str, tmp_path: Path
) -> None:
    """No sink lays out files yet: this is what one will be given."""
    bench = Bench(mysql, mysql_db, tmp_path, FEATURES, {}, COLUMNS, VALUES, 1)
    with bench.pipeline() as pipeline:
        table = bench.table("computed")
        schema = pipeline.source.read_schemas([table])[table]
        transform = pipeline.options.transforms.transform(schema, append=False)
    assert transform is not None
    assert transform.partition_keys == ("month",)
