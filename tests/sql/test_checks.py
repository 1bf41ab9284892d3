"""Refusals, warnings, errors without secrets, marks for sensors."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from resources.errors import ConfigError, NotBuiltYet, SchemaMismatch, SourceUnavailable
from resources.model.position import PollPosition
from resources.model.table import TableId
from resources.sql.marks import poll_marks
from resources.sql.source import SqlPollingSource
from tests.servers.process import free_port
from tests.sql.conftest import Place

SECRET = "canary-7c1f"


def codes(source: SqlPollingSource) -> dict[str, str]:
    return {f.table.table if f.table else "": f.code for f in source.check()}


def test_refusals_name_table_column_and_remedy(place: Place) -> None:
    place.create()
    place.run("CREATE TABLE plain (id INT PRIMARY KEY, a INT)") if place.kind != "sqlite" else None
    place.run("CREATE TABLE words (w VARCHAR(9) PRIMARY KEY)")
    place.run("CREATE TABLE pair (a INT, b INT, PRIMARY KEY (a, b))")
    source = place.source(prove_gaps=False)
    found = codes(source)
    found.pop("", None)
    expected = {"words": "no_auto_increment", "pair": "no_auto_increment"}
    if place.kind != "sqlite":
        expected["plain"] = "no_auto_increment"
    assert found == expected
    assert all(f.remedy and str(f.table) in f.message for f in source.check() if f.table)
    assert [t.table for t in source.read_schemas(source.list_tables())] == ["t"]


def test_types_without_counterpart(on_postgres: Place) -> None:
    on_postgres.create("loose", "n NUMERIC")
    on_postgres.create("many", "a INT[]")
    on_postgres.create("span", "i INTERVAL")
    on_postgres.create("negative", "n NUMERIC(5,-2)")
    source = on_postgres.source()
    assert set(codes(source).values()) == {"unsupported_type"}
    loose = next(f for f in source.check() if "loose.n" in f.message)
    assert "numeric(p,s)" in loose.message and "view" in loose.remedy


def test_a_view_that_casts_is_the_way_out(on_postgres: Place) -> None:
    on_postgres.create("loose", "n NUMERIC")
    on_postgres.run(
        "CREATE VIEW tight AS SELECT id, CAST(n AS NUMERIC(20,2)) AS n FROM loose",
        "INSERT INTO loose (n) VALUES (1.5), (2.5)",
    )
    source = on_postgres.source("public.tight", keys={"public.tight": "id"}, grace_seconds=0.0)
    assert {f.code for f in source.check()} == {"gap_grace"}
    (part,) = source.stream_changes(PollPosition(), source.current_position(), lambda: False)
    assert [row["n"] for row in part.batches[0].rows.to_pylist()] == [1.5, 2.5]


def test_declared_key_has_to_be_unique(place: Place) -> None:
    place.run("CREATE TABLE k (id INT, u INT UNIQUE, w VARCHAR(9) PRIMARY KEY)")
    name = f"{place.schema}.k"
    assert "key_not_unique" in codes(place.source(name, keys={name: "id"})).values()
    assert set(codes(place.source(name, keys={name: "u"})).values()) == {"gap_grace"}
    assert "no_auto_increment" in codes(place.source(name, keys={name: "w"})).values()


def test_patterns(place: Place) -> None:
    for table in ("orders_1", "orders_2", "users"):
        place.create(table)
    name = place.schema
    listed = place.source(f"{name}.orders_*", exclude=[f"{name}.*_2"]).list_tables()
    assert listed == [TableId(name, "orders_1")]
    (finding,) = place.source(f"{name}.nothing*").check()
    assert (finding.code, finding.level) == ("no_tables", "error")
    with pytest.raises(ConfigError, match="names no schema"):
        place.source("orders")


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "postgresql+psycopg"])
def test_server_that_is_not_there(scheme: str) -> None:
    url = f"{scheme}://u:{SECRET}@127.0.0.1:{free_port()}/d"
    source = SqlPollingSource(url, pipeline="p", include=["d.*"])
    with pytest.raises(SourceUnavailable) as caught:
        source.identity()
    shown = f"{caught.value} {caught.value!r} {source!r} {pickle.dumps(caught.value)!r}"
    assert SECRET not in shown
    assert caught.value.remedy and caught.value.where
    assert caught.value.__cause__ is None


def test_wrong_password(proving: Place) -> None:
    user = "root" if proving.kind != "postgres" else "postgres"
    url = proving.url.replace("root-secret-pw", SECRET)
    assert SECRET in url
    source = SqlPollingSource(url, pipeline="p", include=["d.*"], connect_args=proving.connect_args)
    with pytest.raises(ConfigError) as caught:
        source.identity()
    assert SECRET not in f"{caught.value} {source!r}" and user in str(caught.value)


@pytest.mark.parametrize(
    "url", [f"sqlite:///no/such/{SECRET}.db", "sqlite://", f"://u:{SECRET}@h", "oracle://u:p@h/d"]
)
def test_urls_that_cannot_be_used(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SqlPollingSource(url, pipeline="p", include=["main.*"])
    assert caught.value.remedy or isinstance(caught.value, NotBuiltYet)
    if "sqlite" not in url:
        assert SECRET not in str(caught.value)


def test_dropped_column_is_a_mismatch(place: Place) -> None:
    place.create(columns="a INT, b INT")
    session = place.session()
    session.insert(3)
    session.commit()
    source = place.source(page_rows=1)
    stream = source.stream_changes(PollPosition(), source.current_position(), lambda: False)
    next(stream)
    place.run("ALTER TABLE t DROP COLUMN b")
    with pytest.raises(SchemaMismatch):
        list(stream)
    rows = sum(
        part.rows
        for part in source.stream_changes(PollPosition(), source.current_position(), lambda: False)
    )
    assert rows == 3


def test_marks_of_many_tables(on_sqlite: Place) -> None:
    tables = [f"t{number}" for number in range(230)]
    for table in tables:
        on_sqlite.create(table)
    session = on_sqlite.session()
    session.insert(3, "t7")
    session.commit()
    keys = on_sqlite.source().keys()
    assert len(keys) == 230
    marks = poll_marks(on_sqlite.url, keys)
    assert marks == {f"main.{table}": 3 if table == "t7" else None for table in tables}
    assert len(poll_marks(on_sqlite.url, keys, budget_seconds=-1.0)) == 0


def test_marks_on_servers(proving: Place) -> None:
    proving.create()
    session = proving.session()
    session.insert(3)
    marks = poll_marks(proving.url, proving.source().keys(), connect_args=proving.connect_args)
    assert marks == {f"{proving.schema}.t": None}
    session.commit()
    marks = poll_marks(proving.url, proving.source().keys(), connect_args=proving.connect_args)
    assert marks == {f"{proving.schema}.t": 3}
