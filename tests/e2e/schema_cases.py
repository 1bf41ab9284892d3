"""Schema changes as people make them, one per table: what is done, and what is left afterwards.

Every case is a table with rows, statements that change it with DML between them, and which of its
columns are the same ones before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdc_assets.engine.schema_policy import EventWord

BASE = "(id INT PRIMARY KEY, a INT, b VARCHAR(20))"
ROWS = "(1, 10, 'x1'), (2, 20, 'x2'), (3, 30, NULL)"


@dataclass(frozen=True)
class SchemaCase:
    """One change.

    Args:
        name: Its name, part of the table's.
        event: What it counts as; None if no policy is asked that does not name it.
        statements: Statements with `{t}` for the table.
        gone: Columns the source no longer has.
        new: Columns it did not have.
        base: The table's columns before; empty if the first statement makes the table.
        rows: Its rows before.
        kept: Keys of a target that does not follow, where they are not the source's.
        dropped: Whether the table is gone in the end.
        becomes: Name that it has in the end, if another one.
    """

    name: str
    event: EventWord | None
    statements: tuple[str, ...]
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    base: str = BASE
    rows: str = ROWS
    kept: frozenset[int] = frozenset()
    dropped: bool = False
    becomes: str = ""


CASES = (
    SchemaCase(
        "add",
        "add_column",
        (
            "ALTER TABLE {t} ADD COLUMN c BIGINT AFTER id",
            "INSERT INTO {t} (id, a, b, c) VALUES (4, 40, 'x4', 400)",
            "UPDATE {t} SET c = 100 WHERE id = 1",
            "DELETE FROM {t} WHERE id = 2",
        ),
        new=("c",),
    ),
    SchemaCase(
        "add_filled",
        "add_column",
        (
            "ALTER TABLE {t} ADD COLUMN c INT NOT NULL DEFAULT 7",
            "INSERT INTO {t} (id, a, b) VALUES (4, 40, 'x4')",
            "UPDATE {t} SET c = 8, a = 21 WHERE id = 2",
        ),
        new=("c",),
    ),
    SchemaCase(
        "add_unknown",
        "rewrite",
        (
            "ALTER TABLE {t} ADD COLUMN c DOUBLE NOT NULL DEFAULT 0.1",
            "INSERT INTO {t} (id, a, b) VALUES (4, 40, 'x4')",
            "UPDATE {t} SET c = 8, a = 21 WHERE id = 2",
        ),
        new=("c",),
    ),
    SchemaCase(
        "drop",
        "drop_column",
        (
            "ALTER TABLE {t} DROP COLUMN a",
            "INSERT INTO {t} (id, b) VALUES (4, 'x4')",
            "UPDATE {t} SET b = 'changed' WHERE id = 1",
            "DELETE FROM {t} WHERE id = 3",
        ),
        gone=("a",),
    ),
    SchemaCase(
        "rename",
        "rename_column",
        (
            "ALTER TABLE {t} RENAME COLUMN b TO c",
            "INSERT INTO {t} (id, a, c) VALUES (4, 40, 'x4')",
            "UPDATE {t} SET c = 'changed' WHERE id = 2",
        ),
        gone=("b",),
        new=("c",),
    ),
    SchemaCase(
        "widen",
        "alter_column_type",
        (
            "ALTER TABLE {t} MODIFY a BIGINT",
            "INSERT INTO {t} VALUES (4, 9007199254740993, 'x4')",
            "UPDATE {t} SET a = 5000000000 WHERE id = 1",
        ),
    ),
    SchemaCase(
        "narrow",
        "alter_column_type",
        (
            "ALTER TABLE {t} MODIFY a SMALLINT",
            "INSERT INTO {t} VALUES (4, -3, 'x4')",
            "UPDATE {t} SET a = 7 WHERE id = 1",
        ),
    ),
    SchemaCase(
        "to_text",
        "alter_column_type",
        (
            "ALTER TABLE {t} MODIFY a VARCHAR(10)",
            "INSERT INTO {t} VALUES (4, 'forty', 'x4')",
            "DELETE FROM {t} WHERE id = 2",
        ),
    ),
    SchemaCase(
        "reorder",
        "reorder_columns",
        (
            "ALTER TABLE {t} MODIFY b VARCHAR(20) FIRST",
            "INSERT INTO {t} (id, a, b) VALUES (4, 40, 'x4')",
        ),
    ),
    SchemaCase(
        "default",
        None,
        (
            "ALTER TABLE {t} ALTER a SET DEFAULT 5",
            "INSERT INTO {t} (id, b) VALUES (4, 'x4')",
            "ALTER TABLE {t} ALTER a DROP DEFAULT",
            "UPDATE {t} SET b = 'changed' WHERE id = 1",
        ),
    ),
    SchemaCase(
        "comment",
        "alter_comment",
        (
            "ALTER TABLE {t} MODIFY a INT COMMENT 'in words', COMMENT 'other words'",
            "INSERT INTO {t} VALUES (4, 40, 'x4')",
            "UPDATE {t} SET a = 6 WHERE id = 1",
        ),
    ),
    SchemaCase(
        "nullability",
        "alter_nullability",
        (
            "ALTER TABLE {t} MODIFY a INT NOT NULL",
            "INSERT INTO {t} VALUES (4, 40, 'x4')",
            "ALTER TABLE {t} MODIFY a INT NULL",
            "UPDATE {t} SET a = NULL WHERE id IN (1, 4)",
        ),
    ),
    SchemaCase(
        "key",
        "alter_key",
        (
            "ALTER TABLE {t} DROP PRIMARY KEY, ADD PRIMARY KEY (id, a)",
            "INSERT INTO {t} VALUES (1, 11, 'second of 1')",
            "UPDATE {t} SET a = 12 WHERE id = 1 AND a = 10",
        ),
        base="(id INT, a INT NOT NULL, b VARCHAR(20), PRIMARY KEY (id))",
    ),
    SchemaCase(
        "partition",
        "rewrite",
        (
            "ALTER TABLE {t} TRUNCATE PARTITION low",
            "INSERT INTO {t} VALUES (4, 40, 'x4')",
            "UPDATE {t} SET b = 'changed' WHERE id = 3",
            "DELETE FROM {t} WHERE id = 2",
        ),
        base=f"{BASE} PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (2), "
        "PARTITION high VALUES LESS THAN MAXVALUE)",
        kept=frozenset({1, 3, 4}),
    ),
    SchemaCase(
        "made",
        "create_table",
        (
            f"CREATE TABLE {{t}} {BASE}",
            f"INSERT INTO {{t}} VALUES {ROWS}",
            "UPDATE {t} SET a = 11 WHERE id = 1",
            "DELETE FROM {t} WHERE id = 2",
        ),
        base="",
    ),
    SchemaCase(
        "truncate",
        "truncate_table",
        ("TRUNCATE TABLE {t}", "INSERT INTO {t} VALUES (2, 22, 'again'), (9, 90, 'x9')"),
        kept=frozenset({1, 2, 3, 9}),
    ),
    SchemaCase("dropped", "drop_table", ("DROP TABLE {t}",), dropped=True),
    SchemaCase(
        "moved",
        "rename_table",
        (
            "RENAME TABLE {t} TO new_{t}",
            "INSERT INTO new_{t} VALUES (4, 40, 'x4')",
            "UPDATE new_{t} SET a = 11 WHERE id = 1",
        ),
        dropped=True,
        becomes="new_{t}",
    ),
    SchemaCase(
        "made_anew",
        "drop_table",
        (
            "DROP TABLE {t}",
            "CREATE TABLE {t} (id INT PRIMARY KEY, a INT, b VARCHAR(20), c DATE)",
            "INSERT INTO {t} VALUES (2, 22, 'again', '2026-11-21')",
        ),
        new=("c",),
    ),
)
ARRIVED = SchemaCase("arrived", "rename_table", ())
"""What a table is under the name that it becomes."""
