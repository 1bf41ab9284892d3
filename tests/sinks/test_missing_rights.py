"""Sinks whose files may only be read: told as a setting to mend, nothing lost, and then allowed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.sinks.without_rights import SINKS

TOLD = {"clickhouse": ("SinkUnavailable", "rights")}
"""ClickHouse's engine says of a folder only that it cannot be opened, whatever the reason."""


def test_writers_without_rights_are_told_and_lose_nothing() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cdc-rights-"))
    try:
        folder.chmod(0o755)
        command = [sys.executable, "-m", "tests.sinks.without_rights", str(folder)]
        done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    finally:
        shutil.rmtree(folder)
    lines = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert set(lines) == set(SINKS)
    for name, (refused, allowed) in lines.items():
        kind, word = TOLD.get(name, ("ConfigError", "write"))
        assert refused["kind"] == kind, (name, refused)
        assert f"{folder}/{name}" in refused["text"], name
        assert word in refused["remedy"], (name, refused)
        assert allowed == {"rows": [[2, "TWO"], [3, None], [4, "four"]], "seq": 20}, name
