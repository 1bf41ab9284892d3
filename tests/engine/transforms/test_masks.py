"""Masks hide what they should, everywhere it could be stored, and refuse what they cannot hide."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.transforms.mask import Masker, compile_masks
from cdc_assets.engine.transforms.mask_values import canonical, phone_text
from cdc_assets.engine.transforms.rule import Mask, TransformRule
from resources.errors import ConfigError
from resources.model.change import RejectedRow, RowKind, change_schema
from resources.model.keys import key_text
from resources.model.table import Column, TableId, TableSchema
from tests.engine.transforms.columns import SCHEMA, change_rows, snapshot_rows
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS, arrow_values

TABLE = TableId("shop", "t")
HASHED = [t for t in (*COLUMN_TYPES, *WIDE_DECIMALS) if not pa.types.is_nested(t)]


def masker(*masks: Mask, schema: TableSchema = SCHEMA, **options: Any) -> Masker:
    return compile_masks(
        [TransformRule(("shop.t",), masks=masks, where="f.yaml:1", **options)], schema
    )


def one_column(type_: pa.DataType) -> TableSchema:
    return TableSchema(
        TABLE, (Column("id", pa.int32(), nullable=False), Column("v", type_)), ("id",)
    )


BINARY = one_column(pa.binary())


def masked(mask: Mask, *values: Any, type_: pa.DataType | None = None) -> list[Any]:
    schema = one_column(type_ or pa.string())
    rows = snapshot_rows([{"id": n, "v": v} for n, v in enumerate(values)], schema)
    return masker(mask, schema=schema).apply(rows).column("v").to_pylist()


@pytest.mark.parametrize(
    ("mask", "value", "hidden"),
    [
        (Mask("v", "partial", keep_first=1, keep_last=2), "héllo", "h**lo"),
        (Mask("v", "partial", keep_first=1, keep_last=2), "abc", "***"),
        (Mask("v", "partial", keep_first=1, keep_last=2, character="•"), "abcde", "a••de"),
        (Mask("v", "partial"), "abc", "***"),
        (Mask("v", "truncate", length=2), "héllo", "hé"),
        (Mask("v", "truncate"), "abc", ""),
        (Mask("v", "redact"), "abc", "***"),
        (Mask("v", "fixed", value="x"), "abc", "x"),
        (Mask("v", "email"), "jane.doe@mail.example.org", "***@mail.example.org"),
        (Mask("v", "email"), '"a@b"@c.de', "***@c.de"),
        (Mask("v", "email"), "two\nlines@c.de", "***@c.de"),
        (Mask("v", "email"), "no address", "***"),
        (Mask("v", "phone", keep_last=4), "+49 (171) 123-45-67", "+** (***) ***-45-67"),
        (Mask("v", "phone", keep_last=4), "1234", "****"),
        (Mask("v", "phone", keep_last=2, character="x"), "٠١٢٣", "xx٢٣"),
        (Mask("v", "phone"), "0171", "****"),
        (Mask("v", "phone", keep_last=2), "ask Bob", "***"),
    ],
)
def test_what_a_mask_makes_of_text(mask: Mask, value: str, hidden: str) -> None:
    assert masked(mask, value, None) == [hidden, None]
    assert masked(mask, value, None, type_=pa.large_string()) == [hidden, None]


@given(st.lists(st.none() | st.text("01- +x", max_size=9), max_size=9), st.integers(0, 3))
@settings(max_examples=60)
def test_telephone_numbers_of_many_rows_are_hidden_as_each_by_itself(
    values: list[str | None], keep: int
) -> None:
    mask = Mask("v", "phone", keep_last=keep)
    each = [v if v is None else phone_text(v, mask) for v in values]
    assert masked(mask, *values) == each
    schema = one_column(pa.string())
    rows = snapshot_rows([{"id": n, "v": v} for n, v in enumerate(values)], schema)
    part = masker(mask, schema=schema).apply(rows.slice(len(values) // 2))
    assert part.column("v").to_pylist() == each[len(values) // 2 :]


@pytest.mark.parametrize(
    ("mask", "hidden"),
    [
        (Mask("v", "partial", keep_last=1), b"**\xff"),
        (Mask("v", "truncate", length=1), b"\0"),
        (Mask("v", "redact"), b""),
        (Mask("v", "fixed", value="x"), b"x"),
    ],
)
def test_what_a_mask_makes_of_binary(mask: Mask, hidden: bytes) -> None:
    assert masked(mask, b"\0\1\xff", None, type_=pa.binary()) == [hidden, None]


@given(st.data())
@settings(max_examples=60)
def test_digests_are_those_of_salt_and_value_for_every_type(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from(HASHED))
    values = data.draw(st.lists(st.none() | arrow_values(type_), min_size=1, max_size=6))
    plain = pa.array(values, type_).to_pylist()
    hashes = [v if v is None else hashlib.sha256(b"salt" + canonical(v)).hexdigest() for v in plain]
    assert masked(Mask("v", "hash", salt="salt"), *values, type_=type_) == hashes
    macs = [v if v is None else hmac.new(b"k", canonical(v), "sha256").hexdigest() for v in plain]
    assert masked(Mask("v", "hmac", salt="k"), *values, type_=type_) == macs


@given(
    st.lists(st.none() | st.binary(max_size=130), max_size=70),
    st.text("s", max_size=130),
    st.integers(0, 40),
)
@settings(max_examples=30)
def test_digests_of_many_values_are_those_of_each(
    values: list[bytes | None], salt: str, cut: int
) -> None:
    rows = snapshot_rows([{"id": n, "v": v} for n, v in enumerate(values)], BINARY).slice(cut)
    hashes = [v if v is None else hashlib.sha256(salt.encode() + v).hexdigest() for v in values]
    found = masker(Mask("v", "hash", salt=salt), schema=BINARY).apply(rows).column("v")
    assert found.to_pylist() == hashes[cut:]
    key = salt + "k"
    macs = [v if v is None else hmac.new(key.encode(), v, "sha256").hexdigest() for v in values]
    found = masker(Mask("v", "hmac", salt=key), schema=BINARY).apply(rows).column("v")
    assert found.to_pylist() == macs[cut:]
    found.validate(full=True)


@given(
    st.lists(st.none() | st.text(max_size=8), max_size=9),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from("*é•"),
)
@settings(max_examples=60)
def test_the_middle_of_many_texts_is_hidden_as_of_each_by_itself(
    values: list[str | None], first: int, last: int, sign: str
) -> None:
    def hidden(value: str | None) -> str | None:
        if value is None or len(value) <= first + last:
            return value and sign * len(value)
        middle = sign * (len(value) - first - last)
        return value[:first] + middle + value[len(value) - last :]

    mask = Mask("v", "partial", keep_first=first, keep_last=last, character=sign)
    each = [hidden(v) for v in values]
    assert masked(mask, *values) == each
    schema = one_column(pa.string())
    rows = snapshot_rows([{"id": n, "v": v} for n, v in enumerate(values)], schema)
    part = masker(mask, schema=schema).apply(rows.slice(len(values) // 2)).column("v")
    part.validate(full=True)
    assert part.to_pylist() == each[len(values) // 2 :]


def test_a_digest_of_text_is_what_other_tools_compute() -> None:
    assert masked(Mask("v", "hash", salt="s"), "é") == [hashlib.sha256("sé".encode()).hexdigest()]


def test_numbers_are_redacted_to_null_and_the_column_may_be_null() -> None:
    schema = TableSchema(
        TABLE, (Column("id", pa.int32()), Column("v", pa.int64(), nullable=False)), ("id",)
    )
    found = masker(Mask("v", "redact"), schema=schema)
    rows = found.apply(snapshot_rows([{"id": 1, "v": 5}], schema))
    assert rows.to_pylist() == [{"id": 1, "v": None}]
    assert found.schema.column("v").nullable


def test_excluded_columns_are_gone_and_untouched_ones_are_not_copied() -> None:
    found = masker(Mask("s", "email"), exclude=("S2", "d*"))
    rows = change_rows([(RowKind.INSERT, {"id": 1, "s": "a@b", "s2": "secret"})])
    done = found.apply(rows)
    assert not {"s2", "d", "day"} & set(done.schema.names)
    assert done.schema == change_schema(found.schema)
    assert done.column("i").buffers()[1].address == rows.column("i").buffers()[1].address
    assert "secret" not in str(done.to_pylist())


def test_without_masks_rows_are_the_same_object() -> None:
    rows = change_rows([(RowKind.INSERT, {"id": 1})])
    assert masker().apply(rows) is rows


def test_a_masked_label_or_document_is_plain_text() -> None:
    schema = TableSchema(
        TABLE,
        (Column("id", pa.int32()), Column("v", pa.string(), kind="enum", labels=("a",))),
        ("id",),
    )
    column = masker(Mask("v", "hash"), schema=schema).schema.column("v")
    assert (column.kind, column.labels, column.type) == ("plain", (), pa.string())


KEY_TYPES = (pa.int64(), pa.decimal128(38, 30), pa.binary(), pa.date32(), pa.duration("us"),
             pa.timestamp("us"), pa.string())  # fmt: skip


@pytest.mark.parametrize("type_", KEY_TYPES, ids=str)
@given(st.data())
@settings(max_examples=8)
def test_rows_that_could_not_be_decoded_are_masked_too(
    type_: pa.DataType, data: st.DataObject
) -> None:
    value = data.draw(arrow_values(type_))
    schema = TableSchema(TABLE, (Column("k", type_), Column("s", pa.string())), ("k",))
    found = masker(Mask("k", "hash", salt="x"), exclude=("s",), schema=schema)
    rows = snapshot_rows([{"k": value, "s": "secret"}], schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    plain = rows.column("k")[0].as_py()
    rejected = RejectedRow(
        schema, 1, RowKind.INSERT, 0, "", key_text({"k": plain}), "s", "E", "m", b"secret",
        sink.getvalue().to_pybytes(),
    )  # fmt: skip
    done = found.apply_rejected(rejected)
    digest = hashlib.sha256(b"x" + canonical(plain)).hexdigest()
    assert json.loads(done.key) == {"k": digest}
    image = pa.ipc.open_stream(done.image).read_all()
    assert image.to_pylist() == [{"k": digest}]
    assert done.raw == b""
    assert b"secret" not in done.image


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (Mask("id", "truncate"), {}, "it would make different keys one"),
        (Mask("i", "email"), {}, "the column is int32"),
        (Mask("x", "email"), {}, "the column is binary"),
        (Mask("s", "hmac"), {}, "it has no key"),
        (Mask("s", "partial", character="**"), {}, "character is not one character"),
        (Mask("s", "partial", keep_first=-1), {}, "a length is negative"),
        (Mask("s", "hash"), {"exclude": ("id",)}, "exclude id takes the key id of shop.t away"),
    ],
)
def test_masks_that_hide_too_much_or_nothing_are_refused(
    mask: Mask, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message.replace("*", r"\*")):
        masker(mask, **options)


def test_two_masks_on_one_column_are_refused() -> None:
    with pytest.raises(ConfigError, match="has two masks"):
        masker(Mask("s", "hash"), Mask("S", "email"))


@pytest.mark.parametrize("source", ["shop.*", "shop.t"])
def test_a_column_that_a_table_does_not_have_or_not_any_more_is_passed_over(source: str) -> None:
    rule = TransformRule((source,), masks=(Mask("email", "email"),))
    assert not compile_masks([rule], SCHEMA).acts
