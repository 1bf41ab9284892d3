"""Transforms of one table: what comes out of its changes and of the rows of its snapshot.

In: change batches in a table's source schema. Out: those of the target, failed rows.

What the target is after any changes is what the rule makes of the table's rows then: an update that
leaves the filter is a delete of its key, since the log has no before-image of plain updates and the
row may be in the target from before; deleting a key that is not there changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_assets.engine.conform import BadRow
from cdc_assets.engine.transforms.compiler import Plan, compile_plan, lineage
from cdc_assets.engine.transforms.evaluate import Selected, bits_of
from cdc_assets.engine.transforms.metadata import METADATA, BatchContext
from cdc_assets.engine.transforms.outputs import Output
from cdc_assets.engine.transforms.python_functions import file_version
from cdc_assets.engine.transforms.rule import TransformRule
from resources.errors import TerminalError
from resources.model.arrays import from_mask, from_numbers, to_numbers
from resources.model.change import CHANGE_FIELDS, OP, RowKind, change_schema
from resources.model.table import TableSchema

Mask = npt.NDArray[np.bool_]
FILTER = "filter"
"""The column a failed row names when it was the filter that failed."""
_UNJUDGED = "the filter cannot be evaluated for this row"


@dataclass(frozen=True)
class Transformed:
    """A transformed batch.

    Args:
        rows: The rows, in the order given.
        failed: Rows that are not among them since they failed, by index.
        skipped: After-images that the filter or a row rule refused.
        gone: Changes that leave no row, if they are not among `rows`: the columns of the key and
            those of changes.
    """

    rows: pa.RecordBatch
    failed: list[BadRow]
    skipped: int
    gone: pa.RecordBatch | None = None


class Transform:
    """A rule compiled for one schema of one table; safe to use from several threads.

    Args:
        plan: The compiled rule.
        append: Whether the target keeps every change as a row.
    """

    def __init__(self, plan: Plan, append: bool) -> None:
        self._plan = plan
        self._append = append
        self._changes = change_schema(plan.schema)
        # Snapshot rows have the nullability of the table itself.
        self._rows = plan.schema.arrow()
        self.schema: TableSchema = plan.schema
        self.partition_keys: tuple[str, ...] = plan.rule.partition_keys
        self.lineage: Mapping[str, frozenset[str]] = MappingProxyType(lineage(plan))
        self.plain: Mapping[str, str] = MappingProxyType(
            {o.column.name: o.source for o in plan.outputs if o.source is not None}
        )
        self.needed: frozenset[str] = plan.needed
        self.watched: frozenset[str] = plan.watched
        by_key = plan.passed is not None and not append and not plan.rule.soft_delete
        self._passed = Transform(plan.passed, append) if plan.passed and by_key else None

    def apply(self, rows: pa.RecordBatch, context: BatchContext) -> Transformed:
        """Transform changes.

        Args:
            rows: A batch of `change_schema` of the source's schema, of which columns that are
                not `needed` may be missing.
            context: Where it comes from.

        Returns:
            Rows of `change_schema(self.schema)`.

        Raises:
            TerminalError: A row rule says `fail`.
            ConfigError: A Python function returned something else than it declares.
        """
        return self._transform(rows, context, to_numbers(rows.column(OP)))

    def split(self, rows: pa.RecordBatch, context: BatchContext) -> Transformed:
        """Transform changes, with those that leave no row apart, as keys.

        Nothing is computed for them where the filter can be judged first. Arguments and errors as
        `apply`.
        """
        if self._passed is None or self._plan.first is None:
            return self.apply(rows, context)
        ops = to_numbers(rows.column(OP))
        after = (ops == RowKind.INSERT) | (ops == RowKind.UPDATE_AFTER)
        found = self._plan.first.run(rows, context)[0]
        whole = after & _true(found.values)
        leaves = ~whole & (ops != RowKind.INSERT)
        leaves[found.failed[after[found.failed]]] = False
        done = self._passed.apply(rows if whole.all() else rows.filter(from_mask(whole)), context)
        failed = [BadRow(i, FILTER, _UNJUDGED) for i in found.failed.tolist() if after[i]]
        skipped = np.count_nonzero(after & ~whole) - len(failed) + done.skipped
        places = np.flatnonzero(whole)
        failed += [bad._replace(row=int(places[bad.row])) for bad in done.failed]
        failed.sort(key=lambda bad: bad.row)
        gone = self._keys(rows.filter(from_mask(leaves)), context) if leaves.any() else None
        return Transformed(done.rows, failed, int(skipped), gone)

    def _keys(self, rows: pa.RecordBatch, context: BatchContext) -> pa.RecordBatch:
        """Return the keys of changes that leave no row, but of those without one."""
        arrays = [_plain(self._plan.outputs[i], rows, context) for i in self._plan.key]
        fields = [self._changes.field(name) for name in self.schema.key]
        known = np.ones(rows.num_rows, bool)
        for values in arrays:
            if values.null_count:
                known &= bits_of(values.is_valid())
        ops = to_numbers(rows.column(OP))
        kinds = np.where(ops == RowKind.UPDATE_AFTER, np.uint8(RowKind.DELETE), ops)
        own = {OP: from_numbers(pa.uint8(), kinds)}
        arrays += [own.get(f.name) or rows.column(f.name) for f in CHANGE_FIELDS]
        keys = pa.RecordBatch.from_arrays(arrays, schema=pa.schema([*fields, *CHANGE_FIELDS]))
        return keys if known.all() else keys.filter(from_mask(known))

    def apply_rows(self, rows: pa.RecordBatch, context: BatchContext) -> Transformed:
        """Transform rows of a snapshot: columns of the table alone, all of them inserts.

        Returns:
            Rows of `self.schema.arrow()`. Raises as `apply`.
        """
        ops = np.full(rows.num_rows, RowKind.INSERT, np.uint8)
        return self._transform(rows, context, ops)

    def _transform(
        self, rows: pa.RecordBatch, context: BatchContext, ops: npt.NDArray[np.uint8]
    ) -> Transformed:
        batch = _Batch(self._plan, rows, context)
        after = (ops == RowKind.INSERT) | (ops == RowKind.UPDATE_AFTER)
        flagging = bool(self._plan.rule.soft_delete)
        judged = after | (self._append or flagging)
        passes = batch.passes(judged)
        batch.fail_columns(after & passes)
        passes &= ~after | batch.accepts(after & passes & ~batch.bad)
        skipped = int(np.count_nonzero(after & ~passes & ~batch.bad))
        kept, kinds = _outcome(ops, after, passes, self._append, flagging)
        whole = kept & (self._append | (kinds != RowKind.DELETE) & (kinds != RowKind.UPDATE_BEFORE))
        batch.fail_columns(whole)
        keys = batch.keyless(kept)
        batch.fail_keys(keys & whole)
        kept &= ~batch.bad & ~(keys & ~whole)
        arrays = batch.arrays()
        if flagging:
            arrays.append(from_mask(~(after & passes)))
        return Transformed(self._built(rows, arrays, ops, kinds, kept), batch.failed(), skipped)

    def _built(
        self,
        rows: pa.RecordBatch,
        arrays: list[pa.Array],
        ops: npt.NDArray[np.uint8],
        kinds: npt.NDArray[np.uint8],
        kept: Mask,
    ) -> pa.RecordBatch:
        schema = self._rows
        if OP in rows.schema.names:
            schema = self._changes
            same = np.array_equal(ops, kinds)
            own = {OP: rows.column(OP) if same else from_numbers(pa.uint8(), kinds)}
            arrays += [own.get(f.name) or rows.column(f.name) for f in CHANGE_FIELDS]
        built = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return built if kept.all() else built.filter(from_mask(kept))


class _Batch:
    """One batch on its way: what was computed, and which rows failed."""

    def __init__(self, plan: Plan, rows: pa.RecordBatch, context: BatchContext) -> None:
        self._plan, self._rows, self._context = plan, rows, context
        self._found = plan.program.run(rows, context)
        self._errors: dict[int, BadRow] = {}
        self.bad: Mask = np.zeros(rows.num_rows, bool)

    def passes(self, judged: Mask) -> Mask:
        """Return which rows the filter lets through; rows not judged pass."""
        if not self._plan.filtered:
            return np.ones(len(judged), bool)
        found = self._found[len(self._plan.computed)]
        self._fail(found, judged, FILTER, _UNJUDGED)
        return ~judged | _true(found.values)

    def accepts(self, rows: Mask) -> Mask:
        """Return which rows the row rules let through, after setting aside those for it.

        Raises:
            TerminalError: A rule says `fail`.
        """
        accepted = np.ones(len(rows), bool)
        first = len(self._plan.computed) + self._plan.filtered
        for rule, found in zip(self._plan.rules, self._found[first:], strict=True):
            name = rule.column or ""
            self._fail(found, rows, name, f"rule {rule.name} cannot be evaluated for this row")
            refused = rows & ~self.bad & accepted & ~_true(found.values)
            if not refused.any():
                continue
            if rule.on_fail == "fail":
                raise TerminalError(
                    f"{np.count_nonzero(refused)} rows of {self._plan.schema.table} do not pass "
                    f"the rule {rule.name}",
                    where=rule.where or self._plan.rule.where,
                    remedy="mend the rows at the source, or let the rule skip or set aside",
                )
            if rule.on_fail == "skip":
                accepted &= ~refused
            else:
                self._set_bad(np.flatnonzero(refused), name, f"rule {rule.name} is not met")
        return accepted

    def fail_columns(self, whole: Mask) -> None:
        """Set aside rows of which a column failed that they need."""
        for i, found in zip(self._plan.computed, self._found, strict=False):
            output = self._plan.outputs[i]
            message = f"`{output.text}` cannot be evaluated for this row"
            self._fail(found, whole, output.column.name, message)

    def keyless(self, kept: Mask) -> Mask:
        """Return which rows have NULL in a key column, or one that failed."""
        missing = np.zeros(len(kept), bool)
        computed = dict(zip(self._plan.computed, self._found, strict=False))
        for i in self._plan.key:
            values = computed[i].values if i in computed else self._plain(i)
            if values.null_count:
                missing |= kept & ~bits_of(values.is_valid())
            if i in computed:
                missing[computed[i].failed] = True
        return missing & kept

    def fail_keys(self, rows: Mask) -> None:
        """Set aside rows without a key."""
        name = self._plan.schema.key[0] if self._plan.schema.key else ""
        self._set_bad(np.flatnonzero(rows & ~self.bad), name, "a column of the key is NULL")

    def arrays(self) -> list[pa.Array]:
        """Return the output columns."""
        computed = dict(zip(self._plan.computed, self._found, strict=False))
        return [
            computed[i].values if i in computed else self._plain(i)
            for i in range(len(self._plan.outputs))
        ]

    def failed(self) -> list[BadRow]:
        """Return the rows set aside, by index."""
        return [self._errors[i] for i in sorted(self._errors)]

    def _plain(self, i: int) -> pa.Array:
        return _plain(self._plan.outputs[i], self._rows, self._context)

    def _fail(self, found: Selected, rows: Mask, column: str, message: str) -> None:
        if len(found.failed):
            self._set_bad(found.failed[rows[found.failed]], column, message)

    def _set_bad(self, indices: npt.NDArray[np.int64], column: str, message: str) -> None:
        for index in indices.tolist():
            self._errors.setdefault(index, BadRow(index, column, message))
        self.bad[indices] = True


def _outcome(
    ops: npt.NDArray[np.uint8], after: Mask, passes: Mask, append: bool, flagging: bool
) -> tuple[Mask, npt.NDArray[np.uint8]]:
    """Return which rows go on, and as which kind."""
    if append:
        return passes.copy(), ops
    left = after & ~passes
    kept = ~(left & (ops == RowKind.INSERT))
    kinds = ops
    if flagging:
        # The image of a row the filter refuses was never in the target as a living row.
        kept &= after | passes
        kinds = np.where(ops == RowKind.INSERT, ops, np.uint8(RowKind.UPDATE_AFTER))
    elif left.any():
        kinds = np.where(left, np.uint8(RowKind.DELETE), ops)
    return kept, kinds.astype(np.uint8, copy=False)


def _plain(output: Output, rows: pa.RecordBatch, context: BatchContext) -> pa.Array:
    """Return an output column that nothing computes."""
    if output.source is not None:
        return rows.column(output.source)
    return METADATA[output.metadata or ""].read(rows, context)


def _true(values: pa.Array) -> Mask:
    """Return where a condition is true; NULL is not."""
    return bits_of(values.fill_null(False) if values.null_count else values)


def compile_transform(
    rule: TransformRule, schema: TableSchema, *, append: bool = False
) -> Transform:
    """Compile a rule for a table; the same rule and schema are compiled once per process.

    Args:
        rule: The rule.
        schema: The source's schema, after masks (`Masker.schema`).
        append: Whether the target keeps every change as a row: the filter then judges every
            image by itself, and nothing becomes a delete.

    Raises:
        ConfigError: The rule cannot be compiled; says where and what to write instead.
    """
    version = file_version(rule.functions, rule.where) if rule.functions else None
    return _compiled(rule, schema, append, version)


@lru_cache(maxsize=1024)
def _compiled(
    rule: TransformRule, schema: TableSchema, append: bool, _: tuple[int, int] | None
) -> Transform:
    return Transform(compile_plan(rule, schema), append)
