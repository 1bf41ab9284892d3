"""Polled servers whose account may not read: told before start and in the middle, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from resources.errors import ConfigError
from tests.sql.conftest import Place, Reader

NIGHTLY = pytest.mark.nightly


@pytest.fixture(
    params=[
        "mysql",
        pytest.param("mariadb", marks=NIGHTLY),
        pytest.param("oceanbase", marks=NIGHTLY),
    ]
)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A database whose source polls as a user who may only insert."""
    server: Any = request.getfixturevalue(request.param)
    database = request.getfixturevalue(f"{request.param}_db")
    url = server.url_for("poller", "poller-pw")
    place = Place(
        server.kind, url, database, lambda: server.connect(database=database), {"tls": "off"}
    )
    place.run(
        "CREATE USER poller@'%' IDENTIFIED BY 'poller-pw'",
        f"GRANT INSERT ON {database}.* TO poller@'%'",
    )
    yield place
    place.run("DROP USER poller@'%'")
    place.close()


def test_a_table_that_may_not_be_read_is_told_and_read_from_where_it_was(place: Place) -> None:
    place.create()
    place.run("INSERT INTO t (a) VALUES (1), (2)")
    name = f"{place.schema}.t"
    found = {f.code: f for f in place.source().check()}
    assert found["no_select"].level == "error"
    assert f"GRANT SELECT ON {name}" in found["no_select"].remedy
    place.run(f"GRANT SELECT ON {place.schema}.* TO poller@'%'")
    reader = Reader(place.source(), name)
    assert {f.code for f in reader.source.check()} == {"gap_grace"}
    assert reader.round() == [1, 2]
    place.run(f"REVOKE SELECT ON {place.schema}.* FROM poller@'%'")
    place.run("INSERT INTO t (a) VALUES (3)")
    with pytest.raises(ConfigError, match=f"{name} may not be read") as caught:
        reader.round()
    assert "GRANT SELECT" in caught.value.remedy
    place.run(f"GRANT SELECT ON {place.schema}.* TO poller@'%'")
    assert reader.round() == [3]


def test_a_right_taken_away_while_a_table_is_read_is_told(place: Place) -> None:
    place.create()
    place.run(
        "INSERT INTO t (a) VALUES (1), (2), (3)",
        f"GRANT SELECT ON {place.schema}.* TO poller@'%'",
    )
    reader = Reader(place.source(page_rows=1), f"{place.schema}.t")
    source = reader.source
    stream = source.stream_changes(reader.position, source.current_position(), lambda: False)
    reader.take(next(stream))
    place.run(f"REVOKE SELECT ON {place.schema}.* FROM poller@'%'")
    with pytest.raises(ConfigError, match="access denied") as caught:
        list(stream)
    assert "GRANT SELECT ON" in caught.value.remedy
    place.run(f"GRANT SELECT ON {place.schema}.* TO poller@'%'")
    reader.round()
    assert reader.ids == [1, 2, 3]
