"""Value types of a pipeline file: durations, sizes, counts, patterns, paths, secrets.

In: scalars as YAML gives them. Out: plain units (seconds, bytes), or an error that says how the
value is written and does not show it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from cdc_assets.settings_env import check_secret, check_url, has_clear_password

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "b": 1,
    **{f"{p}b": 1000 ** (i + 1) for i, p in enumerate("kmgt")},
    **{f"{p}ib": 1024 ** (i + 1) for i, p in enumerate("kmgt")},
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)", re.IGNORECASE)
_ENV_TEXT = {"type": "string", "pattern": r"^\$\{env:"}


class Part(BaseModel):
    """A section of a pipeline file: immutable, no unknown keys, inputs never in messages."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class Kind:
    """A mark on a type: the word for its values in the documentation."""

    word: str


def parse_duration(value: object) -> float:
    """Return seconds for `10s`, `5m`, `1h30m`, `250ms`, `7d`, `2w` or a number of seconds.

    Raises:
        PydanticCustomError: It is none of these, negative or not finite.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        parts = _DURATION_PART.findall(value)
        seconds = math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)
    elif isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        seconds = float(value)
    else:
        seconds = -1.0
    if not 0 <= seconds < 1e11:
        raise PydanticCustomError(
            "duration", "must be a duration: 250ms, 10s, 5m, 1h30m, 7d, or a number of seconds"
        )
    return seconds


def parse_size(value: object) -> int:
    """Return bytes for `64kB`, `256MB`, `1GiB`, `1.5 GB` or a number of bytes.

    Raises:
        PydanticCustomError: It is none of these or negative.
    """
    size = -1
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = round(float(match[1]) * _BYTES[match[2].lower()])
    elif isinstance(value, str) and re.fullmatch(r"\d+", value.strip()):
        size = int(value)
    if not 0 <= size < 1 << 63:
        raise PydanticCustomError("size", "must be a size: 64kB, 256MB, 1GiB, or a number of bytes")
    return size


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "must be a number, not true or false")
    return value


def check_pattern(value: str) -> str:
    """Accept `database.table`, each part with or without wildcards.

    Raises:
        PydanticCustomError: It has no dot, or nothing on one side of it.
    """
    database, dot, table = value.partition(".")
    if not (database and dot and table):
        raise PydanticCustomError(
            "pattern", "must be a pattern of the form database.table, for example shop.orders_*"
        )
    return value


def _check_path(value: str, info: ValidationInfo) -> str:
    """Make a local path absolute; leave a URL (`s3://bucket/x`) as it is."""
    if not value:
        raise PydanticCustomError("path", "must not be empty")
    if "://" in value:
        if has_clear_password(value):
            raise PydanticCustomError("clear_secret", "has a password in clear text")
        return value
    home = (info.context or {}).get("home")
    return str(Path(home or Path.cwd(), Path(value).expanduser()))


def _section(value: object) -> object:
    """Take a key with nothing below it (all lines commented out) as an empty section."""
    return {} if value is None else value


def matching(pattern: str, words: str) -> AfterValidator:
    """Return a validator that accepts text matching a pattern, and explains it in words."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise PydanticCustomError("matching", "must be {words}", {"words": words})
        return value

    return AfterValidator(check)


def schema_of(*shapes: dict[str, Any]) -> WithJsonSchema:
    """Return the JSON schema of a value: one of these shapes, or an environment reference."""
    return WithJsonSchema({"anyOf": [*shapes, _ENV_TEXT]})


Section = BeforeValidator(_section)
ListSection = BeforeValidator(lambda value: () if value is None else value)

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Kind("duration"),
    schema_of({"type": "number", "minimum": 0}, {"type": "string", "pattern": "^[0-9.a-z]+$"}),
]
"""Seconds."""

PositiveDuration = Annotated[Duration, Field(gt=0)]
"""Seconds, more than none."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Kind("size"),
    schema_of(
        {"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+ ?[A-Za-z]+$"}
    ),
]
"""Bytes."""

PositiveSize = Annotated[Size, Field(gt=0)]
"""Bytes, at least one."""

Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=0), schema_of({"type": "integer"})]
"""A whole number, 0 included."""

PositiveCount = Annotated[
    int, BeforeValidator(_no_bool), Field(ge=1), schema_of({"type": "integer"})
]
"""A whole number, at least 1."""

Port = Annotated[
    int, BeforeValidator(_no_bool), Field(ge=1, le=65535), schema_of({"type": "integer"})
]
"""A TCP port."""

TablePattern = Annotated[str, AfterValidator(check_pattern), Kind("pattern")]
"""`database.table` with fnmatch wildcards: `*`, `?`, `[0-9]`, `[!a]`."""

PipelineName = Annotated[
    str,
    matching(
        r"(?=.{1,40}$)[a-z][a-z0-9]*(_[a-z0-9]+)*",
        "lower-case letters, digits and single underscores, beginning with a letter, "
        "at most 40 characters",
    ),
]
"""A name that Dagster takes everywhere; no `__`, which separates parts of derived names."""

SourceName = Annotated[
    str,
    matching(
        r"(?=.{1,20}$)[a-z][a-z0-9]*(_[a-z0-9]+)*",
        "named by lower-case letters, digits and single underscores, beginning with a letter, "
        "at most 20 characters",
    ),
]
"""A name of one of several sources; with the pipeline's name it makes other names."""

Owner = Annotated[
    str, matching(r"team:.+|[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address or `team:name`")
]
"""An owner as Dagster knows them."""

_TAG_WORDS = "at most 63 letters, digits, `_`, `-` and `.`"
TagKey = Annotated[
    str,
    matching(r"([\w.-]{1,63}/)?[\w.-]{1,63}", f"a tag: {_TAG_WORDS}, a prefix before `/` allowed"),
]
"""A key of a Dagster tag."""

TagValue = Annotated[str, matching(r"[\w.-]{0,63}", f"a tag's value: {_TAG_WORDS}")]
"""A value of a Dagster tag."""

LocalPath = Annotated[str, AfterValidator(_check_path), Kind("path")]
"""A path, absolute after loading, or a URL."""

Secret = Annotated[
    SecretStr,
    BeforeValidator(lambda v: check_secret(v) if isinstance(v, str) else v),
    Kind("secret"),
    WithJsonSchema({"type": "string", "pattern": r"^\$\{env:[A-Za-z_][A-Za-z0-9_]*\}$"}),
]
"""A secret: exactly one environment reference in the file."""

SecretUrl = Annotated[
    SecretStr,
    BeforeValidator(lambda v: check_url(v) if isinstance(v, str) else v),
    Kind("URL"),
    WithJsonSchema({"type": "string"}),
]
"""A URL: a password inside must be an environment reference."""
