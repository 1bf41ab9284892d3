"""`type_mapping` on a real server: a mapped column has the source's values, or a row is set aside.

In: random changes, loads and kills as for all features. Out: nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from cdc_assets.engine.routing import Router, RouteRule
from resources.sinks.contract import TargetId
from tests.e2e.feature_bench import SEEDS, Bench, run_history
from tests.e2e.features import feature
from tests.servers.family import FamilyServer

COLUMNS = {
    "id": "INT PRIMARY KEY",
    "code": "INT NOT NULL UNIQUE",
    "flag": "TINYINT(1) NOT NULL",
    "u": "BIGINT UNSIGNED",
    "c": "CHAR(5)",
    "l": "LONGTEXT",
    "d": "DECIMAL(12,4)",
    "day": "DATE",
    "t": "DATETIME(6)",
    "f": "DOUBLE",
    "e": "ENUM('x','y')",
    "bin": "VARBINARY(8)",
}
VALUES: Mapping[str, Callable[[random.Random], str]] = {
    "flag": lambda r: r.choice(("0", "1", "1", "0", "2")),
    "u": lambda r: r.choice(("NULL", "0", "9223372036854775807", "9223372036854775808")),
    "c": lambda r: r.choice(("NULL", "''", "'ä'", "'abcde'")),
    "l": lambda r: r.choice(("NULL", "'\u2603 long'", "REPEAT('ü', 2000)")),
    "d": lambda r: r.choice(("NULL", "0", "-0.5", "12345678.9012")),
    "day": lambda r: r.choice(("NULL", "'1000-01-01'", "'9999-12-31'")),
    "t": lambda r: r.choice(("NULL", "'2026-01-02 03:04:05'", "'2026-01-02 03:04:05.120000'")),
    "f": lambda r: r.choice(("NULL", "0.1", "-2.5", "12345.678")),
    "e": lambda r: r.choice(("NULL", "'x'", "'y'")),
    "bin": lambda r: r.choice(("NULL", "x'00ff'", "''")),
}
MAPPINGS = (
    (
        ("tinyint1-to-bool", "bigint-unsigned-to-bigint", "longtext-to-bytes", "char-to-string"),
        "id, code, flag, CAST(u AS SIGNED) u, c, CAST(l AS BINARY) l, d, day, t, f, e, bin",
        "flag > 1 OR u > 9223372036854775807",
        {"flag": pa.bool_(), "u": pa.int64(), "c": pa.string(), "l": pa.large_binary()},
    ),
    (
        ("to-string", "to-nullable"),
        "CONCAT(id) id, CONCAT(code) code, CONCAT(flag) flag, CONCAT(u) u, c, l, CONCAT(d) d, "
        "CONCAT(day) day, IF(MICROSECOND(t), TRIM(TRAILING '0' FROM t), DATE_FORMAT(t, "
        "'%Y-%m-%d %H:%i:%s')) t, CONCAT(f) f, e, bin",
        "FALSE",
        dict.fromkeys(("id", "flag", "u", "d", "day", "t", "f", "e"), pa.string()),
    ),
)


@pytest.mark.parametrize(
    ("mappings", "select", "aside", "types"), MAPPINGS, ids=["other types", "texts"]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_mapped_types_have_the_source_s_values(
    mysql: FamilyServer,
    mysql_db: str,
    tmp_path: Path,
    seed: int,
    mappings: tuple[str, ...],
    select: str,
    aside: str,
    types: Mapping[str, pa.DataType],
) -> None:
    """The routes are those of a file that takes the first rule that means a table."""
    features = (
        feature("mapped", select, aside=aside, targets=("{db}.ods_mapped",)),
        feature("first_x", select, aside=aside, targets=("dw.as_x",)),
    )
    routes = (RouteRule(("*.first_?",), "dw.as_{2}"), RouteRule(("*.first_x",), "dw.second"))
    router = Router(routes, "first", table="ods_{table}")
    options = {"type_mapping": mappings, "router": router}
    bench = Bench(mysql, mysql_db, tmp_path, features, options, COLUMNS, VALUES, seed)
    run_history(bench)
    found = bench.target("ods_mapped")
    assert {name: found.schema.field(name).type for name in types} == types
    with bench.sink() as sink:
        assert sink.read_schema(TargetId("dw", "second")) is None, "the first rule decides"


def test_a_row_that_has_no_place_in_the_target_leaves_it_all_the_same(
    mysql: FamilyServer, mysql_db: str, tmp_path: Path
) -> None:
    """What a deleted row had beside its key is of no interest."""
    options = {"type_mapping": ("bigint-unsigned-to-bigint",)}
    columns = {name: COLUMNS[name] for name in ("id", "code", "u")}
    bench = Bench(mysql, mysql_db, tmp_path, (feature("t"),), options, columns, VALUES, 1)
    bench.execute("INSERT INTO t VALUES (1, 1, 5), (2, 2, 5), (3, 3, 5)")
    bench.load("t")
    bench.execute("UPDATE t SET u = 9223372036854775808 WHERE id < 3")
    bench.sync()
    with bench.pipeline() as pipeline:
        assert pipeline.dirty.count_open() == 2
    bench.execute("DELETE FROM t WHERE id = 1", "UPDATE t SET id = 4, u = 6 WHERE id = 2")
    bench.sync()
    assert sorted(row["id"] for row in bench.target("t").to_pylist()) == [3, 4]
    bench.check()
