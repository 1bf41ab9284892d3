"""UUID, INET4 and INET6: the text MariaDB prints (its own output is the oracle of test_values)."""

from __future__ import annotations

import ipaddress
import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels import addresses
from tests.mysql.kernels.wire import bad_rows, cells, columns, good


@given(columns(st.binary(max_size=16)))
def test_uuids_without_their_trailing_zeros(column: list[bytes | None]) -> None:
    array = good(addresses.uuids(cells(column, 1)), pa.string())
    want = [None if raw is None else str(uuid.UUID(bytes=raw.ljust(16, b"\0"))) for raw in column]
    assert array.to_pylist() == want


@given(columns(st.binary(max_size=4)))
def test_inet4_in_dotted_form(column: list[bytes | None]) -> None:
    array = good(addresses.inet4s(cells(column, 1)), pa.string())
    full = [raw and raw.ljust(4, b"\0") for raw in column]
    want = [None if raw is None else str(ipaddress.IPv4Address(raw or bytes(4))) for raw in full]
    assert array.to_pylist() == want


few_groups = st.lists(st.sampled_from([0, 0, 0, 1, 0xFF, 0xFFFF, 0xABC, 0x1000]), max_size=8).map(
    lambda groups: b"".join(group.to_bytes(2, "big") for group in groups).rstrip(b"\0")
)


def inet6(raw: bytes) -> str:
    """Print groups, then shorten the first of the longest runs of zeros, a single one too."""
    raw = raw.ljust(16, b"\0")
    groups = [int.from_bytes(raw[i : i + 2], "big") for i in range(0, 16, 2)]
    runs = [(b - a, -a) for a in range(8) for b in range(a + 1, 9) if not any(groups[a:b])]
    size, begin = max(runs, default=(0, 0))
    dotted = str(ipaddress.IPv4Address(raw[12:]))
    if begin == 0 and size == 6:
        return f"::{dotted}"
    if begin == 0 and size == 5 and groups[5] == 0xFFFF:
        return f"::ffff:{dotted}"
    words = [f"{group:x}" for group in groups]
    if not size:
        return ":".join(words)
    return f"{':'.join(words[:-begin])}::{':'.join(words[size - begin :])}"


@given(columns(st.binary(max_size=16) | few_groups))
def test_inet6_as_the_server_prints_it(column: list[bytes | None]) -> None:
    array = good(addresses.inet6s(cells(column, 1)), pa.string())
    assert array.to_pylist() == [None if raw is None else inet6(raw) for raw in column]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("", "::"),
        ("00000000000000000000000000000001", "::1"),
        ("00000000000000000000000001020304", "::1.2.3.4"),
        ("00000000000000000000000000010203", "::0.1.2.3"),
        ("00000000000000000000ffff01020304", "::ffff:1.2.3.4"),
        ("00010002000300040005000600070000", "1:2:3:4:5:6:7::"),
        ("00010000000000020000000000000003", "1:0:0:2::3"),
        ("ff" * 16, "ffff:" * 7 + "ffff"),
    ],
)
def test_shapes_of_inet6(raw: str, text: str) -> None:
    column: list[bytes | None] = [bytes.fromhex(raw).rstrip(b"\0"), None]
    assert good(addresses.inet6s(cells(column, 1)), pa.string()).to_pylist() == [text, None]


def test_cells_longer_than_their_type_are_bad() -> None:
    for convert, width in ((addresses.uuids, 16), (addresses.inet4s, 4), (addresses.inet6s, 16)):
        column: list[bytes | None] = [b"x" * (width + 1), None, b"x" * width]
        assert bad_rows(convert(cells(column, 1))) == [0]
