"""Problems of a pipeline file and the one error that lists them all.

In: problems with their places. Out: a ConfigError. Values are never shown: any of them may be a
secret that was put on the wrong line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from resources.errors import ConfigError, NotBuiltYet

Yaml: TypeAlias = "dict[str, Yaml] | list[Yaml] | str | int | float | bool | None"
"""What a YAML file holds."""

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of the file down to a value."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file.

    Args:
        file: The file.
        line: Counted from 1.
        column: Counted from 1.
        path: Keys from the top of the file.
        what: What is wrong and what is allowed; the path is its subject.
        built: False if the value is right but this version cannot do it yet.
    """

    file: str
    line: int
    column: int
    path: KeyPath
    what: str
    built: bool = True

    @property
    def where(self) -> str:
        """Return `file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def words(self) -> str:
        """Return what is wrong as a sentence about the key."""
        return f"{dotted(self.path)} {self.what}"


def dotted(path: KeyPath) -> str:
    """Return `source.tables[2]` for a path."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.removeprefix(".") or "the file"


def join_problems(problems: Sequence[Problem]) -> ConfigError:
    """Return one error for the problems of one or several files, in file and line order.

    It is a NotBuiltYet if every problem is something this version cannot do yet.
    """
    ordered = sorted(problems, key=lambda p: (p.file, p.line, p.column, dotted(p.path)))
    kind = ConfigError if any(p.built for p in ordered) else NotBuiltYet
    remedy = "see docs/pipeline-file.md, it lists every key"
    if len(ordered) == 1:
        return kind(ordered[0].words, where=ordered[0].where, remedy=remedy)
    lines = "".join(f"\n  {p.where}: {p.words}" for p in ordered)
    files = ", ".join(sorted({p.file for p in ordered}))
    return kind(f"{len(ordered)} problems{lines}", where=files, remedy=remedy)
