"""Child processes that cannot outlive the test run.

A server started by a test must be gone when the run is gone, also after ``kill -9`` of pytest.
Three nets: the kernel's parent-death signal, a process group per server, and ``atexit``.
"""

from __future__ import annotations

import ctypes
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Fields of /proc/PID/stat, counted after the name.
_STATE, _PARENT, _GROUP = 0, 1, 2
# Resolved before any fork: looking a symbol up in the child of a threaded process can deadlock.
_SETPRIV = shutil.which("setpriv")
_prctl = ctypes.CDLL(None).prctl


@dataclass(frozen=True)
class Command:
    """What to run, and how.

    Attributes:
        argv: The program and its arguments.
        log: File that receives stdout and stderr (appended).
        cwd: Working directory.
        env: Environment; the parent's own when None.
        uid_gid: Unprivileged identity for a server that refuses to run as root.
        death_signal: What the kernel sends to the child when this process dies.
        pipe_stdout: Keep stdout readable by the parent instead of logging it.
    """

    argv: Sequence[str]
    log: Path
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    uid_gid: tuple[int, int] | None = None
    death_signal: signal.Signals = signal.SIGKILL
    pipe_stdout: bool = False


@dataclass
class _Spawner:
    """One thread that starts all children.

    The parent-death signal is sent when the *thread* that forked ends, so a server started from a
    short-lived worker thread would die with that thread. This thread lives as long as the process.
    """

    jobs: queue.SimpleQueue[tuple[Command, Future[subprocess.Popen[bytes]]]] = field(
        default_factory=queue.SimpleQueue
    )
    lock: threading.Lock = field(default_factory=threading.Lock)
    thread_pid: int = 0

    def submit(self, command: Command) -> subprocess.Popen[bytes]:
        with self.lock:
            if self.thread_pid != os.getpid():
                self.jobs = queue.SimpleQueue()
                threading.Thread(target=self._work, name="server-spawner", daemon=True).start()
                self.thread_pid = os.getpid()
        result: Future[subprocess.Popen[bytes]] = Future()
        self.jobs.put((command, result))
        return result.result()

    def _work(self) -> None:
        while True:
            command, result = self.jobs.get()
            try:
                result.set_result(_popen(command))
            except BaseException as error:
                result.set_exception(error)


_spawner = _Spawner()


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own that dies with this process."""
    return _spawner.submit(command)


def _popen(command: Command) -> subprocess.Popen[bytes]:
    argv, preexec = list(command.argv), _dying_with_parent(command)
    if _SETPRIV is not None:
        # Python code in the forked child of a process with many threads crashes now and then.
        name = command.death_signal.name.removeprefix("SIG")
        argv, preexec = [_SETPRIV, "--pdeathsig", name, "--", *argv], None
    uid, gid = command.uid_gid or (None, None)
    with command.log.open("ab") as log:
        return subprocess.Popen(
            argv,
            cwd=command.cwd,
            env=None if command.env is None else dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if command.pipe_stdout else log,
            stderr=log,
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=None if gid is None else [],
            # Popen changes the identity first, as it must: a later setuid clears the death signal.
            preexec_fn=preexec,
        )


def _dying_with_parent(command: Command) -> Callable[[], None]:
    parent = os.getpid()
    death_signal = int(command.death_signal)

    def die_with_parent() -> None:
        _prctl(_PR_SET_PDEATHSIG, death_signal)
        # The parent may have died between fork and prctl; then no signal would ever come.
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


def signal_group(process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    """Send a signal to every process of the child's group; a group that is gone is fine."""
    try:
        os.killpg(process.pid, signum)
    except (ProcessLookupError, PermissionError):
        return


def end_group(process: subprocess.Popen[bytes], timeout: float) -> None:
    """Wait for the child, then SIGKILL what is left of its group."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        process.wait(30)
    signal_group(process, signal.SIGKILL)
    # The orphans of the group are not ours to reap, and SIGKILL takes its time.
    wait_gone(_where(_GROUP, process.pid))
    if process.stdout is not None:
        process.stdout.close()


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return bool(fields) and fields[_STATE] != "Z"


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    return _where(_PARENT, pid)


def wait_gone(pids: Sequence[int], timeout: float = 10.0) -> None:
    """Wait until none of the processes runs.

    Raises:
        TimeoutError: Some still do.
    """
    deadline = time.monotonic() + timeout
    while running := [pid for pid in pids if alive(pid)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {running} are still there after {timeout:.0f} s")
        time.sleep(0.01)


def _stat(path: Path) -> list[str]:
    try:
        # The name in brackets may hold spaces; what follows it does not.
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _where(field_index: int, value: int) -> list[int]:
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if (fields := _stat(path)) and int(fields[field_index]) == value
    ]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 nobody listens on.

    Drawn from below the ephemeral range: a port inside it can be taken by any outgoing connection
    while a killed server is down, and the restart on the same port would fail.
    """
    for port in random.sample(range(15000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free TCP port between 15000 and 32000")
