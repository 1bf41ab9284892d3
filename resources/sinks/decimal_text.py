"""Decimals as exact plain text, for engines whose own decimals are too narrow.

In: Arrow decimals. Out: the digits, with as many behind the point as the type has.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_WIDEST = 76


def decimal_text(values: pa.Array) -> pa.Array:
    """Print decimals in plain digits; Arrow's own cast writes small ones as `1.0E-20`."""
    scale = values.type.scale
    wide = values.cast(pa.decimal256(_WIDEST, scale))
    unscaled = pa.Array.from_buffers(
        pa.decimal256(_WIDEST, 0), len(wide), wide.buffers(), offset=wide.offset
    )
    digits = pc.utf8_ltrim(unscaled.cast(pa.string()), characters="-")
    digits = pc.utf8_lpad(digits, width=scale + 1, padding="0")
    if scale:
        whole = pc.utf8_slice_codeunits(digits, 0, -scale)
        digits = pc.binary_join_element_wise(
            whole, pc.utf8_slice_codeunits(digits, -scale, np.iinfo(np.int32).max), "."
        )
    sign = pc.if_else(pc.less(wide, pa.scalar(0, wide.type)), "-", "")
    return pc.binary_join_element_wise(sign, digits, "")
