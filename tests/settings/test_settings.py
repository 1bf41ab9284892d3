"""Good pipeline files: values, defaults, environment, identity."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cdc_assets.settings import (
    PipelineSettings,
    load_pipeline,
    load_pipelines,
    pipelines_folder,
    state_url,
)
from resources.errors import ConfigError
from tests.settings.files import MINIMAL, minimal, write

ROOT = Path(__file__).parents[2]


def test_examples_load_together() -> None:
    loaded = load_pipelines(ROOT / "examples", {})
    names = [
        "customers",
        "delta_lake",
        "events",
        "iceberg_lake",
        "ledger",
        "paimon_lake",
        "parquet_files",
        "past",
        "regions",
        "shards",
        "shop",
        "shop_clickhouse",
        "shop_kafka",
        "shop_replica",
        "shop_twice",
        "wiki",
    ]
    assert [p.name for p in loaded] == names
    (
        customers,
        lake,
        events,
        iceberg,
        ledger,
        paimon,
        files,
        _,
        regions,
        shards,
        shop,
        clickhouse,
        events_out,
        replica,
        twice,
        wiki,
    ) = loaded
    assert [m.name for m in twice.members()] == ["shop_twice__lake", "shop_twice__files"]
    assert (files.sink.type, files.sink.location) == ("parquet", "s3://lake/files")
    assert (paimon.sink.buckets, paimon.sink.daily_tags) == (4, 30)
    assert (clickhouse.sink.type, events_out.sink.type) == ("clickhouse", "kafka")
    assert (replica.sink.type, replica.sink.max_connections) == ("mysql", 8)
    assert shop.source.host == "127.0.0.1"
    assert shop.source.exclude == ("*.*_tmp", "*._*_gho")
    assert shop.source.snapshot.chunk_rows == 50_000
    assert shop.pipeline.append == ("shop.audit_*",)
    assert wiki.sink.memory_limit == 2 << 30
    assert (lake.sink.location, lake.sink.history) == ("s3://lake/shop", 14 * 86400)
    assert lake.transform[0].partition_keys == ("day",)
    assert iceberg.sink.catalog.url is not None
    assert events.source.grace == 600
    assert shards.route[0].shard.in_key
    assert [m.name for m in regions.members()] == ["regions__eu", "regions__us", "regions__asia"]
    assert customers.transform[0].mask["phone"].keep_last == 2
    assert ledger.pipeline.schema_changes.events["drop_column"] == "hold"
    missing = [name for p in loaded for name, _ in p.missing_secrets({})]
    assert missing == [
        "SHOP_PASSWORD", "MASK_KEY", "SHOP_PASSWORD", "LAKE_SECRET", "EVENTS_PASSWORD",
        "SHOP_PASSWORD", "CATALOG_PASSWORD", "LAKE_SECRET", "LEDGER_PASSWORD",
        "SHOP_PASSWORD", "LAKE_SECRET", "SHOP_PASSWORD", "LAKE_SECRET",
        "EU_PASSWORD", "US_PASSWORD", "ASIA_PASSWORD",
        "SHARDS_PASSWORD", "SHOP_PASSWORD", "SHOP_PASSWORD", "SHOP_PASSWORD", "SHOP_PASSWORD",
        "REPORTS_PASSWORD", "SHOP_PASSWORD", "WIKI_PASSWORD",
    ]  # fmt: skip


def test_the_packaged_folder_loads() -> None:
    assert load_pipelines(pipelines_folder({}), {}) == []
    assert pipelines_folder({"CDC_PIPELINES": "/x"}) == Path("/x")


def test_a_minimal_file_has_defaults(tmp_path: Path) -> None:
    settings = load_pipeline(write(tmp_path, MINIMAL), {"CDC_HOME": "/home/cdc"})
    assert settings.source.tls.mode == "verify"
    assert settings.source.snapshot.parallel == 4
    assert settings.pipeline.window == "day"
    assert settings.pipeline.follow_for == 0
    assert settings.pipeline.segment_bytes == 256_000_000
    assert settings.pipeline.retention.change_log == 7 * 86400
    assert settings.pipeline.change_log == "/home/cdc/.cdc/shop"
    assert settings.sink.path == "/home/cdc/shop.duckdb"
    assert settings.dirty_data.zero_dates == "dirty"
    assert settings.rate.rows_per_second is None


def test_paths_are_below_the_working_directory(tmp_path: Path, monkeypatch) -> None:
    file = write(tmp_path / "files", MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert load_pipeline(file, {}).sink.path == str(tmp_path / "shop.duckdb")


def test_a_url_is_no_path(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + "pipeline: {change_log: 's3://lake/cdc'}\n")
    assert load_pipeline(file, {}).pipeline.change_log == "s3://lake/cdc"


def test_words_that_yaml_1_1_takes_for_others(tmp_path: Path) -> None:
    text = minimal(source={"tls": None}).replace("tls: null", "tls: {mode: off}")
    text += "dirty_data: {zero_dates: null}\nrate:\n"
    settings = load_pipeline(write(tmp_path, text), {})
    assert settings.source.tls.mode == "off"
    assert settings.dirty_data.zero_dates == "null"


def test_plain_values_come_from_the_environment(tmp_path: Path) -> None:
    text = minimal(source={"port": "${env:PORT}", "host": "db-${env:ZONE:-a}"})
    settings = load_pipeline(write(tmp_path, text), {"PORT": "3307"})
    assert (settings.source.port, settings.source.host) == (3307, "db-a")
    assert settings.source.server == "db-a:3307"


def test_secrets_are_read_when_resolved(tmp_path: Path) -> None:
    settings = load_pipeline(write(tmp_path, MINIMAL), {})
    [(name, where)] = settings.missing_secrets({})
    assert name == "PW"
    assert where.endswith("pipeline.yaml:6:13")
    with pytest.raises(ConfigError, match=r"pipeline\.yaml:6:13: .* PW is not set"):
        settings.resolve({})
    resolved = settings.resolve({"PW": "pässwörd"})
    assert resolved.source.password.get_secret_value() == "pässwörd"
    assert settings.source.password.get_secret_value() == "${env:PW}"
    assert resolved.config_hash() == settings.config_hash()


@pytest.mark.parametrize(
    ("url", "env", "resolved", "server"),
    [
        (
            "postgresql+psycopg://u:${env:PW}@h/db",
            {"PW": "p@/:?#%é"},
            "postgresql+psycopg://u:p%40%2F%3A%3F%23%25%C3%A9@h/db",
            "postgresql://h/db",
        ),
        (
            "postgresql://h/db?password=${env:PW}",
            {"PW": "a&b"},
            "postgresql://h/db?password=a%26b",
            "postgresql://h/db",
        ),
        (
            "postgresql://u@${env:H}:5/db",
            {"H": "h"},
            "postgresql://u@h:5/db",
            "postgresql://H:5/db",
        ),
        ("${env:URL}", {"URL": "mysql+pymysql://u:p@h/d"}, "mysql+pymysql://u:p@h/d", "URL"),
        ("sqlite:///data/x.db", {}, "sqlite:///data/x.db", "sqlite:///data/x.db"),
        ("${env:URL:-sqlite:///x.db}", {}, "sqlite:///x.db", "URL"),
    ],
)
def test_urls(tmp_path: Path, url: str, env: dict, resolved: str, server: str) -> None:
    source = {"type": "sql", "url": url, "tables": ["public.*"]}
    text = yaml.safe_dump({"name": "a", "source": source, "sink": {"type": "memory"}})
    settings = load_pipeline(write(tmp_path, text), {})
    assert settings.source.server == server
    assert settings.resolve(env).source.url.get_secret_value() == resolved


def test_a_server_has_one_name_however_it_is_written(tmp_path: Path) -> None:
    address = {"type": "mysql", "tables": ["a.b"]}
    written = [
        {"host": "db", "user": "u"},
        {"url": "mysql://u:${env:PW}@db"},
        {"url": "mysql://v:${env:OTHER}@db:3306/"},
    ]
    names = set()
    for extra in written:
        data = {"name": "a", "source": address | extra, "sink": {"type": "memory"}}
        names.add(load_pipeline(write(tmp_path, yaml.safe_dump(data)), {}).source.server)
    assert names == {"db:3306"}


def test_the_hash_follows_what_shapes_the_data(tmp_path: Path) -> None:
    def config_hash(text: str) -> str:
        return load_pipeline(write(tmp_path, text), {}).config_hash()

    base = config_hash(MINIMAL)
    same = [
        minimal(source={"host": "other", "tables": ["shop.*", "shop.*"], "read_timeout": "1h"}),
        MINIMAL + "description: x\nowners: [a@b.cd]\nrate: {rows_per_second: 5}\n",
        MINIMAL + "pipeline: {follow_for: 10m, sensor_interval: 1h, change_log: /x}\n",
        MINIMAL + "dirty_data: {max_rows: 1}\n",
        MINIMAL + "route: []\ntransform:\npipeline: {schema_changes: lenient, reread: false}\n",
    ]
    other = [
        minimal(source={"tables": ["shop.a*"]}),
        minimal(source={"exclude": ["shop.b"]}),
        minimal(source={"type": "mariadb"}),
        minimal(source={"startup": "latest"}),
        minimal(source={"startup": {"file": "binlog.000003"}}),
        minimal(source={"stop_at": {"file": "binlog.000003"}}),
        MINIMAL.replace("name: shop", "name: shop2"),
        MINIMAL + "pipeline: {append: [shop.c]}\n",
        MINIMAL + "pipeline: {window: hour}\n",
        MINIMAL + "dirty_data: {zero_dates: 'null'}\n",
        minimal(sink={"types": {"decimal_overflow": "text"}}),
        MINIMAL + "route: [{source: a.b, target: c.d}]\n",
        MINIMAL + "route: [{source: a.b, target: c.d, merge: true}]\n",
        MINIMAL + "transform: [{source: a.b, filter: x > 1}]\n",
        MINIMAL + "transform: [{source: a.b, mask: {x: redact}}]\n",
        MINIMAL + "transform: [{source: a.b, mask: {x: email}}]\n",
        MINIMAL + "pipeline: {schema_changes: evolve}\n",
        MINIMAL + "pipeline: {schema_changes: {events: {drop_column: hold}}}\n",
        MINIMAL + "pipeline: {target: 'dw.{table}'}\n",
        MINIMAL + "pipeline: {match_routes: all}\n",
        MINIMAL + "pipeline: {type_mapping: [to-nullable]}\n",
    ]
    assert {config_hash(text) for text in same} == {base}
    hashes = [config_hash(text) for text in other]
    assert len({base, *hashes}) == len(other) + 1


def test_the_capture_filter_ignores_order(tmp_path: Path) -> None:
    one = minimal(source={"tables": ["b.*", "a.*"], "exclude": ["a.x", "a.y"]})
    two = minimal(source={"tables": ["a.*", "b.*", "a.*"], "exclude": ["a.y", "a.x"]})
    filters = {load_pipeline(write(tmp_path, text), {}).capture_filter() for text in (one, two)}
    assert filters == {'{"include":["a.*","b.*"],"exclude":["a.x","a.y"]}'}


def test_settings_travel_between_processes(tmp_path: Path) -> None:
    settings = load_pipeline(write(tmp_path, MINIMAL), {})
    for copied in (pickle.loads(pickle.dumps(settings)), copy.deepcopy(settings)):
        assert copied == settings
        assert copied.where("source", "host") == settings.where("source", "host")
    with pytest.raises(ValueError, match="frozen"):
        settings.name = "other"  # type: ignore[misc]


def test_state_url() -> None:
    assert state_url({"CDC_STATE": "postgresql://x"}) == "postgresql://x"
    assert state_url({"CDC_HOME": "/home/cdc"}) == "sqlite:////home/cdc/.cdc/state.db"
    assert state_url({}) == f"sqlite:///{Path.cwd()}/.cdc/state.db"


def test_a_thousand_tables_take_no_more_than_their_share(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        text = minimal(source={"tables": [f"shop.table_{i:04d}" for i in range(count)]})
        file = write(tmp_path, text)
        runs = []
        for _ in range(3):
            started = time.thread_time()
            assert len(load_pipeline(file, {}).source.tables) == count
            runs.append(time.thread_time() - started)
        return min(runs)

    assert seconds(1000) < 40 * seconds(50), "a share would be 20 times"


def test_importing_the_settings_brings_nothing_heavy() -> None:
    heavy = "pandas numpy sqlalchemy duckdb pyarrow dagster pymysql fsspec"
    code = (
        "import sys, cdc_assets.settings, cdc_assets.naming, cdc_assets.connect\n"
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_model_built_in_code_has_no_file() -> None:
    data = yaml.safe_load(MINIMAL)
    settings = PipelineSettings.model_validate(data)
    assert settings.file == ""
    assert settings.where("source", "password") == "source.password"
    assert settings.pipeline.change_log == str(Path.cwd() / ".cdc" / "shop")
