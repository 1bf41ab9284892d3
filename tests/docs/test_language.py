"""The guide to routes, transforms and schema changes says what the engine does."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from cdc_assets.connect_language import transform_rules
from cdc_assets.engine.evolution import EvolutionPlan, Situation
from cdc_assets.engine.evolve import plan_evolution
from cdc_assets.engine.schema_policy import (
    PolicyRule,
    PolicyWord,
    SchemaPolicy,
    TableEventWord,
    decide_table_event,
)
from cdc_assets.engine.transforms.mask import compile_masks
from cdc_assets.engine.transforms.transform import compile_transform
from cdc_assets.naming import source_of
from cdc_assets.settings import PipelineFile, load_pipeline
from cdc_assets.settings_language import build_router
from resources.model.column_change import AddColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Capabilities
from tests.docs.pages import ROOT, Block, blocks, marked, whole

PAGE = ROOT / "docs" / "pipeline-language.md"
USERS = TableId("shop", "users")
POLICIES: tuple[PolicyWord, ...] = (
    "lenient", "evolve", "try_evolve", "ignore", "hold", "exception"
)  # fmt: skip
ID = Column("id", pa.int64(), nullable=False)


def rows(words: str) -> list[list[str]]:
    """Return the cells of the page's table whose head begins with these words."""
    text = PAGE.read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| {re.escape(words)}.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    lines = table.splitlines()
    return [[c.strip().replace("`", "") for c in line.strip("|").split("|")] for line in lines]


def load(folder: Path, block: Block) -> PipelineFile:
    (code,) = (b.text for b in blocks(PAGE) if b.language == "python")
    (folder / "my_functions.py").write_text(code, encoding="utf-8")
    file = folder / "pipeline.yaml"
    file.write_text(whole(block), encoding="utf-8")
    return load_pipeline(file, {})


def table(*columns: Column, key: tuple[str, ...] = ("id",)) -> TableSchema:
    return TableSchema(USERS, columns, key)


def column(arrow: pa.DataType, name: str = "a") -> Column:
    return Column(name, arrow)


BEFORE = table(ID, column(pa.int32()))
AFTER: dict[str, tuple[TableSchema, dict[str, str]]] = {
    "add_column": (table(*BEFORE.columns, column(pa.int32(), "b")), {"b": ""}),
    "drop_column": (table(ID), {}),
    "rename_column": (table(ID, column(pa.int32(), "b")), {"b": "a"}),
    "alter_column_type, wider": (table(ID, column(pa.int64())), {}),
    "alter_column_type, narrower": (table(ID, column(pa.int16())), {}),
    "alter_column_type, neither": (table(ID, column(pa.string())), {}),
    "alter_key": (table(*BEFORE.columns, key=("a",)), {}),
    "rewrite": (BEFORE, {}),
}
CHANGED = {"add": "added", "drop": "dropped", "rename": "renamed", "retype": "widened"}
TABLES: dict[TableEventWord, str] = {
    "create_table": "created",
    "drop_table": "dropped",
    "truncate_table": "emptied",
    "rename_table": "dropped",
}


def told(plan: EvolutionPlan) -> str:
    """Return what a plan comes to, in the page's words."""
    if plan.waits:
        return "stopped" if plan.refused else "held"
    if plan.reread:
        return "read again"
    if not plan.changes:
        return "left out" if plan.ignored else "as it is"
    (change,) = plan.changes
    beside = isinstance(change, AddColumn) and change.copy_of
    return "added beside" if beside else CHANGED[change.kind]


def policy_of(event: str, word: PolicyWord) -> SchemaPolicy:
    if event == "rewrite":
        return SchemaPolicy(rules=(PolicyRule(word, events=frozenset({"rewrite"})),))
    return SchemaPolicy(word)


def plan(event: str, word: PolicyWord) -> str:
    after, origins = AFTER[event]
    situation = Situation(
        live=BEFORE.columns,
        after=after,
        before=BEFORE,
        origins=origins,
        policy=policy_of(event, word),
        capabilities=Capabilities(schema_changes=frozenset(CHANGED)),
        rewrites=event == "rewrite",
    )
    return told(plan_evolution(situation))


def test_the_table_of_policies_is_what_the_engine_plans() -> None:
    found = {event: cells for event, *cells in rows("event")}
    assert list(found) == [*AFTER, *TABLES]
    for event in AFTER:
        assert found[event] == [plan(event, word) for word in POLICIES], event


def test_the_table_of_policies_is_what_the_engine_decides_about_tables() -> None:
    found = {event: cells for event, *cells in rows("event")}
    for event, done in TABLES.items():
        ignored = "left out" if event == "create_table" else "as it is"
        words = {"apply": done, "nothing": "as it is", "ignore": ignored}
        words |= {"hold": "held", "refuse": "stopped"}
        decided = [decide_table_event(SchemaPolicy(w), USERS, event).action for w in POLICIES]
        assert found[event] == [words[action] for action in decided], event


def test_tables_are_routed_as_the_page_says(tmp_path: Path) -> None:
    first = next(b for b in blocks(PAGE) if b.text.startswith("route:"))
    router = build_router(load(tmp_path, first))
    found = rows("source table")
    assert len(found) == 3
    for source, target in found:
        (route,) = router.routes(TableId(*source.split(".")))
        assert str(route.target) == target


def test_sources_share_targets_as_the_page_says(tmp_path: Path) -> None:
    (block,) = (b for b in blocks(PAGE) if b.text.startswith("tables:"))
    members = {source_of(m.name): m for m in load(tmp_path, block).members()}
    found = rows("source | table")
    assert {row[0] for row in found} == set(members)
    for source, name, target, shared in found:
        (route,) = build_router(members[source]).routes(TableId(*name.split(".")))
        assert (str(route.target), route.shared) == (target, shared == "yes"), name


TEXT = ("name", "status", "password", "email", "phone", "postcode", "remarks", "birthplace",
        "tax_no", "passport", "country", "api_token")  # fmt: skip
SHOWN = table(
    ID,
    *(column(pa.string(), name) for name in TEXT),
    column(pa.decimal128(12, 2), "amount"),
    column(pa.timestamp("us"), "created_at"),
    column(pa.timestamp("us"), "paid_at"),
)
TRANSFORMS = [b for b in blocks(PAGE) if b.language == "yaml" and b.text.startswith("transform:")]


@pytest.mark.parametrize("block", TRANSFORMS, ids=range(len(TRANSFORMS)))
def test_transforms_of_the_page_fit_a_table(block: Block, tmp_path: Path) -> None:
    assert len(TRANSFORMS) == 4
    loaded = load(tmp_path, block)
    env = dict.fromkeys((name for name, _ in loaded.missing_secrets({})), "secret")
    for rule in transform_rules(loaded.resolve(env)):
        masker = compile_masks([rule], SHOWN)
        assert bool(rule.masks) is masker.acts
        made = compile_transform(rule, masker.schema)
        assert rule.soft_delete in ("", *made.schema.names)


def test_the_function_of_the_page_gives_initials(tmp_path: Path) -> None:
    (code,) = marked("docs/pipeline-language.md", "functions")[:1]
    names: dict[str, object] = {}
    exec(compile(code, "my_functions.py", "exec"), names)
    initials = names["initials"]
    assert callable(initials)
    assert initials(pa.array(["Ada Lovelace", None, "x"])).to_pylist() == ["AL", None, "x"]
