"""One example per section of the pipeline file, with every key of it: part of the reference page.

In: nothing. Out: YAML below the top of a file. Keys that exclude one another are comments.
"""

from __future__ import annotations

TOP = """\
name: shop
description: The web shop's orders and customers.
owners: [data@example.com, "team:warehouse"]
tags: {domain: sales}
source: {type: mysql, host: db.example.com, user: cdc, password: "${env:PW}", tables: [shop.*]}
sink: {type: duckdb, path: lake.duckdb}
# sources: {}, tables: [], in place of source; sinks: {}, in place of sink
# route: [], transform: [], pipeline: {}, dirty_data: {}, rate: {}: see below
"""

SERVER = """\
source:
  type: mysql                           # or mariadb, oceanbase
  host: db.example.com                  # or socket: /run/mysqld/mysqld.sock
  port: 3306
  user: cdc
  password: ${env:PW}
  # url: mysql://cdc:${env:PW}@db.example.com:3306, in place of host, port, user, password
  tables: [shop.*, "shop_[0-9]*.orders_*"]
  exclude: ["*.*_tmp"]
  tls:
    mode: verify
    ca: certs/ca.pem
    cert: certs/client.pem
    key: certs/client.key
  server_id: 24017
  connect_timeout: 10s
  read_timeout: 10m
  heartbeat: 5s
  startup: {file: binlog.000003, position: 157}     # or initial, snapshot, latest, earliest
  stop_at: {timestamp: 2026-11-01T00:00:00Z}        # or gtid_set: …
  snapshot:
    chunk_rows: 50_000
    parallel: 4
    batch_rows: 20_000
"""

SOURCES = """\
tables: [shop.*]
sources:
  eu: {type: mysql, host: db.eu.example.com, user: cdc, password: "${env:EU_PW}"}
  us:
    type: mariadb
    host: db.us.example.com
    user: cdc
    password: ${env:US_PW}
    tables: [shop.orders, shop.countries]
    startup: latest
"""

SINKS = """\
sinks:
  lake: {type: duckdb, path: lake.duckdb}
  events:
    type: kafka
    bootstrap_servers: kafka.example.com:9092
    user: cdc
    password: ${env:KAFKA_PW}
    security: sasl_ssl
"""

FILES = """\
source:
  type: binlog_files
  path: s3://backups/shop/binlog
  tables: [shop.*]
  exclude: [shop.audit]
  startup: earliest                     # or timestamp: …, file: …, position: …, gtid_set: …
  stop_at: {timestamp: 2026-11-01T12:00:00Z}
  poll_interval: 5m
"""

SQL = """\
source:
  type: sql
  url: postgresql+psycopg://cdc:${env:PG_PASSWORD}@db.example.com/events
  tables: [public.*]
  exclude: [public.staging]
  keys: {public.clicks: click_id}
  page_rows: 50_000
  grace: 10m
  poll_interval: 5s
  # tls: {mode: verify, ca: ca.pem, cert: client.pem, key: client.key}: the MySQL family only
"""

DUCKDB = """\
sink:
  type: duckdb
  path: lake.duckdb
  memory_limit: 2GiB
  threads: 4
  lock_timeout: 30s
  types: {decimal_overflow: text}
  existing: {table: error}              # nothing of these names may be there yet
  create_table:
    - tables: [shop.orders]
      template: "CREATE TABLE {table} ({columns}, CHECK (id > 0))"
"""

CLICKHOUSE = """\
sink:
  type: clickhouse
  host: clickhouse.example.com
  port: 8443
  user: cdc
  password: ${env:CLICKHOUSE_PASSWORD}
  secure: true
  verify: true
  ca: ca.pem
  # cert: client.pem, key: client.key
  # path: clickhouse, in place of all of these: the engine in the run's own process
  strategy: auto
  final_view: "{table}_final"
  # cluster: main, replicated: true
  max_connections: 4
  connect_timeout: 10s
  timeout: 5m
  lock_timeout: 30s
  existing: {table: recreate, rows: truncate}
  create_table:
    - tables: ["*.*_log"]
      options: PARTITION BY toYYYYMM(created_at) TTL toDateTime(created_at) + INTERVAL 1 YEAR
    - template: |
        CREATE TABLE IF NOT EXISTS {table} ({columns}) ENGINE = {engine} ORDER BY ({key})
        SETTINGS storage_policy = 'cold', non_replicated_deduplication_window = 1000
"""

KAFKA = """\
sink:
  type: kafka
  bootstrap_servers: kafka-1.example.com:9093,kafka-2.example.com:9093
  security: sasl_ssl
  mechanism: SCRAM-SHA-512
  user: cdc
  password: ${env:KAFKA_PASSWORD}
  ca: ca.pem
  # cert: client.pem, key: client.key
  format: debezium-json
  schemas: false
  before: true
  topic: "shop.{database}.{table}"
  schema_topic: "shop.{database}.schema_changes"
  state_topic: _cdc_state
  delivery: exactly_once
  partitioning: key
  partitions: 6
  replication: 3
  topic_config: {retention.ms: "604800000", min.insync.replicas: "2"}
  tombstones: true
  truncates: true
  max_message_bytes: 1MB
  compression: lz4
  timeout: 30s
  transaction_timeout: 1m
"""

POSTGRES = """\
sink:
  type: postgres
  host: warehouse.example.com
  port: 5432
  database: lake
  user: cdc
  password: ${env:WAREHOUSE_PASSWORD}
  # url: postgresql://cdc:${env:WAREHOUSE_PASSWORD}@warehouse.example.com/lake, in their place
  sslmode: verify-full
  sslrootcert: ca.pem
  # sslcert: client.pem, sslkey: client.key
  family: postgres
  max_connections: 4
  lock_timeout: 1m
  types: {json_columns: jsonb}
  existing: {table: create_if_missing, rows: error}
  create_table:
    - tables: [shop.orders]
      template: CREATE TABLE {table} ({columns}) WITH (fillfactor = 80) TABLESPACE fast
    - options: WITH (autovacuum_vacuum_scale_factor = 0.02)
"""


def _lake(type_: str, location: str, own: str) -> str:
    """Return a lake's example: what every lake has, then its own keys."""
    return f"""\
sink:
  type: {type_}
  location: {location}
  storage:                              # what is left out: AWS_ENDPOINT_URL, AWS_REGION, …
    endpoint: https://s3.example.com
    region: eu-central-1
    access_key_id: cdc
    secret_access_key: ${{env:LAKE_SECRET}}
    # session_token: ${{env:LAKE_TOKEN}}
  types: {{decimal_overflow: text}}
  existing: {{table: create_if_missing, rows: error}}
  parallel: 2
{own}"""


DELTA = _lake("delta", "s3://lake/tables", "  history: 7d\n")

ICEBERG = _lake(
    "iceberg",
    "s3://lake/tables",
    """\
  history: 7d
  catalog:                              # a SQLite file in a local `location` needs none
    type: rest
    name: lake
    url: https://catalog.example.com
    options: {warehouse: lake}
    secrets: {credential: "${env:CATALOG_CREDENTIAL}"}
  table_properties: {commit.retry.num-retries: "10"}
""",
)

PAIMON = _lake(
    "paimon",
    "s3://lake/warehouse",
    """\
  history: 7d
  buckets: 4
  daily_tags: 30
  merge_engine: deduplicate
  table_options: {changelog-producer: lookup}
""",
)

PARQUET = _lake("parquet", "s3://lake/files", "")

MYSQL_SINK = """\
sink:
  type: mysql
  host: warehouse.example.com
  port: 3306
  # socket: /run/mysqld/mysqld.sock, in place of host and port
  user: cdc
  password: ${env:WAREHOUSE_PASSWORD}
  tls: {mode: verify, ca: ca.pem}
  max_connections: 4
  lock_timeout: 1m
  types: {json_columns: json}
  existing: {table: create_if_missing, rows: append}
  create_table:
    - tables: [shop.events]
      template: CREATE TABLE {table} ({columns}) ENGINE=InnoDB PARTITION BY KEY ({key}) PARTITIONS 8
    - options: ROW_FORMAT=COMPRESSED
"""

MEMORY = """\
sink:
  type: memory
  existing: {table: create_if_missing, rows: truncate}
"""

ROUTE = """\
route:
  - source: "shop_*.orders_*"           # shop_1.orders_00: {1} is 1, {2} is 00
    target: dw.orders
    # sources: [eu], in a file with `sources`
    merge: true
    shard:
      columns: {shard_db: "{database}", shard_no: "{2}"}
      in_key: true
  - source: ['/crm\\.(?P<name>\\w+)_v\\d+/', crm.people]
    target: "dw.crm_{table}"
"""

TRANSFORM = """\
transform:
  - source: shop.users
    projection: ["*", "upper(name) AS name_upper", "date_format(created_at, '%Y-%m') AS month"]
    filter: "status <> 'test'"
    primary_keys: [id, month]
    partition_keys: [month]
    soft_delete: _deleted
    exclude: [password, "*_internal"]
    mask:
      email: email
      phone: {kind: phone, keep_last: 2, character: "#"}
      iban: {kind: partial, keep_first: 4}
      ssn: {kind: hmac, key: "${env:MASK_KEY}"}
      tax_no: {kind: hash, salt: "${env:MASK_SALT}"}
      postcode: {kind: truncate, length: 2}
      remarks: {kind: fixed, value: removed}
    rules:
      - {column: amount, not_null: true, min: 0, max: 1_000_000, on_fail: dirty}
      - {column: country, min_length: 2, max_length: 2, regex: "^[A-Z]+$"}
      - {name: paid_has_date, expression: "status <> 'paid' OR paid_at IS NOT NULL", on_fail: skip}
    functions: my_functions.py
"""

PIPELINE = """\
pipeline:
  window: day
  commit_interval: 10s
  segment_rows: 1_000_000
  segment_bytes: 256MB
  apply_rows: 1_000_000
  follow_for: 10m
  report_interval: 60s
  retention: {change_log: 14d, lagging: 60d}
  schema_changes:                       # or one policy: `schema_changes: evolve`
    default: lenient
    events: {drop_column: hold, truncate_table: ignore}
    tables:
      - tables: ["shop.audit_*"]
        default: exception
        events: {add_column: evolve}
  match_routes: first
  target: "{database}.ods_{table}"
  type_mapping: [tinyint1-to-bool]
  keep: all
  reread: true
  on_purged: fail
  memory: 512MB
  change_log: s3://lake/cdc/shop
  sensor_interval: 30s
  append: ["shop.audit_*"]
"""

DIRTY_DATA = """\
dirty_data:
  max_rows: 1000
  max_ratio: 0.01
  min_rows: 10_000
  keep: 30d
  zero_dates: dirty
  image: true
"""

RATE = """\
rate:
  rows_per_second: 200_000
  bytes_per_second: 50MB
"""

EXAMPLES = {
    "": TOP,
    "sources": SOURCES,
    "sinks": SINKS,
    "source mysql": SERVER,
    "source binlog_files": FILES,
    "source sql": SQL,
    "sink duckdb": DUCKDB,
    "sink clickhouse": CLICKHOUSE,
    "sink kafka": KAFKA,
    "sink postgres": POSTGRES,
    "sink mysql": MYSQL_SINK,
    "sink delta": DELTA,
    "sink iceberg": ICEBERG,
    "sink paimon": PAIMON,
    "sink parquet": PARQUET,
    "sink memory": MEMORY,
    "route[]": ROUTE,
    "transform[]": TRANSFORM,
    "pipeline": PIPELINE,
    "dirty_data": DIRTY_DATA,
    "rate": RATE,
}
"""Examples by the section they are shown at, unions by the first `type` of the section too."""
