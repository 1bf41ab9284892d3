"""Joining the small files of a lake table, for formats whose library does not.

In: a snapshot. Out: one commit of the same rows in fewer files, each partition's by themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from resources.sinks.contract import TargetId
from resources.sinks.lake_commit import against
from resources.sinks.lake_files import FileReader, FileWriter
from resources.sinks.lake_format import Change, DataFile, LakeFormat, LostRace, Snapshot
from resources.sinks.lake_store import LakeStore

SMALL_BYTES = 16 << 20
"""Files smaller than this are joined with others of their partition."""


def join_small_files(
    store: LakeStore, format: LakeFormat, target: TargetId, live: Snapshot
) -> tuple[int, int]:
    """Join small files; returns how many, and how many they became.

    Raises:
        LostRace: Another commit came between; nothing was changed.
        SinkUnavailable: The storage failed; the files written stay, for they may be committed.
    """
    small = _small(live.files)
    if not small:
        return 0, 0
    stored = format.types.stored_schema(live.schema)
    folder = format.folder(target)
    reader = FileReader(store, folder, stored)
    writer = FileWriter(store, folder, stored, live.partition_by, f"{format.staging}part-")
    with writer.abandoned_on_error(), against(format, target, live):
        for file in small:
            for rows in reader.batches(file):
                writer.write(rows)
        files = writer.finish()
    if len(files) >= len(small):
        writer.abandon()
        return 0, 0
    try:
        format.commit(target, live, Change("maintain", files, tuple(small)))
    except LostRace:
        writer.abandon()
        raise
    return len(small), len(files)


def _small(files: Sequence[DataFile]) -> list[DataFile]:
    """Return the small files of partitions that have several."""
    groups: dict[tuple[object, ...], list[DataFile]] = defaultdict(list)
    for file in files:
        if file.size < SMALL_BYTES:
            groups[tuple(file.partition.values())].append(file)
    return [file for group in groups.values() if len(group) > 1 for file in group]
