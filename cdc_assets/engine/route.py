"""Names of the routing rules -> names of the sinks.

In: a route. Out: the target it leads to, in a sink's words.
"""

from __future__ import annotations

from cdc_assets.engine.routing import Route
from resources.model.table import TableId
from resources.sinks.contract import TargetId


def target_id(route: Route) -> TargetId:
    """Return the target of a route."""
    return TargetId(route.target.database, route.target.table)


def target_name(target: TargetId) -> TableId:
    """Return a target as the asset graph names tables."""
    return TableId(target.namespace, target.table)
