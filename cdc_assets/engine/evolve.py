"""The decision about a schema change: what the target becomes, what waits, what is read again.

In: a situation. Out: a plan, the same whenever it is asked for until the feed's shape is saved:
whether a table is read again depends on what its source was and is, never on how much of the
plan a killed run had carried out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cdc_assets.engine.evolution import (
    ColumnEvent,
    Decided,
    EvolutionPlan,
    Situation,
    Step,
    changed_columns,
)
from cdc_assets.engine.evolution_events import find_events, renamed_key
from cdc_assets.engine.evolve_columns import Names, Outcome, Targets
from cdc_assets.engine.schema_policy import QUIET_EVENTS, Action, ChangeClass, PolicyWord
from resources.model.column_change import AddColumn, ColumnChange, DropColumn, RetypeColumn
from resources.model.table import Column
from resources.model.widening import describe, holds, same

_DECIDED: dict[str, PolicyWord] = {
    "applied": "evolve",
    "skipped": "ignore",
    "replaced": "ignore",
}
_DOES: tuple[Action, ...] = ("apply", "reread")
_WAYS = "apply, skip or replace it by the pipeline's decide job"


def plan_evolution(situation: Situation) -> EvolutionPlan:
    """Return what a feed's schema change comes to.

    Args:
        situation: What is known; asked again after a crash with the target's columns as they are
            by then, it gives what is left to do.

    Returns:
        The plan. If anything is held or refused, nothing of the change is to be done.
    """
    return _Planner(situation).run()


@dataclass
class _Totals:
    steps: list[Step]
    changes: list[ColumnChange]
    reread: list[str]
    exact: list[Column]
    ignored: set[str]
    failed: set[str]
    kept: set[str]


class _Planner:
    def __init__(self, s: Situation) -> None:
        self._s = s
        self._names = Names(s)
        self._columns = tuple(s.live)
        self._t = _Totals([], [], [], [], set(s.ignored), set(s.failed), set(s.kept))

    def run(self) -> EvolutionPlan:
        events = find_events(self._s)
        for event in events:
            self._settle(event, *self._ask(event, events))
        self._settle_key()
        self._settle_rewrite()
        self._settle_reread()
        return self._finish()

    def _ask(self, event: ColumnEvent, events: list[ColumnEvent]) -> tuple[PolicyWord, Outcome]:
        word = self._word(event)
        as_if: PolicyWord = "evolve" if word in ("exception", "hold") else word
        return word, Targets(self._s, self._names, self._columns, events).outcome(event, as_if)

    def _word(self, event: ColumnEvent) -> PolicyWord:
        decided = self._s.decided.get((event.event, event.name))
        if decided is not None:
            return _DECIDED[decided]
        return self._s.policy.word(self._s.after.table, event.event)

    def _settle(self, event: ColumnEvent, word: PolicyWord, outcome: Outcome) -> None:
        problem = outcome.problem or self._unable(outcome)
        action, why = _action(outcome), outcome.why
        if word == "exception":
            action, why = "refuse", f"{why or _told(event)}, and the policy is `exception`"
        elif word == "hold" and (problem or action in _DOES or event.event in QUIET_EVENTS):
            told = problem or why or _told(event)
            action, why = "hold", f"{told}, and the policy is `hold`: {_WAYS}"
        elif problem and word == "try_evolve":
            (self._t.kept if event.column is None else self._t.failed).add(event.name)
            self._add(event, word, "ignore", (), f"{problem}: passed over", failed=True)
            self._t.reread += self._unlike(event)
            return
        elif problem:
            action, why = "hold", f"{problem}: {_WAYS}"
        self._add(event, word, action, outcome.changes, why)
        self._columns = changed_columns(self._columns, outcome.changes, self._s.fold)
        self._t.changes += outcome.changes
        self._t.reread += outcome.reread
        self._t.exact += [outcome.exact] if outcome.exact is not None else []
        self._t.ignored |= outcome.ignored
        self._t.kept |= outcome.kept

    def _unlike(self, event: ColumnEvent) -> tuple[str, ...]:
        """Return why rows must be read again for a column that could not be taken over.

        A column of its name in the target has values that the source's rows do not have.
        """
        old = self._names.before | self._names.kept
        other = self._s.fold(event.name) in old or event.name in self._s.fills
        if event.event != "add_column" or self._names.find(self._columns, event.name) is None:
            return ()
        why = f"column {event.name} of the target has other values than the source's"
        return (why,) if other else ()

    def _add(
        self,
        event: ColumnEvent,
        word: PolicyWord,
        action: Action,
        changes: tuple[ColumnChange, ...],
        why: str,
        *,
        failed: bool = False,
    ) -> None:
        columns = tuple(name for name in (event.name, event.was) if name)
        before = "" if event.before is None else describe(event.before)
        after = "" if event.column is None else describe(event.column)
        step = Step(
            event.event, columns, _class(event), word, action, changes, why, before, after, failed
        )
        self._t.steps.append(step)

    def _unable(self, outcome: Outcome) -> str:
        kinds = self._s.capabilities.schema_changes
        columns = [] if outcome.exact is None else [outcome.exact]
        for change in outcome.changes:
            if change.kind not in kinds:
                return f"this sink cannot {change.kind} columns"
            if isinstance(change, AddColumn | RetypeColumn):
                columns.append(change.column)
        for column in columns:
            if not self._names.fits_sink(column.type):
                return f"this sink cannot hold column {column.name} {column.type} exactly"
        return ""

    def _settle_key(self) -> None:
        before, after = self._s.before, self._s.after
        if before is None or not self._s.keyed:
            return
        if set(renamed_key(self._s, before)) == set(after.key):
            return
        event = ColumnEvent("alter_key", "")
        decided = self._s.decided.get((event.event, event.name))
        was, now = (", ".join(key) or "none" for key in (before.key, after.key))
        why = f"the key was ({was}), now it is ({now})"
        if decided == "replaced" and after.key:
            self._settle(event, "ignore", Outcome(why=why, passed_over=True))
            return
        problem = self._key_problem(why, decided)
        if not problem and not self._s.shared:
            # values are kept by key, and the key is another one
            gone = self._keep()
            self._columns = tuple(c for c in self._columns if c.name not in gone)
        word = self._word(event)
        settled: PolicyWord = "evolve" if problem and word == "try_evolve" else word
        self._settle(event, settled, Outcome(reread=(why,), why=why, problem=problem))

    def _key_problem(self, why: str, decided: Decided | None) -> str:
        keep = ", ".join(self._keep())
        if not self._s.after.key:
            return f"{why}: rows cannot be merged without a key"
        if decided == "skipped":
            return f"{why}: it cannot be skipped, for rows are merged by it"
        if self._s.shared and decided is None:
            return f"{why}, while other feeds of the target may have another one"
        if keep and decided is None and not self._s.shared:
            return f"{why}, and reading the table again takes column {keep} away"
        return ""

    def _settle_rewrite(self) -> None:
        if not self._s.rewrites:
            return
        why = "stored values changed without row events"
        event = ColumnEvent("rewrite", "")
        word = self._word(event)
        skipped = word == "ignore"
        self._settle(event, word, Outcome(reread=() if skipped else (why,), why=why))

    def _settle_reread(self) -> None:
        """Make the columns ready for a reread, or say why there cannot be one."""
        t, s = self._t, self._s
        event = ColumnEvent("rewrite", "")
        if not t.reread or self._stops():
            return
        if not s.rereadable and (t.exact or (event.event, "") not in s.decided):
            words = "; ".join(dict.fromkeys(t.reread))
            why = f"the table cannot be read again, though {words}: {_WAYS}"
            self._add(event, self._word(event), "hold", (), why)
            return
        if not s.rereadable:
            t.reread.clear()
            t.steps = [replace(x, action="apply") if x.action == "reread" else x for x in t.steps]
            return
        keep = self._keep()
        for column in t.exact:
            self._exact(column, anew=bool(keep))
        if not s.shared and not keep:
            t.changes.clear()  # the load makes the table anew

    def _exact(self, column: Column, *, anew: bool) -> None:
        """Give a column the very type of its source, which a reread fills."""
        here = self._names.find(self._columns, column.name)
        if here is not None and same(here, column):
            return
        if anew and column.name in self._s.after.key:
            event = ColumnEvent("alter_column_type", column.name, column=column, before=here)
            kept = ", ".join(self._keep())
            why = f"{_told(event)}, which is in the key, while the target keeps column {kept}"
            self._add(event, self._word(event), "hold", (), f"{why}: {_WAYS}")
            return
        made: list[ColumnChange] = [AddColumn(replace(column, nullable=True))]
        if here is not None:
            made.insert(0, DropColumn(here.name))
        if anew:
            self._t.changes += made
            self._columns = changed_columns(self._columns, made, self._s.fold)
        else:
            self._columns = tuple(
                replace(column, nullable=True) if c is here else c for c in self._columns
            )

    def _keep(self) -> tuple[str, ...]:
        after = {self._s.fold(name) for name in self._s.after.names}
        return tuple(c.name for c in self._columns if self._s.fold(c.name) not in after)

    def _stops(self) -> bool:
        return any(step.action in ("hold", "refuse") for step in self._t.steps)

    def _finish(self) -> EvolutionPlan:
        t, s = self._t, self._s
        if self._stops():
            words = {
                action: tuple(f"{s.after.table}: {x.why}" for x in t.steps if x.action == action)
                for action in ("hold", "refuse")
            }
            return EvolutionPlan(
                tuple(t.steps), (), s.live, s.ignored, s.failed, s.kept,
                words["hold"], words["refuse"],
            )  # fmt: skip
        lacking = {n for n in s.after.names if self._names.find(self._columns, n) is None}
        return EvolutionPlan(
            tuple(t.steps),
            tuple(t.changes),
            self._columns,
            ignored=frozenset(t.ignored & lacking),
            failed=frozenset(t.failed & set(s.after.names)),
            kept=frozenset(t.kept & set(self._keep())),
            reread=tuple(dict.fromkeys(t.reread)),
            keep=self._keep() if t.reread else (),
        )


def _action(outcome: Outcome) -> Action:
    if outcome.reread:
        return "reread"
    if outcome.changes:
        return "apply"
    return "ignore" if outcome.passed_over else "nothing"


def _class(event: ColumnEvent) -> ChangeClass:
    if event.event == "drop_column":
        return "destructive"
    if event.event in ("alter_key", "rewrite"):
        return "lossy"
    if event.column is None or event.before is None or event.event == "add_column":
        return "safe"
    if same(event.column, event.before):
        return "safe"
    return "widening" if holds(event.column, event.before) else "lossy"


def _told(event: ColumnEvent) -> str:
    before = "" if event.before is None else describe(event.before)
    after = "" if event.column is None else describe(event.column)
    words = {
        "add_column": f"column {event.name} {after} was added",
        "drop_column": f"column {event.name} was dropped",
        "rename_column": f"column {event.was} was renamed to {event.name}",
        "alter_column_type": f"column {event.name} was {before} and is {after}",
        "alter_nullability": f"column {event.name} takes NULL or no longer does",
        "alter_comment": f"column {event.name} has another comment",
        "reorder_columns": "columns stand in another order",
    }
    return words.get(event.event, event.event)
