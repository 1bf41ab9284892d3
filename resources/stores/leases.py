"""Leases: who may capture now, with fencing tokens that only grow.

In: a name and who asks. Out: a lease whose token later proves, inside a transaction, that nobody
took it over. A lease is advice between well-behaved runs; the token is what fences out the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, case, select, update

from resources.errors import FencedOut, LeaseHeld, TransientError
from resources.stores.database import StateDatabase
from resources.stores.process import is_gone, this_process
from resources.stores.tables import leases, tokens

_log = logging.getLogger(__name__)


@dataclass
class Lease:
    """A lease as it was when it was acquired.

    Args:
        name: What is leased.
        holder: Who holds it, in words a person can follow up (a run id).
        token: Greater than every token handed out before it.
        ttl_seconds: How long it lasts without renewal.
        lost: Set by `LeaseStore.held` when renewal failed: stop writing.
    """

    name: str
    holder: str
    token: int
    ttl_seconds: float
    lost: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)


class LeaseStore:
    """The leases and the token counter of one state database.

    Args:
        db: The database; its clock decides what has expired.
    """

    def __init__(self, db: StateDatabase) -> None:
        self._db = db

    def acquire(self, name: str, holder: str, ttl_seconds: float = 60) -> Lease:
        """Take a lease that is free, expired, or held by a process of this machine that is gone.

        Raises:
            LeaseHeld: Somebody holds it, the same holder included.
        """
        free = {
            "name": name,
            "holder": "",
            "process": "",
            "token": 0,
            "acquired_us": 0,
            "expires_us": 0,
        }
        # A transaction of its own: an insert that finds its row there holds a shared lock on it
        # in MySQL, and two that want more of it then would deadlock.
        with self._db.begin() as conn:
            self._db.insert_missing(conn, leases, [free])
        with self._db.begin() as conn:
            row = conn.execute(select(leases).where(leases.c.name == name).with_for_update()).one()
            now = self._db.now_us(conn)
            if row.expires_us > now and not is_gone(row.process):
                raise LeaseHeld(
                    f"{row.holder} holds the lease {name!r} since {_time(row.acquired_us)}; "
                    f"it expires at {_time(row.expires_us)} unless it is renewed",
                    where=self._db.name,
                    remedy="let that run end; if it was killed on another machine, wait until the "
                    "lease expires",
                )
            token = _draw_token(conn, now)
            conn.execute(
                update(leases)
                .where(leases.c.name == name)
                .values(
                    holder=holder,
                    process=this_process(),
                    token=token,
                    acquired_us=now,
                    expires_us=now + round(ttl_seconds * 1e6),
                )
            )
        return Lease(name, holder, token, ttl_seconds)

    def renew(self, lease: Lease) -> None:
        """Let a lease last for another `ttl_seconds` from now, even if it had just expired.

        Raises:
            FencedOut: It was taken over or released.
        """
        with self._db.begin() as conn:
            self.verify(conn, lease)
            expires = self._db.now_us(conn) + round(lease.ttl_seconds * 1e6)
            conn.execute(
                update(leases).where(leases.c.name == lease.name).values(expires_us=expires)
            )

    def release(self, lease: Lease) -> None:
        """Give a lease back; nothing happens if it is no longer held."""
        with self._db.begin() as conn:
            conn.execute(
                update(leases)
                .where(leases.c.name == lease.name, leases.c.token == lease.token)
                .values(holder="", process="", token=0, expires_us=0)
            )

    def verify(self, conn: Connection, lease: Lease) -> None:
        """Prove inside the caller's transaction that a lease is still ours.

        The lease's row is locked, so nobody can take it over before that transaction ends.

        Raises:
            FencedOut: It was taken over or released.
        """
        query = select(leases).where(leases.c.name == lease.name).with_for_update()
        row = conn.execute(query).one_or_none()
        if row is None or row.token != lease.token:
            by = f"{row.holder} took it over" if row and row.holder else "it was released"
            raise FencedOut(
                f"{lease.holder} no longer holds the lease {lease.name!r} (token {lease.token}): "
                f"{by}; nothing was written",
                where=self._db.name,
                remedy="start the run again if no other one is running",
            )

    def holder(self, name: str) -> str | None:
        """Return who holds a lease now, None if nobody does."""
        with self._db.read() as conn:
            row = conn.execute(select(leases).where(leases.c.name == name)).one_or_none()
            return row.holder if row and row.expires_us > self._db.now_us(conn) else None

    def next_token(self) -> int:
        """Return a token greater than every one drawn before, those of leases included."""
        with self._db.begin() as conn:
            return _draw_token(conn, self._db.now_us(conn))

    @contextmanager
    def held(self, name: str, holder: str, ttl_seconds: float = 60) -> Iterator[Lease]:
        """Hold a lease for the length of a block, renewed by a thread every third of its time.

        If renewal fails `lease.lost` is set; the block goes on and has to look at it.

        Raises:
            LeaseHeld: Somebody else holds it.
        """
        lease = self.acquire(name, holder, ttl_seconds)
        done = threading.Event()
        thread = threading.Thread(
            target=self._keep, args=(lease, done), name=f"lease {name}", daemon=True
        )
        thread.start()
        try:
            yield lease
        finally:
            done.set()
            thread.join()
            self._release_or_let_expire(lease)

    def _keep(self, lease: Lease, done: threading.Event) -> None:
        try:
            self._renew_until(lease, done)
        finally:
            if not done.is_set():
                lease.lost.set()

    def _renew_until(self, lease: Lease, done: threading.Event) -> None:
        renewed = time.monotonic()
        while not done.wait(lease.ttl_seconds / 3):
            asked = time.monotonic()
            try:
                self.renew(lease)
                renewed = asked
            except FencedOut as error:
                _log.error("%s", error)
                return
            except TransientError as error:
                _log.warning("the lease %r could not be renewed yet: %s", lease.name, error)
                if time.monotonic() - renewed >= lease.ttl_seconds:
                    return

    def _release_or_let_expire(self, lease: Lease) -> None:
        try:
            self.release(lease)
        except TransientError as error:
            # the block's own outcome counts; an unreleased lease ends by itself
            _log.warning("the lease %r was not released and will expire: %s", lease.name, error)


def _draw_token(conn: Connection, now: int) -> int:
    """Draw a token greater than every one before, those of a lost state database included.

    Targets remember tokens: a counter begun anew would be fenced out of them for ever.
    """
    following = case((tokens.c.last >= now, tokens.c.last + 1), else_=now)
    conn.execute(update(tokens).where(tokens.c.id == 1).values(last=following))
    return int(conn.execute(select(tokens.c.last).where(tokens.c.id == 1)).scalar_one())


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(sep=" ", timespec="seconds")
