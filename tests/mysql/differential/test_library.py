"""`mysql-replication` agrees with the server, and so with us, but in the cells of a list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from tests.mysql.binlog.log import Log
from tests.mysql.differential import columns, columns_own, columns_text
from tests.mysql.differential.charsets import Charset
from tests.mysql.differential.library import FAULTS, Fault, expected, faults_of, plain, read
from tests.mysql.differential.readings import Row, printed_rows, writer
from tests.mysql.differential.tables import Placed, TableCase, edge_table, table_cases

_COPY = "copied"
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated, use:DeprecationWarning")


def compare(log: Log, case: TableCase) -> int:
    """Compare the library's rows with the print, cell by cell; the number of cells it read.

    It reads a copy of the table, without the columns that would end its stream.
    """
    case = replace(case, changes=(), deleted=(), generated=(), compressed=False)
    log.run(f"DROP TABLE IF EXISTS {case.name}, {_COPY}", case.create)
    with writer(log, compressed=False) as cursor:
        for statement in case.inserts:
            cursor.execute(statement)
        printed = printed_rows(cursor, case)
        kept = _survived(case, printed)
        names = ", ".join(["id", *(column.quoted for column in kept.columns)])
        cursor.execute(replace(kept, name=_COPY).create)
        start = log.position()
        cursor.execute(f"INSERT INTO {_COPY} ({names}) SELECT {names} FROM {case.name}")
    rows = read(log, start, _COPY)
    assert set(rows) == set(printed)
    for key, row in rows.items():
        for column in kept.columns:
            got = plain(column.case, row[column.name])
            wanted = expected(column.case, printed[key][column.name])
            faults = _faults(kept, column, key, printed[key])
            where = f"row {key}, {column.case.ddl}: {got!r} for {wanted!r}"
            assert (got != wanted) == bool(faults), f"{where}; {[f.name for f in faults]}"
    return len(rows) * len(kept.columns)


def _faults(case: TableCase, column: Placed, key: int, row: Row) -> list[Fault]:
    literal = case.rows[key - 1][case.columns.index(column)]
    return faults_of(column.case, literal, row[column.name])


def _survived(case: TableCase, printed: dict[int, Row]) -> TableCase:
    """The case without the columns at which the library's stream would end."""

    def kills(column: Placed) -> bool:
        if column.case.family == "vector":
            return True
        return any(f.kills for key in printed for f in _faults(case, column, key, printed[key]))

    kept = [index for index, column in enumerate(case.columns) if not kills(column)]
    return replace(
        case,
        columns=tuple(case.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in case.rows),
    )


def test_the_library_agrees_on_all_edges(log: Log, charsets: list[Charset]) -> None:
    cases = (
        columns.fixed_cases(),
        columns_text.fixed_cases(charsets),
        columns_own.fixed_cases(log.flavor),
    )
    assert sum(compare(log, edge_table(some)) for some in cases) > 2000


@pytest.mark.parametrize("count", [8, pytest.param(500, marks=pytest.mark.nightly)])
def test_the_library_agrees_on_generated_tables(
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
    @given(case=table_cases(any_column, 8, 8))
    def run(case: TableCase) -> None:
        note(str(case))
        compare(log, case)

    run()


def test_the_library_is_still_wrong(log: Log) -> None:
    """Should this fail, the library has been mended: take the entry off the list."""
    faults = [f for f in FAULTS if log.flavor in f.servers and not f.kills]
    columns = ", ".join(f"c{i} {fault.example[0]}" for i, fault in enumerate(faults))
    literals = ", ".join(fault.example[1] for fault in faults)
    row = _library_row(log, columns, literals)
    assert {f.name: row[f"c{i}"] for i, f in enumerate(faults)} == {f.name: f.gives for f in faults}


def test_the_library_still_stops_at_some_values(log: Log) -> None:
    for fault in FAULTS:
        if fault.kills and log.flavor in fault.servers:
            with pytest.raises(fault.gives):
                _library_row(log, f"c {fault.example[0]}", fault.example[1])


def _library_row(log: Log, columns: str, literals: str) -> dict[str, Any]:
    log.run("DROP TABLE IF EXISTS one", f"CREATE TABLE one (id INT PRIMARY KEY, {columns})")
    start = log.position()
    with writer(log, compressed=False) as cursor:
        cursor.execute(f"INSERT INTO one VALUES (1, {literals})")
    return read(log, start, "one")[1]


def test_the_library_does_not_see_compressed_transactions(mysql_log: Log) -> None:
    mysql_log.run("CREATE TABLE one (id INT PRIMARY KEY, c INT)")
    start = mysql_log.position()
    with writer(mysql_log, compressed=True) as cursor:
        cursor.execute("INSERT INTO one VALUES (1, 1)")
    assert read(mysql_log, start, "one") == {}
