"""The columns a target has, and what schema changes of its feed do to them.

In: the shape a feed's rows have from here on, and the statement that made it so. Out: the target
altered by the pipeline's policy before any row of the new shape, every decision on record; or the
feed waits: for a decision, for being read again, for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, cast

import pyarrow as pa

from cdc_assets.engine import records
from cdc_assets.engine.configs import config_text, why_edited
from cdc_assets.engine.conform import Conformed, Rows, conform
from cdc_assets.engine.evolution import Decided, EvolutionPlan, Situation
from cdc_assets.engine.evolve import plan_evolution
from cdc_assets.engine.fills import followed_fills, shaped_fills
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.routing import OWNER, Route
from cdc_assets.engine.schema_policy import (
    ColumnEventWord,
    TableDecision,
    TableEventWord,
    decide_table_event,
)
from cdc_assets.engine.shaping import Shaping
from resources.errors import ConfigError, SchemaMismatch
from resources.failpoints import failpoint
from resources.model.change import CHANGE_FIELDS, TableNotice
from resources.model.table import Column, TableSchema
from resources.model.widening import describe
from resources.sinks.contract import TargetTable
from resources.sinks.shape import misfit
from resources.stores.feeds import FeedShape
from resources.stores.schema_changes import SchemaChange

_CHANGE_NAMES = frozenset(f.name for f in CHANGE_FIELDS)
Answer = Literal["apply", "ignore", "wait"]


class TargetColumns:
    """The columns of one feed's target.

    Args:
        pipeline: The opened pipeline.
        route: The feed's way.
        report: Told why the feed waits.
    """

    def __init__(self, pipeline: Pipeline, route: Route, report: TableReport) -> None:
        self.pipeline = pipeline
        self.route = route
        self.report = report
        shape = pipeline.feeds.load(route.table, str(report.target))
        self.before: TableSchema | None = shape.schema if shape else None
        self.kept = shape.kept if shape else frozenset()
        self.ignored = shape.ignored if shape else frozenset()
        self.failed = shape.failed if shape else frozenset()
        self.config = shape.config if shape else ""
        self.fills = shape.fills if shape else ()
        self._read = False
        self._known: tuple[Column, ...] | None = None
        with pipeline.sink() as sink:
            self._capabilities = sink.capabilities

    @property
    def live(self) -> tuple[Column, ...] | None:
        """The columns the sink has now, None if the table is not there.

        Kinds and labels are the feed's own where the types agree: a sink keeps none.
        """
        if not self._read:
            with self.pipeline.sink() as sink:
                schema = sink.read_schema(self.report.target)
            known = {c.name: c for c in self.before.columns} if self.before else {}
            own = [] if schema is None else [f for f in schema if not self._adds(f.name)]
            self._known = None if schema is None else tuple(_column(f, known) for f in own)
            self._read = True
        return self._known

    @property
    def edited(self) -> str:
        """Why the target was filled by other rules than the pipeline file's; empty if not."""
        return why_edited(self.pipeline, self.route, self.config)

    def _adds(self, name: str) -> bool:
        """Return whether a column is one the sink adds to a log of changes."""
        return self.appends and name in _CHANGE_NAMES

    @property
    def appends(self) -> bool:
        """Whether the target keeps every change as a row."""
        return self.pipeline.options.appends(self.route.table)

    def forget(self) -> None:
        """Ask the sink again at the next look."""
        self._read = False

    def target(self, shaping: Shaping) -> TargetTable:
        """Return the target with the columns it has, or will be made with, and the feed's key."""
        wanted = shaping.target("append" if self.appends else "merge")
        if self.live is None:
            return wanted
        return replace(wanted, schema=replace(wanted.schema, columns=self.live))

    def current(self) -> TargetTable | None:
        """Return the target as it is, whatever the feed's rows are now; None if it is not there."""
        if self.live is None or self.before is None:
            return None
        schema = replace(self.before, columns=self.live)
        owner = OWNER if self.route.shared else ""
        return TargetTable(self.report.target, schema, "append" if self.appends else "merge", owner)

    def take_anew(self, shaping: Shaping, seq: int) -> None:
        """Bring a target without rows of the feed to what rows of a shape need; see `take`.

        Raises:
            SchemaMismatch: A shared target has a column that no type holds beside the feed's.
        """
        self.before, self.fills = None, ()
        self.take(shaping, "the table begins anew", seq)

    def conform(self, rows: Rows, target: TargetTable) -> Conformed:
        """Bring rows to the target's columns."""
        return conform(rows, target.schema.columns, self.ignored, self.fold)

    def filled(self, image: pa.Table, seq: int) -> pa.Table:
        """Return a row's image with what was put into columns that came after it.

        Args:
            image: It, in the target's columns as they were.
            seq: Its `_cdc_seq`.
        """
        live = {c.name for c in self.live or ()}
        for fill in self.fills:
            name = fill.column
            if seq < fill.seq and name in live and name not in image.column_names:
                values = pa.repeat(fill.value, image.num_rows)
                image = image.append_column(name, values)
        return image

    def take(self, shaping: Shaping, why: str, seq: int, notice: TableNotice | None = None) -> bool:
        """Bring the target to what rows of a shape need, by the pipeline's policy.

        Args:
            shaping: What the rows are from here on.
            why: What made it so, in words.
            seq: The `_cdc_seq` from which on they are it.
            notice: The statement, where there is one.

        Returns:
            False if the feed waits; the report says for what.

        Raises:
            SchemaMismatch: The policy, or the lack of a type that loses nothing, stops the table.
        """
        wanted, before = shaping.wanted, self.before
        alters = before is None or before.fingerprint() != wanted.fingerprint()
        if before is not None and notice is not None:  # rows do not tell what values may be
            alters = alters or notice.rewrites or _said(before) != _said(wanted)
        if not alters:
            self._require_fit(shaping)
            return True
        if self.live is None:
            self._save(wanted)
            return True
        return self._carry_out(self.plan(shaping, seq, notice), wanted, why, seq, notice)

    def take_rewrite(self, why: str, notice: TableNotice) -> bool:
        """Follow a statement that changed rows unseen and tells no shape; see `take`.

        Args:
            why: It, in words.
            notice: It.
        """
        if self.before is None or self.live is None:
            self.report.outcome = "needs_snapshot"
            self.report.reason = records.read_again(self.pipeline, why)
            return False
        situation = self._situation(self.before, notice.seq, rewrites=True)
        plan = plan_evolution(situation)
        return self._carry_out(plan, self.before, why, notice.seq, notice)

    def _carry_out(
        self,
        plan: EvolutionPlan,
        wanted: TableSchema,
        why: str,
        seq: int,
        notice: TableNotice | None,
    ) -> bool:
        changes = records.record_plan(
            self.pipeline, self.route, self.report.target, plan, why, seq, notice
        )
        if plan.refused:
            raise SchemaMismatch(
                "; ".join(plan.refused),
                where=f"{self.route.table}: {why}",
                remedy="change pipeline.schema_changes for it, or the table; then merge it again",
            )
        if plan.hold:
            self.report.outcome, self.report.reason = "held", "; ".join(plan.hold)
            return False
        if plan.reread:
            self._remember_sets(plan)
            self.report.outcome = "needs_snapshot"
            self.report.reason = records.read_again(self.pipeline, "; ".join((why, *plan.reread)))
            return False
        return self._alter(plan, wanted, changes, seq)

    def plan(
        self, shaping: Shaping, seq: int = 0, notice: TableNotice | None = None
    ) -> EvolutionPlan:
        """Return what rows of a shape would come to; asks, and changes nothing."""
        origins = None
        if notice is not None and notice.shape is not None and notice.origins:
            origins = shaping.origins(notice.origins, notice.shape)
        fills = shaped_fills(shaping, notice.fills) if notice is not None else {}
        rewrites = fills is None or (notice is not None and notice.rewrites)
        situation = self._situation(shaping.wanted, seq, rewrites=rewrites)
        known = {} if self.appends else fills or {}
        return plan_evolution(replace(situation, origins=origins, fills=known))

    def _situation(self, after: TableSchema, seq: int, *, rewrites: bool) -> Situation:
        target = str(self.report.target)
        decided = self.pipeline.changes.decisions(self.route.table, target, seq)
        return Situation(
            live=self.live or (),
            after=after,
            before=self.before,
            policy=self.pipeline.options.policy,
            shared=self.route.shared,
            capabilities=self._capabilities,
            rewrites=rewrites and not self.appends,
            kept=self.kept,
            ignored=self.ignored,
            failed=self.failed,
            decided=cast("Mapping[tuple[ColumnEventWord, str], Decided]", decided),
            rereadable=self.pipeline.options.history == "snapshot" and not self.appends,
            keyed=not self.appends,
            fold=self.fold,
            owner=OWNER if self.route.shared else "",
            feed=str(self.pipeline.feed(self.route.table)),
        )

    def _alter(
        self, plan: EvolutionPlan, wanted: TableSchema, changes: Sequence[SchemaChange], seq: int
    ) -> bool:
        given = [change for change in changes if change.state == "replaced"]
        if plan.changes or given:
            failpoint("apply.before_alter")
            failed = self._alter_sink(plan, changes)
            if not all(self._run_given(change) for change in given):
                return False
            failpoint("apply.after_alter")
            self.forget()
            plan = replace(plan, failed=plan.failed | failed)
        self.kept, self.ignored, self.failed = plan.kept, plan.ignored, plan.failed
        self.fills = followed_fills(self.fills, plan.changes, seq)
        self._save(wanted)
        return True

    def _run_given(self, change: SchemaChange) -> bool:
        """Run what a person gave in place of a change; if the sink refuses, it is held again."""
        try:
            with self.pipeline.sink() as sink:
                sink.execute([change.replacement])
        except ConfigError as error:
            why = f"{change.replacement!r} was refused: {error.message}; decide again"
            self.pipeline.changes.hold_again(change.id, why)
            self.report.outcome, self.report.reason = "held", f"{self.route.table}: {why}"
            return False
        return True

    def _remember_sets(self, plan: EvolutionPlan) -> None:
        """Keep what a plan leaves out and keeps, for the copy that carries the rest of it out."""
        self.kept, self.ignored, self.failed = plan.kept, plan.ignored, plan.failed
        if self.before is not None:
            self._save(self.before)

    def _alter_sink(self, plan: EvolutionPlan, changes: Sequence[SchemaChange]) -> frozenset[str]:
        """Alter the target; returns the columns it refused where the policy passes that over."""
        tried = [step for step in plan.steps if step.policy == "try_evolve" and step.changes]
        if not tried:
            with self.pipeline.sink() as sink:
                sink.alter_table(self.report.target, plan.changes)
            return frozenset()
        failed: set[str] = set()
        known = {(change.event, change.column): change.id for change in changes}
        for step in plan.steps:
            column = step.columns[0] if step.columns else ""
            try:
                with self.pipeline.sink() as sink:
                    sink.alter_table(self.report.target, step.changes)
            except (ConfigError, SchemaMismatch) as error:
                if step not in tried:
                    raise
                failed.add(column)
                self.pipeline.changes.fail(known[step.event, column], error.message)
        return frozenset(failed)

    def _save(self, schema: TableSchema) -> None:
        self.before = schema
        self.config = config_text(self.pipeline, self.route)
        self.pipeline.feeds.save(
            FeedShape(
                self.route.table,
                str(self.report.target),
                schema,
                self.report.seq,
                self.kept,
                self.ignored,
                self.failed,
                self.config,
                self.fills,
            )
        )

    def _require_fit(self, shaping: Shaping) -> None:
        """Refuse a target that somebody altered by hand so that it no longer holds the feed."""
        if self.live is None:
            return
        here = {self.fold(c.name): c for c in self.live}
        left_out = {self.fold(name) for name in self.ignored | self.failed}
        for column in shaping.wanted.columns:
            name = self.fold(column.name)
            if name not in here and name not in left_out:
                wanted = ", ".join(f"{c.name} {describe(c)}" for c in shaping.wanted.columns)
                found = ", ".join(f"{c.name} {c.type}" for c in self.live)
                raise misfit(self.report.target, f"({found})", f"({wanted})")

    def decide_table(self, event: TableEventWord, notice: TableNotice) -> Answer:
        """Decide about a statement on the whole table, and put it on record.

        Raises:
            SchemaMismatch: The policy stops the table.
        """
        policy, shared = self.pipeline.options.policy, self.route.shared
        arrives = notice.kind == "rename"
        decision = decide_table_event(policy, self.route.table, event, shared, arrives=arrives)
        change = records.record_table(
            self.pipeline, self.route, self.report.target, decision, notice
        )
        if change.state == "replaced" and not self._run_given(change):
            return "wait"
        return self._answer(decision, change, notice)

    def _answer(self, decision: TableDecision, change: SchemaChange, notice: TableNotice) -> Answer:
        if change.state not in ("held", "refused"):
            return "apply" if change.state == "applied" else "ignore"
        words = f"{decision.event} at {notice.position} ({notice.detail})"
        if decision.action == "refuse":
            raise SchemaMismatch(
                f"{words} is stopped by the policy `{decision.policy}`",
                where=str(self.route.table),
                remedy="change pipeline.schema_changes for it; then merge the table again",
            )
        self.report.outcome, self.report.reason = "held", f"{words} waits for a decision"
        return "wait"

    def loaded(self, shaping: Shaping, kept: Iterable[str]) -> None:
        """Remember what a finished copy made of the target.

        Args:
            shaping: What was copied.
            kept: Columns whose values the copy left as they were.
        """
        self.forget()
        names = {self.fold(c.name) for c in self.live or ()}
        ignored = frozenset(n for n in self.ignored if self.fold(n) not in names)
        self.kept, self.ignored, self.failed = frozenset(kept), ignored, self.failed & ignored
        self._save(shaping.wanted)

    def fold(self, name: str) -> str:
        """Return a column's name as the sink compares it."""
        return name.lower() if self._capabilities.folds_case else name


def _said(schema: TableSchema) -> list[tuple[bool, str]]:
    """Return what a fingerprint leaves out and statements change."""
    return [(column.nullable, column.comment) for column in schema.columns]


def _column(field: pa.Field, known: dict[str, Column]) -> Column:
    column = known.get(field.name)
    return (
        column
        if column is not None and column.type == field.type
        else Column(field.name, field.type)
    )
