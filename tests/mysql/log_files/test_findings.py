"""What an archive tells of its tables, and what its check finds."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from resources.model.change import UNDECODABLE
from resources.model.table import TableId
from tests.mysql.log_files.recorded import Recorded, archive, cut_copy, read, rows_of
from tests.mysql.room import Room


def test_tables_schemas_and_findings(recorded: Recorded, tmp_path: Path) -> None:
    table = TableId("shop", "t")
    with closing(archive(recorded.folder)) as source, closing(recorded.room.source()) as server:
        assert source.list_tables() == [table]
        mine, theirs = source.read_schemas([table])[table], server.read_schemas([table])[table]
        assert mine.fingerprint() == theirs.fingerprint()
        assert source.check() == []
        assert source.lag_bytes(source.current_position()) == 0
        lag = source.lag_bytes(source.start_position())
        assert lag == sum(f.stat().st_size for f in recorded.files) - 4
    both = archive(recorded.folder, include=["*.*"], exclude=["shop.*"])
    list(both.stream_changes(both.start_position(), both.current_position(), bool))
    assert both.list_tables() == [TableId("other", "u")]
    assert [f.code for f in archive(recorded.folder, include=["nobody.*"]).check()] == ["no_tables"]
    holed = recorded.copy(tmp_path / "hole", recorded.files[0].name, recorded.files[2].name)
    assert [f.code for f in archive(holed).check()] == ["missing_files"]
    end = archive(recorded.folder).current_position()
    cut_copy(recorded, tmp_path / "cut", end.offset - 20)
    assert [f.code for f in archive(tmp_path / "cut").check()] == ["cut_file"]


def test_rows_without_column_names_take_them_from_the_create_in_the_files(
    mysql: Any, mysql_db: str, tmp_path: Path
) -> None:
    room = Room(mysql, mysql_db)
    mysql.execute("FLUSH BINARY LOGS", "SET GLOBAL binlog_row_metadata = MINIMAL")
    try:
        room.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 2)")
        mysql.execute("FLUSH BINARY LOGS")
        room.execute("INSERT INTO t VALUES (3, 4)")
    finally:
        mysql.execute("SET GLOBAL binlog_row_metadata = FULL")
    names = [row[0] for row in mysql.execute("SHOW BINARY LOGS")][-2:]
    for name in names:
        shutil.copy(mysql.datadir / name, tmp_path)
    options = {"include": [f"{mysql_db}.*"]}
    (finding,) = archive(tmp_path, **options).check()
    assert (finding.level, finding.code, finding.table) == (
        "warning",
        "column_names",
        room.table("t"),
    )
    slices = read(tmp_path, **options)
    assert [row[1:] for row in rows_of(slices)] == [(1, 2), (3, 4)]
    assert not [n for part in slices for n in part.notices if n.rewrites]
    (tmp_path / names[0]).unlink()
    slices = read(tmp_path, **options)
    assert rows_of(slices) == []
    (notice,) = (n for part in slices for n in part.notices)
    assert (notice.table, notice.kind, notice.rewrites) == (room.table("t"), UNDECODABLE, True)
    assert "binlog_row_metadata = FULL" in notice.detail
