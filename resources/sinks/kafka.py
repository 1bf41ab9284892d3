"""The Kafka sink: every change is a message in its table's topic, for others to read.

In: changes and snapshot chunks as Arrow tables. Out: debezium-json or canal-json messages. The
watermark is a message of a compacted topic, written in the same transaction as the data, so that
a reader of what is committed sees every change exactly once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal

import pyarrow as pa

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.model.change import OP
from resources.model.column_change import ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId
from resources.sinks import shape
from resources.sinks.contract import (
    Capabilities,
    Feed,
    Fence,
    RejectedWrite,
    TargetId,
    TargetTable,
    Watermark,
    Written,
)
from resources.sinks.fence import moved_watermark
from resources.sinks.kafka_canal import CanalJson
from resources.sinks.kafka_client import Cluster, Setting, Topics, is_legal
from resources.sinks.kafka_columns import KINDS, KafkaColumns
from resources.sinks.kafka_debezium import DebeziumJson
from resources.sinks.kafka_loads import KafkaLoads
from resources.sinks.kafka_log import TopicLog
from resources.sinks.kafka_messages import MessageFormat, Origin
from resources.sinks.kafka_place import KafkaPlace, TopicOptions
from resources.sinks.kafka_producers import Producers
from resources.sinks.kafka_read import read_rows
from resources.sinks.kafka_state import KafkaState, Record, table_record, watermark_record
from resources.sinks.kafka_write import find_too_long, send_rows
from resources.sinks.loading import LoadingSink

_QUEUE_KB = 64 << 10
"""Bytes of messages librdkafka holds before writing waits, in KiB."""


class KafkaSink(LoadingSink):
    """Target tables as topics of a Kafka cluster.

    Args:
        bootstrap_servers: `host:port`, several with commas.
        format: Of messages.
        schemas: Whether debezium-json messages carry their schema, as Kafka Connect's converter
            with `schemas.enable` writes them.
        topic: Name of a target's topic; `{database}` and `{table}` in it are the target's.
        schema_topic: Name of the topic that schema changes are told in, likewise; None for the
            table's own.
        state_topic: Topic of watermarks and loads, compacted. Its name is part of the
            transactional ids, so pipelines that share it fence each other as they should.
        delivery: `exactly_once` writes in transactions; `at_least_once` without, so that a crash
            may repeat messages.
        partitioning: `key`, or `single` for one partition and the order of the whole table.
        tombstones: Whether a delete is followed by a message without a value; None for what the
            format's own project does (Debezium yes, Canal no).
        truncates: Whether a message says that all rows are gone before a table is read again.
        partitions: Of new topics; -1 for the broker's default.
        replication: Copies of new topics; -1 for the broker's default.
        topic_config: Further settings of new topics of data.
        max_message_bytes: Longest message; rows beyond it are dirty rows.
        compression: Of batches of messages.
        timeout: Seconds an answer, and the delivery of a message, may take.
        transaction_timeout: Seconds after which the broker rolls back what a dead writer left.
        client: Further settings of librdkafka, those of security among them.

    Raises:
        ConfigError: A template of a name has other parts than `{database}` and `{table}`.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        format: Literal["debezium-json", "canal-json"] = "debezium-json",
        schemas: bool = False,
        topic: str = "{database}.{table}",
        schema_topic: str | None = "{database}._schema_changes",
        state_topic: str = "_cdc_state",
        delivery: Literal["exactly_once", "at_least_once"] = "exactly_once",
        partitioning: Literal["key", "single"] = "key",
        tombstones: bool | None = None,
        truncates: bool = True,
        partitions: int = -1,
        replication: int = -1,
        topic_config: Mapping[str, str] | None = None,
        max_message_bytes: int = 1_000_000,
        compression: str = "lz4",
        timeout: float = 30,
        transaction_timeout: float = 60,
        client: Mapping[str, str] | None = None,
    ) -> None:
        for template in (topic, schema_topic or ""):
            _check_template(template)
        exact = delivery == "exactly_once"
        reached = (bootstrap_servers, client or {}, timeout)
        cluster = Cluster(*reached, partitions, replication, topic_config or {})
        form: MessageFormat = (
            DebeziumJson(schemas=schemas) if format == "debezium-json" else CanalJson()
        )
        topics = Topics(cluster)
        state = KafkaState(cluster, topics, state_topic, transaction_timeout + timeout)
        producers = Producers(
            cluster,
            state_topic,
            transactions=exact,
            transaction_timeout=transaction_timeout,
            settings=_producer_settings(max_message_bytes, compression),
        )
        options = TopicOptions(
            topic=topic,
            schema_topic=schema_topic or "",
            by_key=partitioning == "key",
            tombstones=form.tombstones if tombstones is None else tombstones,
            max_message_bytes=max_message_bytes,
            truncates=truncates,
        )
        self._place = KafkaPlace(cluster, topics, state, producers, form, options)
        self._columns = KafkaColumns(self._place)
        self._loads = KafkaLoads(self._place)
        self.capabilities = _capabilities(exact, max_message_bytes)

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, mode, and a table of that name with other columns."""
        findings = shape.shape_findings(target, fold=str)
        table, place = target.schema.table, self._place
        for name in {place.topic_name(target.id), place.schema_topic(target.id)}:
            if not is_legal(name):
                message = f"{target.id}: {name!r} cannot be the name of a topic"
                remedy = "route the table to a name of letters, digits and ._-"
                findings.append(Finding("error", "name_invalid", message, remedy, table))
        if target.mode == "merge":
            error = _no_merge(target.id)
            message = f"{target.id}: {error.message}"
            findings.append(Finding("error", "no_merge", message, error.remedy, table))
        known = place.known(target.id)
        if known is not None and not findings:
            live, wanted = shape.target_schema(known.target), shape.target_schema(target)
            if {(f.name, f.type) for f in live} != {(f.name, f.type) for f in wanted}:
                shown = shape.show_schema(live), shape.show_schema(wanted)
                findings.append(shape.misfit_finding(target, *shown))
        return findings

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns messages have now, None if the target was not made."""
        known = self._place.known(target)
        return None if known is None else shape.target_schema(known.target)

    def create_table(self, target: TargetTable) -> None:
        """Create the topic, and keep the target's shape; nothing is done where it has one."""
        if target.mode == "merge":
            raise _no_merge(target.id)
        place = self._place
        place.state.make()
        place.topics.create(place.topic_name(target.id))
        if place.known(target.id) is None:
            with place.write_as(target.id, None) as transaction:
                transaction.record([table_record(target, place.topic_name(target.id))])

    def drop_table(self, target: TargetId) -> None:
        """Forget the target, its watermarks and loads, and delete its topic.

        A topic that several tables share (`sink.topic` without `{table}`) stays as it is.
        """
        place = self._place
        place.state.refresh()
        where = (target.namespace, target.table)
        keys = [k for k in place.state.find() if where in (k[1:3], k[4:6])]
        if keys:
            with place.write_as(target, None) as transaction:
                transaction.record([Record(key, None) for key in keys])
        if "{table}" in place.options.topic:
            place.topics.delete(place.topic_name(target))

    def read_table(self, target: TargetId) -> pa.Table:
        """Return every change in the topic, in the columns messages have now."""
        place = self._place
        known = place.known(target)
        if known is None:
            raise shape.no_table(target)
        patience = place.cluster.timeout
        log = TopicLog(place.cluster, place.topics, known.topic, patience)
        try:
            return read_rows(known.target, log.read_on())
        finally:
            log.close()

    def count_rows(self, target: TargetId) -> int:
        """Return the number of changes in the topic; it is read to count them."""
        return int(self.read_table(target).num_rows)

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Write a message that tells the changes; from it on messages have the new columns."""
        self._columns.alter(target, changes)

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statement the message would tell."""
        return self._columns.render(target, changes)

    def execute(self, statements: Sequence[str]) -> None:
        """Refuse statements: Kafka knows none."""
        if statements:
            raise ConfigError(
                "the Kafka sink knows no statements", remedy="decide to apply or to skip instead"
            )

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if there is none."""
        return self._place.watermark(target, feed)

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline."""
        self._place.state.refresh()
        return self._place.state.watermarks(pipeline)

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, sorted."""
        self._place.state.refresh()
        return self._place.state.feeds(target)

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Refuse: every change is kept.

        Raises:
            TerminalError: The target is one that keeps every change.
            ConfigError: It is not, which Kafka cannot be.
        """
        shape.check_mode(target, "merge")
        raise _no_merge(target.id)

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Write a message that all rows are gone, and move the watermark; returns 0."""
        place = self._place
        mark = self._moved(target, fence)
        name = place.topic_name(target.id)
        origin = Origin(fence.feed.pipeline, fence.feed.table, target, time.time_ns() // 10**6)
        with place.write_as(target.id, fence.feed) as transaction:
            failpoint("sink.after_fence")
            for partition in place.topics.partitions(name):
                value = place.form.truncate(origin, fence.new)
                transaction.send(name, None, value, partition)
            failpoint("sink.after_delete")
            transaction.record([watermark_record(target.id, fence.feed, mark)])
        failpoint("sink.after_commit")
        return 0

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Write a message per change, and the watermark, in one transaction; see `Sink.append`.

        Rows without the `_cdc_…` columns are those of a table that was read.
        """
        shape.check_mode(target, "append")
        self._check(target, rows)
        shape.check_owner(target, rows, fence.feed)
        place = self._place
        mark = self._moved(target, fence)
        topic = place.topic(target)
        with place.write_as(target.id, fence.feed) as transaction:
            failpoint("sink.after_fence")
            send_rows(transaction, place.form, topic, target, fence.feed, rows)
            failpoint("sink.after_insert")
            transaction.record([watermark_record(target.id, fence.feed, mark)])
        failpoint("sink.after_commit")
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Name the rows whose messages are too long."""
        self._check(target, rows)
        place = self._place
        feed = Feed("", target.schema.table)
        return find_too_long(place.form, place.topic(target), target, feed, rows)

    def close(self) -> None:
        """Release every client."""
        self._place.close()

    def _moved(self, target: TargetTable, fence: Fence) -> Watermark:
        """Return the watermark to write, once nobody else can write it any more.

        A writer that has lost is told before it takes the name from the one that has won.
        """
        place = self._place
        place.state.refresh()
        place.require(target)
        found = place.state.watermark(target.id, fence.feed)
        if found is not None and found.token > fence.token:
            moved_watermark(target.id, found, fence)
        place.claim(target.id, fence.feed)
        found = place.state.watermark(target.id, fence.feed)
        return moved_watermark(target.id, found, fence)

    def _check(self, target: TargetTable, rows: pa.Table) -> None:
        whole = shape.target_schema(target)
        read = pa.schema(list(whole)[: len(target.schema.columns)])
        shape.check_rows(target, rows, whole if OP in rows.column_names else read)


def _producer_settings(max_message_bytes: int, compression: str) -> dict[str, Setting]:
    return {
        "message.max.bytes": max_message_bytes,
        "compression.type": compression,
        # The one Java's clients use: the same key lies in the same partition.
        "partitioner": "murmur2_random",
        "queue.buffering.max.kbytes": max(_QUEUE_KB, 2 * max_message_bytes >> 10),
    }


def _capabilities(exact: bool, max_message_bytes: int) -> Capabilities:
    return Capabilities(
        transactions=exact,
        merge=False,
        append_loads=True,
        schema_changes=KINDS,
        decimal_precision=76,
        parallel_writers=True,
        refused_values=frozenset({f"rows whose message is over {max_message_bytes:,} bytes"}),
    )


def _no_merge(target: TargetId) -> ConfigError:
    return ConfigError(
        "a Kafka topic keeps every change and cannot be merged into",
        where=str(target),
        remedy='write `append: ["*.*"]` under `pipeline`',
    )


def _check_template(template: str) -> None:
    try:
        template.format(database="", table="")
    except (KeyError, IndexError, ValueError, AttributeError):
        raise ConfigError(
            f"{template!r} cannot be a template of topic names",
            remedy="its parts are {database} and {table}",
        ) from None
