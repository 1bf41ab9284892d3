"""Bad rules of `route`, `transform` and `schema_changes`: each problem at its own line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_assets.settings import load_pipeline
from resources.errors import ConfigError
from tests.settings.files import MINIMAL, write

CANARY = "hunter2-canary"
ROUTE = MINIMAL + "route:\n"
TRANSFORM = MINIMAL + "transform:\n  - source: shop.users\n"
CHANGES = MINIMAL + "pipeline:\n  schema_changes:\n"

CASES = {
    "no section but a word": (MINIMAL + "route: all\n", "11:8: route must be a list"),
    "no rule but a word": (ROUTE + "  - all\n", "12:5: route[0] must be a mapping of keys"),
    "an unknown key of a rule": (
        ROUTE + "  - {source: shop.a, target: dw.a}\n  - source: shop.b\n    tarket: dw.b\n",
        "14:5: route[1].tarket is an unknown key; did you mean `target`? allowed: source, target,",
    ),
    "a key that a rule lacks": (
        ROUTE + "  - {source: shop.a, target: dw.a}\n  - source: shop.b\n",
        "13:5: route[1].target is required",
    ),
    "an unknown key two levels down": (
        ROUTE + "  - source: shop.a\n    target: dw.a\n    shard:\n      colums: {a: b}\n",
        "15:7: route[0].shard.colums is an unknown key; did you mean `columns`? allowed: columns,",
    ),
    "a pattern without a database": (
        ROUTE + "  - {source: orders, target: dw.a}\n",
        "12:14: route[0].source must be a pattern of the form database.table",
    ),
    "the second pattern of a list": (
        ROUTE + "  - source:\n      - shop.a\n      - b\n    target: dw.a\n",
        "14:9: route[0].source[1] must be a pattern of the form database.table",
    ),
    "no pattern": (
        ROUTE + "  - {source: [], target: dw.a}\n",
        "12:14: route[0].source must not be empty",
    ),
    "a pattern twice": (
        ROUTE + "  - {source: [shop.a, shop.a], target: dw.a}\n",
        "12:23: route[0].source[1] is a duplicate",
    ),
    "a regular expression that is none": (
        ROUTE + '  - {source: "/shop[.a/", target: dw.a}\n',
        "12:14: route[0].source is no regular expression: unterminated character set",
    ),
    "a group that is not there": (
        ROUTE + '  - source: "shop.orders_*"\n    target: "dw.orders_{2}"\n',
        "13:13: route[0].target names {2}; there are 1, database, table",
    ),
    "a group that only one of the patterns has": (
        ROUTE + '  - source: ["shop_*.orders_*", "shop.*"]\n    target: "dw.orders_{2}"\n',
        "13:13: route[0].target names {2}; there are 1, database, table",
    ),
    "a target without a namespace": (
        ROUTE + "  - {source: shop.a, target: orders}\n",
        "12:30: route[0].target is not of the form namespace.table",
    ),
    "a shard column's group": (
        ROUTE + '  - source: shop.a\n    target: dw.a\n    shard: {columns: {no: "{1}"}}\n',
        "14:27: route[0].shard.columns.no names {1}; there are database, table",
    ),
    "a shard column with a name that is taken": (
        ROUTE + "  - source: shop.a\n    target: dw.a\n    shard: {columns: {_cdc_seq: x}}\n",
        "14:33: route[0].shard.columns._cdc_seq begins with `_cdc_`",
    ),
    "no shard columns": (
        ROUTE + "  - source: shop.a\n    target: dw.a\n    shard: {in_key: true}\n",
        "14:5: route[0].shard.columns is required",
    ),
    "two tables of one target": (
        ROUTE + '  - {source: shop.a, target: "dw.{table}"}\n'
        "  - {source: crm.a, target: dw.a, merge: false}\n",
        "13:29: route[1].target sends crm.a and shop.a to dw.a; write `merge: true`",
    ),
    "a table that is not routed to one that is": (
        MINIMAL.replace("shop.*", "dw.a") + "route:\n  - {source: shop.b, target: dw.a}\n",
        "12:30: route[0].target sends dw.a and shop.b to dw.a; write `merge: true`",
    ),
    "a table to its target twice": (
        ROUTE + "  - {source: shop.a, target: dw.a}\n  - {source: shop.a, target: dw.a}\n"
        "pipeline: {match_routes: all}\n",
        "13:30: route[1].target sends shop.a to a target it has already",
    ),
    "a route that is never reached": (
        ROUTE + '  - {source: "shop.*", target: "dw.{1}"}\n  - {source: shop.a, target: dw.b}\n',
        "13:14: route[1].source means no table that route[0] does not mean",
    ),
    "targets in general of another kind": (
        MINIMAL + 'pipeline: {target: "{schema}.{table}"}\n',
        "11:20: pipeline.target names {schema}; there are database and table",
    ),
    "targets in general of one name": (
        MINIMAL + "pipeline: {target: dw.all}\n",
        "11:20: pipeline.target must name {table}",
    ),
    "targets in general without a namespace": (
        MINIMAL + 'pipeline: {target: "{database}_{table}"}\n',
        "11:20: pipeline.target is not of the form namespace.table",
    ),
    "an unknown key of a transform": (
        TRANSFORM + "    projektion: [a]\n",
        "13:5: transform[0].projektion is an unknown key; did you mean `projection`? allowed:",
    ),
    "a transform that is never reached": (
        TRANSFORM + "    filter: b\n  - {source: [shop.users], filter: a}\n",
        "14:14: transform[1].source means no table that transform[0] does not mean",
    ),
    "an item that is no text": (
        TRANSFORM + "    projection:\n      - a\n      - 1\n",
        "15:9: transform[0].projection[1] must be text",
    ),
    "an open quote": (
        TRANSFORM + '    projection: "a, \'b"\n',
        "13:17: transform[0].projection has a quote that is not closed",
    ),
    "an open bracket": (
        TRANSFORM + "    projection: a, f(b\n",
        "13:17: transform[0].projection has a bracket that is not closed",
    ),
    "a comma too many": (
        TRANSFORM + "    projection: a,, b\n",
        "13:17: transform[0].projection has nothing between two commas",
    ),
    "a key column twice": (
        TRANSFORM + "    primary_keys: [id, day, id]\n",
        "13:29: transform[0].primary_keys[2] is a duplicate",
    ),
    "a reserved name": (
        TRANSFORM + "    soft_delete: _cdc_op\n",
        "13:18: transform[0].soft_delete begins with `_cdc_`",
    ),
    "a key that changes": (
        TRANSFORM + "    primary_keys: [id, gone]\n    soft_delete: gone\n",
        "14:18: transform[0].soft_delete cannot be a key",
    ),
    "masked and left out": (
        TRANSFORM + "    exclude: [a, b]\n    mask: {b: redact}\n",
        "13:18: transform[0].exclude[1] is masked, too",
    ),
    "an unknown mask": (
        TRANSFORM + "    mask: {a: redact, b: emial}\n",
        "13:26: transform[0].mask.b is not one of its values; did you mean `email`? allowed: hash,",
    ),
    "an unknown kind of mask": (
        TRANSFORM + "    mask:\n      b: {kind: phon}\n",
        "14:17: transform[0].mask.b.kind is not one of its values; did you mean `phone`?",
    ),
    "an unknown key of a mask": (
        TRANSFORM + "    mask:\n      b: {kind: phone, keep_lst: 2}\n",
        "14:24: transform[0].mask.b.keep_lst is an unknown key; did you mean `keep_last`?",
    ),
    "a key of another kind of mask": (
        TRANSFORM + "    mask:\n      b: {kind: phone, length: 2}\n",
        "14:32: transform[0].mask.b.length is no key of a mask of kind phone",
    ),
    "a mask that lacks its parameter": (
        TRANSFORM + "    mask: {a: redact, b: truncate}\n",
        "13:26: transform[0].mask.b of kind truncate needs `length`",
    ),
    "a hash without a salt": (
        TRANSFORM + "    mask: {b: hash}\n",
        "13:15: transform[0].mask.b of kind hash needs `salt`",
    ),
    "a partial mask of everything": (
        TRANSFORM + "    mask: {b: {kind: partial, keep_first: 0}}\n",
        "13:15: transform[0].mask.b of kind partial needs `keep_first` or `keep_last`",
    ),
    "two characters": (
        TRANSFORM + '    mask: {b: {kind: phone, character: "**"}}\n',
        "13:40: transform[0].mask.b.character must have at most 1 character",
    ),
    "a rule that demands nothing": (
        TRANSFORM + "    rules:\n      - {name: x}\n",
        "14:9: transform[0].rules[0] demands nothing: it needs `expression`, or `column`",
    ),
    "a limit of no column": (
        TRANSFORM + "    rules:\n      - {min: 0}\n",
        "14:15: transform[0].rules[0].min has a limit but no `column`",
    ),
    "a column without a limit": (
        TRANSFORM + "    rules:\n      - {column: a, expression: b > 1}\n",
        "14:18: transform[0].rules[0].column has no limit beside it",
    ),
    "a limit that is no value": (
        TRANSFORM + "    rules:\n      - {column: a, min: [1]}\n",
        "14:26: transform[0].rules[0].min must be a number or a text",
    ),
    "lengths the wrong way round": (
        TRANSFORM + "    rules:\n      - {column: a, min_length: 3, max_length: 2}\n",
        "14:33: transform[0].rules[0].min_length is above `max_length`",
    ),
    "an unknown way to fail": (
        TRANSFORM + "    rules:\n      - {column: a, not_null: true, on_fail: drop}\n",
        "14:46: transform[0].rules[0].on_fail is not one of its values; allowed: fail, skip, dirty",
    ),
    "functions that are not there": (
        TRANSFORM + "    functions: my_functions.py\n",
        "13:16: transform[0].functions names no file; it is looked for in the folder of the",
    ),
    "functions in another language": (
        TRANSFORM + "    functions: my_functions.sql\n",
        "13:16: transform[0].functions must name a Python file",
    ),
    "the policy of before": (
        MINIMAL + "pipeline: {schema_changes: stop}\n",
        "11:28: pipeline.schema_changes is not one of its values; allowed: evolve, try_evolve,",
    ),
    "an unknown default": (
        CHANGES + "    default: lenint\n",
        "13:14: pipeline.schema_changes.default is not one of its values; did you mean `lenient`?",
    ),
    "an unknown event": (
        CHANGES + "    events: {add_colum: hold}\n",
        "13:14: pipeline.schema_changes.events.add_colum is an unknown key; did you mean "
        "`add_column`? allowed: add_column,",
    ),
    "an unknown policy of an event": (
        CHANGES + "    events: {add_column: ask}\n",
        "13:26: pipeline.schema_changes.events.add_column is not one of its values; allowed:",
    ),
    "an unknown key of a table's policies": (
        CHANGES + "    tables:\n      - {tables: [shop.a], defalt: hold}\n",
        "14:28: pipeline.schema_changes.tables[0].defalt is an unknown key; did you mean `default`",
    ),
    "policies of tables that say nothing": (
        CHANGES + "    tables:\n      - {tables: [shop.a]}\n",
        "14:9: pipeline.schema_changes.tables[0] says nothing: it needs `default` or `events`",
    ),
    "an unknown type mapping": (
        MINIMAL + "pipeline: {type_mapping: [to-nullable, tinyint1-not-bool]}\n",
        "11:40: pipeline.type_mapping[1] is not one of its values; did you mean `tinyint1-to-bool`",
    ),
}

SECRETS = {
    "a salt": (
        TRANSFORM + f"    mask: {{a: {{kind: hash, salt: {CANARY}}}}}\n",
        "13:34: transform[0].mask.a.salt must be exactly one environment reference",
    ),
    "a key": (
        TRANSFORM + f"    mask: {{a: {{kind: hmac, key: {CANARY}}}}}\n",
        "13:33: transform[0].mask.a.key must be exactly one environment reference",
    ),
    "a default": (
        TRANSFORM + f'    mask: {{a: {{kind: hmac, key: "${{env:K:-{CANARY}}}"}}}}\n',
        "13:33: transform[0].mask.a.key must be exactly one environment reference",
    ),
    "as a kind": (TRANSFORM + f"    mask: {{a: {CANARY}}}\n", "13:15: transform[0].mask.a is not"),
    "as a target": (ROUTE + f"  - {{source: a.b, target: {CANARY}}}\n", "12:27: route[0].target"),
    "as targets": (MINIMAL + f"pipeline: {{target: {CANARY}}}\n", "11:20: pipeline.target is not"),
    "as a regular expression": (
        ROUTE + f'  - {{source: "/{CANARY}(/", target: a.b}}\n',
        "12:14: route[0].source is no regular expression",
    ),
}


def refusal(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(write(folder, text), {})
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_problems_of_rules_have_their_line(case: str, tmp_path: Path) -> None:
    text, expected = CASES[case]
    error = refusal(tmp_path, text)
    assert f"{tmp_path}/pipeline.yaml:{expected}" in str(error)


@pytest.mark.parametrize("case", SECRETS)
def test_clear_text_in_rules_is_not_shown(case: str, tmp_path: Path) -> None:
    text, expected = SECRETS[case]
    error = refusal(tmp_path, text)
    assert expected in str(error)
    assert CANARY not in str(error) + repr(error) + str(pickle.dumps(error))


def test_problems_of_several_rules_come_at_once(tmp_path: Path) -> None:
    text = ROUTE + "  - {source: a, target: b.c}\n  - {source: d.e, target: f}\n"
    lines = str(refusal(tmp_path, text + "transform: [{source: g.h, exlude: [i]}]\n")).splitlines()
    assert [line.split("pipeline.yaml:")[1].split(": ")[0] for line in lines[1:4]] == [
        "12:14",
        "13:27",
        "14:27",
    ]


def test_rules_of_a_file_with_other_problems_are_not_compared(tmp_path: Path) -> None:
    text = ROUTE + "  - {source: shop.a, target: dw.a}\n  - {source: shop.a, target: dw.b}\n"
    assert "route[1]" in str(refusal(tmp_path, text))
    assert "route[1]" not in str(refusal(tmp_path, text + "rate: {rows: 5}\n"))


RULES = """\
route:
  - source: ["/shop_(\\\\d+)\\\\.(?P<name>\\\\w+)/", "shop_*.orders_*"]
    target: "dw.{1}"
    shard: {columns: {no: "{1}"}}
transform:
  - source: shop.*
    projection: "*, concat(a, ',') AS b"
    mask: {a: {kind: hmac, key: "${env:K}"}}
    rules: [{column: a, min: 0}]
pipeline: {schema_changes: {events: {add_column: hold}}, target: "{database}.x_{table}"}
"""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(RULES)),
            st.integers(0, 12),
            st.sampled_from([*"{}[]:,-*?'\"#\n\t (/\\0a.", "- ", "null", "{9}", "(?P<x>", "/(/"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_damaged_rules_load_or_are_refused(tmp_path: Path, edits: list) -> None:
    """Whatever stands in a rule, the answer is settings or a ConfigError with a place."""
    text = RULES
    for at, length, new in edits:
        text = text[:at] + new + text[at + length :]
    try:
        load_pipeline(write(tmp_path, MINIMAL + text), {})
    except ConfigError as error:
        assert "pipeline.yaml:" in str(error)
