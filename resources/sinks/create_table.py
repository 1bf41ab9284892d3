"""CREATE TABLE as the pipeline file asks for it: a template, or options behind our own statement.

In: rules by target, and what the sink knows of a table, quoted already. Out: the statement. What
it made is compared with what it was to make before any row is written (`wrongly_made`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from resources.errors import ConfigError
from resources.model.patterns import matches
from resources.model.table_id import TableId
from resources.sinks.contract import TargetId
from resources.sinks.create_template import names_of, template_problem


@dataclass(frozen=True)
class CreateRule:
    """How some targets are created.

    Args:
        tables: Patterns of targets, `namespace.table` with fnmatch wildcards.
        template: The whole statement, with places like `{table}`; empty for our own.
        options: What follows the closing bracket of our own.
    """

    tables: tuple[str, ...] = ("*.*",)
    template: str = ""
    options: str = ""

    @property
    def is_own(self) -> bool:
        """Whether the statement is ours alone."""
        return not (self.template or self.options)

    def fill(self, table: str, places: Mapping[str, str]) -> str:
        """Return the template with what it names.

        Args:
            table: The table's quoted name.
            places: What stands for each other place.

        Raises:
            ConfigError: It names the key of a table that has none, or a place there is not.
        """
        if problem := template_problem(self.template, ("table", *places)):
            raise ConfigError(f"the template of CREATE TABLE {problem}", where=table)
        if "key" in names_of(self.template) and not places["key"]:
            raise ConfigError(
                "the template of CREATE TABLE names {key}, and this table has no key",
                where=table,
                remedy="give tables that keep every change a rule of their own, before this one",
            )
        return self.template.format(table=table, **places)


@dataclass(frozen=True)
class CreateRules:
    """The rules of a sink; the first that means a target holds.

    Args:
        rules: In order.
    """

    rules: tuple[CreateRule, ...] = ()

    def of(self, target: TargetId) -> CreateRule:
        """Return how a target is created."""
        table = TableId(target.namespace, target.table)
        for rule in self.rules:
            if any(matches(pattern, table) for pattern in rule.tables):
                return rule
        return CreateRule()


def create_rules(given: Iterable[Mapping[str, Any]], places: Sequence[str]) -> CreateRules:
    """Return the rules that a sink is opened with.

    Args:
        given: `CreateRule`s as mappings.
        places: What templates may name.

    Raises:
        ConfigError: One cannot be used.
    """
    rules = tuple(replace(CreateRule(**rule), tables=tuple(rule["tables"])) for rule in given)
    for rule in rules:
        problem = template_problem(rule.template, places) if rule.template else ""
        if problem or (rule.template and rule.options):
            raise ConfigError(
                f"the rule of {', '.join(rule.tables)} {problem or 'has template and options'}",
                where="create_table",
                remedy="write a template, or options behind the sink's own statement",
            )
    return CreateRules(rules)


def wrongly_made(target: TargetId, made: str, wanted: str) -> ConfigError:
    """Return the error of a template whose table is not what it was to be; it is gone again."""
    return ConfigError(
        f"the table that its rule of `create_table` makes has the columns {made}, not {wanted}",
        where=str(target),
        remedy="write {columns} or {plain_columns} where the columns are declared, and nothing "
        "that changes them",
    )
