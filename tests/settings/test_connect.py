"""Settings become the arguments of sources, sinks and the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cdc_assets.connect import engine_options, mysql_settings, open_source, sink_opener
from cdc_assets.settings import PipelineFile, PipelineSettings, load_pipeline, load_pipelines
from resources.errors import ConfigError
from resources.model.table_id import TableId
from resources.mysql.log_files_source import BinlogFilesSource
from resources.mysql.source import MySQLSource
from resources.sinks.duckdb import DuckDBSink
from resources.sinks.memory import MemorySink
from resources.sql.source import SqlPollingSource
from tests.servers.family import FamilyServer
from tests.settings.files import MINIMAL, minimal, write

EXAMPLES = Path(__file__).parents[2] / "examples"
VARIABLES = ("SHOP_PASSWORD", "EVENTS_PASSWORD", "WIKI_PASSWORD", "SHARDS_PASSWORD")
SECRETS = dict.fromkeys((*VARIABLES, "LEDGER_PASSWORD", "MASK_KEY"), "p@ss/wörd")
SECRETS |= dict.fromkeys(
    (
        *("EU_PASSWORD", "US_PASSWORD", "ASIA_PASSWORD"),
        *("LAKE_SECRET", "REPORTS_PASSWORD", "CATALOG_PASSWORD"),
    ),
    "x",
)


def settings_of(folder: Path, source: dict, sink: dict | None = None) -> PipelineSettings:
    data = {"name": "a", "source": source, "sink": sink or {"type": "memory"}}
    return load_pipeline(write(folder, yaml.safe_dump(data)), {})


def examples(env: dict[str, str]) -> dict[str, PipelineFile]:
    return {p.name: p.resolve(env) for p in load_pipelines(EXAMPLES, env)}


def test_examples_open(tmp_path: Path) -> None:
    env = SECRETS | {"CDC_HOME": str(tmp_path)}
    found = examples(env)
    assert isinstance(open_source(found["past"]), BinlogFilesSource)
    assert isinstance(open_source(found["events"]), SqlPollingSource)
    opened = open_source(found["shop"])
    assert isinstance(opened, MySQLSource)
    assert opened.settings.password == "p@ss/wörd"
    assert opened.settings.tls == "verify"
    wiki_server = mysql_settings(found["wiki"].source)
    assert (wiki_server.host, wiki_server.port) == ("wiki-db.example.com", 3306)
    assert (wiki_server.user, wiki_server.password) == ("cdc", "p@ss/wörd")
    assert (wiki_server.server_id, wiki_server.flavor) == (24017, "mariadb")
    assert "p@ss" not in repr(wiki_server) + repr(opened)


def test_engine_options_of_each_kind(tmp_path: Path) -> None:
    found = examples(SECRETS)
    events, shop, wiki = found["events"], found["shop"], found["wiki"]
    assert [engine_options(p).history for p in (events, found["past"], shop, wiki)] == [
        "log",
        "none",
        "snapshot",
        "snapshot",
    ]
    latest = minimal(source={"startup": "latest", "snapshot": {"parallel": 2}})
    options = engine_options(load_pipeline(write(tmp_path, latest), {}))
    assert (options.history, options.parallel, options.chunk_rows) == ("none", 2, 50_000)
    options = engine_options(shop)
    assert options.capture_filter == shop.capture_filter()
    assert options.rows_per_second == 200_000
    assert options.append == ("shop.audit_*",)
    assert engine_options(wiki).window == "hour"
    assert engine_options(events).max_dirty_ratio == 0.01


def test_engine_options_have_the_rules_of_the_file() -> None:
    members = [m for file in examples(SECRETS).values() for m in file.members()]
    found = {member.name: engine_options(member) for member in members}
    order = TableId("shop_07", "orders_2026")
    (route,) = found["shards"].router.routes(order)
    assert (str(route.target), route.shared, route.shard_in_key) == ("dw.orders", True, True)
    assert route.shard == (("shop", "07"), ("year", "2026"))
    others = [TableId("shop_07", "countries"), TableId("crm", "people")]
    targets = found["shards"].router.targets(others)
    assert list(map(str, targets)) == ["dw.countries_07", "dw.crm_people"]
    rule = found["customers"].transforms.rule(TableId("shop", "customers"))
    assert rule is not None
    assert [mask.salt for mask in rule.masks if mask.kind == "hmac"] == ["p@ss/wörd"]
    policy = found["ledger"].policy
    assert policy.word(TableId("ledger", "audit_1"), "drop_column") == "exception"
    assert policy.word(TableId("ledger", "accounts"), "drop_column") == "hold"
    assert policy.word(TableId("ledger", "tmp_1"), "drop_column") == "evolve"
    assert found["shop"].server == "127.0.0.1:3306"
    assert found["ledger"].reread


@pytest.mark.parametrize(
    "url",
    [
        "mysql://db:3306",
        "mysql://u:p@db/shop",
        "mysql://u:p@db?ssl=1",
        "postgresql://u:p@db",
        "mysql://u:p@db:port",
        "mysql://u:p@[db",
        "mysql://u:p@",
        "hunter2",
    ],
)
def test_a_url_that_names_no_mysql_server(tmp_path: Path, url: str) -> None:
    source = {"type": "mysql", "url": "${env:URL}", "tables": ["a.b"]}
    settings = settings_of(tmp_path, source).resolve({"URL": url})
    with pytest.raises(ConfigError, match=r"pipeline\.yaml:\d+:\d+: the URL is not") as caught:
        open_source(settings)
    assert "u:p" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_tls_of_a_polled_server(tmp_path: Path) -> None:
    source = {"type": "sql", "tables": ["a.b"], "tls": {"mode": "off"}}
    polled = settings_of(tmp_path, source | {"url": "mysql://u@127.0.0.1:1/d"})
    assert isinstance(open_source(polled), SqlPollingSource)
    with pytest.raises(ConfigError, match=r"pipeline\.yaml:.*for servers of the MySQL family"):
        open_source(settings_of(tmp_path, source | {"url": "postgresql://u@h/d"}))


def test_sinks_open(tmp_path: Path) -> None:
    text = minimal(
        sink={"memory_limit": "256MiB", "threads": 1, "path": str(tmp_path / "x.duckdb")}
    )
    for extra in (text, text + "  types: {decimal_overflow: text}\n"):
        with sink_opener(load_pipeline(write(tmp_path, extra), {}))() as sink:
            assert isinstance(sink, DuckDBSink)
            assert sink.capabilities.decimal_precision == (76 if extra != text else 38)
    memory = load_pipeline(
        write(tmp_path, MINIMAL.split("sink:")[0] + "sink: {type: memory}\n"), {}
    )
    assert isinstance(sink_opener(memory)(), MemorySink)


def test_a_real_server_is_reached_however_it_is_written(
    mysql: FamilyServer, mysql_db: str, tmp_path: Path
) -> None:
    password = "p@s/s:w#ö%rd?"
    with mysql.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP USER IF EXISTS 'settings'@'%'")
        cursor.execute("CREATE USER 'settings'@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute("GRANT ALL ON *.* TO 'settings'@'%'")
        cursor.execute(f"CREATE TABLE {mysql_db}.orders (id INT PRIMARY KEY)")
    base = {"type": "mysql", "tables": [f"{mysql_db}.*"], "tls": {"mode": "require"}}
    address = f"{mysql.host}:{mysql.port}"
    whole = mysql.url_for("settings", password)
    written = [
        {"host": mysql.host, "port": mysql.port, "user": "settings", "password": "${env:PW}"},
        {"url": "mysql://settings:${env:PW}@" + address},
        {"url": "${env:URL}"},
    ]
    for extra in written:
        settings = settings_of(tmp_path, base | extra).resolve({"PW": password, "URL": whole})
        source = open_source(settings)
        assert [str(table) for table in source.list_tables()] == [f"{mysql_db}.orders"]
        source.close()
    wrong = settings_of(tmp_path, base | written[0]).resolve({"PW": "hunter2-canary"})
    with pytest.raises(ConfigError) as caught:
        open_source(wrong).list_tables()
    assert "hunter2" not in str(caught.value)
