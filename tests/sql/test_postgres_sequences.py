"""What feeds ids on PostgreSQL: cached, prepared, moved past by explicit ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.postgres import PostgresServer
from tests.sql.conftest import Place, Reader


def test_ids_cached_by_an_idle_session_arrive(on_postgres: Place) -> None:
    """With CACHE 20 a session hands out ids far below the mark, having held no transaction."""
    on_postgres.create()
    on_postgres.run("ALTER SEQUENCE t_id_seq CACHE 20")
    one, two = on_postgres.session(), on_postgres.session()
    one.insert()  # 1, keeps 2..20
    one.commit()
    two.insert(30)  # 21..40, 41..50, keeps 51..60
    two.commit()
    reader = Reader(on_postgres.source(grace_seconds=0.0), "public.t")
    assert reader.round() == [1, *range(21, 51)]
    for _ in range(3):
        reader.round()
        assert reader.gaps == [(2, 20)]
    one.insert()  # 2
    one.commit()
    assert reader.round() == [2]
    assert reader.gaps == [(3, 20)]
    one.close()
    two.insert()
    two.commit()
    reader.round()
    # `two` was there as well when the gap was seen; its leaving ends the proof.
    assert reader.gaps == [(3, 20)]
    two.close()
    while reader.source._flavor.database.run(_others):
        pass
    reader.round()
    assert reader.gaps == []


def _others(connection: object) -> int:
    import sqlalchemy as sa

    assert isinstance(connection, sa.Connection)
    count = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND usesysid IS NOT NULL"
    )
    return int(connection.execute(count).scalar_one())


def test_sequence_behind_an_explicit_id(on_postgres: Place) -> None:
    on_postgres.create()
    session = on_postgres.session()
    session.insert(2)
    session.run("INSERT INTO t (id, a) VALUES (1000000000, 1)")
    session.commit()
    reader = Reader(on_postgres.source(grace_seconds=0.0), "public.t")
    assert reader.round() == [1, 2, 1_000_000_000]
    for _ in range(3):
        reader.round()
    assert reader.gaps == [(3, 999_999_999)]
    session.insert(2)  # 3, 4: below the mark, with nobody open when the gap was seen
    session.commit()
    assert reader.round() == [3, 4]
    session.insert()  # 5
    session.rollback()
    assert reader.round() == []
    assert reader.gaps == [(6, 999_999_999)]


@pytest.fixture(scope="module")
def two_phase() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        server.execute("ALTER SYSTEM SET max_prepared_transactions = 4")
        server.restart()
        yield server


def test_prepared_transaction_keeps_its_gap(two_phase: PostgresServer) -> None:
    place = Place("postgres", two_phase.url, "public", lambda: two_phase.connect(autocommit=False))
    place.create()
    late, other = place.session(), place.session()
    late.insert()  # 1
    other.insert()  # 2
    other.commit()
    reader = Reader(place.source(), "public.t")
    assert reader.round() == [2]
    late.run("PREPARE TRANSACTION 'late'")
    late.close()
    for _ in range(3):
        assert reader.round() == []
        assert reader.gaps == [(1, 1)]
    two_phase.execute("COMMIT PREPARED 'late'")
    assert reader.round() == [1]
    assert reader.gaps == []
    place.close()


def test_least_privileges_suffice_for_the_proof(
    on_postgres: Place, postgres: PostgresServer
) -> None:
    on_postgres.create()
    on_postgres.run(
        "CREATE ROLE poller LOGIN PASSWORD 'poller-pw'",
        "GRANT SELECT ON t TO poller",
    )
    try:
        on_postgres.url = postgres.url_for("poller", "poller-pw", on_postgres.url.split("/")[-1])
        (finding,) = on_postgres.source().check()
        assert (finding.code, finding.level) == ("gap_grace", "warning")
        assert "GRANT SELECT ON SEQUENCE public.t_id_seq" in finding.remedy
        on_postgres.run("GRANT SELECT ON SEQUENCE t_id_seq TO poller")
        late, other = on_postgres.session(), on_postgres.session()
        late.insert()  # 1
        other.insert()  # 2
        other.commit()
        reader = Reader(on_postgres.source(grace_seconds=0.0), "public.t")
        assert reader.source.check() == []
        assert reader.round() == [2]
        reader.round()
        assert reader.gaps == [(1, 1)]
        late.commit()
        assert reader.round() == [1]
        on_postgres.run("ALTER SEQUENCE t_id_seq CACHE 5")
        (finding,) = reader.source.check()
        assert "CACHE 1" in finding.remedy
    finally:
        on_postgres.run("DROP OWNED BY poller", "DROP ROLE poller")
