"""What every state database does with dirty rows."""

from __future__ import annotations

from dataclasses import replace

from resources.stores.database import StateDatabase
from resources.stores.dirty_rows import DirtyRowStore
from tests.contracts.store_case import StoreCase, dirty_row
from tests.stores.samples import ORDERS, PIPELINE, USERS


class StoreDirty(StoreCase):
    def test_a_row_is_set_aside_once(self, db: StateDatabase) -> None:
        store = DirtyRowStore(db, PIPELINE)
        rows = [dirty_row(1), dirty_row(1, '{"id":2}'), dirty_row(1, table=USERS)]
        assert store.add(rows) == 3
        assert store.add([*rows, dirty_row(2)]) == 1
        found = store.open_rows()
        assert [(r.seq, r.attempts) for r in found] == [(1, 2), (1, 2), (1, 2), (2, 1)]
        assert found[0].first_seen_us < found[0].last_seen_us
        plain = replace(found[3], id=None, first_seen_us=0, last_seen_us=0)
        assert plain == dirty_row(2)
        assert store.count_open() == 4
        assert store.count_open(table=USERS) == 1
        assert store.count_open(target="nowhere") == 0
        assert DirtyRowStore(db, "other").count_open() == 0

    def test_rows_without_a_key_are_told_apart_by_their_bytes(self, db: StateDatabase) -> None:
        store = DirtyRowStore(db, PIPELINE)
        rows = [dirty_row(0, "", raw=raw, position=at) for raw in (b"a", b"b") for at in ("1", "2")]
        assert store.add(rows) == 4
        assert store.add(rows) == 0

    def test_a_newer_change_supersedes_for_good(self, db: StateDatabase) -> None:
        store = DirtyRowStore(db, PIPELINE)
        store.add([dirty_row(1), dirty_row(5), dirty_row(9), dirty_row(1, '{"id":2}')])
        reached = {f'{{"id":{n}}}': 9 for n in range(1, 2000) if n != 2}
        assert store.supersede("lake.orders", reached) == 2
        assert [(r.seq, r.key) for r in store.open_rows()] == [(1, '{"id":2}'), (9, '{"id":1}')]
        store.add([dirty_row(1), dirty_row(5)])
        assert store.count_open() == 2
        assert store.supersede("lake.orders", {'{"id":2}': 9}, table=USERS) == 0
        assert store.supersede("lake.orders", {'{"id":2}': 1}) == 0

    def test_replayed_rows_open_again_waived_ones_do_not(self, db: StateDatabase) -> None:
        store = DirtyRowStore(db, PIPELINE)
        store.add([dirty_row(1), dirty_row(2), dirty_row(3)])
        ids = [r.id for r in store.open_rows() if r.id is not None]
        assert store.mark(ids[:1], "replayed", "mended") == 1
        assert store.mark(ids[1:2], "waived", "known") == 1
        assert store.mark(ids[:2], "superseded", "no longer open") == 0
        store.add([dirty_row(1), dirty_row(2)])
        assert [r.seq for r in store.open_rows()] == [1, 3]
        assert store.mark(ids[1:2], "open", "waived by mistake") == 1

    def test_large_images_are_cut_and_it_is_said(self, db: StateDatabase) -> None:
        store = DirtyRowStore(db, PIPELINE, max_image_bytes=4)
        store.add([dirty_row(1, image=b"12345", raw=b"67890")])
        (row,) = store.open_rows()
        assert (row.image, row.raw) == (b"", b"6789")
        assert row.message == (
            "too large (the image of 5 bytes was not kept, the limit is 4) "
            "(the first 4 of 5 raw bytes were kept)"
        )

    def test_statistics_and_age(self, db: StateDatabase) -> None:
        store = DirtyRowStore(db, PIPELINE)
        store.add([dirty_row(n, f"{n}") for n in range(1200)])
        store.add([dirty_row(5000, field="name", error="RejectedWrite", stage="copy")])
        store.mark([r.id for r in store.open_rows() if r.id and r.seq < 700], "waived", "")
        first, second = store.stats()
        assert (first.table, first.stage, first.error, first.field, first.open, first.total) == (
            ORDERS, "apply", "ConversionError", "price", 500, 1200,
        )  # fmt: skip
        assert (second.stage, second.error, second.field, second.open) == (
            "copy", "RejectedWrite", "name", 1,
        )  # fmt: skip
        assert store.purge(3_600_000_000) == {}
        assert store.purge(0) == {"open": 501, "waived": 700}
        assert store.stats() == []

    def test_text_and_bytes_of_any_kind_come_back(self, db: StateDatabase) -> None:
        store = DirtyRowStore(db, PIPELINE)
        odd = dirty_row(
            2**62, '"\\u0000é😀"', message="é😀", raw=bytes(range(256)) * 300, target="x.😀 "
        )
        store.add([odd])
        (row,) = store.open_rows()
        assert (row.seq, row.key, row.message, row.raw, row.target) == (
            odd.seq, odd.key, odd.message, odd.raw, odd.target,
        )  # fmt: skip
        store.add([dirty_row(1, "bad \0 \udc80", message="bad \0 \udc80")])
        assert store.open_rows()[0].message == "bad \\x00 \\udc80"
