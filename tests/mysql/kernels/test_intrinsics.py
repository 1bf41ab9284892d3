"""Instructions of some processors: the same words by every one of them."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from resources.mysql.kernels import intrinsics
from resources.mysql.kernels.intrinsics import CARRYLESS_WORDS, LINE, carryless_lines
from resources.mysql.kernels.jit import lean_inline

WORDS = LINE // 8


def test_lines_are_folded_as_polynomials_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (2, 4, 8)[: CARRYLESS_WORDS.bit_length() - 1]:
        monkeypatch.setattr(intrinsics, "CARRYLESS_WORDS", width)
        _check_folding(width)


def _check_folding(width: int) -> None:
    rng = Random(width)
    low, high = rng.getrandbits(64), rng.getrandbits(64)
    data = np.frombuffer(rng.randbytes(7 * LINE + 3), np.uint8)
    begun = np.frombuffer(rng.randbytes(LINE), np.uint64)

    def folded(data: np.ndarray, begun: np.ndarray, lines: int, low: int, high: int) -> tuple:
        words = (
            begun[0], begun[1], begun[2], begun[3], begun[4], begun[5], begun[6], begun[7],
        )  # fmt: skip
        return carryless_lines(data, 3, lines, words, np.uint64(low), np.uint64(high))

    # Not a kernel: those are kept for the widest instruction alone.
    fold = lean_inline(folded)
    for lines in (1, 2, 7):
        wanted = begun.tolist()
        for line in range(lines):
            added = data[3 + line * LINE :][:LINE].tobytes()
            for pair in range(0, WORDS, 2):
                product = multiplied(wanted[pair], low) ^ multiplied(wanted[pair + 1], high)
                product ^= int.from_bytes(added[8 * pair :][:16], "little")
                wanted[pair], wanted[pair + 1] = product & (1 << 64) - 1, product >> 64
        assert [int(word) for word in fold(data, begun, lines, low, high)] == wanted


def multiplied(one: int, other: int) -> int:
    """The product of two polynomials whose coefficients are bits."""
    product = 0
    for bit in range(64):
        product ^= (one << bit) * (other >> bit & 1)
    return product
