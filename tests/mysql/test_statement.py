"""Running a statement: when the text protocol takes over, and answers that make no sense."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymysql.connections import Connection

from resources.mysql.statement import Field, Statement, end_statement, run_statement
from tests.mysql.scripted_result import EOF, connection_with, packets

QUERY, PREPARE, EXECUTE, CLOSE = 0x03, 0x16, 0x17, 0x19
INT = b"\x03def\x01d\x01t\x01t\x01i\x01i\x0c\x3f\x00\x0b\x00\x00\x00\x03\x23\x00\x00\x00\x00"
INT_FIELD = Field(3, unsigned=True, binary=True)


def prepared(columns: int = 1, parameters: int = 0) -> bytes:
    counts = columns.to_bytes(2, "little") + parameters.to_bytes(2, "little")
    definitions = [[INT] * parameters + [EOF] * bool(parameters), [INT] * columns + [EOF]]
    answer = b"\0" + (9).to_bytes(4, "little") + counts + b"\0\0\0"
    return packets([answer, *definitions[0], *definitions[1]], 1)


def result(columns: int = 1) -> bytes:
    return packets([bytes([columns]), *[INT] * columns, EOF], 1)


def error(code: int) -> bytes:
    return packets([b"\xff" + code.to_bytes(2, "little") + b"#HY000refused"], 1)


def run(*answers: bytes) -> tuple[Statement, Connection[Any]]:
    connection = connection_with([], b"".join(answers))
    return run_statement(connection, "SELECT i", "SELECT i * 1e0"), connection


def commands(connection: Any) -> list[int]:
    return list(connection._sock.commands)


def test_a_statement_is_prepared_executed_and_forgotten() -> None:
    statement, connection = run(prepared(), result())
    assert statement == Statement([INT_FIELD], 9)
    end_statement(connection, statement, whole=True)
    assert commands(connection) == [PREPARE, EXECUTE, CLOSE]


def test_a_connection_with_rows_to_come_is_closed() -> None:
    statement, connection = run(prepared(), result())
    end_statement(connection, statement, whole=False)
    assert not connection.open


@pytest.mark.parametrize("code", [1047, 1064, 1235, 1295, 1461])
def test_what_cannot_be_prepared_is_asked_for_as_text_from_then_on(code: int) -> None:
    statement, connection = run(error(code), result(), result())
    assert statement == Statement([INT_FIELD], None)
    end_statement(connection, statement, whole=True)
    assert not run_statement(connection, "SELECT i", "SELECT i").binary
    assert commands(connection) == [PREPARE, QUERY, QUERY]


@pytest.mark.parametrize("code", [1243, 1615])
def test_what_cannot_be_executed_is_asked_for_as_text(code: int) -> None:
    statement, connection = run(prepared(), error(code), result())
    assert not statement.binary
    assert commands(connection) == [PREPARE, EXECUTE, CLOSE, QUERY]


def test_a_bare_question_mark_is_no_parameter() -> None:
    statement, connection = run(prepared(parameters=1), result())
    assert not statement.binary
    assert commands(connection) == [PREPARE, CLOSE, QUERY]


def test_a_statement_that_fails_is_not_run_twice() -> None:
    with pytest.raises(pymysql.err.OperationalError, match="3024"):
        run(prepared(), error(3024))


@settings(deadline=None)
@given(data=st.data(), text=st.booleans())
def test_a_damaged_answer_is_a_driver_error_or_definitions(data: st.DataObject, text: bool) -> None:
    answers = bytearray((error(1295) if text else prepared(2)) + result(2))
    for _ in range(data.draw(st.integers(1, 4))):
        answers[data.draw(st.integers(0, len(answers) - 1))] = data.draw(st.integers(0, 255))
    try:
        statement, _ = run(bytes(answers))
    except pymysql.err.MySQLError:
        return
    assert len(statement.fields) <= 255


@pytest.mark.parametrize("end", range(0, 120, 7))
def test_a_cut_answer_is_a_lost_connection(end: int) -> None:
    whole = prepared() + result()
    with pytest.raises(pymysql.err.OperationalError, match="2013"):
        run(whole[: min(end, len(whole) - 1)])
