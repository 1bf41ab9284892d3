"""Snapshot = log = polling = what the server prints, for tables and values of every type.

CDC_SEED repeats or varies the generated tables; each run prints its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from resources.model.change import RowKind
from resources.model.table import TableSchema
from tests.mysql.binlog.log import Log
from tests.mysql.differential import columns, columns_own, columns_text
from tests.mysql.differential.charsets import Charset
from tests.mysql.differential.readings import (
    Image,
    Reading,
    Row,
    as_read,
    bad_columns,
    by_log,
    by_polling,
    by_snapshot,
    nameless,
    plain_values,
    printed_rows,
    unlisted,
    writer,
)
from tests.mysql.differential.tables import TableCase, compressed, edge_table, table_cases
from tests.mysql.room import Room

ZeroDates = Literal["null", "dirty"]
_CHANGES = (RowKind.INSERT, RowKind.UPDATE_AFTER, RowKind.DELETE, RowKind.UPDATE_BEFORE)


def check(log: Log, case: TableCase, zero_dates: ZeroDates, named: bool = True) -> None:
    """Make the table, change it, and compare every reading with what the server printed.

    Where the log does not name columns, their names and types come from CREATE TABLE.
    """
    log.run(f"DROP TABLE IF EXISTS {case.name}")
    with nullcontext() if named else nameless(log):
        source = Room(log.server, log.database).source(zero_dates=zero_dates)
        created = source.current_position()
        log.run(case.create)
        start = log.position()
        printed = _changed(log, case)
        snapshot = by_snapshot(log, case, zero_dates)
        _check_types(case, snapshot.schema)
        _compare("snapshot", snapshot, printed[2], zero_dates)
        polled = by_polling(log, case, zero_dates)
        assert polled.schema.fingerprint() == snapshot.schema.fingerprint()
        _compare("polling", polled, printed[2], zero_dates)
        if named:
            slices = log.read(start, catalog=lambda table: snapshot.schema, zero_dates=zero_dates)
        else:
            end = source.current_position()
            slices = list(source.stream_changes(created, end, lambda: False))
    schemas, images = by_log(slices)
    assert {schema.fingerprint() for schema in schemas} <= {snapshot.schema.fingerprint()}
    assert len(images) == _expected_images(case, printed)
    _compare_images(images, printed, zero_dates)
    _compare("log", _fold(snapshot.schema, images), printed[2], zero_dates)


def _changed(log: Log, case: TableCase) -> list[dict[int, Row]]:
    """Insert, update and delete; what the server prints after each."""
    printed = []
    with writer(log, case.compressed) as cursor:
        for statements in (case.inserts, case.updates, case.deletes):
            for statement in statements:
                cursor.execute(statement)
            printed.append(printed_rows(cursor, case))
    return printed


def _check_types(case: TableCase, schema: TableSchema) -> None:
    wanted = {c.name: c.case.arrow for c in case.columns}
    wanted |= {name: arrow for name, arrow, _ in unlisted(case)}
    assert {c.name: c.type for c in schema.columns if c.name != "id"} == wanted


def _compare(reading: str, got: Reading, printed: dict[int, Row], zero_dates: ZeroDates) -> None:
    bad = {key: bad_columns(row) for key, row in printed.items()}
    aside = {key for key, names in bad.items() if names and zero_dates == "dirty"}
    assert set(got.rejected) == aside, reading
    for key in aside:
        assert got.rejected[key] in bad[key], reading
    _same(reading, {k: r for k, r in printed.items() if k not in aside}, got.rows)


def _same(reading: str, printed: dict[int, Row], got: dict[int, Row]) -> None:
    assert set(got) == set(printed), reading
    for key, row in printed.items():
        for name, value in as_read(row).items():
            assert got[key][name] == value, f"{reading}: row {key}, column {name}"


def _expected_images(case: TableCase, printed: Sequence[dict[int, Row]]) -> int:
    inserted, updated, left = printed
    moved = sum(change.move for change in case.changes)
    same = sum(
        not change.move and inserted[change.row + 1] == updated[change.row + 1]
        for change in case.changes
    )
    return len(inserted) + len(case.changes) - same + moved + len(updated) - len(left)


def _compare_images(
    images: Sequence[Image], printed: Sequence[dict[int, Row]], zero_dates: ZeroDates
) -> None:
    """Each image is the row as it was printed before or after the change."""
    inserted, updated, _ = printed
    when = dict(zip(_CHANGES, (inserted, updated, updated, inserted), strict=True))
    for image in images:
        key = image.values["id"]
        row = when[image.kind][key]
        if zero_dates == "dirty" and bad_columns(row):
            assert image.rejected and image.rejected.field in bad_columns(row)
        else:
            assert image.rejected is None, (image.rejected.field, image.rejected.message)
            _same(image.kind.name, {key: row}, {key: image.values})


def _fold(schema: TableSchema, images: Sequence[Image]) -> Reading:
    rows: dict[int, Row] = {}
    rejected: dict[int, str] = {}
    for image in images:
        key = image.values["id"]
        rows.pop(key, None)
        rejected.pop(key, None)
        if image.kind in (RowKind.DELETE, RowKind.UPDATE_BEFORE):
            continue
        if image.rejected is None:
            rows[key] = image.values
        else:
            rejected[key] = image.rejected.field
    return Reading(schema, rows, rejected)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("count", [12, pytest.param(1500, marks=pytest.mark.nightly)])
def test_generated_tables_read_alike_every_way(
    log: Log, any_column: st.SearchStrategy[Any], seed_number: int, count: int
) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @seed(seed_number)
    @given(
        case=table_cases(any_column, 8, 8),
        zero_dates=st.sampled_from(("null", "dirty")),
        named=st.booleans(),
    )
    def run(case: TableCase, zero_dates: ZeroDates, named: bool) -> None:
        note(f"{case}-- zero_dates={zero_dates} named={named}")
        check(log, case, zero_dates, named)

    run()


@pytest.mark.parametrize("zero_dates", ["null", "dirty"])
def test_edges_of_numbers_and_times(log: Log, zero_dates: ZeroDates) -> None:
    case = edge_table(columns.fixed_cases())
    check(log, case if zero_dates == "null" else compressed(case), zero_dates)


def test_edges_of_text_bytes_and_labels(log: Log, charsets: list[Charset]) -> None:
    check(log, edge_table(columns_text.fixed_cases(charsets)), "null")


def test_edges_of_the_types_of_one_server(log: Log) -> None:
    case = edge_table(columns_own.fixed_cases(log.flavor))
    check(log, case, "null")
    check(log, compressed(case), "null")


def test_edges_of_every_type_where_the_log_names_no_columns(
    log: Log, charsets: list[Charset]
) -> None:
    own = columns_own.fixed_cases(log.flavor)
    for some in (columns.fixed_cases(), columns_text.fixed_cases(charsets), own):
        check(log, edge_table(some), "null", named=False)


def test_labels_that_a_character_set_lacks_are_not_guessed(log: Log) -> None:
    """The server keeps question marks for them, whatever CREATE TABLE said."""
    source = Room(log.server, log.database).source()
    with nameless(log):
        start = source.current_position()
        log.run(
            "CREATE TABLE t (id INT PRIMARY KEY, c ENUM('b@c') CHARACTER SET swe7)",
            "INSERT INTO t VALUES (1, 1)",
        )
        slices = list(source.stream_changes(start, source.current_position(), lambda: False))
    _, images = by_log(slices)
    assert [image.values for image in images] == [{"id": 1, "c": "b?c"}]


def test_labels_that_no_catalog_can_show_are_not_guessed(log: Log) -> None:
    """Without names in the log they come from CREATE TABLE, or the table is read again."""
    source = Room(log.server, log.database).source()
    create = "CREATE TABLE {} (id INT PRIMARY KEY, c ENUM('😀')) CHARACTER SET utf8mb4"
    log.run(create.format("old"))
    with nameless(log):
        start = source.current_position()
        log.run(create.format("new"), "INSERT INTO old VALUES (1, 1)")
        log.run("INSERT INTO new VALUES (2, 1)")
        slices = list(source.stream_changes(start, source.current_position(), lambda: False))
    _, images = by_log(slices)
    assert [image.values for image in images] == [{"id": 2, "c": "😀"}]
    notices = [notice for piece in slices for notice in piece.notices]
    assert log.table("old") in {notice.table for notice in notices if notice.rewrites}


def test_every_collation(log: Log, charsets: list[Charset]) -> None:
    """The log names collations by number: each is known and means its character set."""
    read = {charset.name: charset for charset in charsets}
    names = log.run("SELECT COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS "
                    "WHERE ID IS NOT NULL ORDER BY ID")  # fmt: skip
    pairs: list[tuple[str, Any]] = [(c, read[s]) for c, s in names if s in read]
    assert len(pairs) > 150
    for begin in range(0, len(pairs), 100):
        some = pairs[begin : begin + 100]
        cases = [columns_text.text("VARCHAR", 9, charset) for _, charset in some]
        ddls = [f"VARCHAR(9) COLLATE {collation}" for collation, _ in some]
        with_collation = [
            columns.ColumnCase(**{**vars(case), "ddl": ddl})
            for case, ddl in zip(cases, ddls, strict=True)
        ]
        check(log, edge_table(with_collation), "null")


def test_the_readings_themselves_tell_bits_apart() -> None:
    """What this file compares by would see a wrong sign, a wrong zero and a NULL."""
    floats = plain_values(pa.array([0.0, -0.0, None], pa.float32()))
    assert len(set(floats)) == 3
    assert plain_values(pa.array([[1.5], None, []], pa.list_(pa.float32()))) == [
        ("0000c03f",),
        None,
        (),
    ]
