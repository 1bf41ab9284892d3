"""Files with several sources: what each of them is, how routes see them, and their problems."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.connect import engine_options
from cdc_assets.inventory import build_selector
from cdc_assets.open import opened
from cdc_assets.settings import PipelineFile, PipelineSettings, load_pipeline
from cdc_assets.settings_language import build_router
from cdc_assets.settings_source import MySQLSourceSettings
from resources.errors import ConfigError
from resources.model.table_id import TableId
from tests.settings.files import write

HEAD = """\
name: shop
tables: [shop.*]
sources:
  eu: {type: mysql, host: a, user: cdc, password: "${env:EU}", server_id: 7}
  us: {type: mariadb, host: b, user: cdc, password: "${env:US}", tables: [store.*, shop.users]}
sink: {type: memory}
"""
ROUTE = HEAD + "route:\n"
ORDERS = TableId("shop", "orders")
USERS = TableId("shop", "users")


def load(folder: Path, text: str = HEAD) -> PipelineFile:
    return load_pipeline(write(folder, text), {"CDC_HOME": str(folder)})


def members(folder: Path, text: str = HEAD) -> tuple[PipelineSettings, PipelineSettings]:
    eu, us = load(folder, text).members()
    return eu, us


def routed(settings: PipelineSettings, table: TableId) -> list[tuple[str, bool]]:
    return [(str(r.target), r.shared) for r in build_router(settings).routes(table)]


def test_every_source_is_a_pipeline_of_its_own(tmp_path: Path) -> None:
    file = load(tmp_path, HEAD + "pipeline: {change_log: s3://lake/shop}\n")
    eu, us = file.members()
    assert (eu.name, us.name) == ("shop__eu", "shop__us")
    assert (eu.source.tables, us.source.tables) == (("shop.*",), ("store.*", "shop.users"))
    assert us.pipeline.change_log == "s3://lake/shop/us"
    assert members(tmp_path)[0].pipeline.change_log == f"{tmp_path}/.cdc/shop/eu"
    assert eu.missing_secrets({}) == [("EU", f"{tmp_path}/pipeline.yaml:4:51")]
    assert [name for name, _ in file.missing_secrets({})] == ["EU", "US"]
    resolved = us.resolve({"US": "secret"})
    assert isinstance(resolved.source, MySQLSourceSettings)
    assert resolved.source.password is not None
    assert resolved.source.password.get_secret_value() == "secret"
    assert engine_options(resolved).server == "us", "what `__source__` is in expressions"
    assert len({eu.config_hash(), us.config_hash(), file.config_hash()}) == 3


def test_one_source_is_the_file_itself(tmp_path: Path) -> None:
    text = "name: a\nsource: {type: sql, url: 'sqlite:///x', tables: [a.b]}\nsink: {type: memory}\n"
    file = load(tmp_path, text)
    assert file.members() == (file,)
    assert isinstance(file, PipelineSettings)
    assert file.whole is file


def test_tables_of_one_name_share_a_target_unless_it_names_the_source(tmp_path: Path) -> None:
    eu, us = members(tmp_path)
    assert routed(eu, USERS) == routed(us, USERS) == [("shop.users", True)]
    assert routed(eu, ORDERS) == [("shop.orders", False)], "no other source selects it"
    text = HEAD + 'pipeline: {target: "{source}_{database}.{table}"}\n'
    eu, us = members(tmp_path, text)
    assert routed(eu, USERS) == [("eu_shop.users", False)]
    assert routed(us, USERS) == [("us_shop.users", False)]


def test_a_rule_may_be_for_some_sources_and_use_their_names(tmp_path: Path) -> None:
    text = (
        ROUTE
        + "  - {source: shop.users, sources: eu, target: dw.people}\n"
        + "  - {source: shop.users, target: dw.people, shard: {columns: {at: '{source}_1'}}}\n"
        + "  - {source: '/shop.(?P<source>.)rders/', target: 'dw.{source}'}\n"
    )
    eu, us = members(tmp_path, text)
    assert routed(eu, USERS) == routed(us, USERS) == [("dw.people", True)]
    (route,) = build_router(us).routes(USERS)
    assert route.shard == (("at", "us_1"),)
    assert routed(eu, ORDERS) == [("dw.o", False)], "a group of that name comes first"


TABLES = st.builds(TableId, st.sampled_from(["shop", "store"]), st.sampled_from(["a", "b"]))
TARGETS = st.sampled_from(["dw.x", "dw.{table}", "{source}.{table}", "{database}.x"])
PATTERNS = st.sampled_from(["shop.a", "shop.*", "*.b", "store.?"])
SOME = st.sampled_from(["", ", sources: eu", ", sources: us"])
RULES = st.lists(st.tuples(PATTERNS, TARGETS, SOME), max_size=3, unique=True)


@given(RULES, st.lists(TABLES, min_size=1, unique=True))
def test_two_sources_never_meet_in_a_target_that_one_of_them_does_not_share(
    tmp_path_factory: pytest.TempPathFactory,
    rules: list[tuple[str, str, str]],
    known: list[TableId],
) -> None:
    lines = [f"  - {{source: '{s}', target: '{t}'{only}}}\n" for s, t, only in rules]
    text = (ROUTE if rules else HEAD) + "".join(lines)
    try:
        both = members(tmp_path_factory.getbasetemp() / "rules", text)
    except ConfigError:
        return  # a rule that no table can reach
    for table in known:
        of = [
            {r.target: r.shared for r in build_router(m).routes(table)}
            for m in both
            if build_selector(m)(table)
        ]
        for target in set.intersection(*map(set, of)) if len(of) == 2 else ():
            assert all(routes[target] for routes in of), (table, target)


EU = '  eu: {type: mysql, host: a, user: cdc, password: "${env:EU}"}\n'
NUMBERED = EU.replace("}\n", ", server_id: 7}\n")
SINK = "sink: {type: memory}\n"
CASES = {
    "beside `source`": (
        HEAD + "source: {type: sql, url: 'sqlite:///x', tables: [a.b]}\n",
        "4:3: sources cannot stand beside `source`",
    ),
    "none": (f"name: a\nsources: {{}}\n{SINK}", "source is required, or `sources` for several"),
    "a name": (
        f"name: a\ntables: [a.b]\nsources:\n{EU.replace('eu', 'EU-1')}{SINK}",
        "4:3: sources.EU-1 must be named by lower-case letters",
    ),
    "no tables anywhere": (
        f"name: a\nsources:\n{EU}{SINK}",
        "3:3: sources.eu.tables is required",
    ),
    "a bad shared pattern, once": (
        f"name: a\ntables: [orders]\nsources:\n{EU}{SINK}",
        "pipeline.yaml:2:10: tables[0] must be a pattern of the form database.table",
    ),
    "shared tables of one source": (
        "name: a\ntables: [a.b]\nsource: {type: sql, url: 'sqlite:///x', tables: [a.b]}\n" + SINK,
        "2:9: tables is shared by `sources`",
    ),
    "an unknown key of one": (
        f"name: a\ntables: [a.b]\nsources:\n{EU}  us: {{type: mysql, hots: a}}\n{SINK}",
        "5:21: sources.us.hots is an unknown key; did you mean `host`?",
    ),
    "a type of later": (
        f"name: a\ntables: [a.b]\nsources:\n{EU}  us: {{type: mongodb}}\n{SINK}",
        "5:14: sources.us.type `mongodb` is not built yet",
    ),
    "a replica id twice": (
        f"name: a\ntables: [a.b]\nsources:\n{NUMBERED}{NUMBERED.replace('eu:', 'us:')}{SINK}",
        "5:75: sources.us.server_id is that of `eu` too",
    ),
    "a place to stop at while following": (
        HEAD.replace("server_id: 7", "stop_at: {file: binlog.000003}")
        + "pipeline: {follow_for: 1m}\n",
        "4:73: sources.eu.stop_at cannot stand beside `pipeline.follow_for`",
    ),
    "a rule for a source that is not there": (
        ROUTE + "  - {source: shop.a, sources: [eu, uss], target: dw.a}\n",
        "8:31: route[0].sources `uss` is not one of `sources`; did you mean `us`?",
    ),
    "a rule that no table of its source reaches": (
        ROUTE + "  - {source: 'shop.*', sources: us, target: 'dw.{table}'}\n"
        "  - {source: shop.users, sources: us, target: dw.u}\n",
        "9:14: route[1].source means no table that route[0] does not mean",
    ),
    "tables of two sources that must not merge": (
        ROUTE + "  - {source: shop.users, merge: false, target: dw.users}\n",
        "8:48: route[0].target sends shop.users of several sources to dw.users",
    ),
    "the source's name where there is one": (
        "name: a\nsource: {type: sql, url: 'sqlite:///x', tables: [a.b]}\n" + SINK
        + "pipeline: {target: '{source}.{table}'}\n",
        "4:20: pipeline.target names {source}, which is for files with `sources`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_problems_have_their_line(case: str, tmp_path: Path) -> None:
    text, expected = CASES[case]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert expected in str(caught.value)
    assert " problems\n" not in str(caught.value), "one mistake is one problem"


@pytest.mark.parametrize(
    ("user", "server"),
    [("cdc", "ob:2881"), ("cdc@shops", "ob:2881/shops"), ("cdc@shops#east", "ob:2881/shops#east")],
)
def test_tenants_of_oceanbase_are_servers_of_their_own(user: str, server: str) -> None:
    common = {"type": "oceanbase", "tables": ["a.b"]}
    by_keys = {"host": "ob", "port": 2881, "user": user}
    by_url = {"url": f"mysql://{user.replace('#', '%23')}:${{env:PW}}@ob:2881"}
    for address in (by_keys, by_url):
        assert MySQLSourceSettings.model_validate(common | address).server == server


def test_tables_of_two_sources_that_meet_while_running_are_told_before_a_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By wildcards, so that no names are known when the file is loaded."""
    for name in ("EU", "US", "CDC_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    text = ROUTE + "  - {source: 'stor*.*', target: 'shop.{table}', merge: false}\n"
    eu, us = members(tmp_path, text)
    with opened(eu, "run") as first, opened(us, "run") as second:
        (mine,), (other,) = first.routes(ORDERS), second.routes(TableId("store", "orders"))
        assert mine.target == other.target
        first.require_alone(mine)
        with pytest.raises(ConfigError, match=r"store\.orders and shop\.orders of .*eu.* would"):
            second.require_alone(other)
