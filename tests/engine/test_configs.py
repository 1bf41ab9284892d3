"""What the pipeline file says of a feed: equal when its target is, and which edits need what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.engine.configs import STORED, feed_config, find_edit
from cdc_assets.engine.pipeline import EngineOptions
from cdc_assets.engine.routing import Route
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.transforms.rule import Mask, RowRule, TransformRule
from resources.model.table_id import TableId

ORDERS = TableId("shop", "orders")
PLAIN = Route(ORDERS, ORDERS)
RULE = TransformRule(
    ("shop.*",),
    projection=("*", "a + b AS c"),
    filter="a > 0",
    primary_keys=("id",),
    masks=(Mask("mail", "hash", salt="canary-salt"),),
    exclude=("secret_*",),
    rules=(RowRule("positive", "a", min="0", on_fail="skip"), RowRule("any", "b", on_fail="fail")),
)
EDITS = {
    "projection": replace(RULE, projection=("*",)),
    "filter": replace(RULE, filter="a > 1"),
    "primary_keys": replace(RULE, primary_keys=("id", "a")),
    "soft_delete": replace(RULE, soft_delete="gone"),
    "partition_keys": replace(RULE, partition_keys=("a",)),
    "masks": replace(RULE, masks=(Mask("mail", "hash", salt="other"),)),
    "exclude": replace(RULE, exclude=()),
    "rules": replace(RULE, rules=(RowRule("positive", "a", min="1", on_fail="skip"),)),
}
SAME = {
    "places": replace(RULE, where="a.yaml:9", wheres=(("a > 0", "a.yaml:10"),)),
    "patterns": replace(RULE, source=("shop.orders", "shop.more")),
    "order of exclude": replace(RULE, exclude=RULE.exclude[::-1]),
    "names of rules": replace(
        RULE, rules=(RowRule("other", "a", min="0", on_fail="skip", where="x:1"),)
    ),
}


def config(rule: TransformRule | None, route: Route = PLAIN, *append: str) -> dict[str, object]:
    rules = Transforms((rule,) if rule else ())
    return feed_config("shop", EngineOptions("", transforms=rules, append=append), route)


@pytest.mark.parametrize("key", EDITS)
def test_an_edit_is_found_and_read_again_only_if_the_log_lacks_what_it_needs(key: str) -> None:
    for before, after in ((RULE, EDITS[key]), (EDITS[key], RULE)):
        edit = find_edit(config(before), config(after))
        assert edit is not None
        assert edit.keys == (key,)
        assert edit.way == ("reread" if key in STORED else "refold")
        assert edit.words()


@pytest.mark.parametrize("what", SAME)
def test_what_changes_no_row_is_no_edit(what: str) -> None:
    assert find_edit(config(RULE), config(SAME[what])) is None


def test_a_feed_without_rules_says_nothing() -> None:
    assert config(None) == {}
    assert config(TransformRule(("other.*",), filter="a")) == {}


def test_routes_and_append_are_part_of_it() -> None:
    shared = replace(PLAIN, shared=True, shard=(("shard", "one"),), shard_in_key=True)
    edit = find_edit(config(None), config(None, shared, "shop.*"))
    assert edit is not None
    assert edit.keys == ("append", "shard", "shard_in_key", "shared")


def test_salts_are_told_apart_and_kept_secret() -> None:
    text = json.dumps(config(RULE))
    assert "canary" not in text
    assert text == json.dumps(config(replace(RULE)))


def test_functions_count_by_their_content(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    rule = replace(RULE, functions=str(file))
    file.write_text("def f(): ...")
    before = config(rule)
    assert find_edit(before, config(rule)) is None
    file.write_text("def g(): ...")
    edit = find_edit(before, config(rule))
    assert edit is not None
    assert edit.keys == ("functions",)


@given(st.sampled_from([RULE, *EDITS.values()]), st.sampled_from([RULE, *EDITS.values()]))
def test_a_configuration_survives_the_state_store(one: TransformRule, other: TransformRule) -> None:
    kept = json.loads(json.dumps(config(one), sort_keys=True))
    assert (find_edit(kept, config(other)) is None) == (one is other)
