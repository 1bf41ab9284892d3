"""Targets and dirty rows as Dagster resources, for assets of the user's own.

In: fields, secrets as `dg.EnvVar`. Out: the plain objects of `sinks` and `stores`. The only module
of `resources` that imports Dagster.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg
from pydantic import Field

from resources.errors import ConfigError

if TYPE_CHECKING:
    from resources.sinks.contract import Sink
    from resources.stores.dirty_rows import DirtyRowStore


_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")


class SinkResource(dg.ConfigurableResource[Any]):
    """The target tables of a pipeline.

    `with sink.open() as tables: tables.read_table(TargetId("shop", "orders"))`.
    """

    kind: str = Field(description="The dialect, as `sink.type` of a pipeline file.")
    options: dict[str, Any] = Field(
        default={},
        description="The dialect's own settings; ${env:NAME} stands for a variable.",
    )

    def open(self) -> Sink:
        """Return the opened sink; close it soon, some admit one process at a time.

        Raises:
            ConfigError: The dialect or an option is unknown, or a variable is not set.
            SinkUnavailable: It cannot be reached now.
        """
        from resources.sinks.registry import open_sink

        return open_sink(self.kind, {k: _filled(k, v) for k, v in self.options.items()})


def _filled(option: str, value: object) -> object:
    """Return an option's value with references replaced, percent-encoded within a URL."""
    if isinstance(value, dict):
        return {k: _filled(k, inner) for k, inner in value.items()}
    if not isinstance(value, str):
        return value
    within = option == "url" and not _REFERENCE.fullmatch(value)

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name, default)
        if found is None:
            raise ConfigError(
                f"environment variable {name} is not set",
                where=f"option {option}",
                remedy=f"set it where the run's process starts: {name}=…",
            )
        return quote(found, safe="") if within else found

    return _REFERENCE.sub(replace, value)


class DirtyRowsResource(dg.ConfigurableResource[Any]):
    """The rows of a pipeline that could not be decoded, converted or written."""

    state_url: str = Field(description="SQLAlchemy URL of the state store.")
    pipeline: str = Field(description="The pipeline's name.")

    @contextmanager
    def open(self) -> Iterator[DirtyRowStore]:
        """Open the store, and close it afterwards.

        Raises:
            TransientError: The state store cannot be reached now.
        """
        from resources.stores.database import StateDatabase
        from resources.stores.dirty_rows import DirtyRowStore

        db = StateDatabase(self.state_url)
        try:
            yield DirtyRowStore(db, self.pipeline)
        finally:
            db.close()
