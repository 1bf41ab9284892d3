"""The `sink` section of Paimon.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_existing import ExistingLakeTables
from cdc_assets.settings_lake import LakeStorage, LakeTypeSettings, storage_options
from cdc_assets.settings_types import (
    Count,
    Kind,
    LocalPath,
    Part,
    PositiveCount,
    PositiveDuration,
    Section,
)
from resources.sinks.paimon_options import OWN, refused_options


class PaimonSinkSettings(Part):
    """Tables of Apache Paimon; databases are the source's, and in them its tables."""

    type: Literal["paimon"]
    """Apache Paimon."""
    location: LocalPath
    """The warehouse: a folder, or `s3://bucket/prefix`."""
    storage: Annotated[LakeStorage, Section] = LakeStorage()
    """The object store, where `location` is in one."""
    types: Annotated[LakeTypeSettings, Section] = LakeTypeSettings()
    """What to do with values Paimon cannot hold."""
    buckets: PositiveCount = 1
    """Into how many buckets the keys of a partition go in tables the pipeline creates; a bucket
    suits up to a few GB, and is what other engines read and write in parallel."""
    daily_tags: Count = 0
    """How many daily tags a table keeps, each what it was at the end of a day (UTC); 0 for none."""
    merge_engine: Literal["deduplicate", "partial-update", "aggregation"] = "deduplicate"
    """What tables make of rows with one key. Only with `deduplicate` they equal their source: the
    others merge the rows that were inserted or updated, and leave deletions out."""
    table_options: Annotated[dict[str, str], Kind("mapping of name to value")] = Field(
        default_factory=dict
    )
    """Paimon's own options of tables the pipeline creates, for engines that read or write them."""
    parallel: PositiveCount = 2
    """Tables merged at the same time; they share `pipeline.memory`."""
    existing: Annotated[ExistingLakeTables, Section] = ExistingLakeTables()
    """Tables that are there before the pipeline fills them."""
    history: PositiveDuration = 7 * 86400.0
    """How far back the upkeep job keeps snapshots of the tables; a day at least."""

    @model_validator(mode="after")
    def _check_options(self) -> PaimonSinkSettings:
        own = [name for name in self.table_options if name in OWN]
        own += refused_options({k: v for k, v in self.table_options.items() if k not in OWN})
        if own:
            raise PydanticCustomError(
                "own_option",
                "has `{names}` in `table_options`, which is the sink's to say, or not kept by it",
                {"names": "`, `".join(own)},
            )
        return self


def paimon_options(sink: PaimonSinkSettings) -> dict[str, object]:
    """Return the arguments of the Paimon sink; secrets as they are in the settings."""
    text = sink.types.decimal_overflow == "text"
    return {
        "location": sink.location,
        "storage": storage_options(sink.storage),
        "types": {"decimal_overflow": "text"} if text else None,
        "buckets": sink.buckets,
        "daily_tags": sink.daily_tags,
        "merge_engine": sink.merge_engine,
        "options": dict(sink.table_options),
    }
