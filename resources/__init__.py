"""Where data lives: sources, sinks and stores, none of which knows Dagster.

The Dagster resources over them are in `configurable` and are imported when one is asked for, so
that a store or a dialect can be used without Dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resources.configurable import DirtyRowsResource, SinkResource

__all__ = ["DirtyRowsResource", "SinkResource"]


def __getattr__(name: str) -> object:
    """Import a Dagster resource when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from resources import configurable

    return getattr(configurable, name)
