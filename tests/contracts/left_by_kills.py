"""What kills leave of a sink whose tables are files: their bytes just before every write.

A killed process leaves its files as they are at that moment, whatever it had in memory. So one
process that reads them all before each of its writes has what as many killed ones would have left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Files = dict[str, bytes | None]
"""Contents by path below a folder; a folder has none."""
Calls = tuple[tuple[Any, str], ...]
"""Methods and functions that write: their owner and their name."""


class Left:
    """The states of a folder that kills would have left, each that differs from the one before.

    Args:
        folder: Where all of the sink's files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._states: list[Files] = []

    def __len__(self) -> int:
        return len(self._states)

    def note(self) -> None:
        """Keep the files as they are."""
        paths = sorted(self._folder.rglob("*"))
        now = {str(p): None if p.is_dir() else p.read_bytes() for p in paths}
        if not self._states or now != self._states[-1]:
            self._states.append(now)

    @contextmanager
    def before(self, calls: Calls) -> Iterator[None]:
        """Keep the files before each of these calls within the block, and at its end."""

        def noted(call: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **options: Any) -> Any:
                self.note()
                return call(*arguments, **options)

            return run

        with pytest.MonkeyPatch.context() as patched:
            for owner, name in calls:
                patched.setattr(owner, name, noted(getattr(owner, name)))
            yield
            self.note()

    def again(self) -> Iterator[str]:
        """Put the files back as each kill left them; yields which one it is."""
        for number, state in enumerate(self._states, start=1):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            for path, content in state.items():
                if content is None:
                    Path(path).mkdir()
                else:
                    Path(path).write_bytes(content)
            yield f"state {number} of {len(self._states)}"
