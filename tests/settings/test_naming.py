"""Names: lossless, distinct, and taken by Dagster wherever they are used."""

from __future__ import annotations

import re
from itertools import combinations, permutations
from typing import get_args

import dagster as dg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdc_assets import naming
from resources.model.table import TableId

ALPHABET = "ab_xX09F.-/%~ '\"`\\é表\n\t,|[]*+😀"
names = st.one_of(
    st.text(ALPHABET, min_size=1, max_size=8),
    st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12),
)
tables = st.builds(TableId, names, names)
hostile = [
    TableId("a_b", "c"),
    TableId("a", "b_c"),
    TableId("a.b", "c"),
    TableId("a", "b.c"),
    TableId("a__b", "c"),
    TableId("a", "b__c"),
    TableId("a_", "b"),
    TableId("a", "_b"),
    TableId("a", "_x5F_b"),
    TableId("a_x5F", "b"),
    TableId("é", "_"),
    TableId("_é", "x"),
    TableId("shop", "changes"),
    TableId("a", "b/c"),
    TableId("a", "b...c"),
]


@given(names)
@example("_x41é")
@example("éx41é")
@example("_x5F_")
def test_encoded_names_read_back(name: str) -> None:
    encoded = naming.encode(name)
    assert re.fullmatch(r"[A-Za-z0-9_]+", encoded)
    assert naming.decode(encoded) == name


@pytest.mark.parametrize("name", ["orders", "order_items_2024", "OrderItems", "tax_xml", "t1"])
def test_common_names_stay_as_they_are(name: str) -> None:
    assert naming.encode(name) == name


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        naming.encode("")


@given(tables)
def test_keys_and_partitions_read_back(table: TableId) -> None:
    assert naming.table_of_key(naming.table_key("shop", table)) == table
    assert naming.table_of_partition(naming.table_partition(table)) == table


@pytest.mark.parametrize("text", ["orders", ".orders", "shop.", ""])
def test_a_partition_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the partition of a table"):
        naming.table_of_partition(text)


def test_a_key_that_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="not the key of a table"):
        naming.table_of_key(naming.changes_key("shop"))


@given(tables, tables)
def test_identifiers_dagster_derives_differ_when_tables_do(a: TableId, b: TableId) -> None:
    same = _identifier(naming.table_key("shop", a)) == _identifier(naming.table_key("shop", b))
    assert same == (a == b)


def test_identifiers_of_lookalikes_differ() -> None:
    keys = [naming.table_key("shop", t) for t in hostile]
    keys += [naming.changes_key("shop"), naming.snapshot_key("shop")]
    assert len({_identifier(key) for key in keys}) == len(keys)


@settings(max_examples=15, deadline=None)
@given(st.lists(tables, min_size=1, max_size=6, unique=True))
@example(hostile)
def test_dagster_takes_them_all(declared: list[TableId]) -> None:
    """Assets, checks, selections and dynamic partitions of arbitrary tables, none lost."""
    keys = [dg.AssetKey(naming.table_key("shop", t)) for t in declared]
    keys += [dg.AssetKey(naming.changes_key("shop")), dg.AssetKey(naming.snapshot_key("shop"))]

    @dg.multi_asset(
        name=naming.op_name("shop", "sync"),
        specs=[dg.AssetSpec(key, skippable=True) for key in keys],
        check_specs=[
            dg.AssetCheckSpec(check, asset=key) for key in keys for check in get_args(naming.Check)
        ],
        can_subset=True,
    )
    def sync(): ...

    assert sync.keys == set(keys)
    assert len(list(sync.check_keys)) == len(keys) * len(get_args(naming.Check))
    for key in keys:
        selection = dg.AssetSelection.from_string(key.to_user_string())
        assert selection.resolve([sync]) == {key}
    instance = dg.DagsterInstance.ephemeral()
    partitions = [naming.table_partition(t) for t in declared]
    name = naming.table_partitions_name("shop")
    instance.add_dynamic_partitions(name, partitions)
    assert set(instance.get_dynamic_partitions(name)) == set(partitions)
    assert len(set(partitions)) == len(declared)
    dg.StaticPartitionsDefinition(partitions)  # its rules are stricter than the dynamic ones'


def test_job_op_and_sensor_names_live_in_one_code_location() -> None:
    """Pipelines named after each other's jobs do not clash."""
    jobs = [
        dg.JobDefinition(
            name=naming.job_name(pipeline, job),
            graph_def=dg.GraphDefinition(
                name=naming.job_name(pipeline, job), node_defs=[_op(naming.op_name(pipeline, job))]
            ),
        )
        for pipeline in ("shop", "shop_sync", "shop_snapshot")
        for job in get_args(naming.Job)
    ]
    defs = dg.Definitions(jobs=jobs)
    dg.Definitions.validate_loadable(defs)
    assert len({job.name for job in jobs}) == len(jobs)
    assert not {job.name for job in jobs} & {n.name for job in jobs for n in job.graph.node_defs}


@given(st.text(min_size=1, max_size=80))
@example("postgresql://db.example.com:5432/shop")
@example("/var/run/mysqld/mysqld.sock")
@example("!!")
def test_sensor_names_are_valid(server: str) -> None:
    name = naming.sensor_name(server, "auto_increment")
    assert re.fullmatch(r"[a-z0-9][a-z0-9_]*_auto_increment", name)
    assert len(name) <= 80


def test_servers_that_read_alike_have_different_names() -> None:
    assert naming.server_name("db-1:3306") != naming.server_name("db_1:3306")
    assert naming.server_name("db-1:3306").startswith("db_1_3306_")


def test_no_check_name_ends_in_another() -> None:
    for a, b in permutations(get_args(naming.Check), 2):
        assert not a.endswith(f"_{b}")
    assert len(list(combinations(get_args(naming.Check), 2))) > 0


@given(st.integers(0, 1_700_000_000_000_000), st.sampled_from(["day", "hour"]))
def test_windows_are_dagsters_partitions(time_us: int, window: str) -> None:
    partition = naming.window_partition(time_us, window)
    start = naming.window_start(partition, window)
    length = 86_400_000_000 if window == "day" else 3_600_000_000
    assert 0 <= time_us - start.timestamp() * 1e6 < length
    made = dg.DailyPartitionsDefinition if window == "day" else dg.HourlyPartitionsDefinition
    assert made(start_date=start).get_first_partition_key() == partition


def _op(name: str) -> dg.OpDefinition:
    @dg.op(name=name)
    def body() -> None: ...

    return body


def _identifier(key: list[str]) -> str:
    return dg.AssetKey(key).to_python_identifier()
