"""The `sink` section of Kafka.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_types import (
    Kind,
    LocalPath,
    Part,
    PositiveCount,
    PositiveDuration,
    PositiveSize,
    Secret,
)

_TLS = frozenset({"ssl", "sasl_ssl"})
_SASL = frozenset({"sasl_plaintext", "sasl_ssl"})
_BROKER_DEFAULT = -1


class KafkaSinkSettings(Part):
    """Every change as a message in a topic per table."""

    type: Literal["kafka"]
    """A Kafka cluster, or one that speaks its protocol."""
    bootstrap_servers: str = Field(min_length=1)
    """`host:port` of some brokers, with commas between them."""
    format: Literal["debezium-json", "canal-json"] = "debezium-json"
    """Format of messages."""
    schemas: bool = False
    """Whether debezium-json messages carry their schema, as Kafka Connect's JSON converter with
    `schemas.enable` writes them."""
    before: bool = True
    """Whether updates say what the row was; the change log then keeps both images."""
    topic: str = "{database}.{table}"
    """Name of a table's topic; `{database}` and `{table}` are the target's."""
    schema_topic: str | None = "{database}._schema_changes"
    """Name of the topic that tells changes of columns, likewise; null for the table's own."""
    state_topic: str = "_cdc_state"
    """Topic of watermarks and loads, compacted. Pipelines may share it."""
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """`exactly_once` writes in transactions; `at_least_once` without, so that a crash may repeat
    messages."""
    partitioning: Literal["key", "single"] = "key"
    """`key`: a row's messages lie in one partition, in order; `single`: all of a table do."""
    tombstones: bool | None = None
    """Whether a delete is followed by a message without a value; left out, as the format's own
    project does: debezium-json yes, canal-json no."""
    truncates: bool = True
    """Whether a message says that all rows are gone before a table is read again."""
    partitions: PositiveCount | None = None
    """Partitions of new topics; the broker's default if left out."""
    replication: PositiveCount | None = None
    """Copies of new topics; the broker's default if left out."""
    topic_config: Annotated[dict[str, str], Kind("mapping of name to value")] = Field(
        default_factory=dict
    )
    """Further settings of new topics, such as `retention.ms`."""
    max_message_bytes: PositiveSize = 1_000_000
    """Longest message; the topic's `max.message.bytes` holds too. Rows beyond it are dirty rows."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    """Of batches of messages."""
    timeout: PositiveDuration = 30.0
    """How long an answer, and the delivery of a message, may take."""
    transaction_timeout: PositiveDuration = 60.0
    """How long one write may take, and how long what a dead writer left holds up readers; the
    broker's `transaction.max.timeout.ms` at most."""
    security: Literal["ssl", "sasl_ssl", "plaintext", "sasl_plaintext"] = "ssl"
    """How connections are made; the `plaintext` ones send everything in clear text."""
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    """How user and password are told, where `security` begins with `sasl`."""
    user: str | None = None
    """User name."""
    password: Secret | None = None
    """Exactly one environment reference."""
    ca: LocalPath | None = None
    """File with the certificate authority; the system's own if left out."""
    cert: LocalPath | None = None
    """File with the client's certificate."""
    key: LocalPath | None = None
    """File with the client certificate's key."""

    @model_validator(mode="after")
    def _check_security(self) -> KafkaSinkSettings:
        named = self.user is not None and self.password is not None
        if (self.security in _SASL) != named or (self.user is None) != (self.password is None):
            raise PydanticCustomError(
                "security",
                "needs `user` and `password` where `security` begins with sasl, and only there",
            )
        given = [k for k in ("ca", "cert", "key") if k in self.model_fields_set]
        if given and self.security not in _TLS:
            raise PydanticCustomError(
                "security",
                "`security: {security}` has no `{names}`",
                {"security": self.security, "names": "`, `".join(given)},
            )
        if self.schemas and self.format != "debezium-json":
            raise PydanticCustomError("schemas", "only debezium-json has `schemas`")
        return self


def kafka_options(sink: KafkaSinkSettings) -> dict[str, object]:
    """Return the arguments of the Kafka sink; secrets as they are in the settings."""
    client = {
        "security.protocol": sink.security,
        "sasl.mechanism": sink.mechanism if sink.security in _SASL else None,
        "sasl.username": sink.user,
        "sasl.password": sink.password.get_secret_value() if sink.password else None,
        "ssl.ca.location": sink.ca,
        "ssl.certificate.location": sink.cert,
        "ssl.key.location": sink.key,
    }
    same = (
        *("bootstrap_servers", "format", "schemas", "topic", "schema_topic", "state_topic"),
        *("delivery", "partitioning", "tombstones", "truncates", "topic_config"),
        *("max_message_bytes", "compression", "timeout", "transaction_timeout"),
    )
    return {
        **{name: getattr(sink, name) for name in same},
        "partitions": sink.partitions or _BROKER_DEFAULT,
        "replication": sink.replication or _BROKER_DEFAULT,
        "client": {name: value for name, value in client.items() if value is not None},
    }
