"""Cases by name, so that one can be made again: `log:7:1234` is number 1234 of run 7.

In: a name. Out: the case, always the same for the same code and corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from types import ModuleType

from tests.fuzz import target_cells, target_faults, target_log, target_rows

TARGETS: dict[str, ModuleType] = {
    "log": target_log,
    "rows": target_rows,
    "cells": target_cells,
    "faults": target_faults,
}
DECODERS = ("log", "rows", "cells")
"""The targets of a run, the likeliest first."""
_WEIGHTS = {"log": 6, "rows": 2, "cells": 2, "faults": 1}


@dataclass(frozen=True)
class CaseName:
    """What a case is made from.

    Attributes:
        target: Which of `TARGETS`.
        seed: The run's seed.
        number: Which case of the run, from 0.
    """

    target: str
    seed: int
    number: int

    @classmethod
    def parse(cls, text: str) -> CaseName:
        """Return the name a text stands for.

        Raises:
            ValueError: It is none.
        """
        target, seed, number = text.split(":")
        if target not in TARGETS:
            raise ValueError(f"no target {target!r}; there are {', '.join(TARGETS)}")
        return cls(target, int(seed), int(number))

    def __str__(self) -> str:
        return f"{self.target}:{self.seed}:{self.number}"


def names(targets: Sequence[str], seed: int, first: int) -> Iterator[CaseName]:
    """Yield the names of a run's cases from a number on, without an end."""
    weights = [_WEIGHTS[target] for target in targets]
    for number in count(first):
        [target] = Random(f"{seed}:{number}").choices(targets, weights)
        yield CaseName(target, seed, number)


def make(name: CaseName) -> object:
    """Return the case of a name."""
    return TARGETS[name.target].make(Random(str(name)))
