"""One sensor per polling pipeline: its tables have new ids, or ids that may still appear.

In: a pipeline. Out: a sensor whose tick compares the tables' ends with what was captured.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg

from cdc_assets import naming
from cdc_assets.settings import PipelineSettings
from sensors.plan import Cursor, plan_sync
from sensors.runs import last_of
from sensors.ticks import Job, asked, build_sensor

if TYPE_CHECKING:
    from resources.model.position import Position


def build_auto_increment_sensor(settings: PipelineSettings, job: Job) -> dg.SensorDefinition:
    """Return the sensor of a polling pipeline.

    Args:
        settings: The pipeline's.
        job: Its sync job.
    """

    def evaluate(context: dg.SensorEvaluationContext, cursor: Cursor) -> dg.SensorResult:
        runs = {settings.name: last_of(context.instance, settings.name, "sync")}
        position = read_marks(settings, cursor.epoch)
        plan = plan_sync(settings.source.server, position, runs, cursor, time.time())
        return asked(plan, "sync")

    return build_sensor(
        naming.sensor_name(f"{settings.source.server}/{settings.name}", "auto_increment"),
        f"Syncs {settings.name} when its tables have new ids, or ids that may still appear.",
        [job],
        settings.pipeline.sensor_interval,
        evaluate,
    )


def read_marks(settings: PipelineSettings, epoch: int) -> str:
    """Return a digest of the tables' ends, other than the last one while gaps are open.

    Args:
        settings: The pipeline's.
        epoch: Of the tick's cursor: open gaps have to be looked at again and again, so with gaps
            each epoch has a position of its own.

    Raises:
        ConfigError: A secret is missing, or the database refuses the account.
        TransientError: The source or the state store cannot be reached.
    """
    from cdc_assets.connect import open_source
    from cdc_assets.settings import state_url
    from resources.stores.database import StateDatabase
    from resources.stores.segments import SegmentStore

    with closing(open_source(settings.resolve())) as source:
        ends = source.current_position()
    with closing(StateDatabase(state_url())) as db:
        captured = SegmentStore(db, settings.log_name).resume_position()
    gaps = _gaps(captured)
    digest = digest_of(ends)
    return f"{digest}+{gaps} gaps, look {epoch}" if gaps else digest


def digest_of(position: Position) -> str:
    """Return 16 hex digits for a position: marks of thousands of tables in a small cursor."""
    text = json.dumps(position.to_json(), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _gaps(position: Position | None) -> int:
    marks = getattr(position, "marks", {})
    return sum(len(mark.gaps) for mark in marks.values())
