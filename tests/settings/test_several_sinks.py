"""`sinks` of a pipeline file: a member for each, one change log, and errors with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import engine_options
from cdc_assets.open import build_resources, opened
from cdc_assets.settings import PipelineFile, load_pipeline
from cdc_assets.settings_parts import same_log, same_sink
from resources.errors import ConfigError
from resources.model.table import TableId
from tests.scripted import scripted_schema
from tests.settings.files import write

SOURCE = "source: {type: mysql, host: h, user: u, password: '${env:PW}', tables: [shop.*]}\n"
LAKE = "  lake: {type: duckdb, path: lake.duckdb}\n"
EVENTS = (
    "  events: {type: kafka, bootstrap_servers: 'k:9092', security: sasl_ssl, user: u, "
    "password: '${env:KAFKA_PW}'}\n"
)
TWO = f"name: shop\n{SOURCE}sinks:\n{LAKE}{EVENTS}"
EU_US = (
    "tables: [shop.*]\nsources:\n"
    "  eu: {type: mysql, host: eu, user: u, password: '${env:PW}'}\n"
    "  us: {type: mysql, host: us, user: u, password: '${env:PW}'}\n"
)


def load(folder: Path, text: str) -> PipelineFile:
    return load_pipeline(write(folder, text), {"CDC_HOME": str(folder)})


def test_each_sink_is_a_pipeline_of_its_own_on_one_change_log(tmp_path: Path) -> None:
    file = load(tmp_path, TWO)
    lake, events = file.members()
    assert [m.name for m in (lake, events)] == ["shop__lake", "shop__events"]
    assert [m.sink.type for m in (lake, events)] == ["duckdb", "kafka"]
    assert {m.log_name for m in (lake, events)} == {"shop"}
    assert {m.pipeline.change_log for m in (lake, events)} == {str(tmp_path / ".cdc/shop")}
    assert same_log(lake) == (events,) and same_sink(lake) == ()
    assert lake.table_key(TableId("shop", "a")) == ["shop", "lake", "shop", "a"]
    assert lake.config_hash() != events.config_hash()
    resources = build_resources(file)
    assert set(resources) == {
        "shop__lake_sink", "shop__events_sink", "shop__lake_dirty_rows", "shop__events_dirty_rows",
    }  # fmt: skip


def test_sources_and_sinks_together_are_every_pair_and_a_log_per_source(tmp_path: Path) -> None:
    file = load(tmp_path, f"name: shop\n{EU_US}sinks:\n{LAKE}{EVENTS}")
    members = file.members()
    assert [(m.name, m.log_name) for m in members] == [
        ("shop__eu__lake", "shop__eu"), ("shop__eu__events", "shop__eu"),
        ("shop__us__lake", "shop__us"), ("shop__us__events", "shop__us"),
    ]  # fmt: skip
    assert [m.pipeline.change_log for m in members[:3:2]] == [
        str(tmp_path / ".cdc/shop/eu"), str(tmp_path / ".cdc/shop/us"),
    ]  # fmt: skip
    assert [m.name for m in same_sink(members[0])] == ["shop__us__lake"]
    assert [m.name for m in same_log(members[0])] == ["shop__eu__events"]


def test_a_sink_needs_no_secret_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, events = load(tmp_path, TWO).members()
    env = {"PW": "x"}
    assert engine_options(lake.resolve(env)).append == ()
    with pytest.raises(ConfigError, match=r"pipeline.yaml:5:\d+: environment variable KAFKA_PW"):
        events.resolve(env)
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.setenv("PW", "x")
    with opened(lake, "run", joins=False) as pipeline:
        assert (pipeline.name, pipeline.log_name) == ("shop__lake", "shop")
        assert pipeline.siblings == ("shop__events",)


def test_whichever_sink_captures_the_log_has_what_every_other_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.setenv("PW", "x")
    lake, _ = load(tmp_path, TWO).members()
    schema = scripted_schema(TableId("shop", "a"))
    assert engine_options(lake.resolve()).watched(schema) == ()
    with opened(lake, "run", joins=False) as pipeline:
        # Topics show rows as they were before an update.
        assert set(pipeline.source._watched(schema)) == set(schema.names)  # type: ignore[attr-defined]


CASES = {
    "neither": (f"name: a\n{SOURCE}", "1:1: sink is required"),
    "both": (
        TWO + "sink: {type: memory}\n",
        "4:3: sinks cannot stand beside `sink`: name that one here",
    ),
    "a name": (
        TWO.replace("  lake", "  Lake"),
        "4:3: sinks.Lake must be named by lower-case letters",
    ),
    "an unknown key": (
        TWO.replace("path: lake.duckdb", "pth: lake.duckdb, path: b"),
        "4:24: sinks.lake.pth is an unknown key; did you mean `path`?",
    ),
    "an unknown type": (
        TWO.replace("type: duckdb", "type: duckdbb"),
        "4:16: sinks.lake.type is not one of its values; did you mean `duckdb`?",
    ),
    "one place twice": (
        TWO + LAKE.replace("lake:", "more:"),
        "6:30: sinks.more.path is where `lake` is too",
    ),
    "one state topic twice": (
        TWO + EVENTS.replace("events:", "more:").replace("}}\n", "}, topic: x}\n"),
        "sinks.more.state_topic is where `events` is too",
    ),
    "a clear password": (
        TWO.replace("${env:KAFKA_PW}", "geheim"),
        "sinks.events.password must be exactly one environment reference",
    ),
    "too little patience": (
        TWO + "pipeline: {retention: {change_log: 7d, lagging: 1d}}\n",
        "6:49: pipeline.retention.lagging must not be less than `change_log`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_problems_have_their_line(case: str, tmp_path: Path) -> None:
    text, expected = CASES[case]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert expected in str(caught.value)
    assert " problems\n" not in str(caught.value), "one mistake is one problem"
    assert "geheim" not in str(caught.value)
