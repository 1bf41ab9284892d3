"""What one event does to a target's columns, policy by policy.

In: an event of a source table's columns. Out: changes of the target, what has to be read again,
or why it cannot be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from cdc_assets.engine.casts import can_cast, cast
from cdc_assets.engine.evolution import ColumnEvent, Situation
from cdc_assets.engine.schema_policy import PolicyWord
from resources.model.column_change import (
    FILL,
    AddColumn,
    ColumnChange,
    DropColumn,
    Fill,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column
from resources.model.widening import describe, holds, same, widest


@dataclass(frozen=True)
class Outcome:
    """What an event comes to, before the policy has the last word.

    Args:
        changes: Of the target.
        why: What is done, in words.
        reread: Why the table has to be read again.
        exact: The column that a reread gives the source's own type.
        ignored: Columns left out of the target.
        kept: Columns the target keeps, though the source has them no longer.
        problem: Why it cannot be done.
        passed_over: The policy leaves the target as it is.
    """

    changes: tuple[ColumnChange, ...] = ()
    why: str = ""
    reread: tuple[str, ...] = ()
    exact: Column | None = None
    ignored: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    problem: str = ""
    passed_over: bool = False

    def after(self, *changes: ColumnChange, reread: Iterable[str] = (), why: str = "") -> Outcome:
        """Return it with changes and reasons put before its own."""
        told = "; ".join(words for words in (why, self.why) if words)
        return replace(
            self, changes=(*changes, *self.changes), reread=(*reread, *self.reread), why=told
        )


class Names:
    """Names of columns as the sink compares them.

    Args:
        s: The situation.
    """

    def __init__(self, s: Situation) -> None:
        self._s = s
        self.after = self.fold_all(s.after.names)
        self.before = self.fold_all(s.before.names if s.before else ())
        self.kept = self.fold_all(s.kept)
        self.left_out = self.fold_all(s.ignored | s.failed)
        self.failed = self.fold_all(s.failed)

    def fold_all(self, names: Iterable[str]) -> frozenset[str]:
        """Return names as the sink compares them."""
        return frozenset(self._s.fold(name) for name in names)

    def find(self, columns: Sequence[Column], name: str) -> Column | None:
        """Return the column of a name, None if there is none."""
        folded = self._s.fold(name)
        return next((c for c in columns if self._s.fold(c.name) == folded), None)

    def fits_sink(self, arrow: pa.DataType) -> bool:
        """Return whether the sink has an exact counterpart for a type."""
        can = self._s.capabilities
        if str(arrow).partition("(")[0] in can.refused_types or str(arrow) in can.refused_types:
            return False
        return not pa.types.is_decimal(arrow) or arrow.precision <= can.decimal_precision


class Targets:
    """A target at one event: its columns so far, and what may be done to them.

    Args:
        s: The situation.
        names: Its names.
        columns: The target's columns after the events before this one.
        events: All events.
    """

    def __init__(
        self,
        s: Situation,
        names: Names,
        columns: tuple[Column, ...],
        events: Sequence[ColumnEvent],
    ) -> None:
        self._s = s
        self._names = names
        self._columns = columns
        self._donors = {
            s.fold(e.name): e.was for e in events if e.event == "rename_column" and not e.cycle
        }

    def outcome(self, event: ColumnEvent, word: PolicyWord) -> Outcome:
        """Return what an event comes to.

        Args:
            event: The event.
            word: `evolve`, `try_evolve`, `lenient` or `ignore`.
        """
        if word == "try_evolve" and self._s.fold(event.name) in self._names.failed:
            return Outcome(problem=f"the sink refused the change of column {event.name}")
        if event.event == "drop_column":
            return self._drop(event, word)
        if event.column is None:
            return Outcome()
        if event.event == "add_column":
            return self._add(event, event.column, word)
        if event.event == "rename_column":
            return self._rename(event, event.column, word)
        if event.event == "alter_column_type":
            return self._retype(event, event.column, word)
        return Outcome()

    def _as_source(self, word: PolicyWord) -> bool:
        return word in ("evolve", "try_evolve") and not self._s.shared

    def _live(self, name: str) -> Column | None:
        return self._names.find(self._columns, name)

    def _leave_out(self, event: ColumnEvent) -> Outcome:
        """Leave a new column out of the target, as the policy `ignore` does."""
        name, taken = event.name, self._names.before | self._names.kept
        old = self._live(event.was) if event.was else None
        gone = old is not None and self._s.fold(event.was) not in self._names.after
        kept = frozenset({old.name} if old is not None and gone else ())
        if self._live(name) is not None:
            other = bool(event.was) or self._s.fold(name) in taken
            why = f"column {name} of the target has the values of another one"
            return Outcome(why=why, reread=(why,) if other else (), kept=kept, passed_over=True)
        if self._s.keyed and name in self._s.after.key:
            return Outcome(problem=f"column {name} cannot be left out: it is in the key")
        why = f"column {name} is left out of the target"
        return Outcome(why=why, ignored=frozenset({name}), kept=kept, passed_over=True)

    def _add(self, event: ColumnEvent, column: Column, word: PolicyWord) -> Outcome:
        if word == "ignore":
            return self._leave_out(event)
        reread = []
        folded = self._s.fold(column.name)
        if folded in self._names.before | self._names.kept:
            reread.append(f"new column {column.name} has the name of one that was there before")
        elif self._s.before is not None and self._s.origins is None and not column.nullable:
            reread.append(f"the values rows have in new column {column.name} are unknown")
        here = self._live(column.name)
        if here is not None:
            made = self._fit(here, column, word, event.before).after(reread=reread)
        else:
            why = f"column {column.name} {column.type} is added"
            made = Outcome((_added(column),), why, tuple(reread))
        value = self._s.fills.get(column.name)
        if value is None or made.reread or made.problem:
            return made
        return self._filled(made, here, value)

    def _filled(self, made: Outcome, here: Column | None, value: pa.Scalar) -> Outcome:
        """Give the rows there the value that the source's have in a new column."""
        change = made.changes[-1] if made.changes else None
        column = change.column if isinstance(change, AddColumn | RetypeColumn) else here
        assert column is not None, "it is there or added"
        told = f"rows have a value in new column {column.name} that the target cannot be given"
        if FILL not in self._s.capabilities.schema_changes or not can_cast(value.type, column.type):
            return made.after(reread=(told,))
        values, unfit = cast(pa.array([value], value.type), column.type)
        if unfit is not None:
            return made.after(reread=(told,))
        add = AddColumn(column, fill=Fill(values[0], self._s.owner, self._s.feed))
        kept = made.changes if isinstance(change, RetypeColumn) else ()
        why = f"rows that were there get the default of column {column.name}"
        return replace(made, changes=(*kept, add), why="; ".join(w for w in (made.why, why) if w))

    def _drop(self, event: ColumnEvent, word: PolicyWord) -> Outcome:
        name, here = event.name, self._live(event.name)
        if here is None:
            return Outcome(why=f"column {name} is not in the target")
        if self._s.fold(name) in self._names.after:
            return Outcome(why=f"the name {name} is used again")
        if self._as_source(word):
            return Outcome((DropColumn(here.name),), f"column {name} is dropped")
        why = f"column {name} is kept, NULL in later rows"
        return Outcome(why=why, kept=frozenset({here.name}), passed_over=word == "ignore")

    def _rename(self, event: ColumnEvent, column: Column, word: PolicyWord) -> Outcome:
        key = self._s.before.key if self._s.before else ()
        if word == "ignore":
            return self._leave_out(event)
        if event.cycle:
            return self._swap(event, column, word)
        if self._as_source(word) or (event.was in key and not self._s.shared):
            return self._move(event, column, word)
        return self._copy(event, column, word)

    def _swap(self, event: ColumnEvent, column: Column, word: PolicyWord) -> Outcome:
        why = f"columns changed names in a ring: {event.was} is {event.name} now"
        here, before = self._live(event.name), self._s.before
        if here is None:
            return Outcome((_added(column),), why, (why,))
        known = before.column(event.name) if before and event.name in before.names else None
        return self._fit(here, column, word, known).after(reread=(why,), why=why)

    def _copy(self, event: ColumnEvent, column: Column, word: PolicyWord) -> Outcome:
        """Add the new name beside the old one, which keeps its values."""
        old, here = self._live(event.was), self._live(event.name)
        gone = old is not None and self._s.fold(event.was) not in self._names.after
        kept = frozenset({old.name} if old is not None and gone else ())
        why = f"column {column.name} goes beside {event.was}, which is kept"
        if self._copies_nothing(event, column) or (old is None and here is None):
            told = (f"new column {column.name} has the values of {event.was}",)
            made = Outcome((_added(column),)) if here is None else self._fit(here, column, word)
            return replace(made.after(reread=told, why=why), kept=kept)
        if here is not None or old is None:
            made = Outcome() if here is None else self._fit(here, column, word)
            return replace(made.after(why=why), kept=kept)
        copy = replace(old, name=column.name, comment=column.comment, nullable=True)
        made = self._fit(copy, column, word)
        return replace(made.after(AddColumn(copy, copy_of=old.name), why=why), kept=kept)

    def _copies_nothing(self, event: ColumnEvent, column: Column) -> bool:
        """Return whether the old column's values in the target cannot become the new one's."""
        taken = self._names.before | self._names.kept
        unlike = event.before is not None and widest(event.before, column) is None
        left_out = self._s.fold(event.was) in self._names.left_out
        return self._s.shared or self._s.fold(event.name) in taken or left_out or unlike

    def _move(self, event: ColumnEvent, column: Column, word: PolicyWord) -> Outcome:
        """Give the column its new name."""
        old, here = self._live(event.was), self._live(event.name)
        if old is None or self._s.fold(event.was) in self._names.left_out:
            return self._arrive(event, column, here, word)
        if here is not None and self._moved(event):
            return self._fit(here, column, word, event.before)
        why = f"column {event.was} is renamed to {event.name}"
        rename = RenameColumn(old.name, column.name)
        made = self._fit(replace(old, name=column.name), column, word, event.before)
        if here is None:
            return made.after(rename, why=why)
        if self._s.fold(event.name) in self._names.kept | self._names.before:
            return made.after(DropColumn(here.name), rename, why=why)
        return Outcome(problem=f"{why}, but the target has a column {event.name} of its own")

    def _arrive(
        self,
        event: ColumnEvent,
        column: Column,
        here: Column | None,
        word: PolicyWord,
    ) -> Outcome:
        """Have a renamed column whose old name the target lacks: moved before, or never there."""
        told = (f"new column {column.name} has the values of {event.was}",)
        if here is None:
            return Outcome((_added(column),), f"column {column.name} is added", told)
        if self._s.fold(event.was) in self._names.left_out:
            return self._fit(here, column, word).after(reread=told)
        return self._fit(here, column, word, event.before)

    def _moved(self, event: ColumnEvent) -> bool:
        """Return whether this rename is done and its old name is another column's by now."""
        if self._s.fold(event.name) in self._names.before | self._names.kept:
            return False
        if self._s.fold(event.was) not in self._names.after:
            return False
        donor = self._donors.get(self._s.fold(event.was))
        return donor is None or self._live(donor) is None

    def _retype(self, event: ColumnEvent, column: Column, word: PolicyWord) -> Outcome:
        here = self._live(column.name)
        left_out = self._s.fold(column.name) in self._names.left_out
        if here is None and left_out:
            return Outcome(why=f"column {column.name} is left out of the target", passed_over=True)
        if word == "ignore":
            return Outcome(why=f"the target keeps {column.name} as it is", passed_over=True)
        if here is None:
            told = (f"column {column.name} is missing in the target",)
            return Outcome((_added(column),), told[0], told)
        made = self._fit(here, column, word, event.before)
        narrowed = event.before is not None and not holds(column, event.before)
        if narrowed and self._s.before is not None and self._s.origins is None:
            cut = f"what became of the values of column {column.name} in its new type is unknown"
            return made.after(reread=(cut,))
        return made

    def _fit(
        self, here: Column, column: Column, word: PolicyWord, before: Column | None = None
    ) -> Outcome:
        """Make the target's column hold what the source's holds now.

        Args:
            here: The target's column.
            column: The source's.
            word: The policy.
            before: The source's before; None if there was none.
        """
        exactly = self._as_source(word)
        if exactly and before is not None and not holds(column, before):
            why = f"column {column.name} was {describe(before)} and is {describe(column)}"
            return Outcome(why=why, reread=(why,), exact=column)
        if same(here, column):
            return Outcome()
        if holds(here, column) and not (exactly and holds(column, here)):
            return Outcome(
                why=f"column {column.name} {here.type} of the target holds {column.type}"
            )
        wide = widest(here, column)
        if wide is None:
            return Outcome(
                problem=f"column {column.name} is {describe(here)} in the target and "
                f"{describe(column)} on the source, and no type holds both"
            )
        made = replace(wide, name=here.name, nullable=True)
        why = f"column {column.name} {here.type} is widened to {made.type}"
        return Outcome((RetypeColumn(made),), why)


def _added(column: Column) -> AddColumn:
    return AddColumn(replace(column, nullable=True))
