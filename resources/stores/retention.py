"""What the change log no longer needs, and whether what it needs is there.

In: segment rows, compactions, a listing of the files. Out: deleted files, or findings.
"""

from __future__ import annotations

import time

from sqlalchemy import update

from resources.errors import CorruptEvent
from resources.failpoints import failpoint
from resources.stores.compaction import PARQUET
from resources.stores.database import StateDatabase
from resources.stores.log_files import LogFile, LogFiles, crc_of
from resources.stores.parquet_parts import ParquetFile, ParquetParts
from resources.stores.segment_file import SegmentFileReader
from resources.stores.segment_writer import SEGMENTS
from resources.stores.segments import Segment, SegmentStore
from resources.stores.tables import segments


class Retention:
    """Deletes and checks the files of one pipeline's change log.

    Rows change first and files go afterwards, so a crash between leaves orphans, never a row
    without its file.

    Args:
        db: The state database.
        store: The segment rows.
        parts: The compactions.
        files: The change log's files.
    """

    def __init__(
        self, db: StateDatabase, store: SegmentStore, parts: ParquetParts, files: LogFiles
    ) -> None:
        self._db, self._store, self._parts, self._files = db, store, parts, files

    def drop_compacted(self, before_window: str) -> list[str]:
        """Delete segment files whose rows are in Parquet; see `ChangeLog.purge`."""
        dropped = [
            s
            for s in self._store.list_bare()
            if s.file and s.part and not s.purged and s.window < before_window
        ]
        s = segments.c
        with self._db.begin() as conn:
            conn.execute(
                update(segments)
                .where(
                    s.pipeline == self._store.pipeline,
                    s.commit_window < before_window,
                    s.number <= (dropped[-1].number if dropped else 0),
                    s.part > 0,
                )
                .values(purged=True)
            )
        failpoint("purge.after_commit")
        return self._files.delete(segment.file for segment in dropped)

    def forget(self, before_window: str, upto: int | None = None) -> list[str]:
        """Remove old windows for good; see `ChangeLog.purge`."""
        old: list[Segment] = []
        for segment in self._store.list_bare():
            if segment.window and segment.window >= before_window:
                break
            if upto is not None and segment.number > upto:
                break
            old.append(segment)
        if not old:
            return []
        floor = self._store.forget(old[-1].number)
        failpoint("purge.after_commit")
        names = [s.file for s in old if s.file and not s.purged and s.number <= floor.number]
        used = {(s.window, s.part) for s in self._store.list_bare()}
        for window, part in self._parts.list_parts():
            if (window, part) not in used:
                names += [file.name for file in self._parts.files_of(window, part)]
                self._parts.remove(window, part)
        return self._files.delete(names)

    def sweep(self, older_than_seconds: float) -> list[str]:
        """Delete files that no row refers to; see `ChangeLog.sweep_orphans`."""
        # listed before the rows are read: a file that gets its row in between is then known
        found = self._files.list_files(SEGMENTS) | self._files.list_files(PARQUET)
        known = {s.file for s in self._store.list_bare() if not s.purged}
        for window, part in self._parts.list_parts():
            known |= {file.name for file in self._parts.files_of(window, part)}
        limit = time.time() - older_than_seconds
        return self._files.delete(
            name
            for name, file in sorted(found.items())
            if name not in known and file.modified < limit
        )

    def check(self, full: bool) -> list[str]:
        """Return what is wrong with sequence and files; see `ChangeLog.check`."""
        listed: list[dict[str, LogFile]] = []

        def check_file(segment: Segment) -> str | None:
            if not listed:  # after the rows were read, so that every file of theirs is in it
                listed.append(self._files.list_files(SEGMENTS))
            fault = self._fault(segment.file, segment.size_bytes, listed[0])
            if fault:
                return None if self._is_gone(segment) else fault
            return self._damage(segment) if full else None

        problems = self._store.check_continuity(check_file)
        return problems + self._check_parquet(full)

    def _check_parquet(self, full: bool) -> list[str]:
        listed = self._files.list_files(PARQUET)
        problems = []
        for window, part in self._parts.list_parts():
            for file in self._parts.files_of(window, part):
                fault = self._fault(file.name, file.size_bytes, listed)
                if fault is None and full:
                    fault = self._parquet_damage(file)
                if fault:
                    problems.append(f"window {window}, {file.rows} rows of {file.table}: {fault}")
        return problems

    def _fault(self, name: str, size_bytes: int, listed: dict[str, LogFile]) -> str | None:
        found = listed.get(name)
        if found is None:
            return f"its file {self._files.path(name)} is missing"
        if found.size_bytes != size_bytes:
            return (
                f"its file {self._files.path(name)} has {found.size_bytes} bytes instead of "
                f"{size_bytes}"
            )
        return None

    def _is_gone(self, segment: Segment) -> bool:
        now = self._store.list_segments(segment.number - 1, segment.number)
        return not now or now[0].purged

    def _damage(self, segment: Segment) -> str | None:
        reader = SegmentFileReader(self._files, segment.file, segment.size_bytes, segment.checksum)
        try:
            reader.verify()
        except CorruptEvent as error:
            return f"{error.message} ({error.where})"
        return None

    def _parquet_damage(self, file: ParquetFile) -> str | None:
        with self._files.open(file.name) as source:
            if crc_of(source) != file.checksum:
                return f"its file {self._files.path(file.name)} does not match its checksum"
        return None
