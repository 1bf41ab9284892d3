"""The sinks of lake formats in a pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import engine_options, sink_opener
from cdc_assets.open import build_resources
from resources.configurable import SinkResource
from resources.errors import ConfigError
from resources.sinks.delta import DeltaSink
from resources.sinks.iceberg import IcebergSink
from resources.sinks.paimon import PaimonSink
from resources.sinks.parquet import ParquetSink
from tests.settings.test_connect import settings_of

SOURCE = {"type": "sql", "url": "sqlite:///x.db", "tables": ["main.*"]}
STORAGE = {"endpoint": "https://s3.example.com", "region": "eu", "access_key_id": "me"}
SECRETS = {"secret_access_key": "${env:LAKE_SECRET}", "session_token": "${env:LAKE_TOKEN}"}


def test_a_delta_sink_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"LAKE_SECRET": "s@cret", "LAKE_TOKEN": "t@ken"}
    sink = {"type": "delta", "location": "s3://lake/x", "storage": {**STORAGE, **SECRETS}}
    sink |= {"types": {"decimal_overflow": "text"}}
    settings = settings_of(tmp_path, SOURCE, sink)
    resource = build_resources(settings)["a_sink"]
    assert "@" not in repr(settings) + repr(resource.options)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    given = SinkResource(kind="delta", options=resource.options).open()
    for opened in (sink_opener(settings.resolve(values))(), given):
        assert isinstance(opened, DeltaSink)
        named = {"secret_access_key": "s@cret", "session_token": "t@ken"}
        assert opened.store.options == {**STORAGE, **named}
        assert opened.store.root == "lake/x"
        assert opened.capabilities.decimal_precision == 76


def test_a_delta_sink_in_a_folder(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SOURCE, {"type": "delta", "location": str(tmp_path / "lake")})
    with sink_opener(settings)() as opened:
        assert isinstance(opened, DeltaSink)
        assert opened.store.root == str(tmp_path / "lake")
        assert opened.capabilities.refused_types == {"decimal256"}
    assert engine_options(settings).writers == 2


def test_a_parquet_sink_opens(tmp_path: Path) -> None:
    sink = {"type": "parquet", "location": "s3://lake/x", "storage": STORAGE, "parallel": 3}
    settings = settings_of(tmp_path, SOURCE, {**sink, "types": {"decimal_overflow": "text"}})
    options = build_resources(settings)["a_sink"].options
    given = SinkResource(kind="parquet", options=options).open()
    for opened in (sink_opener(settings)(), given):
        assert isinstance(opened, ParquetSink)
        assert opened.store.options == STORAGE
        assert opened.store.root == "lake/x"
        assert opened.capabilities.decimal_precision == 76
    assert engine_options(settings).writers == 3


def test_a_paimon_sink_opens(tmp_path: Path) -> None:
    sink = {"type": "paimon", "location": "s3://lake/w", "storage": STORAGE, "parallel": 3}
    sink |= {"buckets": 8, "daily_tags": 30, "merge_engine": "partial-update"}
    sink |= {"table_options": {"changelog-producer": "lookup"}}
    settings = settings_of(tmp_path, SOURCE, {**sink, "types": {"decimal_overflow": "text"}})
    options = build_resources(settings)["a_sink"].options
    given = SinkResource(kind="paimon", options=options).open()
    for opened in (sink_opener(settings)(), given):
        assert isinstance(opened, PaimonSink)
        assert opened.store.options == STORAGE
        assert opened.store.root == "lake/w"
        assert opened.capabilities.decimal_precision == 76
    assert engine_options(settings).writers == 3
    with pytest.raises(ConfigError, match="`bucket` in `table_options`"):
        settings_of(tmp_path, SOURCE, {**sink, "table_options": {"bucket": "4"}})


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ({"secret_access_key": "clear"}, "secret_access_key"),
        ({"session_token": "x${env:A}"}, "session_token"),
        ({"key": "x"}, "unknown key"),
    ],
)
def test_secrets_in_clear_text_are_refused(tmp_path: Path, storage: dict, said: str) -> None:
    sink = {"type": "delta", "location": "s3://lake/x", "storage": storage}
    with pytest.raises(ConfigError, match=said):
        settings_of(tmp_path, SOURCE, sink)


def test_an_iceberg_sink_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"LAKE_SECRET": "s@cret", "LAKE_TOKEN": "t@ken", "CATALOG": "c:@t"}
    catalog = {
        "type": "sql",
        "name": "shop",
        "url": "postgresql://me:${env:CATALOG}@db/catalog",
        "options": {"echo": "false"},
        "secrets": {"token": "${env:CATALOG}"},
    }
    sink = {"type": "iceberg", "location": "s3://lake/x", "storage": {**STORAGE, **SECRETS}}
    sink |= {"catalog": catalog, "types": {"decimal_overflow": "text"}}
    settings = settings_of(tmp_path, SOURCE, sink)
    resource = build_resources(settings)["a_sink"]
    shown = repr(settings) + repr(resource.options)
    assert not [value for value in values.values() if value in shown]
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    given = SinkResource(kind="iceberg", options=resource.options).open()
    for opened in (sink_opener(settings.resolve(values))(), given):
        assert isinstance(opened, IcebergSink)
        assert opened.store.options["secret_access_key"] == "s@cret"
        assert opened.capabilities.decimal_precision == 76
        known = opened.catalog.properties
        assert (known["uri"], known["token"]) == ("postgresql://me:c%3A%40t@db/catalog", "c:@t")
        assert (known["s3.endpoint"], known["s3.session-token"]) == (STORAGE["endpoint"], "t@ken")


def test_an_iceberg_sink_in_a_folder_has_its_catalog_there(tmp_path: Path) -> None:
    sink = {"type": "iceberg", "location": str(tmp_path / "lake")}
    with sink_opener(settings_of(tmp_path, SOURCE, sink))() as opened:
        assert isinstance(opened, IcebergSink)
        assert opened.catalog.properties["uri"].startswith(f"sqlite:///{tmp_path}/lake/catalog.db")
        assert opened.capabilities.refused_types == {"decimal256"}


@pytest.mark.parametrize(
    ("catalog", "said"),
    [
        ({}, "needs a `catalog`"),
        ({"url": "postgresql://me:secret@db/catalog"}, "clear text"),
        ({"type": "rest", "options": {"token": "x"}}, "put it under `secrets`"),
        ({"type": "rest", "secrets": {"token": "x"}}, "token"),
        ({"type": "hadoop"}, "hadoop|rest"),
    ],
)
def test_catalogs_that_are_refused(tmp_path: Path, catalog: dict, said: str) -> None:
    sink = {"type": "iceberg", "location": "s3://lake/x", "catalog": catalog}
    with pytest.raises(ConfigError, match=said):
        settings_of(tmp_path, SOURCE, sink)
