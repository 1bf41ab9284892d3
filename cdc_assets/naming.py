"""The one place that makes asset keys, partition keys and names of jobs, ops, checks and sensors.

In: pipeline names and table ids, in any alphabet. Out: names Dagster takes everywhere, that no
other table shares and that read back to the table. Imports neither Dagster nor pyarrow.

Dagster derives op output and check names from asset keys by turning `.` and `-` into `_` and
joining with `__`, and keeps one of two assets that come out equal without a word (seen on
1.13.27). So a table is two key parts, and each part is written in letters, digits and single
inner underscores. Everything else becomes `_xHEX_`, after the mapping of SQL identifiers to XML
names in SQL/XML (ISO/IEC 9075-14, 9.1).
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from resources.model.table_id import TableId

_STRANGE = re.compile(
    r"[^A-Za-z0-9_]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # leading, trailing, doubled: `__` joins key parts
    r"|_(?=x[0-9A-F])"  # looks like an escape
)
_ESCAPE = re.compile(r"_x([0-9A-F]+)_")
_WINDOW_FORMATS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d-%H:%M"}

CHANGES = "changes"
SNAPSHOT = "snapshot"
SYNC = "sync"
_JOINT = "__"
"""Between the names of file and source: no name of either has it."""
Job = Literal["sync", "snapshot", "replay", "compact", "decide", "plan", "refold", "maintain"]
Sensor = Literal["binlog", "auto_increment", "discovery"]
Check = Literal["continuity", "dirty_rows", "equality", "sinks"]
"""No name may end in `_` and another one: Dagster joins table and check names with `_`."""


def encode(name: str) -> str:
    """Return the name in letters, digits and single inner underscores, losslessly.

    Raises:
        ValueError: The name is empty.
    """
    if not name:
        raise ValueError("a name must not be empty")
    return _STRANGE.sub(lambda m: f"_x{ord(m.group()):02X}_", name)


def decode(text: str) -> str:
    """Read what `encode` wrote."""
    return _ESCAPE.sub(lambda m: chr(int(m.group(1), 16)), text)


def member_name(file: str, source: str, sink: str = "") -> str:
    """Return the name of the pipeline of one source and one sink of a file.

    The file's assets, and its jobs but for those that read a source, are named after the file.

    Args:
        file: The file's name.
        source: Which of several sources, empty if there is one; alone with it, the name is that
            of the change log too.
        sink: Which of several sinks, empty if there is one.
    """
    return _JOINT.join(filter(None, (file, source, sink)))


def file_of(pipeline: str) -> str:
    """Return the name of the file of a pipeline; its own unless it is one of several."""
    return pipeline.partition(_JOINT)[0]


def source_of(log: str) -> str:
    """Return which of several sources of a file a change log is of, empty if the file has one."""
    return log.partition(_JOINT)[2]


def changes_key(log: str) -> list[str]:
    """Return the asset key of a change log, by its name."""
    return [file_of(log), _of_source(CHANGES, log)]


def snapshot_key(log: str, sink: str = "") -> list[str]:
    """Return the asset key of the snapshot that loads one of several sinks, or the only one."""
    return [file_of(log), *filter(None, (sink,)), _of_source(SNAPSHOT, log)]


def table_key(pipeline: str, target: TableId, sink: str = "") -> list[str]:
    """Return the asset key of a target table: pipeline file, sink, namespace, table.

    Args:
        pipeline: The pipeline's name.
        target: Names of the target; those of its source table where no route renames it.
        sink: Which of several sinks, empty if there is one; it is left out of the key then.
    """
    names = [encode(target.database), encode(target.table)]
    return [file_of(pipeline), *filter(None, (sink,)), *names]


def table_of_key(key: list[str]) -> TableId:
    """Read the target back from `table_key`.

    Raises:
        ValueError: The key is not a table's.
    """
    if len(key) not in (3, 4):
        raise ValueError(f"not the key of a table: {'/'.join(key)}")
    return _table_id(key[-2], key[-1])


def table_partition(table: TableId) -> str:
    """Return the partition key of a source table in the snapshot asset: `database.table`."""
    return f"{encode(table.database)}.{encode(table.table)}"


def table_of_partition(partition: str) -> TableId:
    """Read the table back from `table_partition`.

    Raises:
        ValueError: The partition key is not a table's.
    """
    database, dot, table = partition.partition(".")
    if not (database and dot and table):
        raise ValueError(f"not the partition of a table: {partition}")
    return _table_id(database, table)


def table_partitions_name(pipeline: str) -> str:
    """Return the name of the dynamic partitions that hold a pipeline's source tables."""
    return f"{pipeline}_tables"


def window_partition(time_us: int, window: Literal["day", "hour"]) -> str:
    """Return the partition key of the window a commit time lies in.

    Args:
        time_us: Microseconds since the epoch.
        window: `day` gives `2026-01-31`, `hour` gives `2026-01-31-23:00`, in UTC: Dagster's own
            formats of daily and hourly partitions.
    """
    start = datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(minute=0)
    return start.strftime(_WINDOW_FORMATS[window])


def window_before(now: float, age: float, window: Literal["day", "hour"]) -> str:
    """Return the partition key of the window of a moment ago.

    Args:
        now: Seconds since the epoch.
        age: Seconds before it.
        window: Length of windows.
    """
    return window_partition(int((now - age) * 1e6), window)


def window_start(partition: str, window: Literal["day", "hour"]) -> datetime:
    """Read the start of a window back from `window_partition`.

    Raises:
        ValueError: The partition key is not one of such a window.
    """
    return datetime.strptime(partition, _WINDOW_FORMATS[window]).replace(tzinfo=UTC)


def job_name(pipeline: str, job: Job) -> str:
    """Return `<pipeline>_sync` and the like; only jobs that read one source are named after it."""
    return f"{_owner(pipeline, job)}_{job}"


def op_name(pipeline: str, job: Job) -> str:
    """Return the name of the op behind a job or its assets; never equal to a job's name."""
    return f"{_owner(pipeline, job)}__{job}"


def check_name(log: str, check: Check) -> str:
    """Return the name of a check; a target that several sources feed has one for each."""
    return _of_source(check, log)


def sensor_name(server: str, sensor: Sensor) -> str:
    """Return a sensor's name: the server in readable form, a hash that sets it apart, its kind.

    Args:
        server: `source.server` of the settings, any text.
        sensor: What it watches.
    """
    return f"{server_name(server)}_{sensor}"


def server_name(server: str) -> str:
    """Return a server's name for sensors, pools and tags: readable, at most 55 characters."""
    readable = re.sub(r"[^a-z0-9]+", "_", server.lower()).strip("_")[:48].rstrip("_")
    digest = hashlib.blake2b(server.encode(), digest_size=3).hexdigest()
    return f"{readable}_{digest}" if readable else f"server_{digest}"


def _of_source(name: str, log: str) -> str:
    source = source_of(log)
    return f"{name}_{source}" if source else name


def _owner(pipeline: str, job: Job) -> str:
    return pipeline if job in (SYNC, SNAPSHOT) else file_of(pipeline)


def _table_id(database: str, table: str) -> TableId:
    from resources.model.table_id import TableId  # brings pyarrow: not at a code location's import

    return TableId(decode(database), decode(table))
