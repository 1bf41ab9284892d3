"""Targets and their feeds: the asset graph's view of the routes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.engine.routing import Router, RouteRule
from cdc_assets.targets import find_targets
from resources.errors import ConfigError
from resources.model.table_id import TableId

tables = st.builds(TableId, st.sampled_from(["s1", "s2", "other"]), st.sampled_from("abcd"))
RULES = (
    RouteRule(("s*.a",), "lake.a"),
    RouteRule(("s*.*",), "lake.{database}_{table}"),
    RouteRule(("s1.b", "s2.b"), "lake.b", merge=True),
)


@given(st.lists(tables), st.sampled_from(["first", "all"]))
def test_every_table_feeds_exactly_the_targets_of_its_routes(
    known: list[TableId], match: str
) -> None:
    router = Router(RULES, match)  # type: ignore[arg-type]
    targets = find_targets(router, known)
    pairs = {(table, target) for target, feeds in targets.feeds.items() for table in feeds}
    assert pairs == {(t, route.target) for t in known for route in router.routes(t)}
    assert list(targets.feeds) == sorted(targets.feeds)
    for target, feeds in targets.feeds.items():
        assert targets.tables([target]) == sorted(feeds)
        assert targets.shared(target) == (len(feeds) > 1)
    for table in known:
        assert targets.of([table]) == sorted(r.target for r in router.routes(table))


def test_without_routes_a_target_has_its_tables_name() -> None:
    table = TableId("shop", "orders")
    assert find_targets(Router(), [table]).feeds == {table: (table,)}


def test_two_ways_to_one_target_are_refused_with_the_file() -> None:
    twice = (RouteRule(("a.b",), "lake.b"), RouteRule(("a.*",), "lake.b"))
    with pytest.raises(ConfigError, match=r"shop\.yaml: two routes send a\.b to lake\.b") as caught:
        find_targets(Router(twice, "all"), [TableId("a", "b")], "shop.yaml")
    assert "different targets" in caught.value.remedy
