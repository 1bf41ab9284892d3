"""Output columns of a rule: its projection, expanded and typed.

In: a rule and a scope. Out: columns in order with where each comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cdc_assets.engine.transforms.arithmetic import finite
from cdc_assets.engine.transforms.parse import Item, parse_expression, parse_item
from cdc_assets.engine.transforms.program import SourceScope, is_column, metadata_of
from cdc_assets.engine.transforms.rule import TransformRule
from cdc_assets.engine.transforms.translate import Scope, translate
from cdc_assets.engine.transforms.typed import NULL, Refused, Typed
from resources.errors import ConfigError
from resources.model.table import Column

_T = TypeVar("_T")


@dataclass(frozen=True)
class Output:
    """One output column.

    Args:
        column: As the target sees it.
        value: What it is made of.
        text: The projection's item.
    """

    column: Column
    value: Typed
    text: str

    @property
    def source(self) -> str | None:
        """The source column it is, untouched; None for anything else."""
        key = self.value.column
        return key if key is not None and is_column(key) else None

    @property
    def metadata(self) -> str | None:
        """The metadata column it is, untouched; None for anything else."""
        return None if self.value.column is None else metadata_of(self.value.column)


class OutputScope:
    """Output columns by name, then metadata columns: what row rules speak of.

    Args:
        scope: The table's scope, for metadata and functions.
        outputs: The output columns.
    """

    def __init__(self, scope: SourceScope, outputs: Sequence[Output]) -> None:
        self._scope = scope
        self._outputs = {o.column.name.lower(): o.value for o in outputs}
        self._names = [o.column.name for o in outputs]

    def column(self, name: str) -> Typed | None:
        """Return an output column, else a metadata column."""
        found = self._outputs.get(name.lower())
        if found is not None:
            return found
        meta = self._scope.column(name)
        return meta if meta and meta.column and metadata_of(meta.column) else None

    def names(self) -> Sequence[str]:
        """Return the names of the output columns."""
        return self._names

    def functions(self) -> Sequence[str]:
        """Return the names of the Python functions."""
        return self._scope.functions()

    def call(self, name: str, args: Sequence[Typed]) -> Typed | None:
        """Plan a call of a Python function."""
        return self._scope.call(name, args)


def placed(where: str, what: str, text: str, build: Callable[[], _T]) -> _T:
    """Run a part of the compiler; turn a refusal into an error with its place.

    Raises:
        ConfigError: What was refused, where, and what to write instead.
    """
    try:
        return build()
    except Refused as refused:
        raise ConfigError(
            f"{what} `{text}`: {refused.message}",
            where=where,
            remedy=refused.remedy or "docs/expressions.md has the language",
        ) from None


def read_condition(text: str, what: str, where: str, scope: Scope) -> Typed:
    """Return the SQL of a condition of a pipeline file.

    Raises:
        ConfigError: It cannot be compiled.
    """

    def build() -> Typed:
        tree: Any = parse_expression(text)
        if type(tree).__name__ == "Alias":
            raise Refused("a condition has no name", "leave AS out")
        return translate(tree, scope)

    return placed(where, what, text, build)


def read_outputs(rule: TransformRule, scope: SourceScope) -> list[Output]:
    """Return the output columns of a rule.

    Raises:
        ConfigError: An item cannot be compiled, or two have one name.
    """
    items = [_item(rule, scope, text) for text in rule.projection or ("*",)]
    named = {i.name.lower(): i for i in items if not i.star}
    outputs: list[Output] = []
    starred: set[str] = set()
    for item in items:
        if item.star:
            # An item of a column's name takes that column's place.
            for column in scope.schema.columns:
                chosen = named.get(column.name.lower()) or Item(item.text, column.name, None)
                outputs.append(_output(rule, scope, chosen))
                starred.add(column.name.lower())
        elif item.name.lower() not in starred and not _later_star(items, item, scope):
            outputs.append(_output(rule, scope, item))
    _check_names(rule, outputs)
    return outputs


def _item(rule: TransformRule, scope: SourceScope, text: str) -> Item:
    """Read an item; `*` and names of columns need no parser, and most rules have nothing else."""
    if text.strip() == "*":
        return Item(text, "", None, star=True)
    if scope.column(text) is not None:
        return Item(text, text, None)
    return placed(rule.place(text), "projection", text, lambda: parse_item(text))


def _later_star(items: Sequence[Item], item: Item, scope: SourceScope) -> bool:
    """Return whether a `*` further on will put the item in its column's place."""
    later = any(i.star for i in items[items.index(item) :])
    return later and item.name.lower() in {n.lower() for n in scope.schema.names}


def _output(rule: TransformRule, scope: SourceScope, item: Item) -> Output:
    if item.tree is None or (type(item.tree).__name__ == "Column" and not item.tree.table):
        wanted = item.name if item.tree is None else item.tree.name
        found = scope.column(wanted)
        if found is not None and found.column is not None:
            return Output(_plain_column(scope, found, item.name), found, item.text)
    where = rule.place(item.text)
    value = placed(where, "projection", item.text, lambda: translate(item.tree, scope))
    if value.type == NULL:
        raise ConfigError(
            f"projection `{item.text}`: NULL has no type",
            where=where,
            remedy="say which by CAST(NULL AS …)",
        )
    if value.constant is not None or value.column is None:
        value = finite(replace(value, column=None))
    column = Column(item.name, value.type, "", value.nullable, value.kind)
    return Output(column, value, item.text)


def _plain_column(scope: SourceScope, value: Typed, name: str) -> Column:
    key = value.column or ""
    if not is_column(key):
        return Column(name, value.type, "", value.nullable)
    source = scope.schema.column(key)
    # In the target it is a column like any other.
    return source if source.name == name else replace(source, name=name)


def _check_names(rule: TransformRule, outputs: Sequence[Output]) -> None:
    seen: set[str] = set()
    for output in outputs:
        name = output.column.name
        if name.lower() in seen:
            raise ConfigError(
                f"two items of the projection are named {name}",
                where=rule.place(output.text),
                remedy="give one of them another name by AS",
            )
        if not name or (name.lower().startswith("_cdc_") and name != output.source):
            raise ConfigError(
                f"the projection names a column {name!r}",
                where=rule.place(output.text),
                remedy="names are not empty, and those with _cdc_ are the project's own",
            )
        seen.add(name.lower())
