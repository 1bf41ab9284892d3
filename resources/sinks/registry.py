"""Sinks by the name a pipeline file calls them; a sink's module is loaded when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from inspect import signature

from resources.errors import ConfigError
from resources.sinks.contract import Sink

_SINKS = {
    "clickhouse": ("resources.sinks.clickhouse", "ClickHouseSink"),
    "delta": ("resources.sinks.delta", "DeltaSink"),
    "duckdb": ("resources.sinks.duckdb", "DuckDBSink"),
    "iceberg": ("resources.sinks.iceberg", "IcebergSink"),
    "kafka": ("resources.sinks.kafka", "KafkaSink"),
    "memory": ("resources.sinks.memory", "MemorySink"),
    "mysql": ("resources.sinks.mysql", "MySQLSink"),
    "paimon": ("resources.sinks.paimon", "PaimonSink"),
    "parquet": ("resources.sinks.parquet", "ParquetSink"),
    "postgres": ("resources.sinks.postgres", "PostgresSink"),
}


def open_sink(type: str, options: Mapping[str, object]) -> Sink:
    """Return a sink by name; nothing is connected to or opened before it is used.

    Args:
        type: The sink's name.
        options: Keyword arguments of the sink's class.

    Raises:
        ConfigError: The name is unknown, the sink has no such option, or its driver is missing.
    """
    if type not in _SINKS:
        raise ConfigError(
            f"there is no sink {type!r}", remedy=f"use one of {', '.join(sorted(_SINKS))}"
        )
    module, name = _SINKS[type]
    try:
        factory = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the sink {type!r} needs the package {str(error.name).partition('.')[0]!r}, which is "
            "not installed",
            remedy=f"pip install 'cdc-assets[{type}]'; docs/{type}.md says more",
        ) from None
    known = signature(factory).parameters
    unknown = sorted(set(options) - set(known))
    required = {n for n, p in known.items() if p.default is p.empty}
    missing = sorted(required - set(options))
    if unknown or missing:
        wrong = [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        wrong += [f"missing: {', '.join(missing)}"] * bool(missing)
        raise ConfigError(
            f"options of the sink {type!r} are wrong; {'; '.join(wrong)}",
            remedy=f"its options are {', '.join(known)}",
        )
    sink: Sink = factory(**options)
    return sink
