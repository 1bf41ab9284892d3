"""What the pipeline file as it is now would do, compared with what its targets were filled by.

In: plain facts about tables, rules and targets. Out: a plan, and its words in markdown. Pure: it
asks nobody and changes nothing; `planning_facts` gathers what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cdc_assets.engine.configs import Config, Way, find_edit
from cdc_assets.engine.routing import Route
from resources.model.table_id import TableId

History = Literal["snapshot", "log", "none"]
SHOWN = 100
"""Lines of one section; the rest is counted."""


@dataclass(frozen=True)
class TargetShape:
    """A target's columns as they are and as the file wants them.

    Args:
        live: Names and types now, None if the sink has no such table.
        wanted: Names and types.
        ddl: Statements that lead from the one to the other.
    """

    live: tuple[tuple[str, str], ...] | None = None
    wanted: tuple[tuple[str, str], ...] = ()
    ddl: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What is known.

    Args:
        selected: Tables on the source that the file's patterns select.
        known: Tables the pipeline knows: status and reason.
        loaded: Tables that were loaded, or follow the log from its beginning.
        chosen: Of the known tables those that the patterns select, on the source or not.
        routes: The file's routes of every table that is selected or known.
        kept: By table and target, what the file said when the target was filled.
        wanted: The same, by the file as it is now.
        whole: Tables of which the change log has every row.
        shapes: Targets of feeds with something to do.
        pending: By table and target, what changes of the source's columns that are not applied
            yet will come to, in words.
        clashes: Targets that several tables have without a rule that merges them.
        history: Where first rows come from.
    """

    selected: frozenset[TableId] = frozenset()
    known: Mapping[TableId, tuple[str, str]] = field(default_factory=dict)
    loaded: frozenset[TableId] = frozenset()
    chosen: frozenset[TableId] = frozenset()
    routes: Mapping[TableId, Sequence[Route]] = field(default_factory=dict)
    kept: Mapping[tuple[TableId, str], Config] = field(default_factory=dict)
    wanted: Mapping[tuple[TableId, str], Config] = field(default_factory=dict)
    whole: frozenset[TableId] = frozenset()
    shapes: Mapping[tuple[TableId, str], TargetShape] = field(default_factory=dict)
    pending: Mapping[tuple[TableId, str], Sequence[str]] = field(default_factory=dict)
    clashes: Mapping[TableId, Sequence[TableId]] = field(default_factory=dict)
    history: History = "snapshot"


@dataclass(frozen=True)
class FeedPlan:
    """What is to be done about one feed.

    Args:
        table: The source table.
        target: The target.
        what: What was edited, or that it is new, in words.
        way: Whether its rows are read again from the source, or can be folded from the log;
            `follow` if they come through the log anyway, `fill` if the log fills a target beside
            others, `stuck` if there is no way.
        shape: The target's columns, where they were asked for.
    """

    table: TableId
    target: TableId
    what: str
    way: Way | Literal["load", "follow", "fill", "stuck"]
    shape: TargetShape = TargetShape()


@dataclass(frozen=True)
class FilePlan:
    """What the file as it is now would do.

    Args:
        new: Tables the pipeline does not know yet, per target.
        edited: Feeds whose rules changed.
        pending: Tables, their targets, and what changes of their columns will come to.
        left: Tables the patterns no longer select.
        gone: Selected tables that are not on the source any more.
        unfed: Targets a table was routed to and is no longer.
        waiting: Tables that wait for something: status and reason.
        clashes: Targets that two tables would fill by accident.
        same: Number of tables that go on as they are.
    """

    new: tuple[FeedPlan, ...] = ()
    edited: tuple[FeedPlan, ...] = ()
    pending: tuple[tuple[TableId, str, tuple[str, ...]], ...] = ()
    left: tuple[TableId, ...] = ()
    gone: tuple[TableId, ...] = ()
    unfed: tuple[tuple[TableId, str], ...] = ()
    waiting: tuple[tuple[TableId, str, str], ...] = ()
    clashes: tuple[tuple[TableId, tuple[TableId, ...]], ...] = ()
    same: int = 0

    @property
    def changes_nothing(self) -> bool:
        """Whether the file says what is in force already."""
        return not (self.new or self.edited or self.left or self.unfed or self.clashes)


def plan_file(facts: Facts) -> FilePlan:
    """Return what the pipeline file would do."""
    new = [
        FeedPlan(table, route.target, "new", _first_way(facts), _shape(facts, route))
        for table in sorted(facts.selected - facts.loaded)
        for route in facts.routes[table]
    ]
    live = sorted(facts.loaded & facts.chosen)
    edited = [plan for table in live for plan in _edited(facts, table)]
    unfed = [
        (table, target)
        for table, target in sorted(facts.kept)
        if table in facts.routes and target not in map(str, _targets(facts, table))
    ]
    waiting = [
        (table, *facts.known[table])
        for table in live
        if facts.known[table][0] not in ("live", "new")
    ]
    touched = {p.table for p in edited} | {table for table, _, _ in waiting}
    return FilePlan(
        tuple(new),
        tuple(edited),
        tuple((t, target, tuple(words)) for (t, target), words in sorted(facts.pending.items())),
        tuple(sorted(t for t in facts.known if t not in facts.chosen)),
        tuple(sorted((facts.chosen & set(facts.known)) - facts.selected)),
        tuple(unfed),
        tuple(waiting),
        tuple((target, tuple(tables)) for target, tables in sorted(facts.clashes.items())),
        sum(table not in touched and table in facts.selected for table in live),
    )


def _first_way(facts: Facts) -> Literal["load", "follow"]:
    return "load" if facts.history == "snapshot" else "follow"


def _edited(facts: Facts, table: TableId) -> list[FeedPlan]:
    mine = {target: config for (of, target), config in facts.kept.items() if of == table}
    found = []
    way: Way | Literal["fill", "stuck"]
    for route in facts.routes[table]:
        name = str(route.target)
        if name not in mine:
            if mine:
                way = "fill" if table in facts.whole else _way(facts, table, "reread")
                what = f"a new target, beside or in place of {', '.join(sorted(mine))}"
                found.append(FeedPlan(table, route.target, what, way, _shape(facts, route)))
            continue
        edit = find_edit(mine[name], facts.wanted[table, name])
        if edit is not None:
            way, shape = _way(facts, table, edit.way), _shape(facts, route)
            found.append(FeedPlan(table, route.target, f"{edit.words()} changed", way, shape))
    return found


def _way(facts: Facts, table: TableId, way: Way) -> Literal["reread", "refold", "stuck"]:
    if way == "refold" and table in facts.whole:
        return "refold"
    return "reread" if facts.history == "snapshot" else "stuck"


def _targets(facts: Facts, table: TableId) -> list[TableId]:
    return [route.target for route in facts.routes[table]]


def _shape(facts: Facts, route: Route) -> TargetShape:
    return facts.shapes.get((route.table, str(route.target)), TargetShape())
