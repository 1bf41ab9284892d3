"""`python -m tests.fuzz --minutes 60`: run the fuzzer; `--case log:7:1234`: run one case again.

Findings are written to `.cache/fuzz`, or to `--to`; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path

from resources.mysql.kernels.jit import cache_directory
from tests.fuzz.cases import DECODERS, TARGETS, CaseName
from tests.fuzz.hunt import SECONDS, Finding, Tally, hunt, replay

_EVERY = 60.0


def main() -> int:
    """Run from the command line."""
    asked = _arguments()
    if asked.case is not None:
        ended = replay(asked.case, asked.seconds)
        print(ended.outcome if ended.finding is None else ended.finding.text)
        return ended.finding is not None
    seed = asked.seed if asked.seed is not None else secrets.randbits(32)
    targets = asked.target or DECODERS
    _say(f"seed {seed}, targets {', '.join(targets)}, kernels {cache_directory()}")
    watch = _Watch(asked.to)
    if asked.cases is None and asked.minutes is None:
        asked.minutes = 1.0
    tally = hunt(
        targets, seed, asked.first, asked.cases, asked.minutes, asked.seconds, told=watch.told
    )
    _say(f"{tally.executions:,} executions, {len(tally.findings)} findings")
    print(*tally.lines(), sep="\n")
    return bool(tally.findings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long (1 if --cases is not given)")
    parser.add_argument("--cases", type=int, help="how many cases")
    parser.add_argument("--seed", type=int, help="of the run; a new one if not given")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--target", action="append", choices=tuple(TARGETS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="CPU time for a case")
    parser.add_argument("--to", type=Path, default=Path(".cache/fuzz"), help="for findings")
    parser.add_argument("--case", type=CaseName.parse, help="run only this one, as a finding says")
    return parser.parse_args()


class _Watch:
    """Prints findings as they come, and how far the run is about once a minute."""

    def __init__(self, to: Path) -> None:
        self._to = to
        self._begun = self._told = time.monotonic()

    def told(self, tally: Tally, finding: Finding | None) -> None:
        if finding is not None:
            _say(f"{finding.how}: {finding.save(self._to)}")
            return
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            rate = tally.executions / (now - self._begun)
            _say(f"{tally.executions:,} executions, {rate:.0f} a second, "
                 f"{len(tally.findings)} findings")  # fmt: skip


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
