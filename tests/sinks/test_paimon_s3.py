"""The Paimon sink on an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pypaimon import CatalogFactory

from resources.sinks.lake import LakeSink
from tests.contracts.lake_s3 import LakeOnS3, OnS3
from tests.contracts.sink_steps import STEPS, TARGET
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.lake_s3 import s3 as s3
from tests.sinks.paimon_room import PaimonRoom


@pytest.mark.nightly
class TestPaimonSinkOnS3(PaimonRoom, OnS3, SinkSuite):
    """The whole suite."""


class TestPaimonOnS3(PaimonRoom, LakeOnS3):
    """Races, options, stores that are away; pypaimon's reader of the bucket."""

    def catalog_of(self, sink: LakeSink) -> Any:
        options = self.room.options
        return CatalogFactory.create(
            {
                "warehouse": sink.store.url(""),
                "s3.endpoint": options["endpoint"],
                "s3.region": options["region"],
                "s3.access-key": options["access_key_id"],
                "s3.secret-key": options["secret_access_key"],
                "s3.path-style-access": "true",
            }
        )

    def test_rows_that_an_engine_merges_are_read_from_the_bucket(self, tmp_path: Path) -> None:
        with self.make_at(str(tmp_path), merge_engine="partial-update") as sink:
            STEPS["merge"].prepare(sink)
            STEPS["merge"].work(sink)
            read = sink.read_table(TARGET.id).sort_by("id").to_pylist()
            assert [tuple(r.values()) for r in read] == self.seen(sink)
            assert self.seen(sink) == [(1, "one"), (2, "TWO"), (3, None), (4, "four")]

    def test_pypaimon_reads_the_bucket(self, tmp_path: Path) -> None:
        with self.make_at(str(tmp_path)) as sink:
            STEPS["merge"].prepare(sink)
            STEPS["merge"].work(sink)
            assert self.seen(sink) == [(2, "TWO"), (3, None), (4, "four")]
            sink.maintain(TARGET.id, 0)
            assert self.seen(sink) == [(2, "TWO"), (3, None), (4, "four")]
