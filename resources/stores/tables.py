"""The tables of the state store, for SQLite, PostgreSQL and MySQL alike.

Times are microseconds since the epoch by the database's own clock; positions, schemas and the
like are JSON texts. Names compare byte by byte: MySQL's default collations would not.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

SCHEMA_VERSION = 4


def _name(length: int) -> TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


def _text() -> TypeEngine[str]:
    exact = mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")
    return Text().with_variant(exact, "mysql", "mariadb")


def _bytes() -> TypeEngine[bytes]:
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def _id() -> TypeEngine[int]:
    # SQLite numbers rows by itself only under the type INTEGER
    return BigInteger().with_variant(Integer(), "sqlite")


metadata = MetaData()

state_version = Table(
    "cdc_state_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)

tokens = Table(
    "cdc_tokens",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
)

leases = Table(
    "cdc_leases",
    metadata,
    Column("name", _name(400), primary_key=True),
    Column("holder", _name(400), nullable=False),
    Column("process", _name(200), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("acquired_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)

origins = Table(
    "cdc_origins",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("position", _text(), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    # retention: segments up to this number are gone, the next one starts at this position
    Column("floor_number", BigInteger, nullable=False),
    Column("floor_position", _text(), nullable=False),
    Column("applied_number", BigInteger, nullable=False),
)

# the sinks that read a log which several share: how far each has got, and where it is
log_readers = Table(
    "cdc_log_readers",
    metadata,
    Column("log", _name(100), primary_key=True),
    Column("pipeline", _name(100), primary_key=True),
    Column("place", _text(), nullable=False),
    Column("capture_filter", _text(), nullable=False),
    Column("applied_number", BigInteger, nullable=False),
    Column("offered_number", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),
)

segments = Table(
    "cdc_segments",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("start_position", _text(), nullable=False),
    Column("end_position", _text(), nullable=False),
    Column("commit_window", _name(40), nullable=False),
    Column("file", _name(200), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("transactions", BigInteger, nullable=False),
    Column("first_ts_us", BigInteger, nullable=False),
    Column("last_ts_us", BigInteger, nullable=False),
    Column("checksum", _name(40), nullable=False),
    Column("capture_filter", _name(200), nullable=False),
    Column("committed_us", BigInteger, nullable=False),
    Column("run_id", _name(400), nullable=False),
    Column("token", BigInteger, nullable=False),
    # the compaction its rows went into (0: none yet), and whether its own file was deleted since
    Column("part", Integer, nullable=False),
    Column("purged", Boolean, nullable=False),
    Index("cdc_segments_window", "pipeline", "commit_window", "number"),
)

segment_tables = Table(
    "cdc_segment_tables",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("database_name", _name(200), primary_key=True),
    Column("table_name", _name(200), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("row_count", BigInteger, nullable=False),
    Column("kinds", _text(), nullable=False),
    Column("schemas", _text(), nullable=False),
    Column("notice_count", Integer, nullable=False),
    Column("notices", _text(), nullable=False),
    Index("cdc_segment_tables_number", "pipeline", "number"),
)

# the last segment with rows or notices of a table that retention has removed
table_floors = Table(
    "cdc_table_floors",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("database_name", _name(200), primary_key=True),
    Column("table_name", _name(200), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

compactions = Table(
    "cdc_compactions",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("commit_window", _name(40), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("files", _text(), nullable=False),
    Column("committed_us", BigInteger, nullable=False),
)

schema_versions = Table(
    "cdc_schema_versions",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("database_name", _name(200), primary_key=True),
    Column("table_name", _name(200), primary_key=True),
    Column("fingerprint", _name(32), primary_key=True),
    Column("table_schema", _text(), nullable=False),
    Column("first_seen_us", BigInteger, nullable=False),
)

# what the source remembers of a table's shape at the log's end; a database is a table without name
table_shapes = Table(
    "cdc_table_shapes",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("database_name", _name(200), primary_key=True),
    Column("table_name", _name(200), primary_key=True),
    Column("shape", _text(), nullable=False),
)

snapshots = Table(
    "cdc_snapshots",
    metadata,
    Column("load_id", _name(40), primary_key=True),
    Column("pipeline", _name(100), nullable=False),
    Column("database_name", _name(200), nullable=False),
    Column("table_name", _name(200), nullable=False),
    Column("table_schema", _text(), nullable=False),
    Column("base_seq", BigInteger, nullable=False),
    Column("low_position", _text(), nullable=False),
    Column("high_position", _text(), nullable=True),
    Column("state", _name(20), nullable=False),
    # 1 while open, else NULL: NULLs are distinct, so a table has one open snapshot at most
    Column("open_mark", Integer, nullable=True),
    Column("planned", Boolean, nullable=False),
    Column("rows_estimated", BigInteger, nullable=False),
    Column("rows_copied", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger, nullable=True),
    Column("reason", _text(), nullable=False),
    UniqueConstraint("pipeline", "database_name", "table_name", "open_mark"),
)

# the rules a snapshot is loaded by; one begun by other rules is not gone on with
snapshot_rules = Table(
    "cdc_snapshot_rules",
    metadata,
    Column("load_id", _name(40), primary_key=True),
    Column("rules", _text(), nullable=False),
)

chunks = Table(
    "cdc_chunks",
    metadata,
    Column("load_id", _name(40), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("chunk", _text(), nullable=False),
)

table_states = Table(
    "cdc_table_states",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    Column("database_name", _name(200), primary_key=True),
    Column("table_name", _name(200), primary_key=True),
    Column("status", _name(20), nullable=False),
    Column("reason", _text(), nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

dirty_rows = Table(
    "cdc_dirty_rows",
    metadata,
    Column("id", _id(), primary_key=True, autoincrement=True),
    Column("pipeline", _name(100), nullable=False),
    Column("identity", _name(40), nullable=False),
    Column("stage", _name(20), nullable=False),
    Column("database_name", _name(200), nullable=False),
    Column("table_name", _name(200), nullable=False),
    Column("target", _name(400), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("op", Integer, nullable=False),
    Column("row_key", _text(), nullable=False),
    Column("log_position", _text(), nullable=False),
    Column("field", _name(200), nullable=False),
    Column("error", _name(200), nullable=False),
    Column("message", _text(), nullable=False),
    Column("image", _bytes(), nullable=False),
    Column("raw", _bytes(), nullable=False),
    Column("ts_us", BigInteger, nullable=False),
    Column("first_seen_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("state", _name(20), nullable=False),
    Column("reason", _text(), nullable=False),
    UniqueConstraint("pipeline", "identity"),
    Index("cdc_dirty_rows_target", "pipeline", "state", "target"),
)

# schema changes of the sources and what was decided about each
schema_changes = Table(
    "cdc_schema_changes",
    metadata,
    Column("id", _id(), primary_key=True, autoincrement=True),
    Column("pipeline", _name(100), nullable=False),
    Column("identity", _name(40), nullable=False),
    Column("database_name", _name(200), nullable=False),
    Column("table_name", _name(200), nullable=False),
    Column("target", _name(400), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("event", _name(40), nullable=False),
    Column("column_name", _name(200), nullable=False),
    Column("statement", _text(), nullable=False),
    Column("log_position", _text(), nullable=False),
    Column("type_before", _text(), nullable=False),
    Column("type_after", _text(), nullable=False),
    Column("change_class", _name(20), nullable=False),
    Column("policy", _name(20), nullable=False),
    Column("target_ddl", _text(), nullable=False),
    Column("why", _text(), nullable=False),
    Column("state", _name(20), nullable=False),
    Column("replacement", _text(), nullable=False),
    Column("decided_by", _name(200), nullable=False),
    Column("reason", _text(), nullable=False),
    Column("first_seen_us", BigInteger, nullable=False),
    Column("decided_us", BigInteger, nullable=True),
    UniqueConstraint("pipeline", "identity"),
    Index("cdc_schema_changes_state", "pipeline", "state"),
)

# the shape each feed of a target had when it was last applied
feeds = Table(
    "cdc_feeds",
    metadata,
    Column("pipeline", _name(100), primary_key=True),
    # of the three names below, which are too long for a key together
    Column("identity", _name(40), primary_key=True),
    Column("database_name", _name(200), nullable=False),
    Column("table_name", _name(200), nullable=False),
    Column("target", _name(400), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("table_schema", _text(), nullable=False),
    Column("column_sets", _text(), nullable=False),
    # what the pipeline file said of the feed
    Column("config", _text(), nullable=False),
    Column("saved_us", BigInteger, nullable=False),
)
