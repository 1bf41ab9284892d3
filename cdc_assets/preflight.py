"""The check before the first start: every missing setting and grant at once.

In: an opened pipeline. Out: warnings in the log, or one error with every remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from resources.errors import ConfigError

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.model.source import Finding
    from resources.model.table_id import TableId


def require_ready(pipeline: Pipeline, findings: Sequence[Finding] | None = None) -> None:
    """Ask the source what would stop or endanger a start, before the change log begins.

    A pipeline that has begun is not asked again: its stream is guarded event by event.

    Args:
        pipeline: The opened pipeline.
        findings: What the source has said already; it is asked if None.

    Raises:
        ConfigError: Something must be mended first; names all of it.
    """
    if pipeline.log.segments.resume_position() is not None:
        return
    if findings is None:
        findings = pipeline.source.check()
    fatal = [f for f in findings if f.level == "error" and f.table is None]
    for finding in findings:
        if finding not in fatal:
            about = f"{finding.table}: " if finding.table else ""
            pipeline.say(f"{finding.level}: {about}{finding.message}; to mend: {finding.remedy}")
    if fatal:
        raise ConfigError(
            f"{len(fatal)} thing(s) stop the start of pipeline {pipeline.name}:"
            + "".join(f"\n  {f.message}" for f in fatal),
            remedy="".join(f"\n    {f.remedy}" for f in fatal),
        )


def unfit_tables(findings: Iterable[Finding]) -> dict[TableId, ConfigError]:
    """Return the tables that cannot be loaded as they are, each with all its remedies."""
    by_table: dict[TableId, list[Finding]] = {}
    for finding in findings:
        if finding.level == "error" and finding.table is not None:
            by_table.setdefault(finding.table, []).append(finding)
    return {
        table: ConfigError(
            "; ".join(f.message for f in found), remedy="; ".join(f.remedy for f in found)
        )
        for table, found in by_table.items()
    }
