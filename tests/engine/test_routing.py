"""Routes: fnmatch and regular expressions with groups, templates, shards told by the target."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.engine.routing import Route, Router, RouteRule, compiled
from resources.model.table_id import TableId

ORDERS = TableId("shop_eu", "orders_07")


def routes(*rules: RouteRule) -> tuple[Route, ...]:
    return Router(rules).routes(ORDERS)


def test_a_table_without_a_rule_keeps_its_name_or_takes_the_template() -> None:
    assert routes() == (Route(ORDERS, ORDERS),)
    other = RouteRule(("crm.*",), "dw.crm")
    assert routes(other) == (Route(ORDERS, ORDERS),)
    (route,) = Router(database="lake", table="ods_{database}_{table}").routes(ORDERS)
    assert route.target == TableId("lake", "ods_shop_eu_orders_07")


@pytest.mark.parametrize(
    ("pattern", "target", "found"),
    [
        ("shop_*.orders_*", "dw.{1}_orders", "dw.eu_orders"),
        ("shop_*.orders_??", "dw.o{2}{3}", "dw.o07"),
        ("shop_[a-z]u.orders_*", "dw.{1}", "dw.e"),
        ("/shop_(\\w+)\\.orders_(?P<month>\\d+)/", "{1}.m{month}", "eu.m07"),
        ("shop_eu.orders_07", "{database}.all", "shop_eu.all"),
    ],
)
def test_groups_of_a_pattern_make_the_targets_name(pattern: str, target: str, found: str) -> None:
    (route,) = routes(RouteRule((pattern,), target))
    assert str(route.target) == found


@given(st.text("ab*?[!].-\\^", max_size=6), st.text("ab[]-!", max_size=5))
def test_a_pattern_means_what_fnmatch_says(pattern: str, name: str) -> None:
    means = compiled(f"x.{pattern}").fullmatch(f"x.{name}") is not None
    assert means == fnmatchcase(name, pattern)


def test_a_target_without_a_part_of_the_source_is_shared() -> None:
    merging = RouteRule(
        ("shop_*.orders_*",), "dw.orders", shard=(("db", "{database}"), ("no", "{2}"))
    )
    (route,) = routes(merging)
    assert route == Route(ORDERS, TableId("dw", "orders"), True, (("db", "shop_eu"), ("no", "07")))
    assert not routes(RouteRule(("shop_eu.orders_07",), "dw.orders"))[0].shared
    assert not routes(RouteRule(("shop_*.orders_*",), "dw.orders_{2}"))[0].shared
    assert routes(RouteRule(("shop_*.orders_*",), "dw.orders_{2}", merge=True))[0].shared
    one, two = RouteRule(("shop_eu.orders_07",), "dw.o"), RouteRule(("shop_us.orders",), "dw.o")
    assert routes(one, two)[0].shared


def test_the_first_rule_or_all_of_them() -> None:
    rules = RouteRule(("shop_*.*",), "a.{table}"), RouteRule(("*.orders_*",), "b.{table}")
    assert [r.target.database for r in routes(*rules)] == ["a"]
    assert [r.target.database for r in Router(rules, "all").routes(ORDERS)] == ["a", "b"]
    with pytest.raises(ValueError, match=r"two routes send shop_eu\.orders_07 to a\.orders_07"):
        Router((rules[0], rules[0]), "all").routes(ORDERS)


def test_tables_that_meet_in_a_target_unasked_are_named() -> None:
    router = Router((RouteRule(("*.orders_*",), "dw.orders_{2}"),))
    tables = [ORDERS, TableId("shop_us", "orders_07"), TableId("shop_us", "orders_08")]
    assert router.clashes(tables) == {TableId("dw", "orders_07"): tables[:2]}
    assert router.targets(tables) == [TableId("dw", "orders_07"), TableId("dw", "orders_08")]


def test_what_is_wrong_with_a_template_is_said() -> None:
    assert RouteRule(("a.*",), "dw.{1}").problems() == []
    assert RouteRule(("a.*",), "dw.{2}").problems() == [
        "'dw.{2}' names {2}; there are 1, database, table"
    ]
    assert "namespace.table" in RouteRule(("a.*",), "orders").problems()[0]
    assert "{day}" in RouteRule(("a.b",), "dw.x", shard=(("d", "{day}"),)).problems()[0]


def test_routes_are_known_without_arrow() -> None:
    code = "import sys, cdc_assets.engine.routing; print('pyarrow' in sys.modules)"
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
