"""Settings of a sink -> arguments of its resource, the one list of sinks the project opens by.

In: the `sink` section. Out: keyword arguments of the sink's class (`registry.open_sink`), and how
many writers the engine may run on it. No driver is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_assets.settings_clickhouse import ClickHouseSinkSettings, clickhouse_options
from cdc_assets.settings_iceberg import IcebergSinkSettings, iceberg_options
from cdc_assets.settings_kafka import KafkaSinkSettings, kafka_options
from cdc_assets.settings_lake import DeltaSinkSettings, ParquetSinkSettings, lake_options
from cdc_assets.settings_mysql_sink import MySQLSinkSettings, mysql_options
from cdc_assets.settings_paimon import PaimonSinkSettings, paimon_options
from cdc_assets.settings_sink import DuckDBSinkSettings, PostgresSinkSettings

if TYPE_CHECKING:
    from cdc_assets.settings import Sink


def sink_options(sink: Sink, name: str) -> dict[str, object]:
    """Return the arguments of a sink's class that are given; secrets as they are in the settings.

    Args:
        sink: The section.
        name: The pipeline file's name, which tells sinks without a place of their own apart.
    """
    # A resource's config has no place for None.
    return {k: v for k, v in _options(sink, name).items() if v is not None}


def _options(sink: Sink, name: str) -> dict[str, object]:
    if isinstance(sink, DuckDBSinkSettings):
        return _duckdb_options(sink)
    if isinstance(sink, PostgresSinkSettings):
        return _postgres_options(sink)
    if isinstance(sink, MySQLSinkSettings):
        return mysql_options(sink)
    if isinstance(sink, ClickHouseSinkSettings):
        return clickhouse_options(sink)
    if isinstance(sink, DeltaSinkSettings | ParquetSinkSettings):
        return lake_options(sink)
    if isinstance(sink, IcebergSinkSettings):
        return iceberg_options(sink)
    if isinstance(sink, PaimonSinkSettings):
        return paimon_options(sink)
    if isinstance(sink, KafkaSinkSettings):
        return kafka_options(sink)
    return {"name": name}


def sink_writers(sink: Sink) -> int:
    """Return how many targets the engine may write to the sink at the same time."""
    if isinstance(sink, PostgresSinkSettings | MySQLSinkSettings):
        return sink.max_connections
    if isinstance(sink, ClickHouseSinkSettings):
        return sink.max_connections if sink.host else 1
    if isinstance(sink, DeltaSinkSettings | IcebergSinkSettings):
        return sink.parallel
    if isinstance(sink, PaimonSinkSettings | ParquetSinkSettings):
        return sink.parallel
    return 1


def _duckdb_options(sink: DuckDBSinkSettings) -> dict[str, object]:
    limit, text = sink.memory_limit, sink.types.decimal_overflow == "text"
    return {
        "path": sink.path,
        "memory_limit": None if limit is None else f"{limit}B",
        "threads": sink.threads,
        "lock_timeout": sink.lock_timeout,
        "types": {"decimal_overflow": "text"} if text else None,
        "create_table": [rule.rule() for rule in sink.create_table],
    }


def _postgres_options(sink: PostgresSinkSettings) -> dict[str, object]:
    options: dict[str, object] = {
        "max_connections": sink.max_connections,
        "lock_timeout": sink.lock_timeout,
        "family": sink.family,
        "types": {"json_columns": sink.types.json_columns},
        "create_table": [rule.rule() for rule in sink.create_table],
    }
    if sink.url:
        options["url"] = sink.url.get_secret_value()
    else:
        options |= {"host": sink.host, "port": sink.port, "user": sink.user}
        options |= {"database": sink.database}
        options |= {"password": sink.password.get_secret_value()} if sink.password else {}
    options |= {"sslmode": sink.sslmode, "sslrootcert": sink.sslrootcert}
    return options | {"sslcert": sink.sslcert, "sslkey": sink.sslkey}
