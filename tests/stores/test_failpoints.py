"""Failpoints do what the variable asks for, at the count it asks for, and nothing otherwise."""

from __future__ import annotations

import multiprocessing
import signal
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


@pytest.mark.parametrize(("action", "code"), [("exit", 137), ("kill", -signal.SIGKILL)])
def test_exit_and_kill_are_deaths_without_clean_up(action: str, code: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(action,))
    process.start()
    process.join(30)
    assert process.exitcode == code


@pytest.mark.parametrize("wanted", ["a.b", "a.b:jump", "a.b:raise:x", "a.b:sleep=x", "a.b:"])
def test_what_cannot_be_read_is_refused(wanted: str) -> None:
    with armed(wanted), pytest.raises(ConfigError, match="name:action"):
        failpoint("a.b")


def _die(action: str) -> None:
    with armed(f"a.b:{action}"):
        try:
            failpoint("a.b")
        finally:
            raise SystemExit(1)
