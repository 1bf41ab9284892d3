"""Routes, transforms and schema changes of a pipeline file, as the engine is handed them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.connect_language import transform_rules
from cdc_assets.engine.routing import Route
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.transforms.rule import Mask, RowRule, TransformRule
from cdc_assets.settings import PipelineSettings, load_pipeline
from cdc_assets.settings_language import build_router
from cdc_assets.settings_projection import split_items
from resources.errors import ConfigError
from resources.model.table import Column, TableId, TableSchema
from tests.settings.files import MINIMAL, write

SHARDS = """\
route:
  - source: "shop_*.orders_*"
    target: dw.orders
    shard:
      columns: {shard_db: "{database}", shard_no: "{2}"}
      in_key: true
  - source: '/crm\\.(?P<name>\\w+)_v\\d+/'
    target: "dw.crm_{name}"
    merge: true
pipeline:
  target: "{database}_x.ods_{table}"
"""

USERS = """\
transform:
  - source: shop.users
    projection: "*, concat(a, ',', b) AS ab"
    filter: status <> 'test'
    primary_keys: id
    partition_keys: [day]
    soft_delete: true
    exclude: "*_internal"
    mask:
      email: email
      phone: {kind: phone, keep_last: 2}
      ssn: {kind: hmac, key: "${env:MASK_KEY}"}
      tax_no: {kind: hash, salt: "${env:MASK_SALT}"}
    rules:
      - {column: amount, min: 0, max: 1.5, on_fail: fail}
      - column: day
        min: "2020-01-01"
      - {name: paid, expression: status <> 'test', on_fail: skip}
    functions: my_functions.py
  - source: ["shop.*", "/crm_\\\\d+\\\\.x/"]
    projection:
      - id
      - status <> 'test' AS real
"""
ENV = {"MASK_KEY": "k", "MASK_SALT": "s"}


def load(folder: Path, text: str) -> PipelineSettings:
    return load_pipeline(write(folder, MINIMAL + text), {})


@pytest.fixture
def users(tmp_path: Path) -> PipelineSettings:
    (tmp_path / "my_functions.py").write_text("")
    return load(tmp_path, USERS)


def test_routes_become_the_engine_s(tmp_path: Path) -> None:
    router = build_router(load(tmp_path, SHARDS))
    shard = TableId("shop_1", "orders_07")
    assert router.routes(shard) == (
        Route(
            shard,
            TableId("dw", "orders"),
            shared=True,
            shard=(("shard_db", "shop_1"), ("shard_no", "07")),
            shard_in_key=True,
        ),
    )
    people = TableId("crm", "people_v12")
    assert router.routes(people) == (Route(people, TableId("dw", "crm_people"), shared=True),)
    other = TableId("crm", "people")
    assert router.routes(other) == (Route(other, TableId("crm_x", "ods_people")),)


def test_two_routes_of_one_target_are_a_merge(tmp_path: Path) -> None:
    text = "route: [{source: a.b, target: c.d}, {source: e.f, target: c.d}]\n"
    router = build_router(load(tmp_path, text))
    assert [r.shared for t in (TableId("a", "b"), TableId("e", "f")) for r in router.routes(t)] == [
        True,
        True,
    ]


def test_all_routes_of_a_table(tmp_path: Path) -> None:
    text = (
        'route: [{source: shop.*, target: "raw.{table}"}, {source: shop.a, target: "dw.{table}"}]\n'
        "pipeline: {match_routes: all}\n"
    )
    router = build_router(load(tmp_path, text))
    assert [str(r.target) for r in router.routes(TableId("shop", "a"))] == ["raw.a", "dw.a"]


def test_transforms_become_the_engine_s(users: PipelineSettings, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    first, second = transform_rules(users.resolve(ENV | {"PW": "x"}))
    assert replace(first, wheres=()) == TransformRule(
        source=("shop.users",),
        projection=("*", "concat(a, ',', b) AS ab"),
        filter="status <> 'test'",
        primary_keys=("id",),
        partition_keys=("day",),
        soft_delete="_cdc_deleted",
        exclude=("*_internal",),
        masks=(
            Mask("email", "email", where=f"{file}:20:14"),
            Mask("phone", "phone", keep_last=2, where=f"{file}:21:14"),
            Mask("ssn", "hmac", salt="k", where=f"{file}:22:12"),
            Mask("tax_no", "hash", salt="s", where=f"{file}:23:15"),
        ),
        rules=(
            RowRule("amount", "amount", min="0", max="1.5", on_fail="fail", where=f"{file}:25:9"),
            RowRule("day", "day", min="'2020-01-01'", where=f"{file}:26:9"),
            RowRule("paid", expression="status <> 'test'", on_fail="skip", where=f"{file}:28:9"),
        ),
        functions=str(tmp_path / "my_functions.py"),
        where=f"{file}:12:5",
    )
    assert second.source == ("shop.*", r"/crm_\d+\.x/")


def test_masks_of_every_rule_act(tmp_path: Path) -> None:
    text = (
        "transform:\n  - {source: '*.*', mask: {email: email}}\n"
        "  - {source: shop.users, filter: id > 1, exclude: [password]}\n"
        "  - {source: shop.*, filter: id > 2, mask: {phone: phone}}\n"
    )
    columns = [Column("id", pa.int64(), nullable=False)]
    columns += [Column(name, pa.string()) for name in ("email", "password", "phone")]
    schema = TableSchema(TableId("shop", "users"), tuple(columns), ("id",))
    transforms = Transforms(transform_rules(load(tmp_path, text)))
    masker = transforms.masker(schema)
    assert masker is not None
    assert set(masker.masks) == {"email", "phone"}
    assert transforms.stored(schema).names == ("id", "email", "phone")
    rule = transforms.rule(schema.table)
    assert rule is not None
    assert rule.filter == "id > 1"


def test_errors_of_expressions_can_name_their_line(users: PipelineSettings, tmp_path: Path) -> None:
    first, second = transform_rules(users.resolve(ENV | {"PW": "x"}))
    file = tmp_path / "pipeline.yaml"
    assert first.place("concat(a, ',', b) AS ab") == f"{file}:13:5"
    assert first.place("status <> 'test'") == f"{file}:14:13"
    assert second.place("status <> 'test' AS real") == f"{file}:33:9"
    assert second.place("another") == f"{file}:30:5"


def test_secrets_of_masks_are_read_when_resolved(users: PipelineSettings, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    assert users.missing_secrets({"PW": "x"}) == [
        ("MASK_KEY", f"{file}:22:30"),
        ("MASK_SALT", f"{file}:23:34"),
    ]
    resolved = users.resolve({"PW": "x", "MASK_KEY": "hunter2", "MASK_SALT": "hunter2"})
    shown = [repr(resolved), resolved.model_dump_json(), str(resolved.model_dump())]
    assert not any("hunter2" in text for text in shown)
    assert resolved.config_hash() == users.config_hash()


@pytest.mark.parametrize("env", [ENV | {"MASK_SALT": ""}, ENV | {"MASK_KEY": "${env:OTHER}"}])
def test_a_mask_without_a_secret_is_refused(users: PipelineSettings, env: dict) -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.yaml:2[23]:\d+: the secret of a mask is emp"):
        transform_rules(users.resolve(env | {"PW": "x"}))


def test_secrets_that_were_not_resolved_are_refused(users: PipelineSettings) -> None:
    with pytest.raises(ConfigError, match="the secret of a mask is empty"):
        transform_rules(users)


def test_the_hash_follows_files_of_functions(users: PipelineSettings, tmp_path: Path) -> None:
    before = users.config_hash()
    (tmp_path / "my_functions.py").write_text("x = 1\n")
    assert users.config_hash() != before
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "my_functions.py").write_text("")
    assert load(other, USERS).config_hash() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["lenient", "lenient", "lenient"]),
        ("pipeline: {schema_changes: }\n", ["lenient", "lenient", "lenient"]),
        ("pipeline: {schema_changes: hold}\n", ["hold", "hold", "hold"]),
        (
            "pipeline: {schema_changes: {default: evolve, events: {drop_column: ignore}}}\n",
            ["evolve", "ignore", "ignore"],
        ),
        (
            "pipeline:\n  schema_changes:\n    events: {drop_column: ignore}\n    tables:\n"
            "      - {tables: [shop.x, shop.audit_*], events: {add_column: evolve}}\n"
            "      - {tables: ['*.audit_*'], default: exception}\n",
            ["evolve", "exception", "ignore"],
        ),
    ],
)
def test_policies_become_the_engine_s(tmp_path: Path, text: str, words: list[str]) -> None:
    policy = load(tmp_path, text).pipeline.schema_changes.policy()
    audit, users = TableId("shop", "audit_1"), TableId("shop", "users")
    assert [
        policy.word(audit, "add_column"),
        policy.word(audit, "drop_column"),
        policy.word(users, "drop_column"),
    ] == words


def test_quiet_events_have_the_policy_that_names_them(tmp_path: Path) -> None:
    text = "pipeline: {schema_changes: {default: exception, events: {rewrite: hold}}}\n"
    policy = load(tmp_path, text).pipeline.schema_changes.policy()
    table = TableId("shop", "users")
    assert policy.word(table, "rewrite") == "hold"
    assert policy.word(table, "alter_comment") == "lenient"


ITEM = st.lists(
    st.sampled_from(["a", " b ", "','", '"x,"', "`c,d`", "''", "'it''s'", r"'\',(('", "f(a, b)"]),
    min_size=1,
    max_size=4,
).map("+".join)


@given(st.lists(ITEM, min_size=1, max_size=5), st.sampled_from([",", ", ", " ,\n "]))
def test_a_projection_is_divided_at_its_commas(items: list[str], comma: str) -> None:
    assert split_items(comma.join(items)) == [item.strip() for item in items]


def test_a_file_without_rules_has_none(tmp_path: Path) -> None:
    settings = load(tmp_path, "route: []\ntransform:\n")
    assert (settings.route, settings.transform) == ((), ())
    table = TableId("a", "b")
    assert build_router(settings).routes(table) == (Route(table, table),)
