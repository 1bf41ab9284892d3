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
Check = Literal["continuity", "dirty_rows", "equality"]
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


def member_name(file: str, source: str) -> str:
    """Return the name of the pipeline that one of several sources of a file is.

    The file's assets, and its jobs but for those that read a source, are named after the file.
    """
    return f"{file}{_JOINT}{source}"


def file_of(pipeline: str) -> str:
    """Return the name of the file of a pipeline; its own unless it is one source of several."""
    return pipeline.partition(_JOINT)[0]


def source_of(pipeline: str) -> str:
    """Return which of several sources of a file a pipeline is, empty if the file has one."""
    return pipeline.partition(_JOINT)[2]


def changes_key(pipeline: str) -> list[str]:
    """Return the asset key of a pipeline's change log."""
    return [file_of(pipeline), _of_source(CHANGES, pipeline)]


def snapshot_key(pipeline: str) -> list[str]:
    """Return the asset key of a pipeline's snapshot."""
    return [file_of(pipeline), _of_source(SNAPSHOT, pipeline)]


def table_key(pipeline: str, target: TableId) -> list[str]:
    """Return the asset key of a target table: pipeline file, namespace, table.

    Args:
        pipeline: The pipeline's name.
        target: Names of the target; those of its source table where no route renames it.
    """
    return [file_of(pipeline), encode(target.database), encode(target.table)]


def table_of_key(key: list[str]) -> TableId:
    """Read the target back from `table_key`.

    Raises:
        ValueError: The key is not a table's.
    """
    if len(key) != 3:
        raise ValueError(f"not the key of a table: {'/'.join(key)}")
    return _table_id(key[1], key[2])


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


def check_name(pipeline: str, check: Check) -> str:
    """Return the name of a check; a target that several sources feed has one for each."""
    return _of_source(check, pipeline)


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


def _of_source(name: str, pipeline: str) -> str:
    source = source_of(pipeline)
    return f"{name}_{source}" if source else name


def _owner(pipeline: str, job: Job) -> str:
    return pipeline if job in (SYNC, SNAPSHOT) else file_of(pipeline)


def _table_id(database: str, table: str) -> TableId:
    from resources.model.table_id import TableId  # brings pyarrow: not at a code location's import

    return TableId(decode(database), decode(table))
