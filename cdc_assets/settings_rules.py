"""Value types that the rules of `route`, `transform` and `schema_changes` share.

In: scalars and lists as YAML gives them. Out: patterns, names and texts, or an error that says
how the value is written.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from cdc_assets.engine.routing import compiled
from cdc_assets.settings_types import Kind, SourceName, check_pattern

T = TypeVar("T")
_RESERVED = "_cdc_"


def _check_rule_pattern(value: str) -> str:
    if len(value) < 3 or not (value.startswith("/") and value.endswith("/")):
        return check_pattern(value)
    try:
        compiled(value)
    except re.error as error:
        raise PydanticCustomError(
            "regex", "is no regular expression: {error}", {"error": str(error)}
        ) from None
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_once(value: tuple[str, ...]) -> tuple[str, ...]:
    for number, name in enumerate(value):
        if name in value[:number]:
            raise PydanticCustomError(
                "duplicate", "is a duplicate: it is in the list already", {"at": (number,)}
            )
    return value


def _check_own(value: str) -> str:
    if value.startswith(_RESERVED):
        raise PydanticCustomError("reserved", "begins with `_cdc_`: such names are taken")
    return value


def _check_functions(value: str, info: ValidationInfo) -> str:
    """Accept a Python file that is there; beside which file is known only while one is loaded."""
    if not value.endswith(".py"):
        raise PydanticCustomError("functions", "must name a Python file: my_functions.py")
    folder = (info.context or {}).get("folder")
    if folder is not None and not Path(folder, value).is_file():
        raise PydanticCustomError(
            "functions", "names no file; it is looked for in the folder of the pipeline file"
        )
    return value


Name = Annotated[str, Field(min_length=1)]
"""A column's name."""

OwnName = Annotated[Name, AfterValidator(_check_own)]
"""The name of a column that a pipeline adds."""

Names = Annotated[
    tuple[Name, ...],
    AfterValidator(_check_once),
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Kind("name or list of names"),
]
"""Columns, each once."""

RulePattern = Annotated[str, AfterValidator(_check_rule_pattern)]
"""`database.table` with fnmatch wildcards, or `/regular expression/` over the whole of it."""

RulePatterns = Annotated[
    tuple[RulePattern, ...],
    Field(min_length=1),
    AfterValidator(_check_once),
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Kind("pattern or list of patterns"),
]
"""What a rule is about."""

SourceNames = Annotated[
    tuple[SourceName, ...],
    AfterValidator(_check_once),
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Kind("name or list of names"),
]
"""Some of `sources`, each once."""

FunctionsFile = Annotated[str, AfterValidator(_check_functions), Kind("path")]
"""A Python file, relative to the pipeline file."""
