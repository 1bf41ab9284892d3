"""Work done in processes of its own, so that tests meet real races and real kills."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from resources.errors import CdcError
from resources.failpoints import VARIABLE
from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase
from resources.stores.leases import Lease, LeaseStore
from resources.stores.segments import Segment, SegmentStore
from resources.stores.snapshots import SnapshotStore
from resources.stores.table_states import TableStateStore
from tests.processes import CONTEXT
from tests.stores.samples import ORDERS, PIPELINE, USERS, add_segment, position, schema_of


def run_together(work: str, arguments: Sequence[tuple[Any, ...]]) -> list[str]:
    """Run a function of this file in several processes at once; returns what each said.

    A process answers the function's result as text, or the class name of a project error.
    """
    barrier, answers = CONTEXT.Barrier(len(arguments)), CONTEXT.Queue()
    processes = [
        CONTEXT.Process(target=_answer, args=(work, given, barrier, answers)) for given in arguments
    ]
    for process in processes:
        process.start()
    said = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    return said


def start(work: str, *arguments: Any, failpoint: str = "") -> ForkServerProcess:
    """Start one process and leave it running."""
    process = CONTEXT.Process(target=_plain, args=(work, arguments, failpoint))
    process.start()
    return process


def open_empty(url: str) -> str:
    db = StateDatabase(url)
    return str(LeaseStore(db).next_token())


def acquire(url: str, name: str, holder: str) -> str:
    LeaseStore(StateDatabase(url)).acquire(name, holder)
    return "acquired"


def draw_tokens(url: str, count: int) -> str:
    leases = LeaseStore(StateDatabase(url))
    return ",".join(str(leases.next_token()) for _ in range(count))


def ensure_origin(url: str, offset: int) -> str:
    return str(SegmentStore(StateDatabase(url), PIPELINE).ensure_origin(position(offset)))


def commit(url: str, segment: Segment, lease_token: int) -> str:
    lease = Lease("capture", "a run", lease_token, 60)
    SegmentStore(StateDatabase(url), PIPELINE).commit(segment, lease)
    return "committed"


def start_snapshot(url: str) -> str:
    store = SnapshotStore(StateDatabase(url), PIPELINE)
    store.start(ORDERS, schema_of(ORDERS), 0, position(1), 10)
    return "started"


def register(url: str) -> str:
    store = TableStateStore(StateDatabase(url), PIPELINE)
    return ",".join(str(table) for table in store.register([ORDERS, USERS]))


def hold_lease(url: str, ready: str) -> None:
    with LeaseStore(StateDatabase(url)).held("capture", "run 1", 1.0):
        Path(ready).touch()
        time.sleep(60)


def write_segments(url: str, location: str, count: int) -> None:
    db = StateDatabase(url)
    log = ChangeLog(db, PIPELINE, location)
    lease = LeaseStore(db).acquire("capture", f"pid {os.getpid()}", 0.01)
    for _ in range(count):
        add_segment(log, lease, {ORDERS: 10, USERS: 5})


def compact(url: str, location: str, window: str, before: str) -> None:
    log = ChangeLog(StateDatabase(url), PIPELINE, location)
    log.compact(window)
    log.purge(before)


def _answer(work: str, given: tuple[Any, ...], barrier: Any, answers: Any) -> None:
    barrier.wait(60)
    try:
        answers.put(globals()[work](*given))
    except CdcError as error:
        answers.put(type(error).__name__)
    barrier.wait(60)  # what a process that ended held would be free


def _plain(work: str, given: tuple[Any, ...], failpoint: str) -> None:
    if failpoint:
        os.environ[VARIABLE] = failpoint
    globals()[work](*given)
