"""The conformance suite of state databases: subclass `StoreSuite` and give it a `url` fixture."""

from __future__ import annotations

from tests.contracts.store_dirty import StoreDirty
from tests.contracts.store_leases import StoreLeases
from tests.contracts.store_readers import StoreReaders
from tests.contracts.store_schema_changes import StoreSchemaChanges
from tests.contracts.store_segments import StoreSegments
from tests.contracts.store_tables import StoreTables


class StoreSuite(
    StoreLeases, StoreSegments, StoreTables, StoreDirty, StoreSchemaChanges, StoreReaders
):
    """What every database that holds the state passes."""
