"""What a rule hides is kept nowhere: not in a file, not after a crash, not by another name."""

from __future__ import annotations

import contextlib
import hmac
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.transforms.rule import Mask, TransformRule
from resources.errors import ConfigError
from resources.model.table import TableId
from resources.sinks.contract import TargetId
from tests.e2e import child
from tests.mysql.room import tcp_settings


def test_what_is_masked_or_left_out_is_kept_nowhere(
    mysql: Any, mysql_db: str, tmp_path: Path
) -> None:
    """Not in the change log, the target, the state or a dirty row's bytes."""
    hidden = TransformRule(
        ("*.users",), masks=(Mask("mail", "hmac", salt="pepper"),), exclude=("password",)
    )
    options = {"transforms": Transforms((hidden,))}
    setup = child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options)
    connection = mysql.connect(database=mysql_db)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(
            "CREATE TABLE users (id INT PRIMARY KEY, mail TEXT, password TEXT, born DATE)"
        )
        cursor.execute("INSERT INTO users VALUES (1, 'marker-1', 'marker-2', '2000-01-01')")
        with contextlib.closing(child.open_pipeline(setup, zero_dates="dirty")) as pipeline:
            run_snapshot(pipeline, TableId(mysql_db, "users"))
        cursor.execute("INSERT INTO users VALUES (2, 'marker-3', 'marker-4', '0000-00-00')")
        cursor.execute("UPDATE users SET mail = 'marker-5' WHERE id = 1")
    with contextlib.closing(child.open_pipeline(setup, zero_dates="dirty")) as pipeline:
        run_sync(pipeline)
        stored = list(pipeline.log.read(TableId(mysql_db, "users"), 0))
        (dirty,) = pipeline.dirty.open_rows()
    assert stored
    assert all("password" not in batch.rows.schema.names for batch in stored)
    assert not any("marker" in str(batch.rows.to_pylist()) for batch in stored)
    assert (dirty.field, dirty.raw) == ("born", b"")
    image = pa.ipc.open_stream(dirty.image).read_all()
    assert image.column_names == ["id", "mail", "born"]
    with contextlib.closing(child.open_sink(setup)) as sink:
        found = sink.read_table(TargetId(mysql_db, "users"))
    assert found.column_names == ["id", "mail", "born"]
    assert "marker" not in str(found.to_pylist())
    require_nowhere(tmp_path, b"marker")


def require_nowhere(folder: Path, word: bytes) -> None:
    """Fail if a file has a word, as it is or in hex digits."""
    forms = (word, word.hex().encode(), word.hex().upper().encode())
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not any(form in content for form in forms), f"{path} has it"


@pytest.mark.parametrize("kill", ["copy.after_chunk:kill:2", "copy.before_finish:kill"])
def test_a_masked_key_is_kept_nowhere_even_when_its_load_is_killed(
    mysql: Any, mysql_db: str, tmp_path: Path, kill: str
) -> None:
    rule = TransformRule(("*.members",), masks=(Mask("mail", "hmac", salt="pepper"),))
    setup = child.Setup(
        tcp_settings(mysql), mysql_db, tmp_path, {"transforms": Transforms((rule,))}
    )
    table = TableId(mysql_db, "members")
    connection = mysql.connect(database=mysql_db)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute("CREATE TABLE members (mail VARCHAR(60) PRIMARY KEY, born DATE)")
        rows = [(f"marker-{n:03}", "2000-01-01") for n in range(150)]
        cursor.executemany("INSERT INTO members VALUES (%s, %s)", rows)
        cursor.execute("UPDATE members SET born = '0000-00-00' WHERE mail LIKE '%%9'")
        assert not child.run(setup, "members", kill)
        require_nowhere(tmp_path, b"marker")
        cursor.execute("DELETE FROM members WHERE mail LIKE '%%1'")
        cursor.execute("INSERT INTO members VALUES ('marker-000a', '0000-00-00')")
        with contextlib.closing(child.open_pipeline(setup, zero_dates="dirty")) as pipeline:
            run_snapshot(pipeline, table)
            cursor.execute("UPDATE members SET born = '2001-01-01' WHERE mail LIKE '%%9'")
            cursor.execute("UPDATE members SET born = '0000-00-00' WHERE mail = 'marker-002'")
            run_sync(pipeline)
            assert pipeline.dirty.count_open() == 2
            cursor.execute("SET sql_log_bin = 0")  # mended where the log does not say so
            cursor.execute("UPDATE members SET born = '2002-02-02' WHERE born = 0")
            replay_dirty(pipeline)
            assert pipeline.dirty.count_open() == 0
        cursor.execute("SELECT mail, born FROM members")
        wanted = {
            (hmac.digest(b"pepper", mail.encode(), "sha256").hex(), born)
            for mail, born in cursor.fetchall()
        }
    with contextlib.closing(child.open_sink(setup)) as sink:
        found = sink.read_table(TargetId(mysql_db, "members")).to_pylist()
    assert {(row["mail"], row["born"]) for row in found} == wanted
    assert len(found) == len(wanted)
    require_nowhere(tmp_path, b"marker")


def test_schema_changes_of_columns_that_are_not_kept_do_not_disturb(
    mysql: Any, mysql_db: str, tmp_path: Path
) -> None:
    rule = TransformRule(
        ("*.wide",), ("id", "UPPER(a) AS a"), "n > 1", masks=(Mask("a", "truncate", length=2),)
    )
    setup = child.Setup(
        tcp_settings(mysql), mysql_db, tmp_path, {"transforms": Transforms((rule,), "needed")}
    )
    table = TableId(mysql_db, "wide")
    connection = mysql.connect(database=mysql_db)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE wide (id INT PRIMARY KEY, a TEXT, n INT, b VARCHAR(9), c TEXT, d INT)"
        )
        cursor.execute(
            "INSERT INTO wide VALUES (1, 'one', 1, 'x', 'x', 1), (2, 'two', 2, '', '', 2)"
        )
        with contextlib.closing(child.open_pipeline(setup)) as pipeline:
            run_snapshot(pipeline, table)
        for number, statement in enumerate(
            (
                "ADD COLUMN e INT DEFAULT 5 AFTER id",
                "RENAME COLUMN b TO bb",
                "MODIFY bb VARCHAR(200)",
                "DROP COLUMN c",
            )
        ):
            cursor.execute(f"ALTER TABLE wide {statement}")
            cursor.execute(f"INSERT INTO wide (id, a, n) VALUES ({number + 3}, 'more', {number})")
            cursor.execute("UPDATE wide SET n = n + 1, d = 7 WHERE id = 1")
        with contextlib.closing(child.open_pipeline(setup)) as pipeline:
            report = run_sync(pipeline).tables[table]
            stored = list(pipeline.log.read(table, 0))
            assert pipeline.changes.list() == []
        cursor.execute("SELECT id, UPPER(LEFT(a, 2)) FROM wide WHERE n > 1")
        wanted = set(cursor.fetchall())
    assert report.outcome == "applied"
    assert {tuple(batch.rows.schema.names[:-3]) for batch in stored} == {("id", "a", "n")}
    with contextlib.closing(child.open_sink(setup)) as sink:
        found = sink.read_table(TargetId(mysql_db, "wide")).to_pylist()
    assert {(row["id"], row["a"]) for row in found} == wanted
    assert found[0].keys() == {"id", "a"}


@pytest.mark.parametrize("statement", ["RENAME COLUMN mail TO address", "CHANGE note memo TEXT"])
def test_a_renamed_column_never_shows_what_a_rule_hides(
    mysql: Any, mysql_db: str, tmp_path: Path, statement: str
) -> None:
    def setup(*masked: str) -> child.Setup:
        masks = tuple(Mask(name, "hmac", salt="pepper") for name in masked)
        rule = TransformRule((f"{mysql_db}.users",), masks=masks, exclude=("note", "memo")[:1])
        if "memo" in masked:
            rule = TransformRule((f"{mysql_db}.users",), masks=masks[:1], exclude=("note", "memo"))
        options = {"transforms": Transforms((rule,))}
        return child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options)

    connection = mysql.connect(database=mysql_db)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE users (id INT PRIMARY KEY, mail TEXT, note TEXT)")
        cursor.execute("INSERT INTO users VALUES (1, 'marker-1', 'marker-2')")
        with contextlib.closing(child.open_pipeline(setup("mail"))) as pipeline:
            run_snapshot(pipeline, TableId(mysql_db, "users"))
        cursor.execute(f"ALTER TABLE users {statement}")
        cursor.execute("INSERT INTO users VALUES (2, 'marker-3', 'marker-4')")
    for _ in range(2):
        with (
            contextlib.closing(child.open_pipeline(setup("mail"))) as pipeline,
            pytest.raises(ConfigError, match="which the pipeline hides, was renamed"),
        ):
            run_sync(pipeline)
    new = "address" if "address" in statement else "memo"
    with contextlib.closing(child.open_pipeline(setup("mail", new))) as pipeline:
        run_sync(pipeline)
        run_snapshot(pipeline, TableId(mysql_db, "users"))
        stored = list(pipeline.log.read(TableId(mysql_db, "users"), 0))
    assert stored
    assert not any("marker" in str(batch.rows.to_pylist()) for batch in stored)
    with contextlib.closing(child.open_sink(setup("mail"))) as sink:
        found = sink.read_table(TargetId(mysql_db, "users")).to_pylist()
    assert {row["id"] for row in found} == {1, 2}
    assert "marker" not in str(found)
