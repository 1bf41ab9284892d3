"""A whole database into a server that allows few connections: all tables arrive, none too many."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.run import run_sync
from tests.e2e import child
from tests.mysql.room import tcp_settings
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room

TABLES = 300
BUDGET = 4


class Watcher(threading.Thread):
    """Counts the connections a server shows to a database, again and again."""

    def __init__(self, connection: Any, database: str) -> None:
        super().__init__(daemon=True)
        self.connection, self.database = connection, database
        self.most = 0
        self.ended = threading.Event()

    def run(self) -> None:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        while not self.ended.wait(0.02):
            (count,) = self.connection.execute(query, [self.database]).fetchone()
            self.most = max(self.most, count)


@pytest.mark.timeout(600)
def test_three_hundred_tables_and_four_connections(
    mysql: Any, mysql_db: str, room: Room, tmp_path: Path
) -> None:
    url = room.url(room.database("whole"))
    options = {"writers": BUDGET, "segment_rows": 100_000}
    setup = child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options, postgres=url)
    with_sink = child.open_pipeline(setup)
    run_sync(with_sink)
    with_sink.close()
    names = [f"t{number:03}" for number in range(TABLES)]
    connection = mysql.connect(database=mysql_db)
    with connection, connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, v VARCHAR(20))")
            cursor.execute(f"INSERT INTO {name} VALUES (1, '{name}'), (2, NULL)")
    with room.connect("postgres") as looking:
        watcher = Watcher(looking, room.database("whole"))
        watcher.start()
        pipeline = child.open_pipeline(setup)
        try:
            report = run_sync(pipeline)
        finally:
            pipeline.close()
            watcher.ended.set()
            watcher.join()
    assert {r.outcome for r in report.tables.values()} == {"applied"}
    assert len(report.tables) == TABLES
    assert 2 <= watcher.most <= BUDGET, "tables are merged side by side, within the budget"
    with room.connect(room.database("whole")) as here:
        for name in names:
            rows = here.execute(f'SELECT id, v FROM "{mysql_db}"."{name}" ORDER BY id').fetchall()
            assert rows == [(1, name), (2, None)]
