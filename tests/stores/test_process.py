"""Whether a process is gone is said only where it is known."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resources.stores.process import is_gone, this_process


def test_this_process_is_here() -> None:
    assert not is_gone(this_process())


def test_an_ended_process_is_gone() -> None:
    program = "from resources.stores.process import this_process; print(this_process())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert is_gone(said.stdout.strip())


@pytest.mark.parametrize("place", [0, 1])
def test_another_machines_process_may_be_alive(place: int) -> None:
    boot, space, pid, started = this_process().split("/")
    parts = [boot, space]
    parts[place] = "other"
    assert not is_gone("/".join([*parts, "999999999", started]))
    assert is_gone("/".join([boot, space, pid, started + "1"])), "its number was given away"
    assert not is_gone("")
    assert not is_gone("words")
    assert pid == str(os.getpid())
