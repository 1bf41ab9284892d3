"""SHA-256 of many short values at once: what the masks `hash` and `hmac` spend their time on.

In: values end to end, as Arrow keeps them. Out: their digests. Source: FIPS 180-4, sections 4.1.2,
4.2.2, 5.1.1 and 6.2.2.

To call a hash function for a value costs more than to hash it. Here values lie side by side, one a
lane, and every step of the function is done for all lanes, which compiles to wide instructions:
0.1 µs a value in place of 0.5. All of it is in one file, since numba's cache looks at the file of a
function only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from resources.model.arrays import unwritten
from resources.mysql.kernels.jit import lean_inline, lean_kernel

Array = npt.NDArray[Any]

SIZE = 32
"""Bytes of a digest."""
BLOCK = 64
"""Bytes the function takes at once."""
_LANES = 32
_ENDING = 9
"""Bytes behind every message: a bit and its length, with zeros between."""
_STATE, _WORK, _BEGUN = 0, 8, 16
"""Where the rows of `states` begin: the hash, the variables a to h, the hash after `lead`."""
_U = np.uint32


def _words(text: str) -> Array:
    return np.frombuffer(bytes.fromhex(text), ">u4").astype(np.uint32)


_START = _words("6a09e667 bb67ae85 3c6ef372 a54ff53a 510e527f 9b05688c 1f83d9ab 5be0cd19")
_ROUND = _words(
    """
    428a2f98 71374491 b5c0fbcf e9b5dba5 3956c25b 59f111f1 923f82a4 ab1c5ed5
    d807aa98 12835b01 243185be 550c7dc3 72be5d74 80deb1fe 9bdc06a7 c19bf174
    e49b69c1 efbe4786 0fc19dc6 240ca1cc 2de92c6f 4a7484aa 5cb0a9dc 76f988da
    983e5152 a831c66d b00327c8 bf597fc7 c6e00bf3 d5a79147 06ca6351 14292967
    27b70a85 2e1b2138 4d2c6dfc 53380d13 650a7354 766a0abb 81c2c92e 92722c85
    a2bfe8a1 a81a664b c24b8b70 c76c51a3 d192e819 d6990624 f40e3585 106aa070
    19a4c116 1e376c08 2748774c 34b0bcb5 391c0cb3 4ed8aa4a 5b9cca4f 682e6ff3
    748f82ee 78a5636f 84c87814 8cc70208 90befffa a4506ceb bef9a3f7 c67178f2
    """
)


def digests(data: Array, offsets: Array, lead: bytes) -> Array:
    """Return the digests of values, each with the same bytes before it.

    Args:
        data: uint8, the values.
        offsets: int64, where each begins, and the end of the last.
        lead: What stands before each; its whole blocks are hashed once.

    Returns:
        uint8, a row of `SIZE` bytes per value.
    """
    out = unwritten((len(offsets) - 1) * SIZE, np.uint8).reshape(-1, SIZE)
    words = np.zeros((64, _LANES), np.uint32)
    states = np.zeros((24, _LANES), np.uint32)
    data, offsets = data.view(), offsets.view()
    data.flags.writeable = offsets.flags.writeable = False  # so that the kernel is compiled once
    before = np.frombuffer(lead, np.uint8)
    _digest_all(data, offsets, before, words, states, np.empty(BLOCK, np.uint8), out)
    return out


@lean_inline
def _rotated(word: np.uint32, bits: int) -> np.uint32:
    return _U((word >> _U(bits)) | (word << _U(32 - bits)))


@lean_kernel
def _fill(data: Array, begin: int, end: int, lead: Array, at: int, block: Array) -> None:
    """Write a block of a message: `lead`, a value, a one bit, zeros, and the length in bits.

    Args:
        data: The values.
        begin: Where this one begins.
        end: Where it ends.
        lead: What stands before it.
        at: Where the block begins in the message.
        block: Written.
    """
    front = len(lead)
    length = front + end - begin
    for i in range(BLOCK):
        block[i] = 0
    for i in range(at, min(front, at + BLOCK)):
        block[i - at] = lead[i]
    first = max(at, front)
    source = begin + first - front
    for i in range(min(length, at + BLOCK) - first):
        block[first - at + i] = data[source + i]
    if at <= length < at + BLOCK:
        block[length - at] = 128
    if length + _ENDING <= at + BLOCK:
        bits = length * 8
        for i in range(8):
            block[BLOCK - 1 - i] = (bits >> (8 * i)) & 255


@lean_inline
def _take(states: Array, lane: int, out: Array, row: int) -> None:
    for i in range(8):
        word = states[_STATE + i, lane]
        for byte in range(4):
            out[row, 4 * i + byte] = (word >> _U(24 - 8 * byte)) & _U(255)


@lean_inline
def _spread(block: Array, words: Array, lane: int) -> None:
    for i in range(16):
        high = (_U(block[4 * i]) << _U(24)) | (_U(block[4 * i + 1]) << _U(16))
        words[i, lane] = high | (_U(block[4 * i + 2]) << _U(8)) | _U(block[4 * i + 3])


@lean_inline
def _row(variable: int, t: int) -> int:
    return _WORK + ((variable - t) & 7)


@lean_kernel
def _compress(words: Array, states: Array) -> None:
    """Take a block of every lane into its hash."""
    for t in range(16, 64):
        for lane in range(_LANES):
            x, y = words[t - 15, lane], words[t - 2, lane]
            low = _rotated(x, 7) ^ _rotated(x, 18) ^ (x >> _U(3))
            high = _rotated(y, 17) ^ _rotated(y, 19) ^ (y >> _U(10))
            words[t, lane] = _U(words[t - 16, lane] + low + words[t - 7, lane] + high)
    for i in range(8):
        for lane in range(_LANES):
            states[_WORK + i, lane] = states[_STATE + i, lane]
    for t in range(64):
        # The variables stay where they are; their names move on by a row each round.
        ra, rb, rc, rd = _row(0, t), _row(1, t), _row(2, t), _row(3, t)
        re, rf, rg, rh = _row(4, t), _row(5, t), _row(6, t), _row(7, t)
        for lane in range(_LANES):
            a, b, c, e = states[ra, lane], states[rb, lane], states[rc, lane], states[re, lane]
            mixed = _rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)
            chosen = (e & states[rf, lane]) ^ (~e & states[rg, lane])
            more = _U(states[rh, lane] + mixed + chosen + _ROUND[t] + words[t, lane])
            mixed = _rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)
            states[rd, lane] = _U(states[rd, lane] + more)
            states[rh, lane] = _U(more + mixed + ((a & b) ^ (a & c) ^ (b & c)))
    for i in range(8):
        for lane in range(_LANES):
            states[_STATE + i, lane] = _U(states[_STATE + i, lane] + states[_WORK + i, lane])


@lean_kernel
def _begin(lead: Array, words: Array, states: Array, block: Array) -> None:
    """Take the whole blocks of `lead` into the hash that every value begins with."""
    for i in range(8):
        for lane in range(_LANES):
            states[_STATE + i, lane] = _START[i]
    for number in range(len(lead) // BLOCK):
        _fill(lead, 0, 0, lead, number * BLOCK, block)
        for lane in range(_LANES):
            _spread(block, words, lane)
        _compress(words, states)
    for i in range(8):
        for lane in range(_LANES):
            states[_BEGUN + i, lane] = states[_STATE + i, lane]


@lean_kernel
def _digest(
    data: Array,
    offsets: Array,
    first: int,
    lead: Array,
    words: Array,
    states: Array,
    block: Array,
    out: Array,
) -> None:
    """Digest as many values as there are lanes, from the `first` one on, each to its last block."""
    front = len(lead)
    lanes = min(_LANES, len(offsets) - 1 - first)
    last = 0
    for row in range(first, first + lanes):
        size = front + offsets[row + 1] - offsets[row]
        last = max(last, (size + _ENDING - 1) // BLOCK)
    for i in range(8):
        for lane in range(_LANES):
            states[_STATE + i, lane] = states[_BEGUN + i, lane]
    for number in range(front // BLOCK, last + 1):
        for lane in range(lanes):
            begin, end = offsets[first + lane], offsets[first + lane + 1]
            _fill(data, begin, end, lead, number * BLOCK, block)
            _spread(block, words, lane)
        _compress(words, states)
        for lane in range(lanes):
            size = front + offsets[first + lane + 1] - offsets[first + lane]
            if (size + _ENDING - 1) // BLOCK == number:
                _take(states, lane, out, first + lane)


@lean_kernel
def _digest_all(
    data: Array, offsets: Array, lead: Array, words: Array, states: Array, block: Array, out: Array
) -> None:
    _begin(lead, words, states, block)
    for first in range(0, len(offsets) - 1, _LANES):
        _digest(data, offsets, first, lead, words, states, block, out)
