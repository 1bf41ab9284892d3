"""Run as `python -m tests.sinks.kill_kafka <broker> <place>`: die before the n-th call.

For n = 1, 2, 3 … a forked copy of this process appends to topics of its own (`<place>/<n>`) and is
killed by SIGKILL just before its n-th call of librdkafka's producer: messages may be queued, sent,
recorded or half committed. The last number is printed, of the one that came to its end. This
process itself never opens a client, so that forking it is safe.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from resources.sinks import kafka_producers
from resources.sinks.kafka import KafkaSink
from tests.contracts.sink_steps import STEPS
from tests.processes import in_child
from tests.sinks.kafka_room import options_of

_COUNTED = frozenset(
    {"init_transactions", "begin_transaction", "produce", "flush", "commit_transaction"}
)


class Countdown:
    """A producer that kills its process before a call."""

    left = 0

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._producer, name)
        return partial(_counted, found) if name in _COUNTED else found


def _counted(call: Callable[..., Any], *values: Any, **named: Any) -> Any:
    Countdown.left -= 1
    if not Countdown.left:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*values, **named)


def die_before(url: str, place: str, number: int) -> None:
    """Prepare topics, then write to them at most up to the n-th call."""
    options = options_of(url, place, transaction_timeout=20.0)
    with KafkaSink(**options) as sink:
        STEPS["append"].prepare(sink)
    Countdown.left = number
    made = kafka_producers.Producer
    kafka_producers.Producer = lambda settings: Countdown(made(settings))  # type: ignore[assignment,misc]
    with KafkaSink(**options) as sink:
        STEPS["append"].work(sink)


def main(url: str, place: str) -> None:
    for number in range(1, 100):
        code = in_child(partial(die_before, url, f"{place}/{number}", number))
        if code == 0:
            print(number)
            return
        if code != -signal.SIGKILL:
            raise SystemExit(f"call {number} ended with {code}")
    raise SystemExit("the write does not end")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
