"""A target that keeps every change, under statements: nothing is read again, no change is lost."""

from __future__ import annotations

from pathlib import Path

from resources.model.change import RowKind
from resources.sinks.contract import TargetId
from tests.e2e import child
from tests.e2e.room import Line
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer

STATEMENTS = {
    "add": "ALTER TABLE {t} ADD COLUMN c INT NOT NULL DEFAULT 7",
    "computed": "ALTER TABLE {t} ADD COLUMN c DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP",
    "drop": "ALTER TABLE {t} DROP COLUMN a",
    "rename": "ALTER TABLE {t} RENAME COLUMN a TO z",
    "widen": "ALTER TABLE {t} MODIFY a BIGINT",
    "narrow": "ALTER TABLE {t} MODIFY a SMALLINT",
    "key": "ALTER TABLE {t} DROP PRIMARY KEY, ADD PRIMARY KEY (id, p)",
    "truncate": "TRUNCATE TABLE {t}",
    "partition": "ALTER TABLE {t} DROP PARTITION p1",
    "optimize": "OPTIMIZE TABLE {t}",
    "engine": "ALTER TABLE {t} ENGINE = InnoDB",
}
TABLE = (
    "CREATE TABLE {t} (id INT, p INT, a INT, PRIMARY KEY (p, id)) PARTITION BY RANGE (p) "
    "(PARTITION p1 VALUES LESS THAN (10), PARTITION p2 VALUES LESS THAN MAXVALUE)"
)
LEFT = {"truncate": [], "partition": [2]}
"""Keys of the rows a statement leaves, where these are not all."""


def test_every_change_is_kept_around_a_statement(
    mysql: FamilyServer, mysql_db: str, tmp_path: Path
) -> None:
    options = {"append": ("*.*",), "history": "none"}
    line = Line(mysql, child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options))
    line.sync()
    for name in STATEMENTS:
        insert = f"INSERT INTO {name}_ VALUES (1, 1, 10), (2, 20, 20)"
        line.execute(TABLE.format(t=f"{name}_"), insert)
    line.sync()
    for name, statement in STATEMENTS.items():
        insert = f"INSERT INTO {name}_ (id, p) VALUES (3, 30)"
        line.execute(statement.format(t=f"{name}_"), insert, f"DELETE FROM {name}_")
    report = line.sync()
    found = {str(t): (r.outcome, r.reason) for t, r in report.tables.items()}
    assert {outcome for outcome, _ in found.values()} == {"applied"}, found
    with line.sink() as sink:
        for name in STATEMENTS:
            rows = sink.read_table(TargetId(mysql_db, f"{name}_")).to_pylist()
            rows.sort(key=lambda row: row["_cdc_seq"])
            made = [(RowKind.INSERT, 1), (RowKind.INSERT, 2), (RowKind.INSERT, 3)]
            gone = [(RowKind.DELETE, key) for key in [*LEFT.get(name, [1, 2]), 3]]
            assert [(row["_cdc_op"], row["id"]) for row in rows] == made + gone, name
            assert [row["a"] for row in rows[:2]] == [10, 20], name
