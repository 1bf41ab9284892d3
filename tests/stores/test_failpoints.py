"""Failpoints do what the variable asks for, at the count it asks for, and nothing otherwise."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from resources.errors import ConfigError
from resources.failpoints import FailpointReached, failpoint
from tests.armed import armed


def test_without_the_variable_nothing_happens() -> None:
    failpoint("a.b")


def test_raise_happens_once_at_its_count() -> None:
    with armed("a.b:raise:2"):
        failpoint("a.b")
        failpoint("other")
        with pytest.raises(FailpointReached, match=r"a\.b"):
            failpoint("a.b")
        failpoint("a.b")


def test_sleep_goes_on_after_its_seconds() -> None:
    with armed("a.b:sleep=0.2"):
        began = time.monotonic()
        failpoint("a.b")
        assert time.monotonic() - began >= 0.2


def test_exit_is_a_death_without_clean_up() -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die)
    process.start()
    process.join(30)
    assert process.exitcode == 137


@pytest.mark.parametrize("wanted", ["a.b", "a.b:jump", "a.b:raise:x", "a.b:sleep=x", "a.b:"])
def test_what_cannot_be_read_is_refused(wanted: str) -> None:
    with armed(wanted), pytest.raises(ConfigError, match="name:action"):
        failpoint("a.b")


def _die() -> None:
    with armed("a.b:exit"):
        try:
            failpoint("a.b")
        finally:
            raise SystemExit(1)
