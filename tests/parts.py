"""All tests but the nightly ones, some parts of them at a time: `python -m tests.parts`.

Each part has its own servers and spends much of its time waiting for them. The longest ones come
first, so that both ends are near each other. Arguments are handed on to every pytest run; the exit
code is 1 if one fails, or none has a test.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("sinks", "mysql", "e2e", "dagster")
"""Folders that are a part."""
REST = "rest"
"""The part that has everything else."""
PARTS = ("sinks", "mysql", REST, "e2e", "dagster")
AT_ONCE = 3
"""Two leave a third of two cores idle, waiting for servers and disks."""
NO_TESTS = 5
"""What pytest exits with if arguments chose no test of a part."""


def _arguments(part: str) -> list[str]:
    if part != REST:
        return [f"tests/{part}"]
    return ["tests", *(f"--ignore=tests/{folder}" for folder in FOLDERS)]


def _run(part: str, basetemp: str, extra: list[str]) -> int:
    """Run one part; its lines are printed as they come, with its name before them."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not nightly"]
    command += ["-p", "no:cacheprovider", f"--basetemp={basetemp}", *_arguments(part), *extra]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None, "asked for above"
    for line in process.stdout:
        sys.stdout.write(f"{part}: {line}")
        sys.stdout.flush()
    code = process.wait()
    sys.stdout.write(f"{part}: ended with {code} in {time.monotonic() - began:.0f} s\n")
    return code


def main() -> None:
    """Run all parts and exit as they did."""
    with (
        tempfile.TemporaryDirectory(prefix="cdc-tests-") as folder,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        runs = [pool.submit(_run, part, f"{folder}/{part}", sys.argv[1:]) for part in PARTS]
        codes = [run.result() for run in runs]
    good = set(codes) <= {0, NO_TESTS} and 0 in codes
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
