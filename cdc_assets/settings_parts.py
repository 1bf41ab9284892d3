"""What a pipeline file is made of: one source or several, one sink or several.

In: a file whose sections are each right. Out: one error if they do not go together; which members
of the file share something, and which keys decide what tables hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from cdc_assets.sink_places import places_of

if TYPE_CHECKING:
    from cdc_assets.settings import PipelineFile, PipelineSettings


SHAPES_DATA: dict[str, Any] = {
    "name": True,
    "source": {"type", "tables", "exclude", "startup", "stop_at", "keys"},
    "sink": {"type", "types"},
    "route": True,
    "transform": True,
    "pipeline": {
        "window",
        "schema_changes",
        "append",
        "match_routes",
        "target",
        "type_mapping",
    },
    "dirty_data": {"zero_dates"},
}
"""Keys that change what tables hold, as pydantic's `include`."""


def check_parts(file: PipelineFile) -> None:
    """Refuse what does not go together.

    Raises:
        PydanticCustomError: With the path of the key at fault in its context.
    """
    _check_either("source", "sources", file.source, file.sources)
    _check_either("sink", "sinks", file.sink, file.sinks)
    if file.tables and not file.sources:
        raise PydanticCustomError(
            "sources", "is shared by `sources`; write it below `source`", {"at": ("tables",)}
        )
    _check_stop(file)
    _check_places(file)


def _check_either(one: str, many: str, given: object, several: Mapping[str, object]) -> None:
    if given is not None and several:
        raise PydanticCustomError(
            many, f"cannot stand beside `{one}`: name that one here", {"at": (many,)}
        )
    if given is None and not several:
        raise PydanticCustomError(many, f"is required, or `{many}` for several", {"at": (one,)})


def _check_stop(file: PipelineFile) -> None:
    for path, source in file.named_sources():
        if file.pipeline.follow_for and source.stop_at is not None:
            raise PydanticCustomError(
                "stop",
                "cannot stand beside `pipeline.follow_for`: a run that stops somewhere does "
                "not follow",
                {"at": (*path, "stop_at")},
            )


def _check_places(file: PipelineFile) -> None:
    """Refuse two sinks that are the same place: each table would be there once, for both."""
    taken: dict[tuple[str, str], str] = {}
    for name, sink in file.sinks.items():
        for key, place in places_of(sink, name):
            other = taken.setdefault((key, place), name)
            if other != name:
                raise PydanticCustomError(
                    "place",
                    "is where `{other}` is too: each of `sinks` needs a place of its own",
                    {"at": ("sinks", name, key), "other": other},
                )


def same_sink(member: PipelineSettings) -> tuple[PipelineSettings, ...]:
    """Return the other members of a file that fill the same sink."""
    return tuple(m for m in _others(member) if m.sink_name == member.sink_name)


def same_log(member: PipelineSettings) -> tuple[PipelineSettings, ...]:
    """Return the other members of a file that read the same change log."""
    return tuple(m for m in _others(member) if m.source_name == member.source_name)


def _others(member: PipelineSettings) -> tuple[PipelineSettings, ...]:
    return tuple(m for m in member.whole.members() if m.name != member.name)


def digest(file: Path | None) -> str:
    """Return 16 hex digits of a file's bytes, empty if there is no file."""
    if file is None or not file.is_file():
        return ""
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
