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
_MULTIPLY = "llvm.x86.pclmulqdq"
_LOW_WORDS, _HIGH_WORDS = 0x00, 0x11
HAS_CARRYLESS = (
    not _config.CPU_NAME
    and not _config.CPU_FEATURES
    and bool(binding.get_host_cpu_features().get("pclmul"))
)
"""Whether kernels may use `carryless_fold`: the processor has the instruction, and Numba was not
told to compile for another one."""


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


def _carryless_fold(context: _Any, a: _Any, b: _Any, c: _Any, d: _Any) -> _Any:
    word = types.uint64
    return _pair(word, word, word, word), _emit_fold


def _emit_fold(context: _Any, builder: _Any, signature: _Any, words: _Any) -> _Any:
    vector, byte, index = ir.VectorType(ir.IntType(64), 2), ir.IntType(8), ir.IntType(32)
    multiply = builder.module.globals.get(_MULTIPLY)
    if multiply is None:
        kind = ir.FunctionType(vector, [vector, vector, byte])
        multiply = ir.Function(builder.module, kind, _MULTIPLY)

    def joined(low: _Any, high: _Any) -> _Any:
        half = builder.insert_element(ir.Constant(vector, ir.Undefined), low, index(0))
        return builder.insert_element(half, high, index(1))

    sums, factors = joined(*words[:2]), joined(*words[2:])
    low = builder.call(multiply, [sums, factors, byte(_LOW_WORDS)])
    high = builder.call(multiply, [sums, factors, byte(_HIGH_WORDS)])
    both = builder.xor(low, high)
    parts = [builder.extract_element(both, index(half)) for half in (0, 1)]
    return context.make_tuple(builder, signature.return_type, parts)


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
carryless_fold: Callable[[np.uint64, np.uint64, np.uint64, np.uint64], tuple[np.uint64, np.uint64]]
carryless_fold = _intrinsic(_carryless_fold)
"""Return `low * low_factor + high * high_factor`, products of polynomials, as lower and upper word.
"""
