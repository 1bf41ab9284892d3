"""`python -m benchmarks [--json] [--quick]`: every benchmark in turn, each in its own process."""

from __future__ import annotations

import subprocess
import sys

ALL = ("wire", "pipeline", "transform", "reduce", "sinks", "dagster_surface", "snapshot_memory")

if __name__ == "__main__":
    failed = 0
    for name in ALL:
        if "--json" not in sys.argv:
            print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]
        failed += subprocess.run(command, check=False).returncode != 0
    sys.exit(1 if failed else 0)
