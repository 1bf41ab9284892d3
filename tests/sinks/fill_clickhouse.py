"""Run as `python -m tests.sinks.fill_clickhouse <folder>`: ClickHouse's engine on a full disk.

In: a folder. Out: exit code 0 if the engine of this process, which has no other, tells that its
disk is full, loses nothing, and goes on in the same process when there is room.
"""

from __future__ import annotations

import sys
from pathlib import Path

from resources.sinks.clickhouse import ClickHouseSink
from tests.sinks.small_disk import require_survived, small_disk


def main(folder: Path) -> None:
    with small_disk(folder, 256) as disk:
        require_survived(disk, lambda: ClickHouseSink(str(disk.folder / "engine")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
