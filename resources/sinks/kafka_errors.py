"""What a broker's errors mean.

In: errors of librdkafka. Out: the project's own, with the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from resources.errors import CdcError, ConfigError, FencedOut, SinkUnavailable

_FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
    }
)
_FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Read, Write, Create and Describe on the topic",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Write and Describe on the transactional ids",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Create and IdempotentWrite on the cluster",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Read on the consumer group",
}
_CREDENTIALS = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_SETTINGS = frozenset(
    {
        *(KafkaError._INVALID_ARG, KafkaError._SSL, KafkaError.INVALID_CONFIG),
        *(KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.INVALID_PARTITIONS),
        *(KafkaError.POLICY_VIOLATION, KafkaError.TOPIC_EXCEPTION),
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
    }
)


def meaning(error: KafkaError, where: str) -> CdcError:
    """Return the project's error of a broker's or the client's.

    Args:
        error: What librdkafka says.
        where: The topic, table or broker it was about.
    """
    code, said = error.code(), f"Kafka says {error.name()}: {error.str()}"
    if code in _FENCED:
        return FencedOut(
            "another writer of this table has begun",
            where=where,
            remedy="nothing was written; start again when the other run has ended",
        )
    if code in _FORBIDDEN:
        remedy = f"grant the user {_FORBIDDEN[code]}"
        return ConfigError(said, where=where, remedy=remedy)
    if code in _CREDENTIALS:
        return ConfigError(said, where=where, remedy="check user, password and mechanism")
    if code in _SETTINGS:
        return ConfigError(said, where=where, remedy="check the settings of the sink")
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return ConfigError(
            said,
            where=where,
            remedy="set sink.max_message_bytes to what the broker and the topic take "
            "(message.max.bytes, max.message.bytes)",
        )
    return SinkUnavailable(
        said, where=where, remedy="see that the brokers run; the next run goes on from here"
    )


@contextmanager
def understood(where: str) -> Iterator[None]:
    """Turn errors of librdkafka into the project's own.

    Raises:
        CdcError: As `meaning`.
    """
    try:
        yield
    except KafkaException as error:
        raise meaning(error.args[0], where) from error
