"""Points where a test can kill, break or stop this process, named in the code they sit in.

In: the environment variable CDC_FAILPOINT, `name:action[:count]`. Out: nothing, unless it names
the point that is reached. Actions, at the count-th time (default the first) the point is reached:

    exit       the process ends at once with status 137: no clean-up runs
    kill       the process is killed by SIGKILL
    raise      FailpointReached is raised
    sleep      the thread sleeps for an hour, so that a test can kill the process there;
               `sleep=2.5` sleeps so many seconds and goes on
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter

from resources.errors import ConfigError

VARIABLE = "CDC_FAILPOINT"
_reached: Counter[str] = Counter()
_lock = threading.Lock()


class FailpointReached(RuntimeError):
    """The error that the action `raise` throws; outside the error tree, so nothing expects it."""


def failpoint(name: str) -> None:
    """Do what CDC_FAILPOINT asks for at the point `name`; nothing if it names another or none.

    Raises:
        FailpointReached: The action is `raise`.
        ConfigError: The variable names this point and cannot be read.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted or wanted.partition(":")[0] != name:
        return
    action, count = _parse(wanted)
    with _lock:
        _reached[wanted] += 1
        if _reached[wanted] != count:
            return
    if action == "exit":
        os._exit(137)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "raise":
        raise FailpointReached(name)
    time.sleep(float(action.partition("=")[2] or 3600))


def _parse(wanted: str) -> tuple[str, int]:
    _, _, rest = wanted.partition(":")
    action, _, count = rest.partition(":")
    verb, _, seconds = action.partition("=")
    known = action in ("exit", "kill", "raise") or (verb == "sleep" and _is_number(seconds or "0"))
    if not known or (count and not count.isdigit()):
        raise ConfigError(
            f"{VARIABLE} cannot be read: {wanted!r}",
            remedy="name:action[:count], action one of exit, kill, raise, sleep, sleep=<seconds>",
        )
    return action, int(count or 1)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
