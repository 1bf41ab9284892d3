"""Routes, held changes and edits of the pipeline file, as Dagster shows and decides them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming
from resources.model.table_id import TableId
from tests.dagster.room import Room, rows_of, run_sql
from tests.dagster.test_runs import failure, latest_check, metadata
from tests.dagster.test_stopped import observations

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer

ALL = TableId("wh", "orders")
SHARDS = {
    "route": [
        {"source": "*.orders_*", "target": "wh.orders", "shard": {"columns": {"shard": "{2}"}}},
    ],
}


def shards(server: FamilyServer, database: str) -> None:
    """Two tables of one shape, and one beside them."""
    for number in (1, 2):
        run_sql(
            server,
            f"CREATE TABLE {database}.orders_{number} (id INT PRIMARY KEY, item VARCHAR(40))",
            f"INSERT INTO {database}.orders_{number} VALUES ({number}, 'pen')",
        )
    run_sql(server, f"CREATE TABLE {database}.users (id INT PRIMARY KEY)")


def output(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return the metadata of a job's one output."""
    (event,) = (e for e in result.all_node_events if e.is_successful_output)
    return {k: v.value for k, v in event.step_output_data.metadata.items()}


def decide(room: Room, name: str, **config: Any) -> dg.ExecuteInProcessResult:
    return room.execute(
        f"{name}_decide",
        config={"ops": {naming.op_name(name, "decide"): {"config": config}}},
    )


def test_merged_shards_are_one_asset_that_shows_its_feeds(
    room: Room, mysql: FamilyServer, mysql_db: str, name: str
) -> None:
    shards(mysql, mysql_db)
    room.write_mysql(mysql, mysql_db, name, **SHARDS)
    assert room.execute(f"{name}_snapshot").success
    keys = {k.to_user_string() for k in room.load().resolve_asset_graph().get_all_asset_keys()}
    assert {k for k in keys if k.count("/") == 2} == {
        f"{name}/wh/orders",
        f"{name}/{mysql_db}/users",
    }
    key = naming.table_key(name, ALL)
    assert len(room.events(key)) == 2  # one per source table's snapshot
    assert [row[0] for row in room.target("wh", "orders")] == [1, 2]
    run_sql(
        mysql,
        f"INSERT INTO {mysql_db}.orders_1 VALUES (11, 'bag'), (12, 'cup')",
        f"DELETE FROM {mysql_db}.orders_2",
    )
    assert room.execute(f"{name}_sync").success
    events = room.events(key)
    assert len(events) == 3  # what both feeds did is one event
    found = metadata(events[0])
    assert (found["inserts"], found["deletes"]) == (2, 1)
    assert found["dagster/row_count"] == 3
    assert f"{mysql_db}.orders_1 | applied | 2 | 0 | 0" in found["source tables"]
    assert f"{mysql_db}.orders_2 | applied | 0 | 0 | 1" in found["source tables"]
    assert [c.name for c in found["dagster/column_schema"].columns][:3] == ["id", "item", "shard"]
    lineage = found["dagster/column_lineage"].deps_by_column
    assert {(d.asset_key.path[-1], d.column_name) for d in lineage["item"]} == {
        ("changes", f"{mysql_db}.orders_{n}.item") for n in (1, 2)
    }
    assert "shard" not in lineage
    assert latest_check(room, key, "dirty_rows").passed


def test_one_shard_that_stops_turns_its_target_red_and_is_named(
    room: Room, mysql: FamilyServer, mysql_db: str, name: str
) -> None:
    shards(mysql, mysql_db)
    room.write_mysql(mysql, mysql_db, name, pipeline={"schema_changes": "exception"}, **SHARDS)
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"ALTER TABLE {mysql_db}.orders_2 ADD COLUMN note TEXT",
        f"INSERT INTO {mysql_db}.orders_2 VALUES (22, 'cap', 'x')",
        f"INSERT INTO {mysql_db}.orders_1 VALUES (11, 'bag')",
    )
    result = room.execute(f"{name}_sync")
    assert not result.success
    assert f"{mysql_db}.orders_2" in failure(result)
    assert [row[0] for row in room.target("wh", "orders")] == [1, 2, 11]
    key = naming.table_key(name, ALL)
    found = latest_check(room, key, "dirty_rows")
    assert not found.passed
    assert str(found.metadata["reason"].value).startswith(f"{mysql_db}.orders_2: ")
    (seen,) = observations(room, key)
    assert "orders_1" not in str(seen.metadata["source tables at rest"].value)
    assert room.execute(f"{name}_sync").success
    assert len(observations(room, key)) == 1


def test_a_held_change_waits_in_red_until_somebody_decides(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name, pipeline={"schema_changes": "hold"})
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"ALTER TABLE {shop}.orders ADD COLUMN note TEXT",
        f"INSERT INTO {shop}.orders VALUES (7, 'cup', 1, 'canary')",
        f"INSERT INTO {shop}.users VALUES (7, 'eve')",
    )
    assert room.execute(f"{name}_sync").success  # it waits, nothing failed
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
    key = naming.table_key(name, TableId(shop, "orders"))
    (seen,) = observations(room, key)
    assert seen.metadata["outcome"].value == "held"
    words = str(seen.metadata["held changes in full"].value)
    assert "add column note" in words
    assert "ALTER TABLE" in words
    assert f"-j {name}_decide" in words
    assert "canary" not in words
    assert not latest_check(room, key, "dirty_rows").passed
    listed = output(room.execute(f"{name}_decide"))
    assert listed["held"] == 1
    change = int(str(seen.metadata["held changes"].value).partition(":")[0])
    assert f"Change {change}: add column note" in listed["held changes"]
    planned = output(room.execute(f"{name}_plan"))
    assert f"Change {change}" in planned["held changes"]
    refused = decide(room, name, change=change, decision="apply")
    assert "needs its reason" in failure(refused)
    assert "nothing is held for" in failure(
        decide(room, name, table="other.*", decision="apply", why="x")
    )
    done = decide(room, name, change=change, decision="apply", why="agreed", who="ann")
    assert done.success
    assert output(done)["still held"] == "nothing"
    assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")
    assert latest_check(room, key, "dirty_rows").passed
    assert "nothing is held" in failure(decide(room, name, change=change, decision="skip", why="y"))


def test_changes_are_planned_before_they_come_and_skipped_or_replaced_when_they_wait(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name, pipeline={"schema_changes": "hold"})
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"ALTER TABLE {shop}.users ADD COLUMN a INT, ADD COLUMN b INT",
        f"INSERT INTO {shop}.users VALUES (7, 'eve', 70, NULL)",
    )
    planned = output(room.execute(f"{name}_plan"))["plan"]
    assert "add column a (safe, policy hold): hold: ALTER TABLE" in planned
    assert room.execute(f"{name}_sync").success
    listed = output(room.execute(f"{name}_decide"))
    assert listed["held"] == 2
    change = int(listed["held changes"].partition(": add column a")[0].rpartition(" ")[2])
    ddl = f"ALTER TABLE {shop}.users ADD COLUMN a BIGINT DEFAULT -1"
    done = decide(room, name, change=change, decision="replace", ddl=ddl, why="may grow")
    assert done.success
    assert output(done)["still held"] != "nothing"
    done = decide(room, name, table=f"{shop}.u*", decision="skip", why="not needed")
    assert done.success
    assert room.target(shop, "users") == [(1, "ann", -1), (2, "bob", -1), (7, "eve", 70)]


def test_an_edited_pipeline_is_planned_and_its_tables_wait_until_they_are_read_again(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    assert "Nothing changes" in output(room.execute(f"{name}_plan"))["plan"]
    rule = [{"source": f"{shop}.orders", "projection": "id, item, price * 2 AS double_price"}]
    room.write_mysql(mysql, shop, name, transform=rule)
    before = room.target(shop, "orders")
    planned = output(room.execute(f"{name}_plan"))
    assert planned["edited"] == 1
    assert f"`{shop}.orders`: the projection changed" in planned["plan"]
    assert "**read again**" in planned["plan"]
    assert "double_price" in planned["plan"]
    run_sql(
        mysql,
        f"INSERT INTO {shop}.orders VALUES (7, 'cup', 1)",
        f"INSERT INTO {shop}.users VALUES (7, 'eve')",
    )
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "orders") == before  # never a mix of old and new rows
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
    key = naming.table_key(name, TableId(shop, "orders"))
    assert "the projection changed" in str(observations(room, key)[0].metadata["reason"].value)
    room.write_mysql(mysql, shop, name)  # taken back: it goes on
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")
    room.write_mysql(mysql, shop, name, transform=rule)
    assert room.execute(f"{name}_sync").success
    assert room.execute(f"{name}_snapshot").success
    assert len(room.target(shop, "orders")[0]) == 3
    assert latest_check(room, key, "dirty_rows").passed
    lineage = metadata(room.events(key)[0])["dagster/column_lineage"].deps_by_column
    assert [d.column_name for d in lineage["double_price"]] == [f"{shop}.orders.price"]


def test_edited_rules_are_folded_again_from_a_log_that_has_every_row(
    room: Room, mysql: FamilyServer, mysql_db: str, name: str
) -> None:
    run_sql(mysql, f"CREATE TABLE {mysql_db}.seed (id INT PRIMARY KEY)")
    rule = [{"source": f"{mysql_db}.orders_*", "filter": "id < 10"}]
    room.write_mysql(mysql, mysql_db, name, transform=rule, **SHARDS)
    assert room.execute(f"{name}_snapshot").success
    shards(mysql, mysql_db)  # made while the pipeline follows: the log has all their rows
    run_sql(
        mysql,
        f"INSERT INTO {mysql_db}.orders_1 VALUES (11, 'bag'), (12, 'cup')",
        f"DELETE FROM {mysql_db}.orders_1 WHERE id = 1",
    )
    assert room.execute(f"{name}_sync").success
    assert [row[:2] for row in room.target("wh", "orders")] == [(2, "pen")]
    rule[0]["filter"] = "id > 1"
    room.write_mysql(mysql, mysql_db, name, transform=rule, **SHARDS)
    assert room.execute(f"{name}_sync").success
    key = naming.table_key(name, ALL)
    assert f"{name}_refold" in str(observations(room, key)[0].metadata["reason"].value)
    assert f"{name}_refold" in output(room.execute(f"{name}_plan"))["plan"]
    room.write_mysql(mysql, mysql_db, name, transform=rule, source={"port": 1}, **SHARDS)
    assert room.execute(f"{name}_refold").success  # the source may be down
    expected = [(2, "pen"), (11, "bag"), (12, "cup")]
    assert [row[:2] for row in room.target("wh", "orders")] == expected
    assert latest_check(room, key, "dirty_rows").passed
    room.write_mysql(mysql, mysql_db, name, transform=rule, **SHARDS)
    run_sql(mysql, f"DELETE FROM {mysql_db}.orders_2", f"UPDATE {mysql_db}.orders_1 SET item='x'")
    assert room.execute(f"{name}_sync").success
    assert [row[:2] for row in room.target("wh", "orders")] == [(11, "x"), (12, "x")]
