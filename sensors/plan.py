"""What a tick decides, without Dagster and without a server.

In: what was seen, and the cursor of the tick before. Out: which runs to ask for, or why none, and
the next cursor. The cursor is small, since every tick stores it, and only a hint: what a run reads
is decided by the pipeline's own state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

RunState = Literal["none", "in_flight", "succeeded", "failed"]

FIRST_RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 3600.0
UNREACHABLE_TICKS = 5
"""Ticks in a row that may find the server away before a tick fails for all to see."""
SINGLE_PARTITIONS = 10
"""New tables that get a run each; more of them share one run that loads all."""


@dataclass(frozen=True)
class LastRun:
    """The newest run of a pipeline's job.

    Args:
        state: How it is doing.
        ended: When it ended, seconds since the epoch; 0 if it did not.
    """

    state: RunState = "none"
    ended: float = 0.0


@dataclass(frozen=True)
class Cursor:
    """What a tick hands to the next.

    Args:
        position: The position runs were last asked for.
        epoch: How often runs were asked for; makes run keys that are never used twice, since
            Dagster takes a run key as spent even if its run failed.
        failures: Rounds in a row that were asked for after a failed run.
        unreachable: Ticks in a row that could not reach the server.
    """

    position: str = ""
    epoch: int = 0
    failures: int = 0
    unreachable: int = 0

    def to_text(self) -> str:
        """Return the form Dagster keeps."""
        return json.dumps(self.__dict__, separators=(",", ":"))


@dataclass(frozen=True)
class Ask:
    """A run to ask for.

    Args:
        pipeline: Whose.
        key: Its run key.
        partition: The partition to load, empty for a run without one.
    """

    pipeline: str
    key: str
    partition: str = ""


@dataclass(frozen=True)
class Plan:
    """What a tick does.

    Args:
        cursor: The next cursor.
        asks: Runs to ask for.
        skip: Why there is none.
    """

    cursor: Cursor
    asks: tuple[Ask, ...] = ()
    skip: str = ""


def read_cursor(text: str | None) -> Cursor:
    """Read what `Cursor.to_text` wrote; anything else counts as no cursor."""
    try:
        content = json.loads(text or "{}")
        return Cursor(
            str(content.get("position", "")),
            int(content.get("epoch", 0)),
            int(content.get("failures", 0)),
            int(content.get("unreachable", 0)),
        )
    except (ValueError, TypeError, AttributeError):
        return Cursor()


def plan_sync(
    server: str, position: str, runs: Mapping[str, LastRun], cursor: Cursor, now: float
) -> Plan:
    """Decide about the syncs of one server's pipelines.

    Nothing is asked for while one of their runs is queued or started: it reads to the end it
    finds when it begins. After a failed run the next one waits, longer each time, even if the
    position moves on.

    Args:
        server: Names the server, for run keys.
        position: Where its log ends now, in words.
        runs: The newest sync run of every pipeline of the server.
        cursor: Of the tick before.
        now: Seconds since the epoch.
    """
    seen = replace(cursor, unreachable=0)
    flying = sorted(name for name, run in runs.items() if run.state == "in_flight")
    moved = position != cursor.position
    if flying:
        lag = f"; {server} is at {position}, the last request was for {cursor.position}"
        return Plan(seen, skip=f"{', '.join(flying)}: a run is queued or started" + lag * moved)
    failed = {name: run for name, run in runs.items() if run.state == "failed"}
    if failed:
        pause = min(FIRST_RETRY_SECONDS * 2.0**cursor.failures, LONGEST_RETRY_SECONDS)
        wait = max(run.ended for run in failed.values()) + pause - now
        if wait > 0:
            names = ", ".join(sorted(failed))
            return Plan(seen, skip=f"{names}: the last run failed, next one in {wait:.0f} s")
    elif not moved:
        return Plan(seen, skip=f"{server} is still at {position}")
    due = sorted(runs) if moved else sorted(failed)
    epoch = cursor.epoch + 1
    asks = tuple(Ask(name, f"{server}@{position}#{epoch}/{name}") for name in due)
    return Plan(Cursor(position, epoch, cursor.failures + 1 if failed else 0), asks)


def plan_unreachable(cursor: Cursor, reason: str) -> Plan | None:
    """Decide what a tick does that cannot reach the server: skip, or fail (None) after some.

    A tick that fails keeps its cursor, so the ticks go on failing until the server is back.
    """
    if cursor.unreachable >= UNREACHABLE_TICKS:
        return None
    return Plan(replace(cursor, unreachable=cursor.unreachable + 1), skip=reason)


def plan_snapshots(
    pipeline: str, new: Sequence[str], all_tables_run: RunState, cursor: Cursor
) -> Plan:
    """Decide how new tables are loaded.

    Args:
        pipeline: Whose.
        new: Partition keys of tables that have no partition yet.
        all_tables_run: State of the newest run that loads all tables; while it flies it may
            load these as well, so they are left to a later tick.
        cursor: Of the tick before.
    """
    seen = replace(cursor, unreachable=0)
    if not new:
        return Plan(seen, skip="no new table")
    if all_tables_run == "in_flight":
        return Plan(seen, skip=f"{len(new)} new tables; a run that loads all is queued or started")
    epoch = cursor.epoch + 1
    after = replace(seen, epoch=epoch)
    if len(new) > SINGLE_PARTITIONS:
        return Plan(after, (Ask(pipeline, f"{pipeline}/all#{epoch}"),))
    return Plan(after, tuple(Ask(pipeline, f"{pipeline}/{key}#{epoch}", key) for key in new))
