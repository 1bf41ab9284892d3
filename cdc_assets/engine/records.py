"""Decisions about schema changes, on record; and the words in which tables are told to wait.

In: plans and statements. Out: rows of the state store: what was done, by which policy; what waits
for a person, with the statements the target would get.
"""

from __future__ import annotations

from cdc_assets.engine.evolution import EvolutionPlan, Step
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.routing import Route
from cdc_assets.engine.schema_policy import QUIET_EVENTS, Action, ColumnEventWord, TableDecision
from resources.model.change import UNDECODABLE, TableNotice
from resources.model.table import TableId
from resources.sinks.contract import TargetId
from resources.stores.schema_changes import ChangeState, SchemaChange

READ_AGAIN = "read again: "
"""How the reason of a table begins that the run itself reads again."""
REMEDIES = {
    "snapshot": "materialize its snapshot partition",
    "log": "load it by a pipeline of another name: polling cannot read a table again",
    "none": "load it by a pipeline of another name: with this source.startup nothing is loaded",
}
"""What reads a table again, by where the pipeline's rows come from."""
_CHANGE_COLUMNS = ("add_column", "drop_column", "rename_column", "alter_column_type")
_MAKE_ANEW = ("create_table", "drop_table", "rename_table")
_STATES: dict[Action, ChangeState] = {
    "apply": "applied",
    "reread": "applied",
    "ignore": "ignored",
    "nothing": "ignored",
    "hold": "held",
    "refuse": "refused",
}


def record_plan(
    pipeline: Pipeline,
    route: Route,
    target: TargetId,
    plan: EvolutionPlan,
    why: str,
    seq: int,
    notice: TableNotice | None,
) -> list[SchemaChange]:
    """Keep what a plan does, step by step, before it is done.

    Args:
        pipeline: The opened pipeline.
        route: The feed's way.
        target: The target.
        plan: The plan.
        why: What made the change, in words.
        seq: The `_cdc_seq` from which on it holds.
        notice: The statement, where there is one.

    Returns:
        The changes as they are kept.
    """
    with pipeline.sink() as sink:
        ddl = [";\n".join(sink.render_changes(target, step.changes)) for step in plan.steps]
    decided = pipeline.changes.decisions(route.table, str(target), seq)
    changes = [
        _change(route, target, step, statements, why, seq, notice)
        for step, statements in zip(plan.steps, ddl, strict=True)
        if step.event not in QUIET_EVENTS
        or step.action not in ("nothing", "ignore")
        or (step.event, step.columns[0] if step.columns else "") in decided
    ]
    return pipeline.changes.record(changes)


def _change(
    route: Route,
    target: TargetId,
    step: Step,
    ddl: str,
    why: str,
    seq: int,
    notice: TableNotice | None,
) -> SchemaChange:
    return SchemaChange(
        table=route.table,
        target=str(target),
        seq=seq,
        event=step.event,
        column=step.columns[0] if step.columns else "",
        statement=notice.detail if notice is not None else why,
        position=notice.position if notice is not None else "",
        before=step.before,
        after=step.after,
        change_class=step.change_class,
        policy=step.policy,
        why=step.why,
        target_ddl=ddl,
        state="failed" if step.failed else _STATES[step.action],
    )


def record_table(
    pipeline: Pipeline,
    route: Route,
    target: TargetId,
    decision: TableDecision,
    notice: TableNotice,
) -> SchemaChange:
    """Keep what is done about a statement on a whole table; returns it as it is kept."""
    before, after = _names(notice)
    change = SchemaChange(
        table=route.table,
        target=str(target),
        seq=notice.seq,
        event=decision.event,
        column="",
        statement=notice.detail,
        position=notice.position,
        before=before,
        after=after,
        change_class=decision.change_class,
        policy=decision.policy,
        why=f"{decision.event}: {decision.action}",
        target_ddl="",
        state=_STATES[decision.action],
    )
    return pipeline.changes.record([change])[0]


def _names(notice: TableNotice) -> tuple[str, str]:
    """Return a renamed table's names before and after; empty for other statements."""
    if notice.kind == "rename_away":
        return str(notice.table), str(notice.now or "a table that is not selected")
    if notice.kind == "rename":
        return str(notice.was or "a table that is not known"), str(notice.table)
    return "", ""


def passed_over(
    pipeline: Pipeline, table: TableId, target: TargetId, event: ColumnEventWord
) -> frozenset[str]:
    """Return the columns of which a person decided to leave the last change out of the target.

    What was decided about a column before it was changed again, or made anew, is past.
    """
    last: dict[str, SchemaChange] = {}
    for change in pipeline.changes.list(table):
        if change.target != str(target):
            continue
        if change.event in _MAKE_ANEW:
            last.clear()
        elif change.event in _CHANGE_COLUMNS and change.state not in ("held", "refused"):
            last[change.column] = change
    decided = [c for c in last.values() if c.event == event]
    return frozenset(c.column for c in decided if c.state in ("skipped", "replaced"))


def told(notice: TableNotice) -> str:
    """Return what a notice says, for a reason or a remedy."""
    if notice.kind == UNDECODABLE:
        return f"rows at {notice.position} cannot be decoded: {notice.detail}"
    if not notice.rewrites:
        return f"{notice.kind} at {notice.position} ({notice.detail})"
    return (
        f"{notice.kind} at {notice.position} may have changed rows that the log does not show "
        f"({notice.detail})"
    )


def read_again(pipeline: Pipeline, why: str) -> str:
    """Return the reason of a table that has to be read again."""
    history = pipeline.options.history
    code = READ_AGAIN if history == "snapshot" and pipeline.options.reread else ""
    return f"{code}{why}: {REMEDIES[history]}"
