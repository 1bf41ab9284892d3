"""Timing work in turns, and printing what came out.

In: functions to time. Out: the best of their runs, as lines or as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

QUIET_JOB = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
"""Run config of a Dagster job that prints warnings alone."""


@dataclass(frozen=True)
class Figure:
    """One number.

    Args:
        name: Dotted name, the same in every run.
        value: The number.
        unit: What it counts.
        note: What to read it against; not part of the JSON line.
    """

    name: str
    value: float
    unit: str
    note: str = ""

    def line(self, as_json: bool) -> str:
        """Return the figure as a line of a table or of JSON."""
        if as_json:
            return json.dumps({"name": self.name, "value": self.value, "unit": self.unit})
        return f"{self.name:28} {self.value:>14,} {self.unit:12} {self.note}".rstrip()


@dataclass(frozen=True)
class Timing:
    """The best run of some work.

    Args:
        seconds: Wall time of the fastest run.
        cpu: Processor seconds of this process, all threads, in the run that used the fewest.
    """

    seconds: float
    cpu: float


def alternate(rounds: int, works: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    """Run several works in turn, so that a busy moment of the machine does not hit one alone.

    Args:
        rounds: How often each is run.
        works: By name.
    """
    wall: dict[str, list[float]] = {name: [] for name in works}
    cpu: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began, used = time.perf_counter(), time.process_time()
            work()
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - used)
    return {name: Timing(min(wall[name]), min(cpu[name])) for name in works}


def rate(rows: int, seconds: float) -> int:
    """Return rows per second, rounded."""
    return round(rows / seconds)


def ratio(value: float, limit: float, of: str) -> str:
    """Return how a value compares, in words."""
    return f"{value / limit:.2f} of {of}" if limit else ""


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the two options every benchmark has."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="small sizes, less certain figures")
    return parser


def show(figures: Iterable[Figure], as_json: bool) -> None:
    """Print figures one a line, each at once."""
    for figure in figures:
        print(figure.line(as_json), flush=True)


def say(line: str) -> None:
    """Print progress where it does not mix with figures."""
    print(line, file=sys.stderr, flush=True)
