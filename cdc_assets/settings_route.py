"""The `route` section of a pipeline file: which target a table's rows go to.

In: what the file says. Out: immutable rules whose patterns and templates fit together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.engine.routing import RouteRule, compiled
from cdc_assets.settings_problems import KeyPath
from cdc_assets.settings_rules import OwnName, RulePatterns, SourceNames
from cdc_assets.settings_types import Kind, Part

SOURCE = "{source}"
"""Stands for the name of the source in templates of a file with `sources`."""


def split_target(template: str) -> tuple[str, str]:
    """Return the templates of namespace and name; the first dot divides them."""
    namespace, _, table = template.partition(".")
    return namespace, table


def _check_target(value: str) -> str:
    problems = RouteRule(("*.*",), value.replace(SOURCE, "x")).problems()
    named = set(re.findall(r"\{(\w+)\}", value)) - {"database", "source", "table"}
    words = ""
    if named:
        words = f"names {{{min(named)}}}; there are database and table"
    elif problems:
        words = problems[0].removeprefix(f"{value!r} ")
    elif "{table}" not in value:
        words = "must name {table}: it is for all tables that no route means"
    if words:
        raise PydanticCustomError("template", "{words}", {"words": words})
    return value


TargetTemplate = Annotated[str, AfterValidator(_check_target), Kind("template")]
"""Name of targets in general: `{database}.{table}`."""


class Shard(Part):
    """Columns that tell the tables of one target apart."""

    columns: Annotated[dict[OwnName, str], Kind("mapping of column to template")] = Field(
        min_length=1
    )
    """Name and value of each column; the value is a template as `target` is."""
    in_key: bool = False
    """Whether these columns are part of the target's key. Without them a key that arrives from two
    tables is set aside as dirty rows that name both."""


class RouteRuleSettings(Part):
    """One rule: tables and the target their rows go to."""

    source: RulePatterns
    """Tables of the source: `database.table` with fnmatch wildcards, each a group, or a
    `/regular expression/` that the whole of `database.table` matches."""
    target: str
    """Target, `namespace.table`. `{database}` and `{table}` stand for the source's names, `{1}` for
    what the first wildcard or group matched, `{name}` for a named group; `{source}` for the name
    of the source, in a file with `sources`."""
    sources: SourceNames = ()
    """Names of the `sources` that the rule is for; all of them if left out."""
    merge: bool | None = None
    """Whether several tables may share the target. Left out, they may if `target` names no part of
    the source, or if another rule has the same `target`, or if they have one name on several
    `sources`."""
    shard: Shard | None = None
    """Columns that tell the tables of one target apart."""

    @model_validator(mode="after")
    def _check_templates(self) -> RouteRuleSettings:
        for path, value in self.templates():
            known = self.filled(value, "x")
            as_target = path == ("target",)
            shard = () if as_target else ((str(path[-1]), known),)
            rule = RouteRule(self.source, known if as_target else "a.b", shard=shard)
            _refuse(known, path, rule.problems())
        return self

    def means(self, source: str) -> bool:
        """Return whether the rule is for one of `sources`, or for the one there is."""
        return not self.sources or source in self.sources

    def templates(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield every template with its key below the rule."""
        yield ("target",), self.target
        for name, value in self.shard.columns.items() if self.shard else ():
            yield ("shard", "columns", name), value

    def filled(self, template: str, source: str) -> str:
        """Return a template with the source's name; a group of that name comes first."""
        groups = (compiled(pattern).groupindex for pattern in self.source)
        own = any("source" in names for names in groups)
        return template if own else template.replace(SOURCE, source)

    def rule(self, source: str = "") -> RouteRule:
        """Return the rule in the engine's words.

        Args:
            source: Which of `sources` it is for, empty in a file with one source.
        """
        shard = self.shard
        columns = shard.columns.items() if shard else ()
        return RouteRule(
            source=self.source,
            target=self.filled(self.target, source),
            merge=self.merge,
            shard=tuple((name, self.filled(value, source)) for name, value in columns),
            shard_in_key=shard is not None and shard.in_key,
        )


def _refuse(template: str, at: KeyPath, problems: Iterable[str]) -> None:
    """Raise the first problem of a template, without the template itself."""
    for problem in problems:
        words = problem.removeprefix(f"{template!r} ")
        raise PydanticCustomError("template", "{words}", {"words": words, "at": at})
