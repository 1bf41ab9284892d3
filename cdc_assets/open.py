"""A pipeline file -> an opened pipeline, for one run.

In: settings as loaded. Out: the engine's `Pipeline`, or resources for assets of the user's own.
Secrets are resolved when a run opens them and never earlier, so a code location loads without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming
from cdc_assets.connect import engine_options, for_sink, open_source, sink_opener
from cdc_assets.settings import PipelineFile, PipelineSettings, state_url
from cdc_assets.settings_language import build_router
from cdc_assets.settings_parts import same_log, same_sink
from cdc_assets.sink_options import sink_options
from cdc_assets.sink_places import place_of
from resources import DirtyRowsResource, SinkResource

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline


def open_pipeline(
    settings: PipelineSettings, run_id: str, say: Callable[[str], None] = lambda _line: None
) -> Pipeline:
    """Open a pipeline's source, state store and change log; sinks are opened when needed.

    Args:
        settings: As loaded, secrets still references.
        run_id: Names the run in leases, segments and messages.
        say: Where progress lines go; called from several threads.

    Raises:
        ConfigError: A secret is missing, or a URL cannot be used.
        TransientError: The state store cannot be reached.
    """
    from cdc_assets.engine.pipeline import Pipeline
    from resources.stores.change_log import ChangeLog
    from resources.stores.database import StateDatabase
    from resources.stores.table_states import TableStateStore

    resolved = settings.resolve()
    others = same_log(settings)
    db = StateDatabase(state_url())
    known = [TableStateStore(db, member.name) for member in (settings, *others)]
    options = engine_options(resolved)
    # Whichever run captures, the log has what every sink needs.
    wanting = [options, *(for_sink(options, member) for member in others)]
    return Pipeline(
        name=settings.name,
        options=options,
        source=open_source(
            resolved,
            lambda: {table for store in known for table in store.all()},
            lambda schema: {name for each in wanting for name in each.watched(schema)},
        ),
        open_sink=sink_opener(resolved),
        db=db,
        log=ChangeLog(db, settings.log_name, str(resolved.pipeline.change_log)),
        run_id=run_id,
        say=say,
        place=place_of(settings.sink, settings.sink_name),
        siblings=tuple(member.name for member in others),
        peers={member.name: build_router(member) for member in same_sink(settings)},
    )


@contextmanager
def opened(
    settings: PipelineSettings,
    run_id: str,
    say: Callable[[str], None] = lambda _line: None,
    *,
    joins: bool = True,
) -> Iterator[Pipeline]:
    """Open a pipeline and close it afterwards.

    Args:
        settings: As loaded, secrets still references.
        run_id: Names the run in leases, segments and messages.
        say: Where progress lines go; called from several threads.
        joins: Whether one of several sinks is made known to their change log; a run that only
            looks leaves that to others.

    Raises:
        CdcError: As `open_pipeline`, and `join_log`.
    """
    from cdc_assets.engine.sharing import join_log

    pipeline = open_pipeline(settings, run_id, say)
    try:
        if joins:
            join_log(pipeline)
        yield pipeline
    finally:
        pipeline.close()


def build_resources(file: PipelineFile) -> dict[str, Any]:
    """Return `<pipeline>_sink` and `<pipeline>_dirty_rows`, for assets that build on the tables.

    Each of several sinks has a resource of its own, `<pipeline>__<sink>_sink`, and each of several
    sources or sinks its dirty rows, `<pipeline>__<source>_dirty_rows`. A state store named by
    `CDC_STATE` is handed on by that name: its URL may hold a password.
    """
    sinks = {name: m.sink for m in file.members() for name in [_sink_name(file, m)]}
    url = dg.EnvVar("CDC_STATE") if os.environ.get("CDC_STATE") else state_url()
    return {
        **{
            f"{name}_sink": SinkResource(kind=sink.type, options=sink_options(sink, name))
            for name, sink in sinks.items()
        },
        **{
            f"{settings.name}_dirty_rows": DirtyRowsResource(state_url=url, pipeline=settings.name)
            for settings in file.members()
        },
    }


def _sink_name(file: PipelineFile, member: PipelineSettings) -> str:
    return naming.member_name(file.name, "", member.sink_name)
