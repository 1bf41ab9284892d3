"""A change log on a fresh SQLite database, with its files beside it."""

from __future__ import annotations

from pathlib import Path

from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase
from resources.stores.leases import Lease, LeaseStore
from tests.stores.samples import (
    PIPELINE,
    position,
)


class Place:
    """A log on a fresh SQLite database."""

    def __init__(self, folder: Path, location: str = "") -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/state.db"
        self.location = location or str(folder / "log")
        self.db = StateDatabase(self.url)
        self.leases = LeaseStore(self.db)
        self.log = ChangeLog(self.db, PIPELINE, self.location)
        self.log.segments.ensure_origin(position(0))

    def lease(self) -> Lease:
        return self.leases.acquire("capture", "a run", 0.01)

    def files(self) -> list[str]:
        found = (self.folder / "log").rglob("*")
        return sorted(str(p.relative_to(self.folder / "log")) for p in found if p.is_file())


def only_file(place: Place, pattern: str = "segments/*") -> Path:
    (found,) = (place.folder / "log").glob(pattern)
    return found
