"""The code location: every pipeline file becomes assets, jobs, sensors and checks.

In: the folder of pipeline files and what is known of their tables. Out: Dagster definitions. No
logic here, no network, no state store, no secret; a wrong file fails the load with every problem
of every file.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import dagster as dg

from cdc_assets.checks import build_checks
from cdc_assets.jobs import MemberJobs, PipelineJobs, build_jobs
from cdc_assets.members import by_sink, feeds_of, first_window, load_members
from cdc_assets.open import build_resources
from cdc_assets.settings import (
    PipelineFile,
    PipelineSettings,
    load_pipelines,
    pipelines_folder,
)
from cdc_assets.settings_source import SqlSourceSettings
from cdc_assets.snapshot import build_snapshot
from cdc_assets.specs import has_snapshot, window_partitions
from cdc_assets.sync import build_capture, build_merge, build_sync
from cdc_assets.targets import Targets
from sensors.auto_increment import build_auto_increment_sensor
from sensors.binlog import build_binlog_sensor
from sensors.discovery import build_discovery_sensor


def build_pipeline(file: PipelineFile, jobs: PipelineJobs) -> dg.Definitions:
    """Return what one pipeline file brings, but for the sensors it shares with its servers."""
    members = load_members(file)
    windows = window_partitions(file, first_window(members))
    alone = len(members) == 1 and not file.sinks
    sinks = [] if alone else list(by_sink(members).values())
    assets = [build_merge(file, found, windows) for found in sinks if feeds_of(found)]
    logs = {m.settings.log_name: m.settings for m in reversed(members)}
    for member in members:
        settings = member.settings
        if not file.sinks:
            targets = member.targets if alone else Targets()
            assets.append(build_sync(settings, targets, windows))
        elif logs[settings.log_name] is settings:
            assets.append(build_capture(settings, windows))
        if has_snapshot(settings):
            assets.append(build_snapshot(settings))
    return dg.Definitions(
        assets=assets,
        resources=build_resources(file),
        asset_checks=[
            build_checks(m.settings, m.targets, with_log=logs[m.settings.log_name] is m.settings)
            for m in members
            if m.targets.feeds or logs[m.settings.log_name] is m.settings
        ],
        jobs=jobs.all(),
        schedules=jobs.schedules(),
        sensors=[
            build_discovery_sensor(m.settings, [of_member.snapshot or of_member.sync])
            for m in members
            for of_member in [jobs.members[m.settings.name]]
        ],
    )


def build_sync_sensors(
    pipelines: list[PipelineSettings], jobs: Mapping[str, MemberJobs]
) -> list[dg.SensorDefinition]:
    """Return one sensor per server or archive with a log, and one per polling pipeline.

    Each of several sinks has one of its own: a run of one keeps no other's from being asked for.
    """
    polled = [p for p in pipelines if isinstance(p.source, SqlSourceSettings)]
    logged = [p for p in pipelines if p not in polled and p.source.follows]
    logged.sort(key=_watched)
    sensors = [build_auto_increment_sensor(p, jobs[p.name].sync) for p in polled]
    for watched, group in groupby(logged, key=_watched):
        members = list(group)
        sensors.append(build_binlog_sensor(watched, members, [jobs[p.name].sync for p in members]))
    return sensors


def _watched(settings: PipelineSettings) -> str:
    """Return what names a sensor: the server, and one of several sinks."""
    server = settings.source.server
    return f"{server}/{settings.name}" if settings.sink_name else server


@dg.definitions
def definitions() -> dg.Definitions:
    """Load every pipeline file."""
    files = load_pipelines(pipelines_folder())
    jobs = {file.name: build_jobs(file) for file in files}
    pipelines = [settings for file in files for settings in file.members()]
    of_members = {name: of for file in files for name, of in jobs[file.name].members.items()}
    return dg.Definitions.merge(
        *(build_pipeline(file, jobs[file.name]) for file in files),
        dg.Definitions(sensors=build_sync_sensors(pipelines, of_members)),
    )
