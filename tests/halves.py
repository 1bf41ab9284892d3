"""All tests but the nightly ones in two halves at the same time: `python -m tests.halves`.

Each half has its own servers and spends much of its time waiting for them. Arguments are handed on
to both pytest runs; the exit code is 1 if either fails, or neither has a test.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST = ("fuzz", "mysql", "sinks")
"""Folders of the first half; the second has everything else."""


def _arguments(half: str) -> list[str]:
    folders = [f"tests/{name}" for name in FIRST]
    if half == "first":
        return folders
    return ["tests", *(f"--ignore={folder}" for folder in folders)]


def _run(half: str, basetemp: str, extra: list[str], codes: dict[str, int]) -> None:
    """Run one half; its lines are printed as they come, with its name before them."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not nightly"]
    command += ["-p", "no:cacheprovider", f"--basetemp={basetemp}", *_arguments(half), *extra]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None, "asked for above"
    for line in process.stdout:
        sys.stdout.write(f"{half}: {line}")
        sys.stdout.flush()
    codes[half] = process.wait()
    sys.stdout.write(f"{half}: ended with {codes[half]} in {time.monotonic() - began:.0f} s\n")


def main() -> None:
    """Run both halves and exit as they did."""
    codes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="cdc-tests-") as folder:
        runs = [
            threading.Thread(target=_run, args=(half, f"{folder}/{half}", sys.argv[1:], codes))
            for half in ("first", "second")
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
    # 5: arguments chose no test of that half.
    good = len(codes) == len(runs) and set(codes.values()) <= {0, 5} and 0 in codes.values()
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
