"""A compiled set of expressions: what they read, in which order they run, and running them.

In: expressions over a table's columns. Out: arrays per batch, and the rows that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from cdc_assets.engine.transforms.evaluate import Column, Indices, Selected, check_types, select
from cdc_assets.engine.transforms.metadata import METADATA, BatchContext, metadata_column
from cdc_assets.engine.transforms.python_functions import ArrowFunction
from cdc_assets.engine.transforms.typed import Refused, Typed, coerce, common, words
from resources.model.table import TableSchema

_METADATA = "\0"
"""Marks the inputs that are metadata columns; no server has it in a column's name."""
_RESULT = "\1"
"""Marks the inputs that are results of Python functions."""


@dataclass(frozen=True)
class PythonCall:
    """One call of a Python function.

    Args:
        key: Name of its result among the inputs.
        function: The function.
        args: Its arguments.
        stage: How many calls come before it.
    """

    key: str
    function: ArrowFunction
    args: tuple[Typed, ...]
    stage: int


@dataclass
class SourceScope:
    """The columns of a table, metadata columns and Python functions, by the names in use.

    Args:
        schema: The table.
        python: Functions of the user's own.
    """

    schema: TableSchema
    python: Mapping[str, ArrowFunction]
    calls: list[PythonCall] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def column(self, name: str) -> Typed | None:
        """Return a column of the table, else a metadata column."""
        for found in (
            next((c for c in self.schema.columns if c.name == name), None),
            next((c for c in self.schema.columns if c.name.lower() == name.lower()), None),
        ):
            if found is not None:
                sql = self._sql(found.name)
                inputs = frozenset({found.name})
                return Typed(sql, found.type, found.nullable, inputs, found.kind, column=found.name)
        meta = metadata_column(name)
        if meta is None:
            return None
        key = _METADATA + meta.name
        return Typed(self._sql(key), meta.type, meta.nullable, frozenset({key}), column=key)

    def names(self) -> Sequence[str]:
        """Return all names."""
        return [*self.schema.names, *METADATA]

    def functions(self) -> Sequence[str]:
        """Return the names of the Python functions."""
        return list(self.python)

    def call(self, name: str, args: Sequence[Typed]) -> Typed | None:
        """Plan a call of a Python function and return its result."""
        function = self.python.get(name)
        if function is None:
            return None
        if len(args) != len(function.takes):
            raise Refused(f"{name} takes {len(function.takes)} arguments, not {len(args)}")
        given = tuple(self._argument(name, i, a, t) for i, (a, t) in
                      enumerate(zip(args, function.takes, strict=True)))  # fmt: skip
        key = f"{_RESULT}{len(self.calls)}"
        stage = max((a.stage for a in given), default=0) + 1
        self.calls.append(PythonCall(key, function, given, stage))
        inputs = frozenset({key}).union(*(a.inputs for a in given))
        return Typed(self._sql(key), function.returns, True, inputs, stage=stage)

    def type_of(self, key: str) -> pa.DataType:
        """Return the Arrow type of an input."""
        if key.startswith(_METADATA):
            return METADATA[key[1:]].type
        if key.startswith(_RESULT):
            return self.calls[int(key[1:])].function.returns
        return self.schema.column(key).type

    def sql_name(self, key: str) -> str:
        """Return the name an input has in SQL."""
        return self._sql(key)

    def _sql(self, key: str) -> str:
        return f"i{self._numbers.setdefault(key, len(self._numbers))}"

    def _argument(self, name: str, i: int, value: Typed, type_: pa.DataType) -> Typed:
        target = Typed("", type_)
        if common([value, target], f"argument {i + 1} of {name}") != type_:
            raise Refused(
                f"argument {i + 1} of {name} is {words(value.type)}, not {words(type_)}",
                "CAST(… AS …) says how",
            )
        return coerce(value, type_)


def is_column(key: str) -> bool:
    """Return whether an input is a column of the source table."""
    return not key.startswith((_METADATA, _RESULT))


def metadata_of(key: str) -> str | None:
    """Return the name of the metadata column an input is, None for others."""
    return key[1:] if key.startswith(_METADATA) else None


class Program:
    """Expressions over a table's batches.

    Args:
        scope: What they were translated with.
        columns: The expressions; none of them a bare column.

    Attributes:
        calls: Whether there are Python functions in them.
    """

    def __init__(self, scope: SourceScope, columns: Sequence[Typed]) -> None:
        self._scope = scope
        self._columns = tuple(columns)
        used = frozenset[str]().union(*(c.inputs for c in columns))
        calls = [c for c in scope.calls if c.key in used]
        self._stages = [
            [c for c in calls if c.stage == s] for s in sorted({c.stage for c in calls})
        ]
        self.calls: bool = bool(calls)
        self._meta = sorted(k for k in used if metadata_of(k))
        self._source = sorted(k for k in used if is_column(k))

    def check(self) -> str | None:
        """Bind all queries; return what DuckDB says against them, None if nothing."""
        types = {
            self._scope.sql_name(k): self._scope.type_of(k)
            for k in frozenset[str]().union(*(c.inputs for c in self._columns))
        }
        args = [a for stage in self._stages for c in stage for a in c.args]
        wanted = [_query_column(v) for v in (*self._columns, *args)]
        return check_types(types, wanted) if wanted else None

    def run(self, rows: pa.RecordBatch, context: BatchContext) -> list[Selected]:
        """Evaluate every expression for a batch, in the order of its rows.

        Raises:
            ConfigError: A Python function returned something else than it declares.
            TerminalError: DuckDB cannot run the query.
        """
        if not self._columns:
            return []
        count = rows.num_rows
        inputs = {k: rows.column(k) for k in self._source}
        inputs |= {k: METADATA[k[1:]].read(rows, context) for k in self._meta}
        failed: dict[str, Indices] = {}
        for stage in self._stages:
            for call in stage:
                inputs[call.key], failed[call.key] = self._call(call, inputs, failed, count)
        found = self._select(inputs, self._columns, count)
        return [_with_failed(s, c, failed) for s, c in zip(found, self._columns, strict=True)]

    def _call(
        self,
        call: PythonCall,
        inputs: Mapping[str, pa.Array],
        failed: Mapping[str, Indices],
        rows: int,
    ) -> tuple[pa.Array, Indices]:
        args = self._select(inputs, call.args, rows)
        before = [_with_failed(s, a, failed).failed for s, a in zip(args, call.args, strict=True)]
        values, raised = call.function([a.values for a in args], rows)
        return values, np.unique(np.concatenate([raised, *before]))

    def _select(
        self, inputs: Mapping[str, pa.Array], columns: Sequence[Typed], rows: int
    ) -> list[Selected]:
        used = frozenset[str]().union(*(c.inputs for c in columns)) & set(inputs)
        named = {self._scope.sql_name(k): inputs[k] for k in sorted(used)}
        return select(named, rows, [_query_column(c) for c in columns])


def _query_column(value: Typed) -> Column:
    return Column(value.sql, value.type)


def _with_failed(found: Selected, value: Typed, failed: Mapping[str, Indices]) -> Selected:
    """Add the rows on which a Python function failed that the value reads."""
    more = [failed[k] for k in value.inputs if k in failed and len(failed[k])]
    if not more:
        return found
    return Selected(found.values, np.unique(np.concatenate([found.failed, *more])))
