"""Records the corpus: log files and result sets of real servers, small ones with everything in.

`python -m tests.fuzz.record` starts a private MySQL and a private MariaDB and writes
`tests/fuzz/corpus/`. Files are gzip without a time stamp, each about one subject.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.fuzz.corpus import CORPUS, save_log, save_rows
from tests.fuzz.record_rows import record_rows
from tests.mysql.differential import columns, columns_own, columns_text
from tests.mysql.differential.charsets import charsets_of
from tests.mysql.differential.tables import Placed, TableCase, edge_table
from tests.servers import start_server
from tests.servers.family import FamilyServer

_DATABASE = "shop"
_LONGEST_LITERAL = 300
_PLAIN = [
    "CREATE TABLE plain (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(300), d DECIMAL(20,5), "
    "e ENUM('a','b'), at DATETIME(6), j JSON, b BLOB, n BIGINT UNSIGNED)",
    "INSERT INTO plain (v, d, e, at, b) VALUES ('é', -1.5, 'a', '2021-02-03 04:05:06.7', x'00ff')",
    'UPDATE plain SET v = NULL, j = \'{"a": [1, {"b": "c"}, 2.5]}\', n = 18446744073709551615',
    "INSERT INTO plain (v) VALUES ('many'), ('more'), (REPEAT('x', 300))",
    "DELETE FROM plain WHERE id > 3",
]
_TRANSACTIONS = [
    "BEGIN", "INSERT INTO plain (v) VALUES ('in')", "SAVEPOINT s1",
    "UPDATE plain SET d = 2", "ROLLBACK TO SAVEPOINT s1", "DELETE FROM plain LIMIT 1", "COMMIT",
    "XA START 'one'", "INSERT INTO plain (v) VALUES ('xa one')", "XA END 'one'",
    "XA COMMIT 'one' ONE PHASE",
    "XA START 'two', 'b', 7", "INSERT INTO plain (v) VALUES ('xa two')", "XA END 'two', 'b', 7",
    "XA PREPARE 'two', 'b', 7", "XA COMMIT 'two', 'b', 7",
    "XA START 'three'", "UPDATE plain SET d = 3", "XA END 'three'", "XA PREPARE 'three'",
    "XA ROLLBACK 'three'",
]  # fmt: skip
_STATEMENTS = [
    "SET SESSION binlog_format = STATEMENT", "SET @mine = 7, insert_id = 500",
    "INSERT INTO plain (v, d) VALUES (@mine, RAND())",
    "INSERT INTO plain (v) VALUES (LAST_INSERT_ID())",
    "UPDATE plain SET v = 'by statement' WHERE id = 500",
    "SET SESSION binlog_format = ROW",
    "ALTER TABLE plain ADD COLUMN extra INT DEFAULT 5 AFTER v",
    "UPDATE plain SET extra = id", "RENAME TABLE plain TO other, other TO plain2",
    "RENAME TABLE plain2 TO plain",
    "CREATE TABLE `odd ``name` (`a b` INT, UNIQUE (`a b`)) COMMENT 'c'",
    "INSERT INTO `odd ``name` VALUES (1), (NULL)", "TRUNCATE TABLE `odd ``name`",
    "DROP TABLE `odd ``name`", "FLUSH TABLES plain",
]  # fmt: skip
_MINIMAL = [
    "SET SESSION binlog_row_image = MINIMAL", "UPDATE plain SET v = 'minimal' LIMIT 2",
    "DELETE FROM plain LIMIT 1", "SET SESSION binlog_row_image = FULL",
]  # fmt: skip
_BIG = [
    "CREATE TABLE big (id INT PRIMARY KEY, t MEDIUMTEXT, b BLOB)",
    "INSERT INTO big VALUES (1, REPEAT('ab', 40000), REPEAT(x'fb', 60000)), (2, '', NULL)",
    "UPDATE big SET t = REPEAT('é', 300) WHERE id = 1",
]
_LOADED = [
    "SET SESSION binlog_format = STATEMENT",
    "LOAD DATA INFILE 'rows.csv' INTO TABLE plain FIELDS TERMINATED BY ',' (v, d)",
    "SET SESSION binlog_format = ROW",
    "LOAD DATA INFILE 'rows.csv' INTO TABLE plain FIELDS TERMINATED BY ',' (v, d)",
]
_MYSQL_OWN = [
    "SET SESSION binlog_rows_query_log_events = ON",
    "INSERT INTO plain (v) VALUES ('rows query')",
    "SET SESSION binlog_transaction_compression = ON",
    "INSERT INTO plain (v) SELECT CONCAT('packed ', v) FROM plain", "UPDATE plain SET n = 1",
    "SET SESSION binlog_transaction_compression = OFF",
    "SET SESSION binlog_row_value_options = PARTIAL_JSON",
    "UPDATE plain SET j = '{\"a\": [1, {\"b\": \"a long text, so that a diff is shorter\"}], "
    "\"k\": 1}'",
    "UPDATE plain SET j = JSON_SET(j, '$.a[1].b', 'short', '$.a[0]', 9)",
    "UPDATE plain SET j = JSON_REMOVE(j, '$.k')",
    "UPDATE plain SET j = JSON_ARRAY_INSERT(j, '$.a[0]', 'new')",
    "SET SESSION binlog_row_value_options = ''",
    "SET SESSION gtid_next = 'AUTOMATIC:ours'", "INSERT INTO plain (v) VALUES ('tagged')",
    "SET SESSION gtid_next = 'AUTOMATIC'",
    "SET SESSION gtid_next = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:5'", "BEGIN", "COMMIT",
    "SET SESSION gtid_next = 'AUTOMATIC'",
]  # fmt: skip
_MARIADB_OWN = [
    "SET SESSION binlog_annotate_row_events = ON",
    "INSERT INTO plain (v) VALUES ('annotated')",
    "SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10",
    "INSERT INTO plain (v) SELECT CONCAT('packed ', v) FROM plain", "UPDATE plain SET d = 4",
    "DELETE FROM plain WHERE d = 4 LIMIT 1",
    "CREATE TABLE packed_statement (a INT COMMENT 'a statement long enough to be compressed')",
    "SET GLOBAL log_bin_compress = OFF",
    "SET SESSION gtid_domain_id = 7", "INSERT INTO plain (v) VALUES ('another domain')",
    "SET SESSION gtid_domain_id = 0",
]  # fmt: skip


class _Recorder:
    """Runs statements on one connection and takes the log files they end up in."""

    def __init__(self, server: FamilyServer) -> None:
        self.server = server
        self._connection = server.connect()
        self._cursor: Any = self._connection.cursor()
        self.run("SET time_zone = '+00:00'", "SET timestamp = 1700000000")
        self.run(f"CREATE DATABASE {_DATABASE}", f"USE {_DATABASE}")
        self.run("SET sql_mode = 'ALLOW_INVALID_DATES'")

    def run(self, *statements: str) -> None:
        for statement in statements:
            self._cursor.execute(statement)

    @contextmanager
    def file(self, subject: str) -> Iterator[None]:
        """Everything run inside is in a log file of its own."""
        self.run("FLUSH BINARY LOGS")
        name = self._current()
        yield
        self.run("FLUSH BINARY LOGS")
        save_log(f"{self.server.kind}-{subject}", (self.server.datadir / name).read_bytes())

    def _current(self) -> str:
        mysql = self.server.kind == "mysql"
        self.run("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS")
        return str(self._cursor.fetchone()[0])

    def close(self) -> None:
        self._connection.close()


def _short(case: columns.ColumnCase) -> columns.ColumnCase:
    """The case without its longest values, of which the subject `big` has enough."""
    small = [edge for edge in case.edges if len(edge) <= _LONGEST_LITERAL and "REPEAT" not in edge]
    return columns.ColumnCase(**{**vars(case), "edges": tuple(small) or ("NULL",)})


def tables_of_types(server: FamilyServer) -> list[TableCase]:
    """Tables with a column of every type and character set."""
    text = columns_text.fixed_cases(charsets_of(server))
    groups = [
        columns.fixed_cases(),
        [case for case in text if len(case.ddl) < _LONGEST_LITERAL],
        columns_own.fixed_cases(server.kind),
    ]
    return [_with_word(edge_table([_short(c) for c in group]), i) for i, group in enumerate(groups)]


def _with_word(case: TableCase, number: int) -> TableCase:
    columns_ = tuple(Placed(f"c{i}", p.case) for i, p in enumerate(case.columns))
    facts = {**vars(case), "columns": columns_, "name": f"types{number}", "generated": ()}
    return TableCase(**{**facts, "rows": case.rows[:6], "changes": case.changes[:2]})


def _record(server: FamilyServer) -> None:
    recorder = _Recorder(server)
    with closing(recorder):
        for case in tables_of_types(server):
            with recorder.file(case.name):
                recorder.run(case.create, *case.inserts, *case.updates, *case.deletes)
            save_rows(f"{server.kind}-{case.name}", record_rows(server, _DATABASE, case.name))
        with recorder.file("transactions"):
            recorder.run(*_PLAIN, *_TRANSACTIONS)
        with recorder.file("statements"):
            recorder.run(*_STATEMENTS, *_MINIMAL)
        with recorder.file("own"):
            recorder.run(*(_MYSQL_OWN if server.kind == "mysql" else _MARIADB_OWN))
        (server.datadir / _DATABASE / "rows.csv").write_text("loaded,1.5\nand,2\n" * 50)
        with recorder.file("loaded"):
            recorder.run(*_LOADED)
        with recorder.file("big"):
            recorder.run(*_BIG)
        save_rows(f"{server.kind}-big", record_rows(server, _DATABASE, "big"))
        recorder.run("SET GLOBAL binlog_checksum = NONE")
        with recorder.file("unchecked"):
            recorder.run("INSERT INTO plain (v) VALUES ('no checksum')", "DELETE FROM plain")


def main() -> int:
    """Make the corpus anew."""
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.glob("*.gz"):
        old.unlink()
    for kind in ("mysql", "mariadb"):
        # A path in a statement would be this machine's; an empty one makes it the database's.
        with start_server(kind, options={"secure_file_priv": ""}) as server:
            _record(server)  # type: ignore[arg-type]
    sizes = {path.name: path.stat().st_size for path in sorted(CORPUS.glob("*.gz"))}
    for name, size in sizes.items():
        print(f"{size:>8} {name}")
    print(f"{sum(sizes.values()):>8} in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
