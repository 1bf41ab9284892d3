"""One sensor per pipeline: new tables on the source become partitions and are loaded.

In: a pipeline. Out: a sensor that lists the source's tables, now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import dagster as dg

from cdc_assets import inventory, naming
from cdc_assets.settings import PipelineSettings
from cdc_assets.specs import has_snapshot, table_partitions
from resources.model.table_id import TableId
from sensors.plan import Cursor, plan_snapshots
from sensors.runs import last_of
from sensors.ticks import Job, asked, build_sensor, skipped

EVERY_TICKS = 4
"""Discovery looks once while the other sensors look this often: new tables are rare."""


@dataclass(frozen=True)
class Discovered:
    """What a look at the source found.

    Args:
        tables: The tables the patterns select.
        waiting: Tables of the pipeline that need another snapshot; that is the user's decision.
            Those that the next sync reads again by itself are not among them.
        live: Tables that follow the log already: taken from their CREATE on, they need no load.
    """

    tables: list[TableId]
    waiting: list[TableId]
    live: frozenset[TableId] = frozenset()


def build_discovery_sensor(settings: PipelineSettings, jobs: Sequence[Job]) -> dg.SensorDefinition:
    """Return the sensor that finds new tables.

    Args:
        settings: The pipeline's.
        jobs: Its snapshot job; its sync job where history comes through the log.
    """

    def evaluate(context: dg.SensorEvaluationContext, cursor: Cursor) -> dg.SensorResult:
        found = look(settings)
        for table in inventory.save_inventory(settings, found.tables):
            context.log.info(f"{table} is new; reload the code location to see its asset")
        if found.waiting:
            names = ", ".join(map(str, found.waiting[:20]))
            context.log.warning(f"{len(found.waiting)} tables need a snapshot: {names}")
        tables = found.tables if has_snapshot(settings) else []
        name = naming.table_partitions_name(settings.name)
        known = set(context.instance.get_dynamic_partitions(name))
        new = {k: t for t in tables if (k := naming.table_partition(t)) not in known}
        loads = [key for key, table in new.items() if table not in found.live]
        all_tables = last_of(context.instance, settings.name, "snapshot", partitioned=False)
        plan = plan_snapshots(settings.name, loads, all_tables.state, cursor)
        added = [key for key in new if plan.asks or key not in loads]
        requests = [table_partitions(settings).build_add_request(added)] if added else []
        if not plan.asks:
            needed = f"; {len(found.waiting)} need a snapshot" if found.waiting else ""
            return skipped(replace(plan, skip=plan.skip + needed), requests)
        return asked(plan, "snapshot", partitions=requests)

    return build_sensor(
        naming.sensor_name(f"{settings.source.server}/{settings.name}", "discovery"),
        f"Loads tables that are new on {settings.source.server} and match {settings.name}.",
        jobs,
        settings.pipeline.sensor_interval * EVERY_TICKS,
        evaluate,
    )


def look(settings: PipelineSettings) -> Discovered:
    """Ask the source for its tables, and the state store for those that need a snapshot.

    Raises:
        ConfigError: A secret is missing, or the server refuses the account.
        TransientError: The source or the state store cannot be reached.
    """
    from cdc_assets.connect import open_source
    from cdc_assets.engine.records import READ_AGAIN
    from cdc_assets.settings import state_url
    from resources.stores.database import StateDatabase
    from resources.stores.table_states import TableStateStore

    with closing(open_source(settings.resolve())) as source:
        tables = source.list_tables()
    with closing(StateDatabase(state_url())) as db:
        states = TableStateStore(db, settings.name).all()
    waiting = [
        table
        for table, state in states.items()
        if state.status == "needs_snapshot" and not state.reason.startswith(READ_AGAIN)
    ]
    follows = ("live", "behind", "held", "stopped")
    live = frozenset(table for table, state in states.items() if state.status in follows)
    return Discovered(tables, waiting, live)
