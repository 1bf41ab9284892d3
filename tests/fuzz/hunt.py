"""A run of the fuzzer: workers one after the other, and what they died of.

In: a run's seed, its targets, when to end. Out: how often cases ended how, and findings: cases that
killed their worker, took too long, or raised what no caller expects.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.cases import CaseName, make

SECONDS = 20.0
"""CPU time a case may take: tens of times what the slowest takes."""
_WHERE = "tests.fuzz.worker"


@dataclass(frozen=True)
class Finding:
    """A case that ended as none may.

    Attributes:
        case: Its name.
        how: The signal or the exception.
        text: A traceback.
    """

    case: CaseName
    how: str
    text: str

    def save(self, directory: Path) -> Path:
        """Write down the case, its bytes and its end; returns the file with the words."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{str(self.case).replace(':', '-')}.txt"
        content: bytes = make(self.case).content  # type: ignore[attr-defined]
        path.with_suffix(".bin").write_bytes(content)
        again = f"python -m tests.fuzz --case {self.case}"
        path.write_text(f"{self.how}\n{again}\n{path.stem}.bin: its bytes\n\n{self.text}")
        return path


@dataclass(frozen=True)
class Ended:
    """A case that ran.

    Attributes:
        case: Its name.
        outcome: How it ended, in a word.
        seconds: CPU time it took; 0 if it is a finding.
        finding: That it ended as none may.
    """

    case: CaseName
    outcome: str
    seconds: float = 0.0
    finding: Finding | None = None


@dataclass
class Tally:
    """What a run saw.

    Attributes:
        outcomes: How often a target's cases ended how.
        findings: Cases that ended as none may.
        slowest: The case that took the most CPU time without being a finding.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: Ended | None = None

    def add(self, ended: Ended) -> None:
        """Count a case."""
        self.outcomes[f"{ended.case.target}: {ended.outcome}"] += 1
        if ended.finding is not None:
            self.findings.append(ended.finding)
        if self.slowest is None or ended.seconds > self.slowest.seconds:
            self.slowest = ended

    @property
    def executions(self) -> int:
        """Cases run."""
        return self.outcomes.total()

    def lines(self) -> Iterator[str]:
        """Yield the tally in words, the most frequent first."""
        for outcome, times in self.outcomes.most_common():
            yield f"{times:>10,} {outcome}"
        if self.slowest is not None:
            yield f"slowest: {self.slowest.case}, {self.slowest.seconds:.2f} s of CPU time"


def hunt(
    targets: Sequence[str],
    seed: int,
    first: int = 0,
    cases: int | None = None,
    minutes: float | None = None,
    seconds: float = SECONDS,
    told: Callable[[Tally, Finding | None], None] = lambda tally, finding: None,
) -> Tally:
    """Run cases until there were enough, or for a time.

    Args:
        targets: Which of `TARGETS`.
        seed: The run's seed.
        first: Number of the first case.
        cases: How many.
        minutes: How long.
        seconds: CPU time a case may take.
        told: Told of every finding, and now and then of the tally.
    """
    tally, number = Tally(), first
    until = time.monotonic() + minutes * 60 if minutes is not None else float("inf")
    last = first + cases if cases is not None else sys.maxsize
    while number < last and time.monotonic() < until:
        arguments = [str(seed), str(number), *targets]
        begun = number
        for ended in _events(arguments, seconds):
            tally.add(ended)
            if ended.finding is not None or tally.executions % 1000 == 0:
                told(tally, ended.finding)
            number = ended.case.number + 1
            if number >= last or time.monotonic() >= until:
                break
        if number == begun:
            raise RuntimeError("a worker ran nothing")
    return tally


def replay(case: CaseName, seconds: float = SECONDS) -> Ended:
    """Run one case again."""
    [ended] = _events([str(case)], seconds)
    return ended


def _events(arguments: Sequence[str], seconds: float) -> Iterator[Ended]:
    """Start a worker; yield what becomes of its cases, up to its own end."""
    running: CaseName | None = None
    with tempfile.TemporaryFile() as errors, _worker(arguments, seconds, errors) as (process, pipe):
        for line in pipe:
            words: dict[str, Any] = json.loads(line)
            if "begin" in words:
                running = CaseName.parse(words["begin"])
                continue
            assert running is not None
            if "outcome" in words:
                yield Ended(running, words["outcome"], words["seconds"])
            else:
                yield _failed(running, words["error"], words["text"])
            running = None
        how = _end(process.wait())
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    if running is not None:
        yield _failed(running, how, text)
    elif how:
        raise RuntimeError(f"a worker ended between cases: {how}\n{text}")


def _failed(case: CaseName, how: str, text: str) -> Ended:
    return Ended(case, how, finding=Finding(case, how, text))


def _end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}" if code else ""


@contextmanager
def _worker(
    arguments: Sequence[str], seconds: float, errors: Any
) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """Start a worker; it is killed if it still runs when nobody listens any longer."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", _WHERE, str(writing), str(seconds), *arguments]
    process = subprocess.Popen(command, pass_fds=[writing], stderr=errors, stdin=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            yield process, pipe
    finally:
        process.kill()
        process.wait()
