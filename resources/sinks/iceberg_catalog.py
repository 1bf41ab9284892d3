"""The catalog of an Iceberg lake: where its tables are known, opened by its first use.

In: options of pyiceberg's catalogs. Out: a catalog whose files are read and written with the lake's
own storage options, and its failures as errors of this project. Without options it is a SQLite file
beside the tables, which any number of processes of one machine may share.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests
import sqlalchemy as sa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchPropertyException,
    NotInstalledError,
    OAuthError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationException,
)

from resources.errors import CdcError, ConfigError, SinkUnavailable, TerminalError
from resources.sinks.contract import TargetId
from resources.sinks.lake_format import LostRace
from resources.sinks.lake_store import LakeStore, storage_error

FILE = "catalog.db"
"""The catalog's file, in the lake's folder, where no other catalog is given."""
_NAME = "default"
_LOCK_SECONDS = "30"
_STORAGE = {
    "endpoint": "s3.endpoint",
    "region": "s3.region",
    "access_key_id": "s3.access-key-id",
    "secret_access_key": "s3.secret-access-key",
    "session_token": "s3.session-token",
}
_RIGHTS = (UnauthorizedError, ForbiddenError, OAuthError)
_UNWELL = (ServerError, ServiceUnavailableError, TooManyRequestsError, CommitStateUnknownException)


class LakeCatalog:
    """The catalog of one lake; `properties` are what pyiceberg is given.

    Args:
        store: The place.
        options: Properties of a pyiceberg catalog (`type` and so on), its `name`, and `url` for
            what pyiceberg calls `uri`; none for a SQLite file in the lake's folder.

    Raises:
        ConfigError: The lake is in an object store and no catalog is given.
    """

    def __init__(self, store: LakeStore, options: Mapping[str, str] | None = None) -> None:
        given = dict(options or {})
        self._own = not given
        if self._own and not store.local:
            raise ConfigError(
                "an Iceberg lake in an object store needs a catalog beside it",
                where=store.url(""),
                remedy="give `catalog`: type sql with the url of a database, rest, glue or hive",
            )
        self._store = store
        self._name = given.pop("name", _NAME)
        if "url" in given:
            given["uri"] = given.pop("url")
        self.properties = {**_storage_options(store), **(given or self._sqlite())}
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None

    def open(self) -> Catalog:
        """Return the catalog.

        Raises:
            ConfigError: It is not one, or it refuses the credentials.
            SinkUnavailable: It cannot be reached.
        """
        with self._lock:
            if self._catalog is None:
                with self.translated(self._store.url("")):
                    self._catalog = self._load()
            return self._catalog

    def is_there(self) -> bool:
        """Return whether there is a catalog to ask: reading makes no file."""
        return not self._own or Path(self._store.path(FILE)).exists()

    def close(self) -> None:
        """Close its connections; the next use opens it again."""
        with self._lock:
            if self._catalog is not None:
                self._catalog.close()
            self._catalog = None

    @contextmanager
    def translated(self, where: TargetId | str) -> Iterator[None]:
        """Turn failures of the catalog and its files into errors to act on.

        Raises:
            LostRace: Another commit came first.
            ConfigError: Rights are missing, or options are wrong.
            SinkUnavailable: It cannot be reached now.
        """
        try:
            yield
        except (LostRace, CdcError):
            raise
        except (CommitFailedException, TableAlreadyExistsError):
            raise LostRace from None
        except Exception as error:
            raise _translated(error, str(where)) from None

    def _load(self) -> Catalog:
        if self._own:
            Path(self._store.root).mkdir(parents=True, exist_ok=True)
        try:
            return load_catalog(self._name, **self.properties)
        except sa.exc.OperationalError as error:
            if "already exists" not in str(error):
                raise
            return load_catalog(self._name, **self.properties)  # another process has just made it

    def _sqlite(self) -> dict[str, str]:
        file = sa.URL.create(
            "sqlite", database=self._store.path(FILE), query={"timeout": _LOCK_SECONDS}
        )
        return {"type": "sql", "uri": file.render_as_string(hide_password=False)}


def _storage_options(store: LakeStore) -> dict[str, str]:
    """Return the store's options in pyiceberg's words."""
    found = {_STORAGE[k]: v for k, v in store.options.items()} if not store.local else {}
    return {**found, "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}


def _translated(error: Exception, where: str) -> CdcError:
    said = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
    if isinstance(error, _RIGHTS):
        return ConfigError(
            f"the catalog refuses it: {type(error).__name__}: {said}",
            where=where,
            remedy="see the credentials and rights of the user in `catalog`",
        )
    if isinstance(error, (*_UNWELL, sa.exc.OperationalError, requests.RequestException)):
        reason = str(error.orig) if isinstance(error, sa.exc.OperationalError) else said
        return SinkUnavailable(
            f"the catalog failed: {type(error).__name__}: {reason}",
            where=where,
            remedy="see that it is reachable and has space, then run again",
        )
    if isinstance(error, OSError):
        return storage_error(error, where)
    if isinstance(error, (NoSuchPropertyException, NotInstalledError, NoSuchNamespaceError)):
        return ConfigError(said, where=where, remedy="see the options of `catalog`")
    if isinstance(error, (RESTError, ValidationException, sa.exc.SQLAlchemyError)):
        return TerminalError(
            f"the catalog refuses it: {type(error).__name__}: {said}",
            where=where,
            remedy="see the catalog's log; materialize the table's snapshot partition if it is "
            "broken",
        )
    return TerminalError(
        f"pyiceberg refuses it: {type(error).__name__}: {said}",
        where=where,
        remedy="see the table's metadata; materialize its snapshot partition if it is broken",
    )
