"""The `sink` section of Iceberg.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_existing import ExistingLakeTables
from cdc_assets.settings_lake import LakeStorage, LakeTypeSettings, storage_options
from cdc_assets.settings_types import (
    Kind,
    LocalPath,
    Part,
    PositiveCount,
    PositiveDuration,
    Secret,
    SecretUrl,
    Section,
)

_CLEAR = ("token", "secret", "password", "credential")
"""Words in the names of options that belong under `secrets`."""
_Options = Annotated[dict[str, str], Kind("mapping of name to value")]


class IcebergCatalog(Part):
    """Where the tables are known."""

    type: Literal["sql", "rest", "glue", "hive", "dynamodb"] = "sql"
    """Kind of catalog. `sql` without a `url` is a SQLite file in `location`."""
    name: str = Field(default="default", min_length=1)
    """The catalog's name; the tables of an `sql` catalog are kept under it."""
    url: SecretUrl | None = None
    """Where it is, a database (as SQLAlchemy has it) or a server; passwords are environment
    references."""
    options: _Options = Field(default_factory=dict)
    """Further properties of pyiceberg's catalog, such as `warehouse` or `glue.region`."""
    secrets: dict[str, Secret] = Field(default_factory=dict)
    """Properties that are secrets, such as `credential` or `token`: environment references."""

    @model_validator(mode="after")
    def _check_options(self) -> IcebergCatalog:
        clear = [k for k in self.options if any(word in k.lower() for word in _CLEAR)]
        if clear:
            raise PydanticCustomError(
                "clear_secret",
                "has `{names}` in clear text; put it under `secrets`",
                {"names": "`, `".join(clear)},
            )
        return self

    @property
    def is_file(self) -> bool:
        """Whether it is the SQLite file beside the tables."""
        return self.type == "sql" and self.url is None and not self.options


class IcebergSinkSettings(Part):
    """Tables of Apache Iceberg; namespaces are the source's databases, and in them its tables."""

    type: Literal["iceberg"]
    """Apache Iceberg."""
    location: LocalPath
    """Folder of the tables' files, or `s3://bucket/prefix`."""
    catalog: Annotated[IcebergCatalog, Section] = IcebergCatalog()
    """Where the tables are known; needed where `location` is in an object store."""
    storage: Annotated[LakeStorage, Section] = LakeStorage()
    """The object store, where `location` is in one."""
    types: Annotated[LakeTypeSettings, Section] = LakeTypeSettings()
    """What to do with values Iceberg cannot hold."""
    table_properties: _Options = Field(default_factory=dict)
    """Properties of tables the pipeline creates, for engines that read or write them too."""
    parallel: PositiveCount = 2
    """Tables merged at the same time; they share `pipeline.memory`."""
    existing: Annotated[ExistingLakeTables, Section] = ExistingLakeTables()
    """Tables that are there before the pipeline fills them."""
    history: PositiveDuration = 7 * 86400.0
    """How far back the upkeep job keeps snapshots of the tables; a day at least."""

    @model_validator(mode="after")
    def _check_catalog(self) -> IcebergSinkSettings:
        if "://" in self.location and self.catalog.is_file:
            raise PydanticCustomError(
                "catalog",
                "needs a `catalog` beside the object store: `url` of a database, or rest, glue, "
                "hive, dynamodb",
            )
        return self


def iceberg_options(sink: IcebergSinkSettings) -> dict[str, object]:
    """Return the arguments of the Iceberg sink; secrets as they are in the settings."""
    given = sink.catalog
    catalog: dict[str, str] | None = None
    if not given.is_file:
        catalog = {"type": given.type, "name": given.name, **given.options}
        catalog |= {"url": given.url.get_secret_value()} if given.url else {}
        catalog |= {name: secret.get_secret_value() for name, secret in given.secrets.items()}
    text = sink.types.decimal_overflow == "text"
    return {
        "location": sink.location,
        "catalog": catalog,
        "storage": storage_options(sink.storage),
        "types": {"decimal_overflow": "text"} if text else None,
        "table_properties": dict(sink.table_properties),
    }
