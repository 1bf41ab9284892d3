"""The Kafka sink in a pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import engine_options, sink_opener
from cdc_assets.open import build_resources
from resources.errors import ConfigError
from resources.model.table import TableId
from resources.sinks.kafka import KafkaSink
from tests.settings.test_connect import settings_of

SOURCE = {"type": "sql", "url": "sqlite:///x.db", "tables": ["main.*"]}
SINK = {"type": "kafka", "bootstrap_servers": "k:9093"}
LOGIN = {"security": "sasl_ssl", "user": "cdc", "password": "${env:PW}"}


def test_a_kafka_sink_opens_and_every_table_is_a_log(tmp_path: Path) -> None:
    sink = {**SINK, **LOGIN, "ca": "ca.pem", "replication": 3, "topic_config": {"a.b": "c"}}
    settings = settings_of(tmp_path, SOURCE, sink)
    assert "p@ss" not in repr(build_resources(settings)["a_sink"].options)
    resolved = settings.resolve({"PW": "p@ss"})
    options = engine_options(resolved)
    assert options.appends(TableId("any", "table"))
    assert options.is_loaded(TableId("any", "table"))
    assert options.before_images
    with sink_opener(resolved)() as opened:
        assert isinstance(opened, KafkaSink)
        cluster = opened._place.cluster
        assert (cluster.servers, cluster.partitions, cluster.replication) == ("k:9093", -1, 3)
        assert cluster.topic_config == {"a.b": "c"}
        assert "p@ss" not in repr(cluster)
        assert cluster.client == {
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "cdc",
            "sasl.password": "p@ss",
            "ssl.ca.location": str(Path("ca.pem").resolve()),
        }


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({"bootstrap_servers": ""}, "bootstrap_servers"),
        ({"security": "sasl_ssl"}, "needs `user` and `password`"),
        ({"user": "cdc", "password": "${env:PW}"}, "needs `user` and `password`"),
        ({**LOGIN, "password": "clear"}, "password"),
        ({"security": "plaintext", "ca": "ca.pem"}, "`security: plaintext` has no `ca`"),
        ({"format": "canal-json", "schemas": True}, "only debezium-json has `schemas`"),
    ],
)
def test_what_a_kafka_sink_needs(tmp_path: Path, sink: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_of(tmp_path, SOURCE, {**SINK, **sink})


def test_templates_of_topics_know_database_and_table(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SOURCE, {**SINK, "topic": "{schema}.x"})
    with pytest.raises(ConfigError, match="cannot be a template"):
        sink_opener(settings)()
