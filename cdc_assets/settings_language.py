"""What the rules of one pipeline file mean together, as far as names alone can tell.

In: settings whose rules are each right. Out: problems with the key they stand at: rules that no
table can reach, and routes that lead two tables to one target by accident.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cdc_assets.engine.routing import Router, RouteRule, compiled, is_pattern
from cdc_assets.settings_problems import KeyPath
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.settings import PipelineSettings


def build_router(settings: PipelineSettings) -> Router:
    """Return the routes of a pipeline."""
    database, table = settings.pipeline.target_templates
    rules = tuple(rule.rule() for rule in settings.route)
    return Router(rules, settings.pipeline.match_routes, database, table)


def language_problems(settings: PipelineSettings) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with rules taken together: the path of a key and what is wrong there."""
    if settings.pipeline.match_routes == "first":
        yield from _unreachable("route", [rule.source for rule in settings.route])
    shaping = [rule.source if rule.shapes else () for rule in settings.transform]
    yield from _unreachable("transform", shaping)
    yield from _clashes(build_router(settings), _named_tables(settings))


def _unreachable(key: str, sources: Sequence[tuple[str, ...]]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the rules all of whose tables are taken by one before them."""
    for number, patterns in enumerate(sources):
        for earlier, before in enumerate(sources[:number]):
            if patterns and all(_covered(pattern, before) for pattern in patterns):
                yield (
                    (key, number, "source"),
                    f"means no table that {key}[{earlier}] does not mean; the first rule that "
                    "means a table is the one it takes",
                )
                break


def _covered(pattern: str, before: Sequence[str]) -> bool:
    """Return whether patterns mean all that a pattern does, as far as is easily told."""
    if is_pattern(pattern):
        return pattern in before
    return any(compiled(other).fullmatch(pattern) for other in before)


def _named_tables(settings: PipelineSettings) -> list[TableId]:
    """Return the tables that the file names in full."""
    patterns = {*settings.source.tables, *(p for rule in settings.route for p in rule.source)}
    split = (p.partition(".") for p in patterns if not is_pattern(p))
    return sorted(TableId(database, table) for database, _, table in split)


def _clashes(router: Router, tables: Sequence[TableId]) -> Iterator[tuple[KeyPath, str]]:
    """Yield targets that named tables share without a rule that merges them."""
    fine = []
    for table in tables:
        try:
            router.routes(table)
        except ValueError:  # match_routes: all
            yield _at(router.rules, [table]), f"sends {table} to a target it has already"
        else:
            fine.append(table)
    for target, found in router.clashes(fine).items():
        names = " and ".join(map(str, found))
        yield (
            _at(router.rules, found),
            f"sends {names} to {target}; write `merge: true` on their routes if that is meant",
        )


def _at(rules: Sequence[RouteRule], tables: Sequence[TableId]) -> KeyPath:
    """Return the key of the last rule about any of some tables."""
    for number in reversed(range(len(rules))):
        if any(rules[number].groups(table) is not None for table in tables):
            return ("route", number, "target")
    return ("pipeline", "target")
