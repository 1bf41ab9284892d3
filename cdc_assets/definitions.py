"""The code location: every pipeline file becomes assets, jobs, sensors and checks.

In: the folder of pipeline files and what is known of their tables. Out: Dagster definitions. No
logic here, no network, no state store, no secret; a wrong file fails the load with every problem
of every file.
"""

from __future__ import annotations

from itertools import groupby

import dagster as dg

from cdc_assets.checks import build_checks
from cdc_assets.inventory import load_inventory
from cdc_assets.jobs import PipelineJobs, build_jobs
from cdc_assets.open import build_resources
from cdc_assets.settings import PipelineSettings, load_pipelines, pipelines_folder
from cdc_assets.settings_language import build_router
from cdc_assets.settings_source import SqlSourceSettings
from cdc_assets.snapshot import build_snapshot
from cdc_assets.specs import has_snapshot, window_partitions
from cdc_assets.sync import build_sync
from cdc_assets.targets import find_targets
from sensors.auto_increment import build_auto_increment_sensor
from sensors.binlog import build_binlog_sensor
from sensors.discovery import build_discovery_sensor


def build_pipeline(settings: PipelineSettings, jobs: PipelineJobs) -> dg.Definitions:
    """Return what one pipeline file brings, but for the sensor it shares with its server."""
    known = load_inventory(settings)
    targets = find_targets(build_router(settings), known.tables, settings.file)
    assets = [build_sync(settings, targets, window_partitions(settings, known))]
    if has_snapshot(settings):
        assets.append(build_snapshot(settings))
    return dg.Definitions(
        assets=assets,
        resources=build_resources(settings),
        asset_checks=[build_checks(settings, targets)],
        jobs=jobs.all(),
        schedules=[jobs.schedule],
        sensors=[build_discovery_sensor(settings, [jobs.snapshot or jobs.sync])],
    )


def build_sync_sensors(
    pipelines: list[PipelineSettings], jobs: dict[str, PipelineJobs]
) -> list[dg.SensorDefinition]:
    """Return one sensor per server or archive with a log, and one per polling pipeline."""
    polled = [p for p in pipelines if isinstance(p.source, SqlSourceSettings)]
    logged = [p for p in pipelines if p not in polled and p.source.follows]
    logged.sort(key=lambda p: p.source.server)
    sensors = [build_auto_increment_sensor(p, jobs[p.name].sync) for p in polled]
    for server, group in groupby(logged, key=lambda p: p.source.server):
        members = list(group)
        sensors.append(build_binlog_sensor(server, members, [jobs[p.name].sync for p in members]))
    return sensors


@dg.definitions
def definitions() -> dg.Definitions:
    """Load every pipeline file."""
    pipelines = load_pipelines(pipelines_folder())
    jobs = {settings.name: build_jobs(settings) for settings in pipelines}
    return dg.Definitions.merge(
        *(build_pipeline(settings, jobs[settings.name]) for settings in pipelines),
        dg.Definitions(sensors=build_sync_sensors(pipelines, jobs)),
    )
