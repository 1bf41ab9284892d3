"""A log to write to, and the lease it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.stores.leases import Lease
from tests.stores.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.db.close()


@pytest.fixture
def lease(place: Place) -> Lease:
    return place.leases.acquire("capture", "a run")
