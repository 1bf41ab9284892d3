"""Routes: which targets a source table's rows go to, and which tables share one.

In: the rules of a pipeline file's `route` key. Out: per source table its routes, by names alone:
importing this brings neither Arrow nor a driver, so the asset graph can be drawn from it.

A rule's pattern is fnmatch on `database.table`, each wildcard a group, or a regular expression
between slashes. Its target is a template: `{database}`, `{table}`, `{1}` for the first group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from typing import Literal

from resources.model.table_id import TableId

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SET = re.compile(r"\(\?s:(.*)\)\\[zZ]", re.DOTALL)
_WILDCARD = re.compile(r"[*?\[]")
OWNER = "_cdc_source"
"""The column of a shared target that says which feed a row came from."""


@dataclass(frozen=True)
class RouteRule:
    """One rule.

    Args:
        source: Patterns of source tables.
        target: Template of the target's name, `namespace.table`.
        merge: Whether several tables may share a target; None to tell by the target: it names no
            part of the source, or another rule has the same one.
        shard: Columns that tell the shards apart: name and template of the value.
        shard_in_key: Whether those columns are part of the target's key.
    """

    source: tuple[str, ...]
    target: str
    merge: bool | None = None
    shard: tuple[tuple[str, str], ...] = ()
    shard_in_key: bool = False

    def groups(self, table: TableId) -> Mapping[str, str] | None:
        """Return what the placeholders stand for, None if the rule does not mean the table."""
        for pattern in self.source:
            match = compiled(pattern).fullmatch(str(table))
            if match:
                found = {str(i): text or "" for i, text in enumerate(match.groups(), 1)}
                found |= {k: v or "" for k, v in match.groupdict().items()}
                return found | {"database": table.database, "table": table.table}
        return None

    def problems(self) -> list[str]:
        """Return what is wrong with its templates, in words."""
        names = [_names(p) for p in self.source]
        known = set.intersection(*names) if names else set()
        out = []
        for text in (self.target, *(value for _, value in self.shard)):
            unknown = sorted(set(_PLACEHOLDER.findall(text)) - known)
            if unknown:
                out.append(f"{text!r} names {{{unknown[0]}}}; there are {', '.join(sorted(known))}")
        plain = _PLACEHOLDER.sub("x", self.target)
        if not all(plain.partition(".")):
            out.append(f"{self.target!r} is not of the form namespace.table")
        return out


@dataclass(frozen=True)
class Route:
    """The way of one source table into one target.

    Args:
        table: The source table.
        target: Namespace and name of the target.
        shared: Whether other tables may have the same target.
        shard: Names and values of the columns that tell the shards apart.
        shard_in_key: Whether those columns are part of the target's key.
    """

    table: TableId
    target: TableId
    shared: bool = False
    shard: tuple[tuple[str, str], ...] = ()
    shard_in_key: bool = False


def _nowhere(_table: TableId) -> Collection[TableId]:
    return ()


@dataclass(frozen=True)
class Router:
    """The rules of a pipeline.

    Args:
        rules: In the order of the file.
        match: Whether a table takes the first rule that means it, or all of them.
        database: Template of the namespace of tables that no rule means.
        table: Template of their name.
        elsewhere: Gives the targets that a table of the same name has which another source of the
            pipeline file may send; a route to one of them is shared.
    """

    rules: tuple[RouteRule, ...] = ()
    match: Literal["first", "all"] = "first"
    database: str = "{database}"
    table: str = "{table}"
    elsewhere: Callable[[TableId], Collection[TableId]] = field(
        default=_nowhere, repr=False, compare=False
    )
    _known: dict[TableId, tuple[Route, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def routes(self, table: TableId) -> tuple[Route, ...]:
        """Return the routes of a source table; one that no rule means keeps its name.

        Raises:
            ValueError: Two rules send it to the same target.
        """
        if table not in self._known:
            self._known[table] = self._find(table)
        return self._known[table]

    def targets(self, tables: Sequence[TableId]) -> list[TableId]:
        """Return the targets of source tables, sorted."""
        return sorted({route.target for table in tables for route in self.routes(table)})

    def clashes(self, tables: Sequence[TableId]) -> dict[TableId, list[TableId]]:
        """Return targets that several tables have without a rule that merges them."""
        feeds: dict[TableId, list[TableId]] = {}
        for table in tables:
            for route in self.routes(table):
                if not route.shared:
                    feeds.setdefault(route.target, []).append(table)
        return {target: sorted(found) for target, found in feeds.items() if len(found) > 1}

    def _find(self, table: TableId) -> tuple[Route, ...]:
        found: dict[TableId, Route] = {}
        for rule in self.rules:
            groups = rule.groups(table)
            if groups is None:
                continue
            target = _name(_fill(rule.target, groups))
            if target in found:
                raise ValueError(f"two routes send {table} to {target}")
            shard = tuple((name, _fill(value, groups)) for name, value in rule.shard)
            shared = self._merges(rule) or (rule.merge is None and self._meets(table, target))
            found[target] = Route(table, target, shared, shard, rule.shard_in_key)
            if self.match == "first":
                break
        if not found:
            names = {"database": table.database, "table": table.table}
            target = TableId(_fill(self.database, names), _fill(self.table, names))
            return (Route(table, target, self._meets(table, target)),)
        return tuple(found.values())

    def _meets(self, table: TableId, target: TableId) -> bool:
        return target in self.elsewhere(table)

    def _merges(self, rule: RouteRule) -> bool:
        if rule.merge is not None:
            return rule.merge
        same = Counter(r.target for r in self.rules)[rule.target] > 1
        pattern = len(rule.source) > 1 or any(is_pattern(p) for p in rule.source)
        return same or (pattern and not _PLACEHOLDER.search(rule.target))


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a source pattern as a regular expression, every wildcard of fnmatch a group.

    Raises:
        re.error: A pattern between slashes is no regular expression.
    """
    if pattern.startswith("/") and pattern.endswith("/") and len(pattern) > 2:
        return re.compile(pattern[1:-1])
    database, _, table = pattern.partition(".")
    return re.compile(f"{_translated(database, dot=False)}\\.{_translated(table, dot=True)}", re.S)


def is_pattern(pattern: str) -> bool:
    """Return whether a source pattern may mean several tables."""
    return pattern.startswith("/") or bool(_WILDCARD.search(pattern))


def _translated(part: str, *, dot: bool) -> str:
    """Return one part of an fnmatch pattern as an expression; a database has no dot before it."""
    anything = "." if dot else "[^.]"
    out, at = "", 0
    while at < len(part):
        letter, at = part[at], at + 1
        end = part.find("]", at + 1 + (part[at : at + 1] in ("!", "^"))) if letter == "[" else -1
        if letter == "*":
            out += f"({anything}*)"
        elif letter == "?":
            out += f"({anything})"
        elif letter == "[" and end > 0:
            # A set is written as fnmatch itself writes it, ranges the wrong way round included.
            out += "(" + _SET.sub(r"\1", translate(part[at - 1 : end + 1])) + ")"
            at = end + 1
        else:
            out += re.escape(letter)
    return out


def _names(pattern: str) -> set[str]:
    expression = compiled(pattern)
    numbered = {str(i) for i in range(1, expression.groups + 1)}
    return numbered | set(expression.groupindex) | {"database", "table"}


def _fill(template: str, groups: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda m: groups[m[1]], template)


def _name(text: str) -> TableId:
    namespace, _, table = text.partition(".")
    return TableId(namespace, table)
