"""Settings of a pipeline file -> opened sources and sinks, and the engine's options.

In: `PipelineSettings`. Out: objects of `resources/`. Drivers are imported when one is opened, so
that loading a code location needs none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from cdc_assets import naming
from cdc_assets.connect_language import transform_rules
from cdc_assets.settings import PipelineSettings
from cdc_assets.settings import Sink as SinkSettings
from cdc_assets.settings_existing import existing_of
from cdc_assets.settings_kafka import KafkaSinkSettings
from cdc_assets.settings_language import build_router
from cdc_assets.settings_place import LogPlace
from cdc_assets.settings_source import (
    BinlogFilesSourceSettings,
    MySQLSourceSettings,
    SnapshotOptions,
    SqlSourceSettings,
)
from cdc_assets.sink_options import sink_options, sink_writers
from resources.errors import ConfigError

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import EngineOptions
    from resources.model.place import Start
    from resources.model.source import Source
    from resources.model.table import TableSchema
    from resources.model.table_id import TableId
    from resources.mysql.connection import MySQLSettings
    from resources.sinks.contract import Sink

_FAMILY = ("mysql", "mariadb", "oceanbase")
_MYSQL_PORT = 3306


def open_source(
    settings: PipelineSettings,
    known_tables: Callable[[], Iterable[TableId]] = tuple,
    watched: Callable[[TableSchema], Collection[str]] = lambda _schema: (),
) -> Source:
    """Return the pipeline's source; it connects at its first use.

    Args:
        settings: With secrets resolved (`settings.resolve(env)`).
        known_tables: Tables the pipeline has seen, those gone from the server included.
        watched: Columns of a table whose change makes an update carry its before-image.

    Raises:
        ConfigError: The source's URL cannot be used.
    """
    source = settings.source
    if isinstance(source, SqlSourceSettings):
        return _polling_source(source, settings)
    shared: dict[str, Any] = {
        "pipeline": settings.log_name,
        "include": source.tables,
        "exclude": source.exclude,
        "startup": _start(source.startup),
        "zero_dates": settings.dirty_data.zero_dates,
        # What is decoded of a transaction takes several times its bytes in the log.
        "transaction_bytes": settings.pipeline.memory // 4,
        "known_tables": known_tables,
        "watched": watched,
    }
    if isinstance(source, BinlogFilesSourceSettings):
        from resources.mysql.log_files_source import BinlogFilesSource

        return BinlogFilesSource(source.path, poll_interval=source.poll_interval, **shared)
    from resources.mysql.source import MySQLSource

    return MySQLSource(
        mysql_settings(source, where=settings.where("source", "url")),
        chunk_batch_rows=source.snapshot.batch_rows,
        parallel=source.snapshot.parallel,
        heartbeat_seconds=source.heartbeat,
        **shared,
    )


def _polling_source(source: SqlSourceSettings, settings: PipelineSettings) -> Source:
    from resources.sql.source import SqlPollingSource

    return SqlPollingSource(
        source.url.get_secret_value(),
        connect_args=_poll_arguments(source, settings.where("source", "tls")),
        poll_interval=source.poll_interval,
        zero_dates=settings.dirty_data.zero_dates,
        pipeline=settings.log_name,
        include=source.tables,
        exclude=source.exclude,
        page_rows=source.page_rows,
        grace_seconds=source.grace,
        keys=source.keys,
    )


def _start(startup: str | LogPlace) -> Start:
    """Return where a new pipeline's change log begins; tables are loaded beside it."""
    if isinstance(startup, LogPlace):
        return startup.place()
    return "earliest" if startup == "earliest" else "latest"


def _poll_arguments(source: SqlSourceSettings, where: str) -> dict[str, object]:
    """Return the `tls` section as driver arguments of a MySQL-family server."""
    if source.tls is None:
        return {}
    dialect = source.url.get_secret_value().partition(":")[0].partition("+")[0]
    if dialect not in _FAMILY:
        raise ConfigError(
            "`source.tls` is for servers of the MySQL family",
            where=where,
            remedy="say it in the URL, for PostgreSQL by ?sslmode=verify-full",
        )
    tls = source.tls
    return {"tls": tls.mode, "ca": tls.ca, "cert": tls.cert, "key": tls.key}


def mysql_settings(source: MySQLSourceSettings, *, where: str = "source.url") -> MySQLSettings:
    """Return how to reach a MySQL-family server.

    Args:
        source: With secrets resolved.
        where: Place of its URL, for errors.

    Raises:
        ConfigError: The URL is not of the form `mysql://user:password@host:port`.
    """
    from resources.mysql.connection import MySQLSettings

    host, port, user = source.host, source.port, source.user or ""
    password = source.password.get_secret_value() if source.password else ""
    if source.url is not None:
        host, port, user, password = _split_url(source.url.get_secret_value(), where)
    return MySQLSettings(
        host=host or "localhost",
        port=port,
        socket=source.socket,
        user=user,
        password=password,
        tls=source.tls.mode,
        ca=source.tls.ca,
        cert=source.tls.cert,
        key=source.tls.key,
        connect_timeout=source.connect_timeout,
        read_timeout=source.read_timeout,
        server_id=source.server_id,
        flavor=source.type,
    )


def _split_url(url: str, where: str) -> tuple[str, int, str, str]:
    """Return host, port, user and password of `mysql://user:password@host:port`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _MYSQL_PORT
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    scheme = parts.scheme.partition("+")[0]
    more = parts.path.strip("/") or parts.query or parts.fragment
    if scheme not in _FAMILY or not host or not parts.username or more:
        raise ConfigError(
            "the URL is not of the form mysql://user:password@host:port, with nothing after it",
            where=where,
            remedy="write url: mysql://user:${env:PASSWORD}@host:3306, and everything else as "
            "keys of `source`; percent-encode special characters in a variable with a whole URL",
        )
    return host, port, unquote(parts.username), unquote(parts.password or "")


def sink_opener(settings: PipelineSettings) -> Callable[[], Sink]:
    """Return what opens the pipeline's sink, to be called again after it was closed."""
    from resources.sinks.registry import open_sink

    sink = settings.sink
    options = sink_options(sink, naming.member_name(settings.whole.name, "", settings.sink_name))
    return lambda: open_sink(sink.type, options)


def engine_options(settings: PipelineSettings) -> EngineOptions:
    """Return the engine's share of the settings.

    Args:
        settings: With secrets resolved.

    Raises:
        ConfigError: A salt or key of a mask is empty.
    """
    from cdc_assets.engine.pipeline import EngineOptions
    from cdc_assets.engine.rules import Transforms

    source, pipeline, dirty = settings.source, settings.pipeline, settings.dirty_data
    writers = sink_writers(settings.sink)
    snapshot = source.snapshot if isinstance(source, MySQLSourceSettings) else SnapshotOptions()
    return EngineOptions(
        capture_filter=settings.capture_filter(),
        history=_history(settings),
        window=pipeline.window,
        commit_interval=pipeline.commit_interval,
        segment_rows=pipeline.segment_rows,
        segment_bytes=pipeline.segment_bytes,
        apply_rows=pipeline.apply_rows,
        apply_bytes=pipeline.memory // writers,
        writers=writers,
        chunk_rows=snapshot.chunk_rows,
        parallel=snapshot.parallel,
        server=settings.source_name or source.server,
        **_of_sink(settings, settings.sink),
        router=build_router(settings),
        transforms=Transforms(transform_rules(settings), pipeline.keep, pipeline.type_mapping),
        policy=pipeline.schema_changes.policy(),
        reread=pipeline.reread,
        type_mapping=pipeline.type_mapping,
        max_dirty=dirty.max_rows,
        max_dirty_ratio=dirty.max_ratio,
        min_dirty_rows=dirty.min_rows,
        keep_images=dirty.image,
        on_purged=pipeline.on_purged,
        rows_per_second=settings.rate.rows_per_second,
        bytes_per_second=settings.rate.bytes_per_second,
    )


def for_sink(options: EngineOptions, settings: PipelineSettings) -> EngineOptions:
    """Return what another sink of the same change log wants of it; no secret of that is needed.

    Args:
        options: Of a sink of the log.
        settings: Of the other one.
    """
    return replace(options, **_of_sink(settings, settings.sink))


def _of_sink(settings: PipelineSettings, sink: SinkSettings) -> dict[str, Any]:
    """Return the options that depend on the kind of sink."""
    topics = isinstance(sink, KafkaSinkSettings)
    return {
        # A topic keeps every change: there is nothing to be said about it.
        "append": ("*.*",) if topics else settings.pipeline.append,
        "append_loads": topics,
        "before_images": isinstance(sink, KafkaSinkSettings) and sink.before,
        "existing": existing_of(settings),
    }


def _history(settings: PipelineSettings) -> Literal["snapshot", "log", "none"]:
    """Return where a table's first rows come from."""
    if isinstance(settings.source, SqlSourceSettings):
        return "log"
    return "snapshot" if settings.source.loads else "none"
