"""What the rules of one pipeline file mean together, as far as names alone can tell.

In: settings whose rules are each right. Out: problems with the key they stand at: rules that no
table can reach, routes that lead two tables to one target by accident, sources that are not there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from cdc_assets.engine.routing import Router, RouteRule, compiled, is_pattern
from cdc_assets.inventory import build_selector
from cdc_assets.settings_parts import same_sink
from cdc_assets.settings_problems import KeyPath
from cdc_assets.settings_route import SOURCE, RouteRuleSettings
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.settings import PipelineFile, PipelineSettings


def build_router(settings: PipelineSettings) -> Router:
    """Return the routes of a pipeline.

    Where the file has other sources, tables of one name share the target that the rules give both.
    """
    peers = [(_own_router(m), build_selector(m)) for m in same_sink(settings)]

    def elsewhere(table: TableId) -> Collection[TableId]:
        return {
            route.target
            for router, selects in peers
            if selects(table)
            for route in router.routes(table)
        }

    return replace(_own_router(settings), elsewhere=elsewhere) if peers else _own_router(settings)


def _own_router(settings: PipelineSettings) -> Router:
    """Return the routes of a pipeline, not looking at the other sources of its file."""
    source = settings.source_name
    database, table = settings.pipeline.templates_for(source)
    rules = tuple(
        replace(rule.rule(source), merge=_merge(settings.whole, rule, source))
        for rule in settings.route
        if rule.means(source)
    )
    return Router(rules, settings.pipeline.match_routes, database, table)


def _merge(file: PipelineFile, rule: RouteRuleSettings, source: str) -> bool | None:
    """Return what a rule says of merging, True if a rule for another source has its target."""
    if rule.merge is not None:
        return rule.merge
    target = rule.filled(rule.target, source)
    same = any(
        other is not rule and other.means(name) and other.filled(other.target, name) == target
        for other in file.route
        for name in file.sources
        if name != source
    )
    return True if same else None


def language_problems(settings: PipelineFile) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with rules taken together: the path of a key and what is wrong there."""
    yield from _sources(settings)
    shaping = {n: r.source if r.shapes else () for n, r in enumerate(settings.transform)}
    yield from _unreachable("transform", shaping)
    clashes: dict[tuple[KeyPath, str], None] = {}
    words: dict[KeyPath, str] = {}
    reached: set[KeyPath] = set()
    for member in settings.members():
        source = member.source_name
        rules = {n: rule for n, rule in enumerate(settings.route) if rule.means(source)}
        covered = dict(_unreachable("route", {n: rule.source for n, rule in rules.items()}))
        words |= covered
        reached |= {("route", number, "source") for number in rules} - set(covered)
        found = _clashes(build_router(member), _named_tables(member), list(rules))
        clashes |= dict.fromkeys(found)
    yield from clashes
    if settings.pipeline.match_routes == "first":
        yield from ((path, what) for path, what in words.items() if path not in reached)


def _sources(settings: PipelineFile) -> Iterator[tuple[KeyPath, str]]:
    """Yield rules about sources that the file does not have, and replica ids that two have."""
    for path, text in _templates(settings):
        if SOURCE in text and not settings.sources:
            yield path, "names {source}, which is for files with `sources`"
    for number, rule in enumerate(settings.route):
        for name in rule.sources:
            if name not in settings.sources:
                near = get_close_matches(name, settings.sources, n=1)
                question = f"; did you mean `{near[0]}`?" if near else ""
                yield ("route", number, "sources"), f"`{name}` is not one of `sources`{question}"
    taken: dict[tuple[str, object], str] = {}
    for name, source in settings.sources.items():
        given = getattr(source, "server_id", None)
        other = taken.setdefault((source.server, given), name)
        if given is not None and other != name:
            path = ("sources", name, "server_id")
            yield path, f"is that of `{other}` too: a server knows its replicas apart by it"


def _templates(settings: PipelineFile) -> Iterator[tuple[KeyPath, str]]:
    """Yield what may name the source, but for groups of a pattern that have this name."""
    yield ("pipeline", "target"), settings.pipeline.target
    for number, rule in enumerate(settings.route):
        for path, text in rule.templates():
            if rule.filled(text, "") != text:
                yield ("route", number, *path), text


def _unreachable(key: str, sources: Mapping[int, tuple[str, ...]]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the rules, by number, all of whose tables are taken by one before them."""
    for number, patterns in sources.items():
        for earlier, before in sources.items():
            if earlier >= number:
                break
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


def _clashes(
    router: Router, tables: Sequence[TableId], numbers: Sequence[int]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield targets that named tables share without a rule that merges them.

    Args:
        router: The routes of one source.
        tables: The named tables.
        numbers: Where each of its rules stands in the file.
    """
    fine = []
    for table in tables:
        try:
            router.routes(table)
        except ValueError:  # match_routes: all
            at = _at(router.rules, [table], numbers)
            yield at, f"sends {table} to a target it has already"
        else:
            fine.append(table)
            for route in router.routes(table):
                if not route.shared and route.target in router.elsewhere(table):
                    yield (
                        _at(router.rules, [table], numbers),
                        f"sends {table} of several sources to {route.target}; leave out `merge: "
                        "false`, or write {source} in the target",
                    )
    for target, found in router.clashes(fine).items():
        names = " and ".join(map(str, found))
        yield (
            _at(router.rules, found, numbers),
            f"sends {names} to {target}; write `merge: true` on their routes if that is meant",
        )


def _at(rules: Sequence[RouteRule], tables: Sequence[TableId], numbers: Sequence[int]) -> KeyPath:
    """Return the key of the last rule about any of some tables."""
    for number, rule in reversed(list(zip(numbers, rules, strict=True))):
        if any(rule.groups(table) is not None for table in tables):
            return ("route", number, "target")
    return ("pipeline", "target")
