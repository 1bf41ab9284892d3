"""`existing` and `create_table` of a sink: what engine and sinks get, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import engine_options
from cdc_assets.engine.existing import Existing
from cdc_assets.settings import PipelineSettings, load_pipeline
from cdc_assets.sink_options import sink_options
from resources.errors import ConfigError
from tests.settings.files import MINIMAL, write

HEAD = MINIMAL.partition("sink:")[0]
SINKS = {
    "duckdb": "{type: duckdb, path: a.duckdb, %s}",
    "postgres": "{type: postgres, host: h, user: u, database: d, %s}",
    "mysql": "{type: mysql, host: h, user: u, %s}",
    "clickhouse": "{type: clickhouse, host: h, %s}",
    "delta": "{type: delta, location: lake, %s}",
    "iceberg": "{type: iceberg, location: lake, %s}",
    "paimon": "{type: paimon, location: lake, %s}",
    "parquet": "{type: parquet, location: lake, %s}",
    "kafka": "{type: kafka, bootstrap_servers: b, %s}",
    "memory": "{type: memory, %s}",
}
LAKES = {"delta", "iceberg", "paimon", "parquet"}
SQL = {"duckdb", "postgres", "mysql", "clickhouse"}


def load(folder: Path, kind: str, keys: str) -> PipelineSettings:
    """The pipeline of a file whose sink has some keys, on line 8."""
    loaded = load_pipeline(write(folder, f"{HEAD}sink: {SINKS[kind] % keys}\n"), {"PW": "x"})
    assert isinstance(loaded, PipelineSettings)
    return loaded


def problem(folder: Path, kind: str, keys: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, kind, keys)
    return str(caught.value)


@pytest.mark.parametrize("kind", SINKS)
def test_a_sink_takes_the_modes_it_has_and_refuses_others(tmp_path: Path, kind: str) -> None:
    keys = "existing: {table: ignore, rows: error}"
    if kind == "kafka":
        assert "8:43: sink.existing is an unknown key" in problem(tmp_path, kind, keys)
        return
    options = engine_options(load(tmp_path, kind, keys).resolve({"PW": "x"}))
    assert options.existing.table == "ignore" and options.existing.rows == "error"
    assert f"{tmp_path / 'pipeline.yaml'}:8:" in options.existing.where
    anew = "existing: {table: recreate}"
    if kind in LAKES:
        said = problem(tmp_path, kind, anew)
        assert "pipeline.yaml:8:" in said and "sink.existing.table" in said
        assert "create_if_missing, error, ignore" in said
    else:
        load(tmp_path, kind, anew)
        both = problem(tmp_path, kind, "existing: {table: recreate, rows: append}")
        assert "sink.existing `recreate` keeps no rows to append to" in both


@pytest.mark.parametrize("kind", SINKS)
def test_only_sinks_of_sql_take_statements(tmp_path: Path, kind: str) -> None:
    keys = 'create_table: [{tables: [a.*], template: "CREATE TABLE {table} ({columns})"}]'
    if kind not in SQL:
        assert "sink.create_table is an unknown key" in problem(tmp_path, kind, keys)
        return
    (rule,) = sink_options(load(tmp_path, kind, keys).sink, "shop")["create_table"]  # type: ignore[misc]
    assert (rule["tables"], rule["template"]) == (("a.*",), "CREATE TABLE {table} ({columns})")
    options = "create_table: [{options: TTL d + INTERVAL 1 DAY}]"
    if kind == "duckdb":
        assert "sink.create_table[0].options is an unknown key" in problem(tmp_path, kind, options)
    else:
        load(tmp_path, kind, options)


TEMPLATES = {
    "an unknown place": (
        "CREATE TABLE {table} ({columns}) TABLESPACE {space}",
        "names {space}; there are {table}, {columns}, {plain_columns}, {key}",
    ),
    "ClickHouse's place": (
        "CREATE TABLE {table} ({columns}) ENGINE = {engine}",
        "names {engine}; there are",
    ),
    "a form of a place": ("CREATE TABLE {table!r} ({columns})", "names {table}; there are"),
    "no name": ("CREATE TABLE x ({columns})", "must name {table} and {columns}"),
    "no columns": ("CREATE TABLE {table} (id int)", "must name {table} and {columns}"),
    "another statement": ("DROP TABLE {table} ({columns})", "does not begin with CREATE TABLE"),
    "a temporary table": (
        "CREATE TEMP TABLE {table} ({columns})",
        "does not begin with CREATE TABLE",
    ),
    "an open brace": ("CREATE TABLE {table} ({columns}) {", "has a brace without its like"),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_template_names_only_what_there_is(tmp_path: Path, case: str) -> None:
    text, words = TEMPLATES[case]
    said = problem(tmp_path, "postgres", f'create_table: [{{tables: [a.b], template: "{text}"}}]')
    assert "pipeline.yaml:8:" in said
    assert f"sink.create_table[0].template {words}" in said


def test_a_rule_is_a_template_or_options(tmp_path: Path) -> None:
    both = 'create_table: [{template: "CREATE TABLE {table} ({columns})", options: WITH (a = 1)}]'
    assert "create_table[0].options stands beside `template`" in problem(tmp_path, "mysql", both)
    said = problem(tmp_path, "mysql", "create_table: [{tables: [a.b]}]")
    assert "sink.create_table[0] says nothing of how tables are created" in said


def test_nothing_said_is_what_the_way_in_does(tmp_path: Path) -> None:
    options = engine_options(load(tmp_path, "memory", "").resolve({"PW": "x"}))
    assert options.existing.is_plain and options.existing == Existing(where=options.existing.where)
