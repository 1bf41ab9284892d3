"""Loads into topics: the rows of a table as they are, as messages of rows that were read.

In: chunks. Out: their messages, each chunk's in one transaction with its mark; the feed's
watermark once all are in. Messages cannot be taken back, so a table that is read again begins with
a message that all rows are gone, and ends with the changes since its copy began.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import pyarrow as pa

from resources.failpoints import failpoint
from resources.model.table import TableId
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import check_token
from resources.sinks.kafka_messages import Origin
from resources.sinks.kafka_place import KafkaPlace
from resources.sinks.kafka_state import Key, Record, table_record, watermark_record
from resources.sinks.kafka_write import send_rows
from resources.sinks.shape import (
    check_mode,
    check_owner,
    check_rows,
    load_of_another,
    misfit,
    no_load,
    show_schema,
)


class KafkaLoads:
    """The loads of one sink."""

    def __init__(self, place: KafkaPlace) -> None:
        self._place = place

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Start a load or keep the one of this id; see `Sink.begin_load`."""
        check_mode(target, "append")
        place = self._place
        place.state.make()
        topic = place.topic_name(target.id)
        place.topics.create(topic)
        place.claim(target.id, feed)
        found = place.state.get(_load_key(target.id, load_id))
        if found is not None:
            if _feed_of(found) != feed:
                raise load_of_another(target.id, load_id, str(_feed_of(found)))
            return
        forgotten, sent = self._others(target.id, feed)
        sent |= place.state.watermark(target.id, feed) is not None
        source = [feed.pipeline, feed.table.database, feed.table.table]
        value = {"feed": source, "columns": _shape(target), "finished": None}
        with place.write_as(target.id, feed) as transaction:
            if sent and place.options.truncates and not target.owner:
                now_ms = time.time_ns() // 10**6
                origin = Origin(feed.pipeline, feed.table, target, now_ms)
                # In every partition, for a reader of one of them alone.
                for partition in place.topics.partitions(topic):
                    transaction.send(topic, None, place.form.truncate(origin, 0), partition)
            transaction.record([*forgotten, Record(_load_key(target.id, load_id), value)])
            failpoint("sink.load.after_begin")

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that are in, and their row counts."""
        self._place.state.refresh()
        return self._known(target, load_id)

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Write a chunk and its mark in one transaction; see `Sink.load_chunk`."""
        place = self._place
        place.state.refresh()
        feed = _feed_of(self._open(target, load_id))
        place.claim(target.id, feed)
        found = self._open(target, load_id)
        there = self._known(target.id, load_id)
        if chunk in there:
            return there[chunk]
        if found["finished"] is not None:
            raise no_load(target.id, load_id)
        topic, written = place.topic(target), 0
        expected = target.schema.arrow()
        with place.write_as(target.id, feed) as transaction:
            for part in rows:
                check_rows(target, part, expected)
                check_owner(target, part, feed)
                send_rows(transaction, place.form, topic, target, feed, part, load_id)
                written += part.num_rows
                failpoint("sink.load.after_rows")
            mark = Record((*_chunk_keys(target.id, load_id), chunk), {"rows": written})
            transaction.record([mark])
            failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return written

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return no rows: messages of several feeds stand beside each other."""
        return target.schema.arrow().empty_table()

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Set the feed's watermark where the load begins; see `Sink.finish_load`.

        The columns of messages become the load's, unless columns are kept or feeds share them.
        """
        place = self._place
        place.claim(target.id, fence.feed)
        found = self._open(target, load_id)
        if _feed_of(found) != fence.feed:
            raise load_of_another(target.id, load_id, str(_feed_of(found)))
        if found["finished"] is not None:
            return int(str(found["finished"]))
        check_token(target.id, place.state.watermark(target.id, fence.feed), fence)
        rows = sum(self._known(target.id, load_id).values())
        mark = Watermark(fence.new, consistent_from, fence.token)
        done = Record(_load_key(target.id, load_id), {**found, "finished": rows})
        records = [done, watermark_record(target.id, fence.feed, mark)]
        if not (keep or target.owner) or place.state.table(target.id) is None:
            records.append(table_record(target, place.topic_name(target.id)))
        with place.write_as(target.id, fence.feed) as transaction:
            transaction.record(records)
            failpoint("sink.finish.after_watermark")
        failpoint("sink.finish.after_commit")
        return rows

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Forget a load; its messages stay."""
        state = self._place.state
        state.refresh()
        found = state.get(_load_key(target, load_id))
        if found is None or found["finished"] is not None:
            return
        with self._place.write_as(target, _feed_of(found)) as transaction:
            transaction.record(self._forgotten(target, load_id))

    def _known(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that were in when the state was refreshed last."""
        state = self._place.state
        return {
            int(key[4]): int((state.get(key) or {})["rows"])
            for key in state.find("chunk", target.namespace, target.table, load_id)
        }

    def _open(self, target: TargetTable, load_id: str) -> dict[str, object]:
        found = self._place.state.get(_load_key(target.id, load_id))
        if found is None:
            raise no_load(target.id, load_id)
        if found["columns"] != _shape(target):
            raise misfit(target.id, str(found["columns"]), _shape(target))
        return found

    def _others(self, target: TargetId, feed: Feed) -> tuple[list[Record], bool]:
        """Return what forgets the feed's other loads, and whether they sent anything."""
        state, records, sent = self._place.state, [], False
        for key in state.find("load", target.namespace, target.table):
            if _feed_of(state.get(key) or {}) == feed:
                forgotten = self._forgotten(target, str(key[3]))
                sent |= len(forgotten) > 1
                records += forgotten
        return records, sent

    def _forgotten(self, target: TargetId, load_id: str) -> list[Record]:
        """Return what forgets a load: its marks first, for as long as it is there they count."""
        chunks = self._place.state.find(*_chunk_keys(target, load_id))
        return [*(Record(key, None) for key in chunks), Record(_load_key(target, load_id), None)]


def _shape(target: TargetTable) -> str:
    return show_schema(pa.schema([pa.field(c.name, c.type) for c in target.schema.columns]))


def _feed_of(load: dict[str, object]) -> Feed:
    pipeline, database, table = map(str, load["feed"])  # type: ignore[call-overload]
    return Feed(pipeline, TableId(database, table))


def _load_key(target: TargetId, load_id: str) -> Key:
    return ("load", target.namespace, target.table, load_id)


def _chunk_keys(target: TargetId, load_id: str) -> Key:
    return ("chunk", target.namespace, target.table, load_id)
