"""Every error this project raises on purpose, with what happened, where, and how to mend it.

    CdcError
    ├── ConfigError            the pipeline file, a grant or a server setting is wrong
    │   └── NotBuiltYet        a key or feature this version refuses by name
    ├── TransientError         the same call may succeed later: tried again with pauses
    │   ├── SourceUnavailable
    │   ├── SinkUnavailable
    │   └── LeaseHeld          another run captures this source; says who
    ├── TerminalError          repeating cannot help: the run (or the one table) stops
    │   ├── PositionPurged     the log the position points into is gone
    │   ├── ServerChanged      the server is not the one the position was taken on
    │   ├── CorruptEvent       bytes of the log that cannot be true
    │   ├── UnsupportedEvent   an event that may not be skipped and cannot be applied yet
    │   ├── SchemaMismatch     rows and target table do not fit
    │   ├── FencedOut          another writer moved this table's watermark
    │   ├── ContinuityBroken   the change log has a hole or an overlap
    │   └── DirtyLimitExceeded more rows were set aside than the pipeline allows
    └── DirtyRowError          one row cannot be decoded or written: to the dirty-data store

Retry policy is decided by class alone: `TransientError` is retried, everything else is not.
"""

from __future__ import annotations


class CdcError(Exception):
    """Root of the tree.

    Args:
        message: What happened, one sentence. Never contains row values or secrets.
        where: File and line, log position, table or server it happened at.
        remedy: What the reader can do about it, a statement or a command where there is one.
    """

    def __init__(self, message: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        """Return all three parts, one per line."""
        parts = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.remedy:
            parts.append(f"  to mend: {self.remedy}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with keyword fields, since Dagster sends errors between processes."""
        return _rebuild, (type(self), self.message, self.where, self.remedy)


def _rebuild(cls: type[CdcError], message: str, where: str, remedy: str) -> CdcError:
    return cls(message, where=where, remedy=remedy)


class ConfigError(CdcError):
    """The pipeline file, a grant or a server setting is wrong."""


class NotBuiltYet(ConfigError):
    """A key or feature this version knows but refuses."""


class TransientError(CdcError):
    """The same call may succeed later."""


class SourceUnavailable(TransientError):
    """The source server cannot be reached now."""


class SinkUnavailable(TransientError):
    """The target cannot be reached or is locked now."""


class LeaseHeld(TransientError):
    """Another run holds the lease; the message names it."""


class TerminalError(CdcError):
    """Repeating the call cannot help."""


class PositionPurged(TerminalError):
    """The server no longer has the log that the position points into."""


class ServerChanged(TerminalError):
    """The server is not the one the position was taken on, or it lost transactions."""


class CorruptEvent(TerminalError):
    """Bytes of the log that cannot be true; names file, position and event type."""


class UnsupportedEvent(TerminalError):
    """An event that may not be skipped and cannot be applied."""


class SchemaMismatch(TerminalError):
    """Rows and target table do not fit; shows both shapes."""


class FencedOut(TerminalError):
    """Another writer moved this table's watermark; this one rolled back."""


class ContinuityBroken(TerminalError):
    """The change log has a hole or an overlap."""


class DirtyLimitExceeded(TerminalError):
    """More rows were set aside than the pipeline allows."""


class DirtyRowError(CdcError):
    """One row cannot be decoded, converted or written.

    Args:
        message: What is wrong with it, without the value.
        field: The column at fault, empty if the whole row is.
        where: Log position or chunk.
        remedy: What would make the row acceptable.
    """

    def __init__(self, message: str, *, field: str = "", where: str = "", remedy: str = "") -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.field = field
