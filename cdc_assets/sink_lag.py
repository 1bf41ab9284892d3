"""The check `sinks` of a change log that several share: whether one keeps it from shrinking.

In: the state store's word on each sink. Out: a verdict, and what to show: how far each has got.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.settings import PipelineSettings
    from resources.stores.log_readers import LogReader

SINKS: naming.Check = "sinks"


def sinks_spec(changes: dg.AssetKey) -> dg.AssetCheckSpec:
    """Return the spec of the check.

    Args:
        changes: The change log's asset.
    """
    return dg.AssetCheckSpec(
        SINKS,
        asset=changes,
        description="Every sink has taken what is older than pipeline.retention.change_log, so "
        "that it can be deleted.",
    )


def judge_sinks(settings: PipelineSettings, pipeline: Pipeline) -> tuple[bool, dict[str, Any]]:
    """Return the verdict on the sinks of a log, and what to show.

    No sink is asked: what its runs recorded counts, so that one that is away is judged too.

    Args:
        settings: Of one of the sinks.
        pipeline: It, opened.
    """
    now, retention = time.time(), settings.pipeline.retention
    kept_from = naming.window_before(now, retention.change_log, settings.pipeline.window)
    last = pipeline.log.segments.last()
    readers = pipeline.readers.all()
    lines = ["| sink | taken up to segment | behind | waits since |", "|---|---|---|---|"]
    late: dict[str, str] = {}
    for name in sorted((pipeline.name, *pipeline.siblings)):
        reader = readers.get(name)
        since = _oldest(pipeline, reader)
        taken = str(reader.applied) if reader else "not begun"
        behind = max(0, (last.number if last else 0) - reader.applied) if reader else ""
        lines.append(f"| {name} | {taken} | {behind} | {since} |")
        if since and since < kept_from:
            late[name] = since
    found: dict[str, Any] = {
        "segments": last.number if last else 0,
        "sinks": dg.MetadataValue.md("\n".join(lines)),
        "lagging": ", ".join(late) or "none",
    }
    if late:
        found["remedy"] = (
            "mend the sink and run its sync, or take it out of the pipeline file: the change log "
            f"keeps everything since {min(late.values())} for it, up to pipeline.retention.lagging"
        )
    return not late, found


def _oldest(pipeline: Pipeline, reader: LogReader | None) -> str:
    """Return the oldest window that a sink has not taken as a whole, empty if there is none."""
    if reader is None:
        return ""
    segments = pipeline.log.segments.list_bare()
    return next((s.window for s in segments if s.number > reader.applied and s.window), "")
