"""Bad pipeline files: every problem at once, each with line and column, and no secret shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdc_assets.settings import load_pipeline, load_pipelines
from resources.errors import ConfigError, NotBuiltYet
from tests.settings.files import MINIMAL, write

CANARY = "hunter2-canary"
HEAD = """\
name: shop
source:
  type: mysql
  host: db
  user: cdc
  tables: [shop.*]
"""
SINK = "sink: {type: memory}\n"

CASES = {
    "unknown key at the top": (
        MINIMAL + "pipelines: {}\n",
        "11:1: pipelines is an unknown key; did you mean `pipeline`? allowed: name,",
    ),
    "unknown key in the source": (
        HEAD + "  tabels: [a.b]\n" + SINK,
        "7:3: source.tabels is an unknown key; did you mean `tables`? allowed: type, tables,",
    ),
    "unknown key three levels down": (
        HEAD + "  snapshot:\n    chunk_row: 5\n" + SINK,
        "8:5: source.snapshot.chunk_row is an unknown key; did you mean `chunk_rows`?",
    ),
    "key of another type": (
        HEAD + "  grace: 5s\n" + SINK,
        "7:3: source.grace is an unknown key; allowed: type,",
    ),
    "missing section": (HEAD, "1:1: sink is required"),
    "missing key": (
        "name: a\nsource:\n  type: mysql\n  host: db\n  user: u\n" + SINK,
        "2:1: source.tables is required",
    ),
    "no type": (
        "name: a\nsource: {tables: [a.b]}\n" + SINK,
        "2:1: source.type is required; allowed: mysql, mariadb, oceanbase, binlog_files, sql",
    ),
    "unknown type": (
        "name: a\nsource: {type: myqsl}\n" + SINK,
        "2:16: source.type is not one of its values; did you mean `mysql`? "
        "allowed: mysql, mariadb, oceanbase, binlog_files, sql",
    ),
    "a word as number": (HEAD + "  port: many\n" + SINK, "7:9: source.port must be a whole number"),
    "a truth as number": (HEAD + "  port: true\n" + SINK, "7:9: source.port must be a number, not"),
    "a number out of range": (
        HEAD + "  port: 70000\n" + SINK,
        "7:9: source.port must be less than",
    ),
    "a number as text": (HEAD.replace("cdc", "12") + SINK, "5:9: source.user must be text"),
    "a word in place of a list": (
        HEAD.replace("[shop.*]", "shop.*") + SINK,
        "6:11: source.tables must be a list",
    ),
    "no tables": (HEAD.replace("[shop.*]", "[]") + SINK, "6:11: source.tables must not be empty"),
    "a table without database": (
        HEAD.replace("[shop.*]", "\n    - shop.a\n    - orders") + SINK,
        "8:7: source.tables[1] must be a pattern of the form database.table",
    ),
    "a list in place of a section": (
        HEAD + SINK + "pipeline: [a]\n",
        "8:11: pipeline must be a mapping",
    ),
    "a bad duration": (
        HEAD + SINK + "pipeline: {follow_for: 10 parsecs}\n",
        "8:24: pipeline.follow_for must be a duration: 250ms, 10s",
    ),
    "a negative duration": (
        HEAD + SINK + "pipeline: {follow_for: -1}\n",
        "8:24: pipeline.follow_for must be a duration",
    ),
    "a duration of nothing": (
        HEAD + SINK + "pipeline: {commit_interval: 0s}\n",
        "8:29: pipeline.commit_interval must be greater than 0",
    ),
    "a bad size": (
        HEAD + SINK + "pipeline: {memory: 1 furlong}\n",
        "8:20: pipeline.memory must be a size: 64kB, 256MB",
    ),
    "a bad choice": (
        HEAD + SINK + "pipeline: {window: weak}\n",
        "8:20: pipeline.window is not one of its values; allowed: day, hour",
    ),
    "a sensor faster than the daemon": (
        HEAD + SINK + "pipeline: {sensor_interval: 1s}\n",
        "8:29: pipeline.sensor_interval must be greater than or equal to 5",
    ),
    "a ratio above one": (
        HEAD + SINK + "dirty_data: {max_ratio: 1.5}\n",
        "8:25: dirty_data.max_ratio must be less than or equal to 1",
    ),
    "a bad name": (MINIMAL.replace("name: shop", "name: Shop"), "1:7: name must be lower-case"),
    "a bad owner": (
        MINIMAL + "owners: [a@b.cd, bob]\n",
        "11:18: owners[1] must be an e-mail address or `team:name`",
    ),
    "a bad tag": (MINIMAL + "tags: {a b: c}\n", "11:13: tags.a b must be a tag"),
    "a duplicate key": (
        HEAD + SINK + "name: again\n",
        "8:1: name is a duplicate: it is on line 1 already",
    ),
    "a duplicate key inside": (
        HEAD + "  host: other\n" + SINK,
        "7:3: source.host is a duplicate: it is on line 4 already",
    ),
    "no address": (
        HEAD.replace("  host: db\n", "") + SINK,
        "3:3: source needs exactly one of `host`, `socket` and `url`; it has none",
    ),
    "two addresses": (
        HEAD + "  socket: /tmp/s\n" + SINK,
        "3:3: source needs exactly one of `host`, `socket` and `url`; it has host and socket",
    ),
    "user beside url": (
        HEAD.replace("host: db", "url: mysql://u:${env:PW}@db") + SINK,
        "3:3: source `url` already says `user`: write one or the other",
    ),
    "no user": (HEAD.replace("  user: cdc\n", "") + SINK, "3:3: source needs `user`"),
    "a variable that is not set": (
        HEAD.replace("cdc", "${env:CDC_USER}") + SINK,
        "5:9: source.user needs environment variable CDC_USER, which is not set",
    ),
    "a mistyped reference": (
        HEAD.replace("cdc", "${CDC_USER}") + SINK,
        "5:9: source.user has a ${ that begins no reference; write ${env:NAME}",
    ),
    "YAML syntax": (HEAD + "sink: [\n", "8:1: the file is not YAML: "),
    "a tab": ("name: a\n\tsource: b\n", "; lines are indented by spaces, not by tabs"),
    "a bare star": (
        HEAD.replace("[shop.*]", "[*.orders]") + SINK,
        "; what begins with * is put in quotes",
    ),
    "a bare star in a projection": (
        HEAD + SINK + "transform:\n  - {source: a.b, projection: [*, x]}\n",
        "9:33: the file is not YAML: ",
    ),
    "a bare backtick": (HEAD + SINK + "x: `a` > 1\n", "8:4: the file is not YAML: "),
    "no space behind a colon": (
        "name: a\nfilter:b\nc: d\n",
        "3:1: the file is not YAML: could not find expected a colon and a space behind a key",
    ),
    "a text in half quotes": (
        "name: a\nfilter: 'a' <> 'b'\n",
        "; a text that goes on behind its quotes is quoted as a whole",
    ),
    "a colon in a text": ("name: a: b\n", "; a text with a colon and a space in it is put in"),
    "two documents": (HEAD + SINK + "---\na: b\n", "8:1: the file is not YAML: "),
    "a control character": ("name: a\nsource: \x01\n", "2:1: the file is not YAML: it has a con"),
    "a YAML tag": (HEAD + "sink: !!python/object:os.system {}\n", "7:7: sink has a YAML tag"),
    "a YAML alias": ("name: &a x\ndescription: *a\n", "1:7: description is a YAML alias"),
    "an alias of itself": ("name: &a [*a]\n", "1:7: name[0] is a YAML alias"),
    "a merge key": ("name: a\n<<: {x: 1}\n", "2:1: the file has a key that is no word"),
    "a list as key": ("name: a\n? [x]\n: 1\n", "2:3: the file has a key that is no word"),
    "deep nesting": (
        "a: " + "[" * 40 + "]" * 40 + "\n",
        "1:23: the file has more than 20 levels of nesting",
    ),
    "endless nesting": ("a: " + "[" * 500_000, "1:23: the file has more than 20"),
    "an empty file": ("# nothing\n", "1:1: the file must be a mapping with at least name"),
    "a list": ("- a\n", "1:1: the file must be a mapping with at least name"),
}

NOT_BUILT = {
    "source": ("name: a\nsource: {type: oracle, url: x}\n" + SINK, "2:16: source.type `oracle` is"),
}

SECRETS = {
    "password": (
        HEAD + f"  password: {CANARY}\n" + SINK,
        "7:13: source.password must be exactly one environment reference without a default, ${env",
    ),
    "password with a default": (
        HEAD + "  password: ${env:PW:-" + CANARY + "}\n" + SINK,
        "7:13: source.password must be exactly",
    ),
    "password around a reference": (
        HEAD + "  password: ${env:PW}" + CANARY + "\n" + SINK,
        "7:13: source.password must be exactly",
    ),
    "a number as password": (
        HEAD + "  password: 8520741\n" + SINK,
        "7:13: source.password must be",
    ),
    "password in a URL": (
        f"name: a\nsource:\n  type: sql\n  url: mysql://u:{CANARY}@h/d\n  tables: [a.b]\n" + SINK,
        "4:8: source.url has a password in clear text; write",
    ),
    "password in a URL's query": (
        f"name: a\nsource:\n  type: sql\n  url: mysql://h/d?Password={CANARY}\n"
        "  tables: [a.b]\n" + SINK,
        "4:8: source.url has a password in clear text; write",
    ),
    "password in a URL's default": (
        "name: a\nsource:\n  type: sql\n  url: ${env:URL:-mysql://u:" + CANARY + "@h/d}\n"
        "  tables: [a.b]\n" + SINK,
        "4:8: source.url has a password in clear text; write",
    ),
    "a URL that is none": (
        f"name: a\nsource: {{type: sql, url: {CANARY}, tables: [a.b]}}\n" + SINK,
        "2:26: source.url must be a URL",
    ),
    "password in a path": (
        HEAD + SINK + f"pipeline: {{change_log: 's3://key:{CANARY}@bucket/x'}}\n",
        "8:24: pipeline.change_log has a password in clear text",
    ),
    "mistyped key": (HEAD + f"  pasword: {CANARY}\n" + SINK, "7:3: source.pasword is an unknown"),
    "in a section of later": (
        f"name: a\nsource: {{type: oracle, password: {CANARY}}}\n" + SINK,
        "2:16: source.type `oracle` is not built yet",
    ),
    "after a stray quote": (HEAD + f'  password: "{CANARY}\n' + SINK, "is not YAML"),
    "as an alias": (HEAD + f"  password: *{CANARY}\n" + SINK, "7:13: the file is not YAML"),
    "as a tag": (
        HEAD + f"  password: !{CANARY} x\n" + SINK,
        "7:13: source.password has a YAML tag",
    ),
    "as an anchor": (HEAD + f"  password: &{CANARY} x\n" + SINK, "source.password must be"),
    "as a key": (HEAD + f"  password: {{{CANARY}: 1}}\n" + SINK, "7:13: source.password must be"),
}


def refusal(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(write(folder, text), {})
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_problems_have_their_line(case: str, tmp_path: Path) -> None:
    text, expected = CASES[case]
    error = refusal(tmp_path, text)
    assert expected in str(error)
    assert type(error) is ConfigError
    assert str(tmp_path / "pipeline.yaml") in str(error)


@pytest.mark.parametrize("case", NOT_BUILT)
def test_what_comes_later_is_refused_by_name(case: str, tmp_path: Path) -> None:
    text, expected = NOT_BUILT[case]
    error = refusal(tmp_path, text)
    assert expected in str(error)
    assert type(error) is NotBuiltYet


@pytest.mark.parametrize("case", SECRETS)
def test_secrets_in_clear_text_are_refused_and_not_shown(case: str, tmp_path: Path) -> None:
    text, expected = SECRETS[case]
    error = refusal(tmp_path, text)
    assert expected in str(error)
    shown = [str(error), repr(error), str(error.__cause__), str(pickle.dumps(error))]
    assert not any(CANARY in s or "8520741" in s for s in shown) or case == "as a key"


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = (
        HEAD
        + "  port: x\n  tls: {mod: off}\nsink: {type: oracle}\nname: a\npipeline: {memory: y}\n"
    )
    lines = str(refusal(tmp_path, text)).splitlines()
    assert lines[0].endswith(": 5 problems")
    assert [line.split("pipeline.yaml:")[1].split(" ")[1] for line in lines[1:6]] == [
        "source.port",
        "source.tls.mod",
        "sink.type",
        "name",
        "pipeline.memory",
    ]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml:1:1: the file cannot be read: No such file"):
        load_pipeline(tmp_path / "none.yaml", {})


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"name: a\ndescription: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2:1: the file is not UTF-8"):
        load_pipeline(file, {})


def test_two_pipelines_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "a.yaml")
    write(tmp_path, "# moved\n" + MINIMAL, "b.yml")
    with pytest.raises(ConfigError) as caught:
        load_pipelines(tmp_path, {})
    assert f"{tmp_path}/b.yml:2:7: name is the same as in {tmp_path}/a.yaml:1:7" in str(
        caught.value
    )


def test_two_pipelines_with_one_change_log(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "pipeline: {change_log: x}\n", "a.yaml")
    other = MINIMAL.replace("name: shop", "name: b") + "pipeline: {change_log: ./x}\n"
    write(tmp_path, other, "b.yaml")
    with pytest.raises(ConfigError, match=r"b\.yaml:11:24: pipeline\.change_log is the same as in"):
        load_pipelines(tmp_path, {})


def test_every_wrong_file_of_a_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "a.yaml")
    write(tmp_path, "name: 1\n", "b.yaml")
    write(tmp_path, "- x\n", "c.yaml")
    with pytest.raises(ConfigError) as caught:
        load_pipelines(tmp_path, {})
    assert "b.yaml:1:7" in str(caught.value)
    assert "c.yaml:1:1" in str(caught.value)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_pipelines(tmp_path / "none", {})


def test_resolved_secrets_are_not_shown(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + "  password: ${env:PW}\n" + SINK)
    resolved = load_pipeline(file, {}).resolve({"PW": CANARY})
    assert resolved.source.password.get_secret_value() == CANARY
    shown = [repr(resolved), str(resolved), resolved.model_dump_json(), str(resolved.model_dump())]
    assert not any(CANARY in s for s in shown)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(MINIMAL)),
            st.integers(0, 20),
            st.sampled_from([*"{}[]:,-&*!|>'\"%@`#?\n\t ${}0a\x00é", "<<: ", "- ", "null"]),
        ),
        min_size=1,
        max_size=4,
    )
)
@example([(0, 1000, "")])
def test_a_damaged_file_loads_or_is_refused(tmp_path: Path, edits: list) -> None:
    """Whatever stands in a file, the answer is settings or a ConfigError with a place."""
    text = MINIMAL
    for at, length, new in edits:
        text = text[:at] + new + text[at + length :]
    try:
        load_pipeline(write(tmp_path, text), {})
    except ConfigError as error:
        assert "pipeline.yaml:" in str(error)
