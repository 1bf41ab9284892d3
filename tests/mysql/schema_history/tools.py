"""gh-ost and pt-online-schema-change themselves, to run them against a server.

In: a program on PATH, or Debian's package of the second unpacked as the servers' are. Out: a run
while rows are written. The first is in no package registry: without one on PATH it is not run.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count

import pymysql

from tests.mysql.room import Room
from tests.mysql.schema_history.recorded import Run
from tests.servers import ServerUnavailableError
from tests.servers.apt import unpacked
from tests.servers.apt_sources import own_suite_sources

PERCONA, GH_OST = "pt-online-schema-change", "gh-ost"
_GH_OST_FLAGS = ("--allow-on-master", "--initially-drop-ghost-table", "--initially-drop-old-table")
_PERCONA_FLAGS = ("--no-version-check", "--recursion-method=none")


def tools() -> list[str]:
    """The tools that can be run here."""
    return [PERCONA, *([GH_OST] if shutil.which(GH_OST) else [])]


def repeat(run: Run, room: Room) -> None:
    """Run the tool on the room's table with a recorded run's options, while rows are written.

    Raises:
        ServerUnavailableError: The tool cannot be had here.
    """
    if run.tool == GH_OST:
        command, environment = _gh_ost(room), {}
    else:
        command, environment = _percona(room)
    with _writing(room):
        done = subprocess.run(
            [*command, *run.options, "--execute"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr


def _gh_ost(room: Room) -> list[str]:
    server = room.server
    login = [f"--host={server.host}", f"--port={server.port}", f"--user={server.user}"]
    names = [f"--password={server.password}", f"--database={room.database}", "--table=orders"]
    files = [f"--serve-socket-file={server.home}/gh-ost.sock", "--throttle-additional-flag-file="]
    return [GH_OST, *login, *names, *files, *_GH_OST_FLAGS]


def _percona(room: Room) -> tuple[list[str], dict[str, str]]:
    server = room.server
    login = f"h={server.host},P={server.port},u={server.user},p={server.password}"
    target = f"{login},D={room.database},t=orders"
    found = shutil.which(PERCONA)
    if found is not None:
        return [found, *_PERCONA_FLAGS, target], {}
    sources = own_suite_sources()
    if not sources or shutil.which("perl") is None:
        raise ServerUnavailableError(f"no {PERCONA} on PATH, and no apt sources or no perl")
    root = unpacked(f"percona-toolkit-{sources[0].suites[0]}", sources, ["percona-toolkit"])
    libraries = root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    perl = [*(libraries / "perl5").glob("5.*"), root / "usr" / "share" / "perl5"]
    environment = {
        "PERL5LIB": ":".join(map(str, perl)),
        "LD_LIBRARY_PATH": str(libraries),
        "MARIADB_PLUGIN_DIR": str(libraries / "libmariadb3" / "plugin"),
    }
    script = root / "usr" / "bin" / PERCONA
    return ["perl", str(script), *_PERCONA_FLAGS, target], environment


@contextmanager
def _writing(room: Room) -> Iterator[None]:
    """Rows that come and change all the while."""
    done = threading.Event()

    def write() -> None:
        connection = room.server.connect(database=room.database)
        with closing(connection), connection.cursor() as cursor:
            for new in count(1000):
                if done.wait(0.02):
                    return
                with suppress(pymysql.err.ProgrammingError):  # no table, in a cut-over in steps
                    cursor.execute("INSERT INTO orders (id) VALUES (%s)", (new,))
                    cursor.execute("UPDATE orders SET b = %s WHERE id = %s", (f"b{new}", new - 7))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
