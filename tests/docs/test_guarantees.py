"""Every promise names its tests, and they are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
GUARANTEES = ROOT / "docs" / "guarantees.md"


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the test functions of a file, those of suites included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_tests_that_are_named_exist(page: Path) -> None:
    missing = [
        f"{path}::{name}"
        for path, name in _TEST.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / path).is_file() or name not in names_in(ROOT / path)
    ]
    assert missing == []


def test_every_promise_names_a_test() -> None:
    promised = GUARANTEES.read_text(encoding="utf-8").partition("## What is not promised")[0]
    rows = [line for line in promised.splitlines() if re.match(r"\| (?!promise|---)", line)]
    assert len(rows) > 40
    assert [row for row in rows if not _TEST.search(row)] == []
    assert promised.count("tests/") == len(_TEST.findall(promised)) + 1, "a name is misspelt"
