"""What `benchmarks.wire` runs in a process of its own: one stretch, and what it cost there.

In: a JSON object of host, port, stretch and `first`, as the only argument. Out: one JSON line.
With `first` the process ends at the first decoded batch and tells the time of that moment by the
clock that all processes share; else it reads the whole stretch and tells its peak memory.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.wire_ours import require_rows, settings_of, slices_of
from benchmarks.wire_stretch import stretch_from_json


def main() -> None:
    """Read the stretch of the argument."""
    wanted = json.loads(sys.argv[1])
    stretch = stretch_from_json(wanted["stretch"])
    began = time.monotonic()
    rows = 0
    for part in slices_of(settings_of(wanted["host"], wanted["port"]), stretch, stretch.end):
        rows += sum(batch.rows.num_rows for batch in part.batches)
        if rows and wanted["first"]:
            break
    ended = time.monotonic()
    if not wanted["first"]:
        require_rows(rows, stretch.wanted_rows)
    print(json.dumps({"seconds": ended - began, "ended": ended, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """Return the highest resident size of this process in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
