"""The gap ledger against plain sets of ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resources.model.position import PollGap
from resources.model.table import TableId
from resources.sql.ledger import LATER, GapRule, Survey, batches, holes, overlap, without

TABLE = TableId("d", "t")
SMALL = st.integers(-20, 60)


def ids_of(gaps: list[PollGap]) -> set[int]:
    found = [i for g in gaps for i in range(g.low, g.high + 1)]
    assert len(found) == len(set(found))
    return set(found)


@st.composite
def ledgers(draw: st.DrawFn) -> list[PollGap]:
    edges = sorted(draw(st.sets(SMALL, max_size=12)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [PollGap(low, high, 0, ("<=1",)) for low, high in pairs]


@given(st.sets(SMALL, min_size=1), st.integers(-30, -21))
def test_holes_are_the_complement(present: set[int], after: int) -> None:
    ids = np.array(sorted(present), np.int64)
    ranges = holes(ids, after)
    absent = {i for low, high in ranges for i in range(low, high + 1)}
    assert absent == set(range(after + 1, max(present))) - present
    assert ranges == sorted(ranges)


@given(st.sets(st.integers(1, 80), min_size=2), st.integers(2, 7), st.booleans())
def test_regular_holes_of_several_writers_are_left_out(
    present: set[int], step: int, unsigned: bool
) -> None:
    ids = np.array(sorted(present), np.uint64 if unsigned else np.int64)
    ranges = holes(ids, min(present) - 1, step)
    absent = {i for low, high in ranges for i in range(low, high + 1)}
    residues = {i % step for i in present}
    missing = set(range(min(present), max(present))) - present
    assert {i for i in missing if i % step in residues} <= absent
    for low, high in ranges:
        assert any(i % step in residues for i in range(low, high + 1))


def test_two_writers_in_steps_of_seven_have_no_holes_but_the_real_one() -> None:
    ids = np.array([1, 3, 8, 10, 15, 22, 24], np.int64)
    assert holes(ids, 0, step=7) == [(16, 21)]


@given(ledgers(), st.data())
def test_without_cuts_what_appeared(gaps: list[PollGap], data: st.DataObject) -> None:
    inside = sorted(ids_of(gaps))
    appeared = sorted(data.draw(st.sets(st.sampled_from(inside)))) if inside else []
    left = without(gaps, appeared)
    assert ids_of(left) == set(inside) - set(appeared)
    assert all(g.low <= g.high for g in left)


@given(ledgers(), ledgers())
def test_overlap_is_the_intersection(one: list[PollGap], other: list[PollGap]) -> None:
    found = overlap([(g.low, g.high) for g in one], other)
    assert ids_of(found) == ids_of(one) & ids_of(other)


@given(ledgers(), st.integers(1, 40), st.integers(1, 4))
def test_batches_keep_order_and_width(gaps: list[PollGap], width: int, ranges: int) -> None:
    groups = list(batches(gaps, width, ranges))
    assert [g for group in groups for g in group] == gaps
    for group in groups:
        assert len(group) <= ranges
        assert len(group) == 1 or sum(g.high - g.low + 1 for g in group) <= width


def kept(gap: PollGap, survey: Survey, grace_us: int = 0) -> list[PollGap]:
    return GapRule(TABLE, grace_us).kept([gap], survey)


def test_gap_ends_with_its_transactions_and_forgets_them_one_by_one() -> None:
    gap = PollGap(5, 6, 0, ("a", "b", "<=9"))
    assert kept(gap, Survey(1, {TABLE: ()}, frozenset("a"), oldest=10)) == [
        PollGap(5, 6, 0, ("a",))
    ]
    assert kept(gap, Survey(1, {TABLE: ()}, frozenset(), oldest=9)) == [PollGap(5, 6, 0, ("<=9",))]
    assert kept(gap, Survey(1, {TABLE: ("c",)}, frozenset("c"), oldest=None)) == []


def test_listing_that_failed_keeps_everything() -> None:
    gap = PollGap(5, 6, 0, ("a",))
    assert kept(gap, Survey(10**12, {TABLE: (LATER,)}, alive=None)) == [gap]


def test_grace_counts_from_the_frozen_bound() -> None:
    gap = PollGap(5, 6, 100, None)
    assert kept(gap, Survey(149, {TABLE: None}), grace_us=50) == [gap]
    assert kept(gap, Survey(150, {TABLE: None}), grace_us=50) == []


def test_ids_above_the_counter_wait_for_it() -> None:
    survey = Survey(7, {TABLE: ("a",)}, frozenset("a"), reserved={TABLE: 10})
    rule = GapRule(TABLE, 0)
    low, high = PollGap(5, 10, 7, ("a",)), PollGap(11, 20, 7, (LATER,))
    assert rule.fresh(5, 20, survey) == [low, high]
    idle = Survey(8, {TABLE: ()}, frozenset(), reserved={TABLE: 10})
    assert rule.kept([low, high], idle) == [PollGap(11, 20, 8, (LATER,))]
    busy = Survey(9, {TABLE: ("b",)}, frozenset("b"), reserved={TABLE: 15})
    assert rule.kept([high], busy) == [PollGap(11, 15, 9, ("b",)), PollGap(16, 20, 9, (LATER,))]
