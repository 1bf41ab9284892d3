"""The shape every private server has: start, connect, stop, kill, start again."""

from __future__ import annotations

import abc
import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Literal, Self

from tests.servers.process import Command, end_group, free_port, signal_group, spawn

Kind = Literal["mysql", "mariadb", "oceanbase", "postgres", "kafka"]

KINDS: tuple[Kind, ...] = ("mysql", "mariadb", "oceanbase", "postgres", "kafka")
# These guard nothing but temporary data on the loopback address.
ADMIN_PASSWORD = "root-secret-pw"
CDC_USER = "cdc"
CDC_PASSWORD = "cdc-secret-pw"
START_TIMEOUT = 90.0
STOP_TIMEOUT = 60.0
_PREFIX = "cdcsrv-"
_LOCK_NAME = "owner.lock"
_STALE_AFTER = 60.0


class ServerUnavailableError(RuntimeError):
    """The server cannot be had on this machine; the text says why."""


class ServerStartError(RuntimeError):
    """The server was there but did not come up; the text ends with its log."""


class Server(abc.ABC):
    """A database server of our own, with its data below one directory.

    Attributes:
        kind: Family of the server.
        name: Family and version, as in ``mysql-9.7``.
        home: Directory that holds data, socket, log; temporary unless it was given.
        host: Always the loopback address.
        port: TCP port, kept over restarts; 0 when the server has none.
        socket: Unix socket, or None.
        user: Administrator account.
        password: Password of that account.
    """

    kind: Kind
    host = "127.0.0.1"
    socket: str | None = None
    user = "root"
    password = ADMIN_PASSWORD
    #: How to end a server whose data nobody will read again.
    discard_signal = signal.SIGKILL

    def __init__(self, directory: Path | None = None, port: int | None = None) -> None:
        self.name: str = self.kind
        self.port = port if port is not None else free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock_file: IO[str] | None = None
        self._temporary = directory is None
        if directory is None:
            _remove_stale_homes()
            self.home = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{self.kind}-"))
            self._lock_file = (self.home / _LOCK_NAME).open("w")
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        else:
            self.home = directory.resolve()
            self.home.mkdir(parents=True, exist_ok=True)
        self.log_path = self.home / "server.log"
        self._owner = os.getpid()
        atexit.register(self._close_at_exit)

    @property
    def datadir(self) -> Path:
        """The server's own data directory."""
        return self.home / "data"

    @property
    def pid(self) -> int:
        """Process id of the running server; 0 when it is down."""
        return self._process.pid if self.running and self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @classmethod
    @abc.abstractmethod
    def probe(cls) -> str:
        """Fetch the program when needed and return the server's name.

        Raises:
            ServerUnavailableError: It cannot be had here.
        """

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """SQLAlchemy URL of the administrator account."""

    @abc.abstractmethod
    def connect(self, **kwargs: Any) -> Any:
        """Open a driver connection in autocommit mode; keywords override the defaults."""

    @abc.abstractmethod
    def _command(self) -> Command:
        """The command that runs the server in the foreground."""

    @abc.abstractmethod
    def _prepare(self) -> None:
        """Make the data directory; called before the first start on an empty home."""

    def _first_start(self) -> None:  # noqa: B027 - a hook most servers do not need
        """Finish the set-up on the running server, once per data directory."""

    def _after_spawn(self, process: subprocess.Popen[bytes]) -> None:  # noqa: B027
        """Learn from the process what only it knows (a socket path)."""

    def _after_end(self) -> None:  # noqa: B027
        """Remove what the server may have left outside its home."""

    def start(self) -> Self:
        """Start on the same data directory and port, and wait until a login succeeds."""
        if self.running:
            return self
        fresh = not self.datadir.exists()
        if fresh:
            self._prepare()
        process = spawn(self._command())
        self._process = process
        try:
            self._after_spawn(process)
            self._wait_ready(process)
            if fresh:
                self._first_start()
        except BaseException:
            self.kill()
            raise
        return self

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        last: Exception | None = None
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServerStartError(
                    f"{self.name} ended with code {process.returncode} at start; log of "
                    f"{self.log_path}:\n{self.log_tail()}"
                )
            try:
                self.connect().close()
                return
            except Exception as error:  # any driver, any error: it is not ready yet
                last = error
            time.sleep(0.05)
        raise ServerStartError(
            f"{self.name} took no login in {START_TIMEOUT:.0f} s ({last}); log of "
            f"{self.log_path}:\n{self.log_tail()}"
        )

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as administrator in autocommit mode; return the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall()) if cursor.description else []
        return rows

    def stop(self) -> None:
        """Shut down in order; the data stays and :meth:`start` brings the server back."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash does (SIGKILL); the data stays."""
        self._end(signal.SIGKILL)

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            self._send(process, signum)
        end_group(process, STOP_TIMEOUT)
        self._after_end()

    def _send(self, process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
        signal_group(process, signum)

    def restart(self) -> Self:
        """Stop in order and start again."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """End the server for good; a temporary home is deleted."""
        atexit.unregister(self._close_at_exit)
        try:
            self._end(self.discard_signal if self._temporary else signal.SIGTERM)
        finally:
            if self._temporary:
                shutil.rmtree(self.home, ignore_errors=True)
            if self._lock_file is not None:
                self._lock_file.close()

    def _close_at_exit(self) -> None:
        if os.getpid() == self._owner:  # a forked child owns nothing
            self.close()

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the server's log."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.name} pid={self.pid} port={self.port} home={self.home}>"


def _remove_stale_homes() -> None:
    """Delete homes whose owner was killed: their lock is free, though they are not brand new."""
    for home in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - home.stat().st_mtime < _STALE_AFTER:
                continue
            with (home / _LOCK_NAME).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(home, ignore_errors=True)
