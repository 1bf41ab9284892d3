"""Tables that stop, and checks that speak of the newest materialization: what their pages show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import pytest

from cdc_assets import naming, verdicts
from cdc_assets.inventory import load_inventory
from cdc_assets.open import opened
from cdc_assets.settings import load_pipelines
from resources.model.table_id import TableId
from tests.dagster.room import Room, partitions, rows_of, run_sql
from tests.dagster.test_runs import failure, latest_check, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.family import FamilyServer


@pytest.fixture
def zero_dates(mysql: FamilyServer) -> Iterator[None]:
    """A server that takes 0000-00-00."""
    run_sql(mysql, "SET GLOBAL sql_mode = ''")
    yield
    run_sql(mysql, "SET GLOBAL sql_mode = DEFAULT")


def observations(room: Room, key: list[str]) -> list[dg.AssetObservation]:
    """Return the observations of an asset, newest first."""
    records = room.instance.fetch_observations(dg.AssetKey(key), limit=100).records
    return [r.asset_observation for r in records if r.asset_observation is not None]


def test_a_table_over_its_dirty_limit_turns_red_and_says_so_once(
    room: Room, mysql: FamilyServer, shop: str, name: str, zero_dates: None
) -> None:
    run_sql(mysql, f"CREATE TABLE {shop}.dates (id INT PRIMARY KEY, d DATE)")
    room.write_mysql(mysql, shop, name, dirty_data={"max_rows": 1, "zero_dates": "dirty"})
    assert room.execute(f"{name}_snapshot").success
    key = naming.table_key(name, TableId(shop, "dates"))
    assert latest_check(room, key, "dirty_rows").passed
    run_sql(mysql, f"INSERT INTO {shop}.dates VALUES (1, '0000-00-00'), (2, '0000-00-00')")
    result = room.execute(f"{name}_sync")
    if result.success:  # the limit is looked at before a merge: the next one stops
        run_sql(mysql, f"INSERT INTO {shop}.dates VALUES (3, '2026-01-01')")
        result = room.execute(f"{name}_sync")
    assert not result.success
    assert "dirty rows" in failure(result)
    found = latest_check(room, key, "dirty_rows")
    assert not found.passed
    assert found.metadata["open"].value == 2
    assert found.metadata["outcome"].value == "stopped"
    (seen,) = observations(room, key)
    assert seen.metadata["outcome"].value == "stopped"
    assert "raise dirty_data.max_rows" in str(seen.metadata["reason"].value)
    run_sql(mysql, f"INSERT INTO {shop}.dates VALUES (4, '2026-01-01')")
    assert room.execute(f"{name}_sync").success
    assert len(observations(room, key)) == 1
    assert not latest_check(room, key, "dirty_rows").passed
    room.write_mysql(mysql, shop, name, dirty_data={"max_rows": 9, "zero_dates": "dirty"})
    assert room.execute(f"{name}_sync").success
    found = latest_check(room, key, "dirty_rows")
    assert found.passed
    assert "outcome" not in found.metadata


def test_a_table_whose_change_is_stopped_and_one_to_be_read_again_say_so_on_their_pages(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    lenient = [{"tables": [f"{shop}.users"], "default": "lenient"}]
    policies = {"default": "exception", "tables": lenient}
    room.write_mysql(mysql, shop, name, pipeline={"schema_changes": policies, "reread": False})
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"ALTER TABLE {shop}.orders ADD COLUMN note TEXT",
        f"INSERT INTO {shop}.orders VALUES (7, 'cup', 1, 'x')",
        f"ALTER TABLE {shop}.users ADD COLUMN joined DATETIME DEFAULT CURRENT_TIMESTAMP",
        f"INSERT INTO {shop}.users VALUES (9, 'eve', '2026-01-01')",
    )
    assert not room.execute(f"{name}_sync").success
    for table, outcome in (("orders", "stopped"), ("users", "needs_snapshot")):
        key = naming.table_key(name, TableId(shop, table))
        (seen,) = observations(room, key)
        assert seen.metadata["outcome"].value == outcome
        reason = str(seen.metadata["reason"].value)
        assert ("materialize" if outcome == "needs_snapshot" else "merge it again") in reason
        found = latest_check(room, key, "dirty_rows")
        assert not found.passed
        assert found.metadata["outcome"].value == outcome
    assert room.execute(f"{name}_sync").success
    assert len(observations(room, naming.table_key(name, TableId(shop, "orders")))) == 1
    assert room.execute(f"{name}_snapshot").success  # takes what needs a snapshot, not what stopped
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
    assert room.target(shop, "orders") != rows_of(mysql, f"{shop}.orders")
    users = naming.table_key(name, TableId(shop, "users"))
    assert latest_check(room, users, "dirty_rows").passed


def test_a_state_that_a_killed_run_left_is_told_by_the_next(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    (settings,) = load_pipelines(room.pipelines)
    with opened(settings, "killed") as pipeline:
        pipeline.tables.set(TableId(shop, "users"), "needs_snapshot", "because")
    assert room.execute(f"{name}_sync").success
    (seen,) = observations(room, naming.table_key(name, TableId(shop, "users")))
    assert seen.metadata["reason"].value == "because"


def test_verdicts_name_the_newest_materialization(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (3, 'cat')")
    assert room.execute(f"{name}_sync").success
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (4, 'dog')")
    assert room.execute(f"{name}_sync").success
    changes = naming.changes_key(name)
    users = naming.table_key(name, TableId(shop, "users"))
    for key, check in ((changes, "continuity"), (users, "dirty_rows")):
        (record,) = room.instance.fetch_materializations(dg.AssetKey(key), limit=1).records
        target = latest_check(room, key, check).target_materialization_data
        assert target is not None
        assert target.storage_id == record.storage_id


def test_a_run_of_a_chosen_window_leaves_its_checks_evaluated(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (3, 'cat')")
    (settings,) = load_pipelines(room.pipelines)
    day = load_inventory(settings).first_window
    assert room.execute(f"{name}_sync", partition=day).success
    changes = naming.changes_key(name)
    (record,) = room.instance.fetch_materializations(dg.AssetKey(changes), limit=1).records
    assert record.partition_key == day
    target = latest_check(room, changes, "continuity").target_materialization_data
    assert target is not None
    assert target.storage_id == record.storage_id


def test_a_long_log_is_checked_link_by_link_and_as_a_whole_after_a_red_verdict(
    room: Room, mysql: FamilyServer, shop: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "SHORT_LOG_SEGMENTS", 0)
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success

    def sync(number: int) -> dict[str, object]:
        run_sql(mysql, f"INSERT INTO {shop}.users VALUES ({number}, 'u')")
        assert room.execute(f"{name}_sync").success
        found = latest_check(room, naming.changes_key(name), "continuity")
        return {"passed": found.passed, "checked": found.metadata["checked"].value}

    whole, links = "every segment and file", "links of the newest segments"
    assert sync(11) == {"passed": True, "checked": whole}
    assert sync(12) == {"passed": True, "checked": links}
    (settings,) = load_pipelines(room.pipelines)
    with opened(settings, "looks") as pipeline:
        (file, *_) = [s.file for s in pipeline.log.segments.list_segments(0) if s.file]
    (path,) = room.home.rglob(file)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert room.execute(f"{name}_compact").success
    found = latest_check(room, naming.changes_key(name), "continuity")
    assert not found.passed
    assert "checksum" in str(found.metadata["checked"].value)
    path.write_bytes(content)
    assert sync(13) == {"passed": True, "checked": whole}


def test_a_bare_snapshot_skips_unfit_tables_with_their_remedy_and_loads_the_others(
    room: Room, mariadb: FamilyServer, mariadb_db: str, name: str
) -> None:
    shop = mariadb_db
    run_sql(
        mariadb,
        f"CREATE TABLE {shop}.orders (id INT PRIMARY KEY, item VARCHAR(40))",
        f"CREATE TABLE {shop}.users (id INT PRIMARY KEY, name VARCHAR(40))",
        f"INSERT INTO {shop}.orders VALUES (1,'pen'),(2,'book')",
        f"INSERT INTO {shop}.users VALUES (1,'ann')",
        f"CREATE TABLE {shop}.keyless (id INT)",
        f"CREATE TABLE {shop}.shapes (id INT PRIMARY KEY, at VARCHAR(99) COMPRESSED)",
    )
    room.write_mysql(mariadb, shop, name)
    for _ in range(2):  # at the first start and afterwards
        result = room.execute(f"{name}_snapshot")
        assert not result.success
        text = failure(result)
        assert f"{shop}.keyless has neither a primary key" in text
        assert "ADD PRIMARY KEY" in text
        assert f"{shop}.shapes: column at" in text
        assert "is not on the source" not in text
        for table in ("orders", "users"):
            assert room.target(shop, table) == rows_of(mariadb, f"{shop}.{table}")
    assert f"{shop}.shapes" in partitions(room.instance, name)
    result = room.execute(f"{name}_snapshot", partition=f"{shop}.shapes")
    assert f"{shop}.shapes: column at" in failure(result)


def test_a_snapshot_says_from_which_position_on_it_is_consistent_and_keeps_its_window(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    (event,) = room.events(naming.table_key(name, TableId(shop, "users")))
    found = metadata(event)
    file, _, rest = found["consistent from"].partition(":")
    assert "." in file
    assert rest.partition(" ")[0].isdigit()
    assert found["snapshot load id"]
    (settings,) = load_pipelines(room.pipelines)
    assert event.asset_materialization is not None
    assert load_inventory(settings).first_window == event.asset_materialization.partition
