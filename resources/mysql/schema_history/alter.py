"""ALTER TABLE, CREATE INDEX and DROP INDEX on a table whose shape is known.

In: the shape, the statement after the table's name. Out: the shape afterwards.
Source: MySQL reference manual "ALTER TABLE Statement", MariaDB "ALTER TABLE"; the order in which
parts take effect: `prepare_fields_and_keys` in sql/sql_table.cc.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from resources.model.change import Fills
from resources.model.table import Column, TableId
from resources.mysql.binlog.alter_specs import OPTIONS
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.schema_history.changes import TableChange, table_change
from resources.mysql.schema_history.character_sets import CHARSETS, accept_charset, charset_name
from resources.mysql.schema_history.definitions import (
    ColumnDefinition,
    IndexDefinition,
    build_column,
    is_index,
    parse_column,
    parse_default_charset,
    parse_index,
)
from resources.mysql.schema_history.draft import Draft
from resources.mysql.schema_history.fills import fill_of
from resources.mysql.schema_history.shape import TableShape
from resources.mysql.schema_history.words import CannotTellError, Words

_PARTITIONING = frozenset(
    {"PARTITION", "REORGANIZE", "COALESCE", "REBUILD", "ANALYZE", "OPTIMIZE", "REPAIR", "EXCHANGE"}
    | {"TRUNCATE", "DISCARD", "IMPORT", "REMOVE", "CHECK"}
)
"""First words of parts that leave the shape as it is and may be lists with commas of their own."""
_NOT_FOLLOWED = frozenset({"SYSTEM", "PERIOD"})


@dataclass
class _Plan:
    """What the parts of a statement ask for.

    Attributes:
        defined: New and redefined columns in the text's order, each with its old name.
        dropped: Columns dropped.
        renamed: New names by old ones, of columns that are not redefined.
        visible: Columns made visible or invisible.
        indexes: Indexes added, each with whether it may be there already.
        steps: Changes to indexes that were there, in the text's order.
        default: The default character set, empty if it stays.
        convert: The character set that text is converted to, empty if it stays.
        comment: The table's comment, None if it stays.
        table: The table's new name, None if it stays.
    """

    defined: list[tuple[str, ColumnDefinition]] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    visible: dict[str, bool] = field(default_factory=dict)
    indexes: list[tuple[IndexDefinition, bool]] = field(default_factory=list)
    steps: list[tuple[str, ...]] = field(default_factory=list)
    default: str = ""
    convert: str = ""
    comment: str | None = None
    table: TableId | None = None


def alter_shape(
    shape: TableShape, words: Words, server: ServerKind, database_charset: str
) -> TableChange:
    """Return what an ALTER TABLE does to a table's shape.

    Args:
        shape: Before.
        words: Standing just after the table's name.
        server: Whose statement it is.
        database_charset: Default character set of its database, empty if not known.

    Raises:
        CannotTellError: The effect cannot be told.
    """
    while words.accept("WAIT", "NOWAIT"):
        if not words.at_end and words.peek_word() == "":
            words.number()
    plan = _Plan()
    for spec in words.elements():
        if spec.at_end:
            continue
        if not _read(spec, plan, shape, database_charset):
            break  # a list of partitions or an order follows
    after, origins = _carried_out(shape, plan, words, server)
    change = table_change(shape, after, origins)
    return replace(change, redefined=_redefined(shape, plan), fills=_fills(after, plan))


def _fills(after: TableShape, plan: _Plan) -> Fills | None:
    """Return what rows have in the columns added, None if it cannot be told."""
    try:
        found = [
            (definition.name, fill_of(definition, after.schema.column(definition.name)))
            for old, definition in plan.defined
            if not old
        ]
    except CannotTellError:
        return None
    return tuple((name, value) for name, value in found if value is not None)


def _redefined(shape: TableShape, plan: _Plan) -> frozenset[str]:
    """Return the columns that get new definitions, by their names before."""
    converted = {c.name for c in shape.schema.columns if c.charset and plan.convert}
    return frozenset(converted | {old for old, _ in plan.defined if old})


def _read(spec: Words, plan: _Plan, shape: TableShape, database_charset: str) -> bool:
    """Take one part into the plan; False if the parts after it belong to it."""
    head = spec.peek_word()
    if head in _PARTITIONING or head == "ORDER":
        return False
    if spec.accept("ADD"):
        return _read_add(spec, plan, shape)
    if spec.accept("DROP"):
        return _read_drop(spec, plan, shape)
    if spec.accept("MODIFY", "CHANGE"):
        _read_redefined(spec, plan, shape, head == "CHANGE")
    elif spec.accept("RENAME"):
        _read_rename(spec, plan)
    elif spec.accept("ALTER"):
        _read_alter(spec, plan)
    elif spec.accept("CONVERT"):
        return _read_convert(spec, plan, database_charset)
    else:
        _read_options(spec, plan)
    return True


def _read_add(spec: Words, plan: _Plan, shape: TableShape) -> bool:
    if spec.peek_word() == "PARTITION":
        return False
    if spec.peek_word() in _NOT_FOLLOWED and spec.peek_word(1) in ("VERSIONING", "FOR"):
        raise CannotTellError("system-versioned tables are not followed")
    named = spec.accept("COLUMN")
    if not named and is_index(spec):
        tolerant = "EXISTS" in spec.rest_words()
        plan.indexes.append((parse_index(spec), tolerant))
        return True
    tolerant = spec.peek_word() == "IF"
    spec.if_exists()
    inner = Words(spec.query, spec.parenthesized()).elements() if spec.starts("(") else [spec]
    for element in inner:
        if is_index(element):
            plan.indexes.append((parse_index(element), False))
            continue
        column = parse_column(element)
        if not (tolerant and _column(shape, column.name)):
            plan.defined.append(("", column))
        _index_columns(plan, column, tolerant)
    return True


def _index_columns(plan: _Plan, column: ColumnDefinition, tolerant: bool) -> None:
    """Add a column's own indexes, even if the column is there already."""
    if tolerant and "primary" in column.indexes:
        raise CannotTellError("a primary key that may be there already")
    for kind in column.indexes:
        plan.indexes.append((IndexDefinition(kind, parts=((column.name, None),)), tolerant))


def _read_drop(spec: Words, plan: _Plan, shape: TableShape) -> bool:
    if spec.peek_word() == "PARTITION":
        return False
    if spec.peek_word() in _NOT_FOLLOWED and spec.peek_word(1) in ("VERSIONING", "FOR"):
        raise CannotTellError("system-versioned tables are not followed")
    if spec.sequence("PRIMARY", "KEY"):
        plan.steps.append(("drop", "PRIMARY"))
    elif spec.accept("INDEX", "KEY"):
        tolerant = spec.peek_word() == "IF"
        spec.if_exists()
        plan.steps.append(("drop if there" if tolerant else "drop", spec.need_identifier()))
    elif spec.sequence("FOREIGN", "KEY") or spec.accept("CHECK"):
        pass
    elif spec.accept("CONSTRAINT"):
        spec.if_exists()
        plan.steps.append(("drop constraint", spec.need_identifier()))
    else:
        spec.accept("COLUMN")
        tolerant = spec.peek_word() == "IF"
        spec.if_exists()
        name = spec.need_identifier()
        column = _column(shape, name)
        if column is not None:
            plan.dropped.add(column.name)
        elif not tolerant:
            raise CannotTellError(f"there is no column {name} to drop")
    return True


def _read_redefined(spec: Words, plan: _Plan, shape: TableShape, change: bool) -> None:
    spec.accept("COLUMN")
    tolerant = spec.peek_word() == "IF"
    spec.if_exists()
    old = spec.need_identifier() if change else ""
    definition = parse_column(spec)
    name = old or definition.name
    column = _column(shape, name)
    if column is not None:
        # MODIFY leaves the spelling of the name as it was.
        kept = definition if change else replace(definition, name=column.name)
        plan.defined.append((column.name, kept))
        _index_columns(plan, kept, tolerant)
    elif not tolerant:
        raise CannotTellError(f"there is no column {name} to change")


def _read_rename(spec: Words, plan: _Plan) -> None:
    if spec.accept("COLUMN"):
        spec.if_exists()
        old = spec.need_identifier()
        if not spec.accept("TO"):
            raise spec.fail()
        plan.renamed[old.lower()] = spec.need_identifier()
    elif spec.peek_word() in ("INDEX", "KEY") and spec.peek_word(2) == "TO":
        spec.next_word()
        old = spec.need_identifier()
        spec.next_word()
        plan.steps.append(("rename", old, spec.need_identifier()))
    else:
        if not spec.mark("="):
            spec.accept("TO", "AS")
        plan.table = spec.name()
        if plan.table is None or not spec.at_end:
            raise spec.fail()


def _read_alter(spec: Words, plan: _Plan) -> None:
    if spec.peek_word() in ("INDEX", "KEY", "CHECK", "CONSTRAINT") and spec.peek_word(1) != "SET":
        return
    spec.accept("COLUMN")
    spec.if_exists()
    name = spec.need_identifier()
    if spec.sequence("SET", "VISIBLE"):
        plan.visible[name.lower()] = True
    elif spec.sequence("SET", "INVISIBLE"):
        plan.visible[name.lower()] = False
    elif not (spec.sequence("SET", "DEFAULT") or spec.sequence("DROP", "DEFAULT")):
        raise spec.fail()


def _read_convert(spec: Words, plan: _Plan, database_charset: str) -> bool:
    if not spec.accept("TO"):
        return False  # partitions
    if not accept_charset(spec):
        raise spec.fail()
    name = charset_name(spec.charset_name())
    if name == "default":
        name = database_charset
    if name not in CHARSETS:
        raise CannotTellError(f"character set {name or '(unknown)'}")
    plan.convert, plan.default = name, plan.default or name
    return True


def _read_options(spec: Words, plan: _Plan) -> None:
    if spec.peek_word() not in OPTIONS | {"ENGINE", "UNION", "INSERT_METHOD"}:
        raise spec.fail()
    while not spec.at_end:
        if spec.sequence("WITH", "SYSTEM"):
            raise CannotTellError("system-versioned tables are not followed")
        if spec.accept("COMMENT"):
            spec.mark("=")
            plan.comment = spec.text()
        else:
            plan.default = parse_default_charset(spec) or plan.default


def _column(shape: TableShape, name: str) -> Column | None:
    lowered = name.lower()
    return next((c for c in shape.schema.columns if c.name.lower() == lowered), None)


def _carried_out(
    shape: TableShape, plan: _Plan, words: Words, server: ServerKind
) -> tuple[TableShape, tuple[str, ...]]:
    named = any(d.type.charset or d.collation for _, d in plan.defined)
    if plan.convert and (named or plan.convert != plan.default):
        raise CannotTellError("several character sets in one statement")
    draft = Draft(shape, plan.default or shape.charset, server)
    redefined = {old: definition for old, definition in plan.defined if old}
    renamed = {old: definition.name for old, definition in redefined.items()}
    draft.columns = []
    for column in shape.schema.columns:
        if column.name in plan.dropped:
            continue
        definition = redefined.get(column.name)
        if definition is None:
            kept = _kept(column, plan)
            renamed[column.name] = kept.name
            draft.columns.append((column.name, kept))
        elif definition.place is None:
            built = build_column(definition, draft.charset, words, server)
            draft.columns.append((column.name, built))
    for old, definition in plan.defined:
        if not old or definition.place is not None:
            built = build_column(definition, draft.charset, words, server)
            draft.insert(old, built, definition.place)
    if plan.convert:
        draft.convert(plan.convert, {*redefined, ""})
    if plan.comment is not None:
        draft.comment = plan.comment
    _change_automatic(draft, plan, renamed)
    _change_indexes(draft, plan, shape, renamed)
    return draft.finish(plan.table or shape.table)


def _change_automatic(draft: Draft, plan: _Plan, renamed: dict[str, str]) -> None:
    was = draft.automatic
    if was:
        draft.automatic = "" if any(old == was for old, _ in plan.defined) else renamed.get(was, "")
    for _, definition in plan.defined:
        draft.automatic = definition.name if definition.automatic else draft.automatic


def _kept(column: Column, plan: _Plan) -> Column:
    lowered = column.name.lower()
    return replace(
        column,
        name=plan.renamed.get(lowered, column.name),
        invisible=not plan.visible.get(lowered, not column.invisible),
    )


def _change_indexes(draft: Draft, plan: _Plan, shape: TableShape, renamed: dict[str, str]) -> None:
    for step in plan.steps:
        if step[0] == "rename":
            draft.rename_index(step[1], step[2])
        elif step[0] == "drop constraint":
            draft.drop_constraint(step[1])
        else:
            draft.drop_index(step[1], tolerant=step[0] != "drop")
    draft.follow_columns(renamed, plan.dropped)
    for column in shape.schema.columns:
        if column.name in renamed:
            draft.require_whole(column, draft.columns[draft.find(renamed[column.name])][1])
    for index, tolerant in plan.indexes:
        draft.add_index(index, tolerant)


def index_shape(
    shape: TableShape, index: IndexDefinition, tolerant: bool, server: ServerKind
) -> TableShape:
    """Return a table's shape after CREATE INDEX."""
    draft = Draft(shape, shape.charset, server)
    draft.add_index(index, tolerant)
    return draft.finish(shape.table)[0]


def unindexed_shape(shape: TableShape, name: str, tolerant: bool, server: ServerKind) -> TableShape:
    """Return a table's shape after DROP INDEX."""
    draft = Draft(shape, shape.charset, server)
    draft.drop_index(name, tolerant)
    return draft.finish(shape.table)[0]
