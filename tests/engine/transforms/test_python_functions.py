"""Functions of the user's own: whole arrays in, whole arrays out, checked on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.transforms.transform import Transform
from resources.errors import ConfigError
from tests.engine.transforms.columns import CONTEXT, snapshot_rows, transform_of

FILE = """
import pyarrow as pa
import pyarrow.compute as pc
from cdc_assets.engine.transforms.python_functions import arrow_function

@arrow_function(pa.string(), pa.string(), pa.int64())
def starred(text: pa.StringArray, count: pa.Int64Array) -> pa.StringArray:
    return pc.binary_join_element_wise(text, pc.binary_repeat("*", count), "")

@arrow_function(pa.int64(), pa.int64())
def picky(numbers: pa.Int64Array) -> pa.Int64Array:
    if pc.any(pc.equal(numbers, 13)).as_py():
        raise ValueError("unlucky")
    return pc.multiply(numbers, 10)

@arrow_function(pa.int64(), pa.int64())
def short(numbers: pa.Int64Array) -> pa.Int64Array:
    return numbers[:1]

@arrow_function(pa.int64(), pa.int64())
def other(numbers: pa.Int64Array) -> pa.Int64Array:
    return numbers.cast(pa.float64())

def not_declared(numbers):
    return numbers
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    return str(file)


def run(made: Transform, *rows: dict[str, Any]) -> Any:
    return made.apply_rows(snapshot_rows([{"id": n, **r} for n, r in enumerate(rows)]), CONTEXT)


def test_functions_take_expressions_and_stand_in_expressions(path: str) -> None:
    made = transform_of("id", "UPPER(starred(CONCAT(s, '!'), y)) AS v", functions=path)
    done = run(made, {"s": "a", "y": 2}, {"s": None, "y": 1}, {"s": "b", "y": 0})
    assert done.rows.column("v").to_pylist() == ["A!**", None, "B!"]
    assert made.lineage["v"] == {"s", "y"}
    assert made.needed == {"id", "s", "y"}


def test_functions_of_functions_and_in_filters(path: str) -> None:
    made = transform_of("id", "picky(picky(i) + 1) AS v", filter="picky(i) > 10", functions=path)
    done = run(made, {"i": 1}, {"i": 2}, {"i": 3})
    assert done.rows.to_pylist() == [{"id": 1, "v": 210}, {"id": 2, "v": 310}]
    assert done.skipped == 1


def test_rows_a_function_raises_on_are_set_aside_alone(path: str) -> None:
    made = transform_of("id", "picky(i) AS v", functions=path)
    done = run(made, *({"i": n} for n in (1, 13, 2, None, 13)))
    assert done.rows.to_pylist() == [
        {"id": 0, "v": 10},
        {"id": 2, "v": 20},
        {"id": 3, "v": None},
    ]
    assert [(f.row, f.column) for f in done.failed] == [(1, "v"), (4, "v")]


def test_rows_whose_arguments_fail_are_set_aside(path: str) -> None:
    made = transform_of("id", "picky(CAST(s AS SIGNED)) AS v", functions=path)
    done = run(made, {"s": "7"}, {"s": "x"})
    assert done.rows.to_pylist() == [{"id": 0, "v": 70}]
    assert [f.row for f in done.failed] == [1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("short(i)", "the function short returned 1 values for 3 rows"),
        ("other(i)", "the function other returned double, but is declared to return int64"),
    ],
)
def test_wrong_results_stop_the_run_and_name_the_function(
    path: str, call: str, message: str
) -> None:
    made = transform_of("id", f"{call} AS v", functions=path)
    with pytest.raises(ConfigError, match=message):
        run(made, {"i": 1}, {"i": 2}, {"i": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("starred(s)", "starred takes 2 arguments, not 1"),
        ("starred(i, i)", "mixes int32 and text"),
        ("picky(u)", "argument 1 of picky is uint64, not int64"),
        ("not_declared(i)", "there is no function not_declared"),
        ("pickey(i)", "did you mean PICKY"),
    ],
)
def test_wrong_calls_are_refused(path: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        transform_of("id", f"{text} AS v", functions=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "cannot be run: ZeroDivisionError"),
        ("x = 1", "declares no function"),
        (FILE.replace("pa.int64(), pa.int64())\ndef picky", "pa.int64())\ndef picky"),
         "picky has 1 parameters and 0 declared types"),
        (FILE.replace("pa.int64(), pa.int64())\ndef picky", "VECTOR, pa.int64())\ndef picky")
         .replace("@arrow", "VECTOR = pa.list_(pa.int64())\n@arrow", 1), "picky declares list"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        transform_of("*", functions=str(tmp_path / "bad.py"))


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gone\.py cannot be read"):
        transform_of("*", functions="gone.py")


def test_a_changed_file_is_read_again(path: str) -> None:
    before = run(transform_of("id", "picky(i) AS v", functions=path), {"i": 1})
    Path(path).write_text(FILE.replace("numbers, 10)", "numbers, 1000)"))
    after = run(transform_of("id", "picky(i) AS v", functions=path), {"i": 1})
    assert (before.rows.column("v")[0].as_py(), after.rows.column("v")[0].as_py()) == (10, 1000)
