"""One sensor per source server or archive: its log has moved on, so its pipelines sync.

In: the pipelines of a server. Out: a sensor whose tick asks the server one question, or lists the
archive's folder once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

import dagster as dg

from cdc_assets import naming
from cdc_assets.settings import PipelineSettings
from cdc_assets.settings_source import BinlogFilesSourceSettings
from sensors.plan import Cursor, plan_sync
from sensors.runs import last_of
from sensors.ticks import Job, asked, build_sensor


def build_binlog_sensor(
    watched: str, pipelines: Sequence[PipelineSettings], jobs: Sequence[Job]
) -> dg.SensorDefinition:
    """Return the sensor of a server with a binary log.

    Args:
        watched: What names the sensor: `source.server` of all these pipelines, or one of several
            sinks on it.
        pipelines: At least one. The first one's account asks for the position.
        jobs: Their sync jobs.
    """
    server = pipelines[0].source.server

    def evaluate(context: dg.SensorEvaluationContext, cursor: Cursor) -> dg.SensorResult:
        runs = {p.name: last_of(context.instance, p.name, "sync") for p in pipelines}
        position = read_position(pipelines[0])
        plan = plan_sync(server, position, runs, cursor, time.time())
        return asked(plan, "sync", {"cdc/until": position})

    return build_sensor(
        naming.sensor_name(watched, "binlog"),
        f"Syncs {', '.join(p.name for p in pipelines)} when the log of {server} moves on.",
        jobs,
        min(p.pipeline.sensor_interval for p in pipelines),
        evaluate,
    )


def read_position(settings: PipelineSettings) -> str:
    """Return where the log ends now, `file:offset`; of an archive, its newest file and its size.

    Raises:
        ConfigError: A secret is missing, or the server refuses the account.
        SourceUnavailable: It cannot be reached.
    """
    from cdc_assets.connect import open_source

    if isinstance(settings.source, BinlogFilesSourceSettings):
        from resources.mysql.binlog.archive import Archive

        return Archive(settings.source.path).newest()
    with closing(open_source(settings.resolve())) as source:
        return str(source.current_position())
