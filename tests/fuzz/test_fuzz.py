"""The decoders hold against damaged bytes, and the fuzzer sees what it looks for."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from tests.fuzz.cases import DECODERS, CaseName, make
from tests.fuzz.hunt import Finding, hunt, replay
from tests.fuzz.target_faults import KINDS, FaultCase

_SEED = 20260


def _words(findings: list[Finding]) -> str:
    return "\n".join(f"{f.case}: {f.how}\n{f.text}" for f in findings)


def test_damaged_bytes_end_in_an_error_or_a_value() -> None:
    """No crash, no hang, no read beyond the bytes, nothing raised that no caller expects."""
    tally = hunt(DECODERS, _SEED, cases=500)
    assert not tally.findings, _words(tally.findings)
    assert tally.executions == 500
    often = {outcome for outcome, times in tally.outcomes.items() if times > 5}
    assert often >= {"log: CorruptEvent", "log: whole, rows", "cells: bad cells", "cells: whole"}
    assert often >= {"rows: SourceUnavailable", "rows: whole, rows"}


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_damaged_bytes_for_ten_minutes() -> None:
    """Another seed each night; it is printed, and CDC_SEED repeats it."""
    seed = int(os.environ.get("CDC_SEED", int.from_bytes(os.urandom(4), "big")))
    print(f"CDC_SEED={seed}")
    tally = hunt(DECODERS, seed, minutes=10)
    print(f"{tally.executions} executions", *tally.lines(), sep="\n")
    assert not tally.findings, _words(tally.findings)


def test_every_fault_is_noticed_and_the_run_goes_on() -> None:
    seed = next(s for s in itertools.count() if set(_kinds(s)) == set(KINDS))
    tally = hunt(["faults"], seed, cases=len(KINDS), seconds=0.3)
    assert tally.executions == len(KINDS)
    noticed = {_kind(finding.case): finding.how for finding in tally.findings}
    assert noticed == {kind: how for kind, (_, how) in KINDS.items() if how}


def _kinds(seed: int) -> list[str]:
    return [_kind(CaseName("faults", seed, number)) for number in range(len(KINDS))]


def _kind(name: CaseName) -> str:
    case = make(name)
    assert isinstance(case, FaultCase)
    return case.kind


def test_a_finding_says_how_to_see_it_again(tmp_path: Path) -> None:
    names = (CaseName("faults", 0, number) for number in itertools.count())
    case = next(name for name in names if _kind(name) == "raises")
    ended = replay(case)
    assert ended.outcome == "KeyError"
    assert ended.finding is not None
    path = ended.finding.save(tmp_path)
    assert f"python -m tests.fuzz --case {case}" in path.read_text()
    assert "on purpose" in path.read_text()
    assert path.with_suffix(".bin").read_bytes() == b"raises"
