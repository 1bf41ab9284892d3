"""Commits of a lake table: fenced, begun again after a lost race, known again if no answer came.

In: what a write makes of a snapshot. Out: one commit with the data and the feed's state.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from resources.errors import SinkUnavailable
from resources.failpoints import failpoint
from resources.sinks import shape
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import moved_watermark
from resources.sinks.lake_changes import LakeChanges
from resources.sinks.lake_check import check_fit
from resources.sinks.lake_feeds import LakeFeeds
from resources.sinks.lake_files import FileGone
from resources.sinks.lake_format import Change, FeedState, LakeFormat, LostRace, Snapshot
from resources.sinks.lake_loads import LakeLoad
from resources.sinks.lake_store import LakeStore

ATTEMPTS = 20
"""How often a write begins again because other commits came first."""
_NONCE_BITS = 62


class LakeCommits:
    """Commits to the tables of one lake.

    Args:
        store: The place.
        format: The format.
        feeds: Where feeds are noted before their first commit.
    """

    def __init__(self, store: LakeStore, format: LakeFormat, feeds: LakeFeeds) -> None:
        self._store = store
        self._format = format
        self._feeds = feeds

    def write(
        self, target: TargetTable, fence: Fence, build: Callable[[LakeChanges], Change]
    ) -> None:
        """Compare the fence, build a change, commit it with the new watermark.

        Args:
            target: The table; it must be there and fit.
            fence: Watermark to compare and set.
            build: Makes the change of a snapshot; it is asked again after a lost race.

        Raises:
            FencedOut: As `moved_watermark`.
            SchemaMismatch: The table is not there or does not fit.
            SinkUnavailable: Other commits came first too often.
        """
        for _ in range(ATTEMPTS):
            live = self._format.read(target.id)
            if live is None:
                raise shape.no_table(target.id)
            check_fit(target, live, self._format.types)
            old = live.state(fence.feed)
            mark = moved_watermark(target.id, old.watermark if old else None, fence)
            failpoint("sink.after_fence")
            changes = self.changes(target, live)
            try:
                with against(self._format, target.id, live), changes.writer.abandoned_on_error():
                    change = build(changes)
                self.commit(target.id, live, change, fence.feed, next_state(old, mark))
            except LostRace:
                changes.writer.abandon()
                continue
            failpoint("sink.after_commit")
            return
        raise too_many(target.id)

    def changes(self, target: TargetTable, live: Snapshot) -> LakeChanges:
        """Return the changes of a snapshot, of which there are none yet."""
        return LakeChanges(self._store, self._format, target, live)

    def commit(
        self, target: TargetId, live: Snapshot, change: Change, feed: Feed, state: FeedState
    ) -> None:
        """Commit a change and a feed's state against a snapshot.

        Raises:
            LostRace: Another commit came between; nothing was changed.
        """
        is_first = live.state(feed) is None

        def run(whole: Change) -> None:
            self._format.commit(target, live, whole)

        self._once(target, change, feed, state, run, is_first=is_first)

    def create(self, target: TargetId, load: LakeLoad, change: Change, state: FeedState) -> None:
        """Create a table of a load's columns with its files and its feed's state.

        Raises:
            LostRace: It is there by now.
        """

        def run(whole: Change) -> None:
            self._format.create(target, load.schema, load.partition_by, whole)

        self._once(target, change, load.feed, state, run, is_first=True)

    def _once(
        self,
        target: TargetId,
        change: Change,
        feed: Feed,
        state: FeedState,
        run: Callable[[Change], None],
        *,
        is_first: bool,
    ) -> None:
        """Run a commit; where its answer says it failed, look whether it did."""
        if is_first:
            self._feeds.note(target, feed)
        nonce = secrets.randbits(_NONCE_BITS) | 1
        failpoint("sink.before_commit")
        try:
            run(replace(change, feed=feed, state=replace(state, nonce=nonce)))
        except LostRace:
            if not self._is_there(target, feed, nonce):
                raise
        except SinkUnavailable:
            with suppress(SinkUnavailable):
                if self._is_there(target, feed, nonce):
                    return
            raise  # it may be there all the same, so its files stay

    def _is_there(self, target: TargetId, feed: Feed, nonce: int) -> bool:
        live = self._format.read(target)
        state = None if live is None else live.state(feed)
        return state is not None and state.nonce == nonce


@contextmanager
def against(format: LakeFormat, target: TargetId, live: Snapshot) -> Iterator[None]:
    """Work with the files of a snapshot, which another commit may delete meanwhile.

    Raises:
        LostRace: One did.
    """
    try:
        yield
    except FileGone:
        now = format.read(target)
        if now is None or {f.path for f in now.files} != {f.path for f in live.files}:
            raise LostRace from None
        raise


def next_state(old: FeedState | None, mark: Watermark) -> FeedState:
    """Return a feed's state with another watermark."""
    load, rows = (0, 0) if old is None else (old.load, old.load_rows)
    return FeedState(mark.seq, mark.consistent_from, mark.token, load, rows)


def too_many(target: TargetId) -> SinkUnavailable:
    """Return the error of a write that lost every race."""
    return SinkUnavailable(
        f"{ATTEMPTS} times another commit to the table came first",
        where=str(target),
        remedy="see what else writes to it so often; the run goes on from the watermark",
    )
