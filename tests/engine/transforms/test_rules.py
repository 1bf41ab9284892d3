"""Row rules, keys, names and lineage of a rule, and which tables it is about."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from cdc_assets.engine.transforms.rule import RowRule, TransformRule
from cdc_assets.engine.transforms.transform import Transformed
from resources.errors import ConfigError, TerminalError
from resources.model.change import RowKind
from resources.model.table import Column, TableId
from tests.engine.transforms.columns import (
    CONTEXT,
    SCHEMA,
    change_rows,
    picked,
    snapshot_rows,
    transform_of,
)

INS, UB, UA, DEL = RowKind


def run(rule: RowRule, *rows: dict[str, Any]) -> Transformed:
    made = transform_of("id", "i", "s AS name", "d", "day", rules=(rule,))
    changes = [(UA, {"id": n, **r}) for n, r in enumerate(rows)]
    return made.apply(change_rows(changes), CONTEXT)


@pytest.mark.parametrize(
    ("rule", "column", "good", "bad"),
    [
        ({"not_null": True}, "s", ["a", ""], [None]),
        ({"min": "0", "max": "10"}, "i", [0, 10, None], [-1, 11]),
        ({"min": "0.5"}, "d", [1, None], [0]),
        ({"max": "'2020-01-31'"}, "day", [dt.date(2020, 1, 31)], [dt.date(2020, 2, 1)]),
        ({"min_length": 1, "max_length": 2}, "s", ["a", "éé", None], ["", "abc"]),
        ({"regex": "^[a-z]+$"}, "s", ["ab", None], ["aB", ""]),
    ],
)
def test_each_limit_of_a_row_rule(
    rule: dict[str, Any], column: str, good: list[Any], bad: list[Any]
) -> None:
    name = "name" if column == "s" else column
    made = RowRule("limit", name, **rule)
    done = run(made, *({column: v} for v in [*good, *bad]))
    assert [r["id"] for r in done.rows.to_pylist()] == list(range(len(good)))
    assert [(f.column, f.message) for f in done.failed] == [
        (name, "rule limit is not met") for _ in bad
    ]


def test_an_expression_sees_output_columns_and_metadata() -> None:
    rule = RowRule("sane", expression="i < 10 OR name = 'big' AND __table__ = 't'")
    done = run(rule, {"i": 1}, {"i": 11, "s": "big"}, {"i": 12, "s": "x"}, {"i": None})
    assert [r["id"] for r in done.rows.to_pylist()] == [0, 1, 3]


def test_a_row_whose_column_fails_is_not_judged() -> None:
    rule = RowRule("r", "n", min="5", on_fail="fail")
    made = transform_of("id", "CAST(s AS SIGNED) AS n", rules=(rule,))
    done = made.apply_rows(snapshot_rows([{"id": 1, "s": "x"}, {"id": 2, "s": "7"}]), CONTEXT)
    assert done.rows.to_pylist() == [{"id": 2, "n": 7}]
    assert [(f.column, f.message) for f in done.failed] == [
        ("n", "`CAST(s AS SIGNED) AS n` cannot be evaluated for this row")
    ]


def test_skip_makes_a_delete_of_the_row_as_the_filter_does() -> None:
    done = run(RowRule("r", "i", min="0", on_fail="skip"), {"i": -1}, {"i": 1})
    assert picked(done, "_cdc_op", "id") == [(DEL, 0), (UA, 1)]
    assert (done.skipped, done.failed) == (1, [])


def test_fail_stops_the_run() -> None:
    rule = RowRule("r", "i", min="0", on_fail="fail", where="shop.yaml:9")
    with pytest.raises(TerminalError, match=r"1 rows of shop\.t do not pass the rule r") as error:
        run(rule, {"i": -1234}, {"i": 1})
    assert error.value.where == "shop.yaml:9"
    assert "1234" not in str(error.value)


def test_deletes_and_rows_the_filter_refuses_are_not_judged() -> None:
    made = transform_of(
        "*", filter="i > 0", rules=(RowRule("r", "s", not_null=True, on_fail="fail"),)
    )
    done = made.apply(change_rows([(DEL, {"id": 1, "i": 1}), (UA, {"id": 2, "i": 0})]), CONTEXT)
    assert picked(done, "_cdc_op") == [(DEL,), (DEL,)]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (RowRule("r"), "rule r says nothing"),
        (RowRule("r", "gone", not_null=True), "gone, which is no output column"),
        (RowRule("r", "i", regex="x["), "rule fails whatever the row"),
        (RowRule("r", "x", min="5"), "mixes binary and int64"),
        (RowRule("r", expression="id > 'x'"), "mixes int32 and text"),
    ],
)
def test_row_rules_that_cannot_be_compiled(rule: RowRule, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        transform_of("*", rules=(rule,))


@pytest.mark.parametrize(
    ("projection", "names"),
    [
        ((), list(SCHEMA.names)),
        (("*",), list(SCHEMA.names)),
        (("i", "id"), ["i", "id"]),
        (("id", "i AS `a b`"), ["id", "a b"]),
        (("ID", "i"), ["ID", "i"]),
        (("*", "i + 1 AS more"), [*SCHEMA.names, "more"]),
        (("UPPER(s) AS S", "*"), ["S" if n == "s" else n for n in SCHEMA.names]),
        (("*", "i AS y"), list(SCHEMA.names)),
        (("__op__", "id"), ["__op__", "id"]),
        (("id", "__table_name__ AS source_table"), ["id", "source_table"]),
    ],
)
def test_what_a_projection_names(projection: tuple[str, ...], names: list[str]) -> None:
    assert list(transform_of(*projection).schema.names) == names


def test_columns_keep_their_facts_and_computed_ones_have_their_own() -> None:
    made = transform_of(
        "id", "j AS doc", "d * 2 AS twice", "COALESCE(i, 0) AS k", "CONCAT('a') AS c"
    )
    assert made.schema.table == TableId("shop", "t")
    assert made.schema.columns == (
        Column("id", pa.int32(), nullable=False),
        Column("doc", pa.large_string(), kind="json"),
        Column("twice", pa.decimal128(11, 2)),
        Column("k", pa.int32(), nullable=False),
        Column("c", pa.string(), nullable=False),
    )
    assert made.schema.key == ("id",)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("s", {"s"}),
        ("CONCAT(s, s2, 'x')", {"s", "s2"}),
        ("IF(i > 0, d, e)", {"i", "d", "e"}),
        ("CASE y WHEN 1 THEN d ELSE 0 END", {"y", "d"}),
        ("CONCAT(__database__, id)", {"id"}),
        ("__op__", set()),
        ("1 + 1", set()),
        ("DATE_FORMAT(at, '%Y')", {"at"}),
        ("s IN (s2, 'x') AND i BETWEEN y AND b", {"s", "s2", "i", "y", "b"}),
        ("j->>'$.a'", {"j"}),
        ("day + INTERVAL i DAY", {"day", "i"}),
        ("wide", {"wide"}),
    ],
)
def test_lineage_of_a_column(text: str, sources: set[str]) -> None:
    made = transform_of("id", f"{text} AS v")
    assert made.lineage == {"id": {"id"}, "v": sources}
    assert made.needed == {"id"} | sources
    renamed = transform_of("id AS k", f"{text} AS v", filter="f > 0", soft_delete="gone")
    assert renamed.needed == {"id", "f"} | sources
    assert renamed.lineage["gone"] == set()


def test_keys_follow_their_columns_names() -> None:
    made = transform_of("id AS order_id", "s", partition_keys=("s",))
    assert made.schema.key == ("order_id",)
    assert made.partition_keys == ("s",)
    assert made.watched == set()


def test_a_key_of_constants_of_the_table_needs_no_images() -> None:
    made = transform_of("*", "__database__ AS shard", primary_keys=("shard", "id"))
    assert made.schema.key == ("shard", "id")
    assert made.watched == set()


def test_columns_nothing_needs_may_be_missing() -> None:
    made = transform_of("id", "i + 1 AS v")
    rows = snapshot_rows([{"id": 1, "i": 2}]).select(["i", "id"])
    assert made.apply_rows(rows, CONTEXT).rows.to_pylist() == [{"id": 1, "v": 3}]


def test_metadata_of_changes_and_of_snapshots() -> None:
    names = ("database", "table", "op", "commit_ts", "position", "gtid", "segment", "source",
             "pipeline", "seq", "loaded_at")  # fmt: skip
    made = transform_of("id", *(f"__{n}__ AS {n}" for n in names), "CONCAT(__op__, __seq__) AS v")
    kinds = [(k, {"id": int(k)}) for k in RowKind]
    done = made.apply(change_rows(kinds, first=30), CONTEXT).rows.to_pylist()
    loaded = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    common = ("binlog.000001:4", "uuid:1-5", 7, "main", "p")
    assert tuple(done[1][n] for n in names) == (
        *("shop", "t", "-U", epoch),
        *(*common, 31, loaded),
    )
    assert [r["op"] for r in done] == ["+I", "-U", "+U", "-D"]
    assert [r["v"] for r in done] == ["+I30", "-U31", "+U32", "-D33"]
    [row] = made.apply_rows(snapshot_rows([{"id": 1}]), CONTEXT).rows.to_pylist()
    assert tuple(row[n] for n in names) == (
        *("shop", "t", "+I", None),
        *(*common, None, loaded),
    )
    assert row["v"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": ("i",)}, "leaves out its key: id"),
        ({"projection": ("id + 0 AS id", "i")}, "leaves out its key: id"),
        ({"primary_keys": ("gone",)}, "primary_keys names gone"),
        (
            {"projection": ("*", "__op__ AS o"), "primary_keys": ("o",)},
            "the key column o reads __op__",
        ),
        ({"partition_keys": ("gone",)}, "partition_keys names gone"),
        ({"soft_delete": "S"}, "soft_delete names S, which the table has already"),
        ({"projection": ("id", "i AS a", "y AS A")}, "two items of the projection are named A"),
        ({"projection": ("id", "i AS _cdc_op")}, "names a column '_cdc_op'"),
        ({"projection": ("id", "i + 1")}, "a computed column needs a name"),
        ({"projection": ("id", "NULL AS n")}, "NULL has no type"),
    ],
)
def test_rules_that_fit_no_table(options: dict[str, Any], message: str) -> None:
    projection = options.pop("projection", ())
    with pytest.raises(ConfigError, match=message) as error:
        transform_of(*projection, **options)
    assert error.value.where == "shop.yaml:3"
    assert error.value.remedy


@pytest.mark.parametrize(
    ("patterns", "table", "hit"),
    [
        (("shop.*",), TableId("shop", "t"), True),
        (("shop.o*", "shop.t"), TableId("shop", "t"), True),
        (("other.*",), TableId("shop", "t"), False),
        ((r"/shop_\d+\.orders_(a|b)/",), TableId("shop_12", "orders_a"), True),
        ((r"/shop_\d+\.orders/",), TableId("shop_12", "orders_a"), False),
        (("SHOP.T",), TableId("shop", "t"), False),
    ],
)
def test_which_tables_a_rule_is_about(patterns: tuple[str, ...], table: TableId, hit: bool) -> None:
    assert TransformRule(patterns).applies(table) is hit
    assert TransformRule(("SHOP.T",)).applies(TableId("shop", "t"), fold_case=True)


def test_a_pattern_that_is_no_regex_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no regular expression"):
        TransformRule(("/(/",), where="shop.yaml:3").applies(TableId("shop", "t"))


def test_an_error_names_the_line_of_its_expression() -> None:
    with pytest.raises(ConfigError) as error:
        transform_of("id", "uper(s) AS v", wheres=(("uper(s) AS v", "shop.yaml:8"),))
    assert str(error.value) == (
        "shop.yaml:8: projection `uper(s) AS v`: there is no function uper\n"
        "  to mend: did you mean UPPER?"
    )
