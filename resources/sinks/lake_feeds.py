"""Which feeds write into which tables of a lake: what a table's own commits cannot be asked for.

In: feeds as they write for the first time. Out: the tables of a pipeline. A note by itself says
nothing of how far a table is; that is in the table's commits, and where it is not, the note is
passed over.

    _cdc/feeds/<pipeline>/<table>-<source>.json
"""

from __future__ import annotations

import hashlib
import json

from resources.model.table import TableId
from resources.sinks.contract import Feed, TargetId
from resources.sinks.lake_store import OWN_FOLDER, LakeStore, folder_name

_FOLDER = f"{OWN_FOLDER}/feeds"


class LakeFeeds:
    """The notes of one lake.

    Args:
        store: The place.
    """

    def __init__(self, store: LakeStore) -> None:
        self._store = store

    def note(self, target: TargetId, feed: Feed) -> None:
        """Write down that a feed is about to write into a table."""
        content = {
            "target": [target.namespace, target.table],
            "pipeline": feed.pipeline,
            "source": [feed.table.database, feed.table.table],
        }
        name = f"{_digest(target)}-{_digest(feed)}.json"
        folder = f"{_FOLDER}/{folder_name(feed.pipeline)}"
        self._store.write(f"{folder}/{name}", json.dumps(content).encode())

    def of(self, pipeline: str) -> list[tuple[TargetId, Feed]]:
        """Return the tables a pipeline's feeds have written to, and maybe no longer exist."""
        found = []
        names = self._store.list(f"{_FOLDER}/{folder_name(pipeline)}")
        for content in map(json.loads, self._store.read_all(names)):
            if content["pipeline"] == pipeline:
                feed = Feed(pipeline, TableId(*content["source"]))
                found.append((TargetId(*content["target"]), feed))
        return found

    def into(self, target: TargetId) -> list[Feed]:
        """Return the feeds that have written to a table, or were about to."""
        names = [n for n in self._store.list(_FOLDER) if _is_of(n, target)]
        contents = map(json.loads, self._store.read_all(names))
        return [
            Feed(content["pipeline"], TableId(*content["source"]))
            for content in contents
            if content["target"] == [target.namespace, target.table]
        ]

    def forget(self, target: TargetId) -> None:
        """Delete the notes of a table."""
        for name in self._store.list(_FOLDER):
            if _is_of(name, target):
                self._store.delete(name)


def _is_of(name: str, target: TargetId) -> bool:
    return name.rpartition("/")[2].startswith(f"{_digest(target)}-")


def _digest(what: TargetId | Feed) -> str:
    return hashlib.blake2b(repr(what).encode(), digest_size=8).hexdigest()
