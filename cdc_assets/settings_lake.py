"""The `sink` sections of lake formats.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cdc_assets.settings_existing import ExistingLakeTables
from cdc_assets.settings_types import (
    LocalPath,
    Part,
    PositiveCount,
    PositiveDuration,
    Secret,
    Section,
)


class LakeStorage(Part):
    """An S3-compatible object store.

    What is left out comes from the variables the change log's driver reads too:
    `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    `AWS_SESSION_TOKEN`.
    """

    endpoint: str | None = None
    """URL of the store, `https://s3.example.com`; Amazon's own if it is nowhere said."""
    region: str | None = None
    """The bucket's region."""
    access_key_id: str | None = None
    """Who writes."""
    secret_access_key: Secret | None = None
    """Exactly one environment reference."""
    session_token: Secret | None = None
    """Exactly one environment reference; for credentials that run out."""


class LakeTypeSettings(Part):
    """What to do with values the format cannot hold."""

    decimal_overflow: Literal["refuse", "text"] = "refuse"
    """A DECIMAL of more than 38 digits: refuse the table, or keep its values as text."""


class DeltaSinkSettings(Part):
    """Tables of Delta Lake; folders are the source's databases, and in them its tables."""

    type: Literal["delta"]
    """Delta Lake."""
    location: LocalPath
    """Folder, or `s3://bucket/prefix`."""
    storage: Annotated[LakeStorage, Section] = LakeStorage()
    """The object store, where `location` is in one."""
    types: Annotated[LakeTypeSettings, Section] = LakeTypeSettings()
    """What to do with values Delta cannot hold."""
    parallel: PositiveCount = 2
    """Tables merged at the same time; they share `pipeline.memory`."""
    existing: Annotated[ExistingLakeTables, Section] = ExistingLakeTables()
    """Tables that are there before the pipeline fills them."""
    history: PositiveDuration = 7 * 86400.0
    """How far back the upkeep job keeps versions of the tables; a day at least."""


class ParquetSinkSettings(Part):
    """Folders of Parquet files; folders are the source's databases, and in them its tables."""

    type: Literal["parquet"]
    """Parquet files, without a catalog or a table format."""
    location: LocalPath
    """Folder, or `s3://bucket/prefix`."""
    storage: Annotated[LakeStorage, Section] = LakeStorage()
    """The object store, where `location` is in one."""
    types: Annotated[LakeTypeSettings, Section] = LakeTypeSettings()
    """What to do with values that readers of Parquet cannot hold."""
    parallel: PositiveCount = 2
    """Tables merged at the same time; they share `pipeline.memory`."""
    existing: Annotated[ExistingLakeTables, Section] = ExistingLakeTables()
    """Tables that are there before the pipeline fills them."""

    @property
    def history(self) -> float:
        """No version but the last is kept."""
        return 0.0


def storage_options(storage: LakeStorage) -> dict[str, str]:
    """Return what is said of an object store; secrets as they are in the settings."""
    options = {"endpoint": storage.endpoint, "region": storage.region}
    options |= {"access_key_id": storage.access_key_id}
    for name, secret in (
        ("secret_access_key", storage.secret_access_key),
        ("session_token", storage.session_token),
    ):
        options |= {name: secret.get_secret_value() if secret else None}
    return {k: v for k, v in options.items() if v}


def lake_options(sink: DeltaSinkSettings | ParquetSinkSettings) -> dict[str, object]:
    """Return the arguments of a lake's sink; secrets as they are in the settings."""
    text = sink.types.decimal_overflow == "text"
    return {
        "location": sink.location,
        "storage": storage_options(sink.storage),
        "types": {"decimal_overflow": "text"} if text else None,
    }
