"""A disk that is really full: a small file system in memory, mounted for one test.

In: a folder. Out: the folder as a disk of its own, with a file that fills it. Mounting needs root,
so the tests that use it are nightly ones.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from resources.errors import SinkUnavailable
from resources.sinks.contract import Sink
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, load, observe, rows_of
from tests.strategies import comparable

BIG = 24 << 20
"""Bytes of the rows that do not fit, which cannot be made smaller."""
_LEFT = 1 << 20


class Disk:
    """A mounted disk.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave a megabyte."""
        free = os.statvfs(self.folder)
        with self._filler.open("wb") as file:
            size = max(free.f_bavail * free.f_frsize - _LEFT, 0)
            os.posix_fallocate(file.fileno(), 0, size)

    def free(self) -> None:
        """Give back what was filled."""
        self._filler.unlink()

    def resize(self, megabytes: int) -> None:
        """Make it a disk of another size, with what is on it."""
        _mount("-o", f"remount,size={megabytes}m", str(self.folder))


@contextmanager
def small_disk(
    folder: Path, megabytes: int, owner: tuple[int, int] | None = None
) -> Iterator[Disk]:
    """Mount a disk on a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m"
    if owner:
        options += f",uid={owner[0]},gid={owner[1]},mode=700"
    _mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def big_rows(first: int = 1000) -> pa.Table:
    """Rows of TARGET with random texts, numbered from `first` on."""
    size = 2000
    return rows_of({first + i: os.urandom(size // 2).hex() for i in range(BIG // size)})


def require_survived(
    disk: Disk, open_sink: Callable[[], Sink], restart: Callable[[], object] = lambda: None
) -> None:
    """Require that a full disk is told, costs nothing, and that writes go on when it is not full.

    Args:
        disk: Where the sink's tables are.
        open_sink: Opens the sink, which makes its tables on the disk.
        restart: What a person does beside making room.
    """
    big = big_rows()
    with open_sink() as sink:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        disk.fill()
        for write in (
            lambda: sink.merge(TARGET, big, keys_of(1), fence(10, 20)),
            lambda: load(sink, TARGET, "big", [big], fence(10, 20)),
        ):
            with pytest.raises(SinkUnavailable) as caught:
                write()
            said = f"{caught.value} {caught.value.remedy}"
            assert "space" in said or "brokers run" in said, said
            assert big["name"][0].as_py() not in said
    disk.free()
    restart()
    with open_sink() as sink:
        assert observe(sink, TARGET) == before
        sink.merge(TARGET, rows_of({2: "TWO", 4: "four"}), keys_of(1, 77), fence(10, 20))
        left = rows_of({2: "TWO", 3: None, 4: "four"})
        assert comparable(sink.read_table(TARGET.id)) == comparable(left)
        load(sink, TARGET, "big", [big], fence(20, 30))
        assert sink.read_table(TARGET.id).sort_by("id").equals(big)
        sink.drop_table(TARGET.id)


def owner_of(folder: Path) -> tuple[int, int]:
    """The user and group a folder belongs to."""
    found = folder.stat()
    return found.st_uid, found.st_gid
