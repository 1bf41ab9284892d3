"""One SELECT on a logged-in connection, up to its first row.

In: a connection of PyMySQL and a statement. Out: the column definitions, and rows about to come
in the binary protocol, or as text from servers and proxies that cannot prepare the statement.

Source: MySQL client/server protocol, "COM_STMT_PREPARE", "COM_STMT_EXECUTE", "COM_QUERY Response".
"""

from __future__ import annotations

import contextlib
import struct
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket

_COM_QUERY, _COM_PREPARE, _COM_EXECUTE, _COM_CLOSE = 0x03, 0x16, 0x17, 0x19
_NO_CURSOR, _ONCE = 0, 1
_PREPARED = struct.Struct("<xIHH")
_EXECUTE = struct.Struct("<IBI")
_NUMBER = struct.Struct("<I")
_UNKNOWN_COMMAND, _NOT_SUPPORTED, _UNKNOWN_STATEMENT, _UNPREPARABLE, _PREPARE_AGAIN = (
    1047, 1235, 1243, 1295, 1615,
)  # fmt: skip
_CANNOT_EXECUTE = frozenset(
    {_UNKNOWN_COMMAND, _NOT_SUPPORTED, _UNKNOWN_STATEMENT, _UNPREPARABLE, _PREPARE_AGAIN}
)
_text_only: weakref.WeakSet[Connection[Any]] = weakref.WeakSet()
"""Connections whose server could not prepare a statement that it could run."""


@dataclass(frozen=True)
class Field:
    """One column of a result, as its definition says.

    Args:
        type: The protocol's number of the type.
        unsigned: Whether its integers are.
        binary: Whether it holds bytes rather than text.
    """

    type: int
    unsigned: bool
    binary: bool


_UNSIGNED = 0x20
_BINARY_CHARSET = 63


@dataclass(frozen=True)
class Statement:
    """A statement whose rows come next on the connection's socket.

    Args:
        fields: Its columns; none if it has no result.
        prepared: The server's number of the prepared statement, None if rows come as text.
    """

    fields: Sequence[Field]
    prepared: int | None

    @property
    def binary(self) -> bool:
        """Whether rows come in the binary protocol."""
        return self.prepared is not None


def run_statement(connection: Connection[Any], sql: str, printed: str) -> Statement:
    """Send a statement and read its column definitions.

    A connection whose server cannot prepare what it can run is remembered, and asked for text
    from then on.

    Args:
        connection: Without a result under way. PyMySQL never asks for DEPRECATE_EOF or
            compression, so that the server sends neither.
        sql: A SELECT without parameters.
        printed: The same as it is to be asked for as text.

    Raises:
        pymysql.err.MySQLError: The server refused it, or the connection was lost.
    """
    if connection not in _text_only:
        number = _prepare(connection, sql)
        fields = None if number is None else _execute(connection, number)
        if fields is not None:
            return Statement(fields, number)
    statement = Statement(_fields(connection, _COM_QUERY, printed.encode()), None)
    _text_only.add(connection)
    return statement


def end_statement(connection: Connection[Any], statement: Statement, *, whole: bool) -> None:
    """Leave the connection ready for its next statement, or closed if rows are still to come.

    Args:
        connection: It ran the statement.
        statement: The server forgets it.
        whole: Whether its result was read to the end.
    """
    if not whole:
        # Not close(): that would say goodbye into the stream, and forbid the owner's own.
        driver: Any = connection
        driver._force_close()
    elif statement.prepared is not None:
        _forget(connection, statement.prepared)


def _forget(connection: Connection[Any], number: int) -> None:
    """Close a prepared statement; the server answers nothing."""
    # If the connection is lost, the server's statements are gone with it.
    with contextlib.suppress(pymysql.err.MySQLError):
        _send(connection, _COM_CLOSE, _NUMBER.pack(number))


def _prepare(connection: Connection[Any], sql: str) -> int | None:
    """Return the number of a prepared statement, None if the server prepares no such statement."""
    with _in_step(connection):
        try:
            _send(connection, _COM_PREPARE, sql.encode())
            answer: Any = _packet(connection)
        except pymysql.err.MySQLError:
            if not connection.open:
                raise
            return None
        number, columns, parameters = _PREPARED.unpack_from(answer.get_all_data())
        for count in (parameters, columns):
            for _ in range(count):
                _packet(connection)
            if count:
                _end_of_definitions(connection)
    if parameters:  # a bare question mark, which no value was given for
        _forget(connection, number)
        return None
    return int(number)


def _execute(connection: Connection[Any], number: int) -> Sequence[Field] | None:
    """Return the columns of a prepared statement's result, None if it has to be asked as text."""
    try:
        return _fields(connection, _COM_EXECUTE, _EXECUTE.pack(number, _NO_CURSOR, _ONCE))
    except pymysql.err.MySQLError as error:
        if not connection.open:
            raise
        _forget(connection, number)
        if error.args[0] not in _CANNOT_EXECUTE:
            raise
        return None


def _fields(connection: Connection[Any], command: int, argument: bytes) -> Sequence[Field]:
    """Send a command and return the columns of its result."""
    _send(connection, command, argument)
    with _in_step(connection):
        count = _packet(connection).read_length_encoded_integer()
        fields = [_field(connection) for _ in range(count or 0)]
        if fields:
            _end_of_definitions(connection)
    return fields


def _field(connection: Connection[Any]) -> Field:
    packet: Any = _packet(connection, FieldDescriptorPacket)
    return Field(
        packet.type_code, bool(packet.flags & _UNSIGNED), packet.charsetnr == _BINARY_CHARSET
    )


def _end_of_definitions(connection: Connection[Any]) -> None:
    if not _packet(connection).is_eof_packet():
        raise ValueError("no end of definitions")


@contextlib.contextmanager
def _in_step(connection: Connection[Any]) -> Iterator[None]:
    """Close a connection whose bytes PyMySQL cannot take apart, by whatever error of Python's."""
    try:
        yield
    except (AssertionError, IndexError, TypeError, ValueError, struct.error):
        driver: Any = connection
        driver._force_close()
        message = "not the definitions of columns"
        raise pymysql.err.OperationalError(CR.CR_COMMANDS_OUT_OF_SYNC, message) from None


def _send(connection: Connection[Any], command: int, argument: bytes) -> None:
    driver: Any = connection
    driver._execute_command(command, argument)


def _packet(connection: Connection[Any], kind: type[MysqlPacket] = MysqlPacket) -> MysqlPacket:
    driver: Any = connection
    packet: MysqlPacket = driver._read_packet(kind)
    return packet
