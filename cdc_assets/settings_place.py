"""Places in a log as a pipeline file and a run config write them: where to begin, where to stop.

In: a word, a mapping, or one text. Out: immutable values; the sources find them in their logs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_types import Kind, Part, PositiveCount, schema_of
from resources.errors import ConfigError
from resources.model.place import FIRST_OFFSET, FilePlace, GtidPlace, Place, TimePlace
from resources.mysql.binlog.gtid import Flavor, GtidSet

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]|$)")
_FILE_POSITION = re.compile(r"(?P<file>[^\s:]+\.\d+):(?P<position>\d{1,18})")


def parse_moment(value: object) -> datetime:
    """Return the moment that `2026-11-01T00:00:00Z` names; a zone is needed.

    Raises:
        PydanticCustomError: It is no ISO 8601 time, or has no zone.
    """
    if isinstance(value, datetime):
        moment = value
    else:
        try:
            moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            moment = datetime.min
    if moment.tzinfo is None or not 1970 < moment.year < 9999:
        raise PydanticCustomError(
            "moment",
            "must be a time with its zone: 2026-11-01T00:00:00Z, 2026-11-01T01:00:00+01:00",
        )
    return moment.astimezone(UTC)


def _check_gtid_set(value: str) -> str:
    """Accept what one of the dialects can read; which of them is for the source to say."""
    for flavor in ("mysql", "mariadb"):
        if _is_gtid_set(value, flavor):
            return value
    raise PydanticCustomError(
        "gtid_set",
        "must be a GTID set: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-57 (MySQL), 0-1-100 (MariaDB)",
    )


def _is_gtid_set(value: str, flavor: Flavor) -> bool:
    """Return whether a text is a set of a dialect that is not empty."""
    try:
        return bool(GtidSet.parse(value, flavor))
    except ConfigError:
        return False


def _check_file(value: str) -> str:
    if not re.fullmatch(r"[^\s/\\:]+\.\d+", value):
        raise PydanticCustomError("log_file", "must be the name of a log file: binlog.000003")
    return value


Moment = Annotated[
    datetime,
    BeforeValidator(parse_moment),
    Kind("time"),
    schema_of({"type": "string", "format": "date-time"}),
]
"""A moment, in UTC after loading."""


class LogPlace(Part):
    """A place in the log: a time, a file with a position, or a GTID set."""

    timestamp: Moment | None = None
    """The first transaction, in log order, committed at or after this time; ISO 8601 with a zone,
    `2026-11-01T00:00:00Z`."""
    file: Annotated[str, AfterValidator(_check_file)] | None = None
    """A log file, `binlog.000003`."""
    position: Annotated[PositiveCount, Field(ge=FIRST_OFFSET)] | None = None
    """Byte of `file` where a transaction begins; 4, its first event, if left out."""
    gtid_set: Annotated[str, AfterValidator(_check_gtid_set)] | None = None
    """The transactions that lie before the place, in the dialect of the server."""

    @model_validator(mode="after")
    def _check_one(self) -> LogPlace:
        given = [k for k in ("timestamp", "file", "gtid_set") if getattr(self, k) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "place",
                "needs exactly one of `timestamp`, `file` and `gtid_set`; it has {given}",
                {"given": " and ".join(given) or "none"},
            )
        if self.position is not None and self.file is None:
            raise PydanticCustomError("place", "has `position` without `file`")
        return self

    def place(self) -> Place:
        """Return the place in the words of the sources."""
        if self.timestamp is not None:
            return TimePlace(self.timestamp)
        if self.gtid_set is not None:
            return GtidPlace(self.gtid_set)
        return FilePlace(str(self.file), self.position or FIRST_OFFSET)


def parse_place(text: str) -> Place:
    """Read a place from one text: a time, `file:position`, or a GTID set.

    Raises:
        ConfigError: It is none of these.
    """
    if match := _FILE_POSITION.fullmatch(text.strip()):
        return FilePlace(match["file"], max(int(match["position"]), FIRST_OFFSET))
    looks_like_date = _DATE.match(text.strip())  # as a GTID of MariaDB may, too
    if not looks_like_date and any(_is_gtid_set(text, f) for f in ("mysql", "mariadb")):
        return GtidPlace(text)
    try:
        return TimePlace(parse_moment(text.strip()))
    except PydanticCustomError:
        raise ConfigError(
            f"{text[:80]!r} is no place in a log",
            remedy="write a time with its zone (2026-11-01T00:00:00Z), file:position "
            "(binlog.000003:157) or a GTID set",
        ) from None


def check_dialect(key: str, given: object, flavor: Flavor) -> None:
    """Refuse a GTID set that is not in the dialect of the source.

    Args:
        key: The key of the section that `given` is.
        given: A place or anything else.
        flavor: The dialect.

    Raises:
        PydanticCustomError: It is a place with a set in the other dialect.
    """
    if not isinstance(given, LogPlace) or given.gtid_set is None:
        return
    if not _is_gtid_set(given.gtid_set, flavor):
        raise PydanticCustomError(
            "dialect",
            "is not a GTID set of {flavor}",
            {"flavor": flavor, "at": (key, "gtid_set")},
        )


WORD, PLACE = "<word>", "<place>"
"""Tags of the two forms of `startup`; no key of a file can have such a name."""


def _form(value: object) -> str:
    return PLACE if isinstance(value, dict | LogPlace) else WORD


WordOrPlace = Discriminator(_form)
"""Chooses between a word and a mapping."""

ServerStartup = Annotated[
    Annotated[Literal["initial", "snapshot", "latest", "earliest"], Tag(WORD)]
    | Annotated[LogPlace, Tag(PLACE)],
    WordOrPlace,
]
"""Where a pipeline on a server begins."""

FilesStartup = Annotated[
    Annotated[Literal["earliest"], Tag(WORD)] | Annotated[LogPlace, Tag(PLACE)], WordOrPlace
]
"""Where a pipeline on archived files begins."""
