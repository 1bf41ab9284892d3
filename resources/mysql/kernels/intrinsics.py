"""Single instructions that Numba has no words for, inside kernels.

In: words, or bytes at any offset. Out: small functions that kernels take a copy of.
Source: LLVM Language Reference; Intel 64 and IA-32 Architectures Software Developer's Manual,
PCLMULQDQ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

_Any: TypeAlias = Any
"""Of Numba and LLVM, whose words for each other have no types."""

BLOCK = 64
"""Bytes that `copy_block` copies."""
_config: Any = numba.config
_intrinsic: Any = intrinsic  # its stubs take the first argument for one of the call
_pair: Any = types.UniTuple(types.uint64, 2)  # type: ignore[no-untyped-call]
_octet: Any = types.UniTuple(types.uint64, 8)  # type: ignore[no-untyped-call]
_MULTIPLY = "llvm.x86.pclmulqdq"
_FETCH, _READ_SOON = "llvm.prefetch.p0", (0, 3, 1)
_LOW_WORDS, _HIGH_WORDS = 0x00, 0x11
LINE = 64
"""Bytes that `carryless_lines` takes at a step."""
_LINE_WORDS = 8


def _carryless_words() -> int:
    """Return how many words the processor multiplies at once, in pairs; 0 if none.

    None, too, if Numba was told to compile for another processor.
    """
    has: Any = binding.get_host_cpu_features()
    if _config.CPU_NAME or _config.CPU_FEATURES or not has.get("pclmul"):
        return 0
    if not has.get("vpclmulqdq"):
        return 2
    return 8 if has.get("avx512f") else 4 if has.get("avx2") else 2


CARRYLESS_WORDS = _carryless_words()
"""Kernels may use `carryless_fold` and `carryless_lines` if this is not 0."""


def _copy_block(context: _Any, out: _Any, to: _Any, data: _Any, at: _Any) -> _Any:
    return types.void(out, types.int64, data, types.int64), _emit_copy


def _emit_copy(context: _Any, builder: _Any, signature: _Any, values: _Any) -> _Any:
    block = ir.VectorType(ir.IntType(8), BLOCK).as_pointer()
    out, data = (
        builder.bitcast(
            builder.gep(
                context.make_array(signature.args[array])(context, builder, values[array]).data,
                [values[array + 1]],
            ),
            block,
        )
        for array in (0, 2)
    )
    builder.store(builder.load(data, align=1), out, align=1)
    return context.get_dummy_value()


def _put_value(context: _Any, out: _Any, to: _Any, value: _Any) -> _Any:
    return types.void(out, types.int64, value), _emit_put


def _emit_put(context: _Any, builder: _Any, signature: _Any, values: _Any) -> _Any:
    array = context.make_array(signature.args[0])(context, builder, values[0])
    place = builder.gep(array.data, [values[1]])
    builder.store(values[2], builder.bitcast(place, values[2].type.as_pointer()), align=1)
    return context.get_dummy_value()


def _fetch(context: _Any, data: _Any, at: _Any) -> _Any:
    return types.void(data, types.int64), _emit_fetch


def _emit_fetch(context: _Any, builder: _Any, signature: _Any, values: _Any) -> _Any:
    array = context.make_array(signature.args[0])(context, builder, values[0])
    place, number = builder.gep(array.data, [values[1]]), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
    fetch = builder.module.globals.get(_FETCH) or ir.Function(builder.module, kind, _FETCH)
    builder.call(fetch, [place, *(number(argument) for argument in _READ_SOON)])
    return context.get_dummy_value()


def _carryless_fold(context: _Any, a: _Any, b: _Any, c: _Any, d: _Any) -> _Any:
    word = types.uint64
    return _pair(word, word, word, word), _emit_fold


def _emit_fold(context: _Any, builder: _Any, signature: _Any, words: _Any) -> _Any:
    both = _folded(builder, _joined(builder, words[:2]), _joined(builder, words[2:]))
    return context.make_tuple(builder, signature.return_type, _words(builder, both))


def _carryless_lines(
    context: _Any, data: _Any, at: _Any, lines: _Any, words: _Any, low: _Any, high: _Any
) -> _Any:
    word = types.uint64
    return _octet(data, types.int64, types.int64, _octet, word, word), _emit_lines


def _emit_lines(context: _Any, builder: _Any, signature: _Any, values: _Any) -> _Any:
    data, at, lines, words, *factors = values
    array = context.make_array(signature.args[0])(context, builder, data)
    width = CARRYLESS_WORDS
    parts = [builder.extract_value(words, index) for index in range(_LINE_WORDS)]
    begun = [_joined(builder, parts[i : i + width]) for i in range(0, _LINE_WORDS, width)]
    factor = _joined(builder, factors * (width // len(factors)))
    before = builder.block
    loop, done = (builder.append_basic_block(name) for name in ("lines", "lines_done"))
    builder.branch(loop)
    builder.position_at_end(loop)
    line = builder.phi(lines.type)
    sums = [builder.phi(vector.type) for vector in begun]
    first = builder.gep(array.data, [builder.add(at, builder.mul(line, lines.type(LINE)))])
    place = builder.bitcast(first, begun[0].type.as_pointer())
    ended = [
        builder.xor(
            _folded(builder, vector, factor),
            builder.load(builder.gep(place, [ir.IntType(32)(index)]), align=1),
        )
        for index, vector in enumerate(sums)
    ]
    following = builder.add(line, lines.type(1))
    for phi, begin, end in zip(
        (line, *sums), (lines.type(0), *begun), (following, *ended), strict=True
    ):
        phi.add_incoming(begin, before)
        phi.add_incoming(end, loop)
    builder.cbranch(builder.icmp_signed("<", following, lines), loop, done)
    builder.position_at_end(done)
    out = [word for vector in ended for word in _words(builder, vector)]
    return context.make_tuple(builder, signature.return_type, out)


def _joined(builder: _Any, words: _Any) -> _Any:
    """Return words as a vector."""
    vector: _Any = ir.Constant(ir.VectorType(ir.IntType(64), len(words)), ir.Undefined)
    for index, word in enumerate(words):
        vector = builder.insert_element(vector, word, ir.IntType(32)(index))
    return vector


def _words(builder: _Any, vector: _Any) -> list[_Any]:
    """Return a vector's words."""
    return [
        builder.extract_element(vector, ir.IntType(32)(index)) for index in range(vector.type.count)
    ]


def _folded(builder: _Any, sums: _Any, factors: _Any) -> _Any:
    """Return each pair of words multiplied and added up."""
    vector, byte = sums.type, ir.IntType(8)
    name = _MULTIPLY + (f".{64 * vector.count}" if vector.count > 2 else "")
    multiply = builder.module.globals.get(name)
    if multiply is None:
        kind = ir.FunctionType(vector, [vector, vector, byte])
        multiply = ir.Function(builder.module, kind, name)
    low = builder.call(multiply, [sums, factors, byte(_LOW_WORDS)])
    high = builder.call(multiply, [sums, factors, byte(_HIGH_WORDS)])
    return builder.xor(low, high)


copy_block: Callable[[npt.NDArray[np.uint8], int, npt.NDArray[np.uint8], int], None]
copy_block = _intrinsic(_copy_block)
"""Copy `data[at:at + BLOCK]` to `out[to:to + BLOCK]` for `(out, to, data, at)`.

The caller knows that both are there.
"""
put_value: Callable[[npt.NDArray[np.uint8], int, Any], None]
put_value = _intrinsic(_put_value)
"""Write an integer, in as many bytes as its type has, to `out[to:]` for `(out, to, value)`.

The caller knows that there is room.
"""
fetch: Callable[[npt.NDArray[np.uint8], int], None]
fetch = _intrinsic(_fetch)
"""Have the cache line of `data[at]` brought near, for `(data, at)`; it need not be there."""
carryless_fold: Callable[[np.uint64, np.uint64, np.uint64, np.uint64], tuple[np.uint64, np.uint64]]
carryless_fold = _intrinsic(_carryless_fold)
"""Return `low * low_factor + high * high_factor`, products of polynomials, as lower and upper word.
"""
carryless_lines: Callable[..., tuple[np.uint64, ...]]
carryless_lines = _intrinsic(_carryless_lines)
"""Fold some lines into sums of a line's words, for `(data, at, lines, words, low, high)`.

For each line the four pairs of words are multiplied as `carryless_fold` does, then the line is
added. The caller knows that there is at least one, and that all are there. Returns the eight words.
"""
