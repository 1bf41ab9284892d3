"""Run as `python -m tests.sinks.kill_mysql <step> <options>`: die before the n-th write, again.

Reads numbers from its standard input. For each, a forked copy of this process does the step's
preparation and the step on an empty server, and ends without any clean-up just before the step's
n-th statement that is no SELECT. Its exit code is printed; before it, if the step came to its end,
how many such statements it has. `options` are those of `MySQLSink`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from resources.sinks.mysql import MySQLSink
from resources.sinks.mysql_session import Session
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.processes import in_child
from tests.sinks.count_down import count_down

_READS = ("SELECT", "\nSELECT", "SET ", "START", "USE", "SHOW", "ROLLBACK")
_CALLS = ((Session, "query"), (Session, "load"))


def main(step: str, options: dict[str, Any]) -> None:
    def die(number: int) -> None:
        with MySQLSink(**options) as sink:
            ALL_STEPS[step].prepare(sink)
            sink.list_watermarks("")  # the ledger is there even if nothing was prepared
        last = MySQLSink(**options)
        left = count_down(_CALLS, _READS, number)
        ALL_STEPS[step].work(last)
        print(number - left[0], flush=True)

    for line in sys.stdin:
        number = int(line)
        print(in_child(lambda number=number: die(number)), flush=True)  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
