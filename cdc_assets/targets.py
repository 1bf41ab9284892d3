"""Which source tables feed which target, as the asset graph and the runs' events see it.

In: the routes of a pipeline and the tables known. Out: targets with their feeds, by names alone:
a code location draws its graph from it without Arrow or a driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cdc_assets.engine.routing import Router
from resources.errors import ConfigError
from resources.model.table_id import TableId


@dataclass(frozen=True)
class Targets:
    """The targets of a pipeline.

    Args:
        feeds: The source tables of every target, both sorted.
    """

    feeds: Mapping[TableId, tuple[TableId, ...]] = field(default_factory=dict)

    def of(self, tables: Iterable[TableId]) -> list[TableId]:
        """Return the targets that source tables feed, sorted."""
        wanted = set(tables)
        return [target for target, feeds in self.feeds.items() if not wanted.isdisjoint(feeds)]

    def tables(self, targets: Iterable[TableId]) -> list[TableId]:
        """Return the source tables that feed targets, sorted; an unknown target has none."""
        return sorted({table for target in targets for table in self.feeds.get(target, ())})

    def shared(self, target: TableId) -> bool:
        """Return whether several source tables feed a target."""
        return len(self.feeds.get(target, ())) > 1


def find_targets(router: Router, tables: Iterable[TableId], where: str = "") -> Targets:
    """Return the targets of source tables.

    Args:
        router: The pipeline's routes.
        tables: The source tables.
        where: The pipeline file, for errors.

    Raises:
        ConfigError: Two routes send a table to the same target.
    """
    feeds: dict[TableId, list[TableId]] = {}
    for table in sorted(set(tables)):
        try:
            routes = router.routes(table)
        except ValueError as error:
            raise ConfigError(
                str(error),
                where=where,
                remedy="give the routes different targets, or make `source` of one of them "
                "leave the table out",
            ) from None
        for route in routes:
            feeds.setdefault(route.target, []).append(table)
    return Targets({target: tuple(feeds[target]) for target in sorted(feeds)})
