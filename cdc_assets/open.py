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

from cdc_assets.connect import engine_options, open_source, sink_opener
from cdc_assets.settings import PipelineFile, PipelineSettings, state_url
from cdc_assets.sink_options import sink_options
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
    options = engine_options(resolved)
    db = StateDatabase(state_url())
    return Pipeline(
        name=settings.name,
        options=options,
        source=open_source(resolved, TableStateStore(db, settings.name).all, options.watched),
        open_sink=sink_opener(resolved),
        db=db,
        log=ChangeLog(db, settings.name, str(resolved.pipeline.change_log)),
        run_id=run_id,
        say=say,
    )


@contextmanager
def opened(
    settings: PipelineSettings, run_id: str, say: Callable[[str], None] = lambda _line: None
) -> Iterator[Pipeline]:
    """Open a pipeline and close it afterwards; arguments and errors as `open_pipeline`."""
    pipeline = open_pipeline(settings, run_id, say)
    try:
        yield pipeline
    finally:
        pipeline.close()


def build_resources(file: PipelineFile) -> dict[str, Any]:
    """Return `<pipeline>_sink` and `<pipeline>_dirty_rows`, for assets that build on the tables.

    Each of several sources has dirty rows of its own, `<pipeline>__<source>_dirty_rows`. A state
    store named by `CDC_STATE` is handed on by that name: its URL may hold a password.
    """
    sink = file.sink
    options = sink_options(sink, file.name)
    url = dg.EnvVar("CDC_STATE") if os.environ.get("CDC_STATE") else state_url()
    return {
        f"{file.name}_sink": SinkResource(kind=sink.type, options=options),
        **{
            f"{settings.name}_dirty_rows": DirtyRowsResource(state_url=url, pipeline=settings.name)
            for settings in file.members()
        },
    }
