"""Decimals as exact plain text, for engines whose own decimals are too narrow.

In: Arrow decimals. Out: the digits, with as many behind the point as the type has.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import ConfigError

_WIDEST = 76
_NEVER_SCIENTIFIC = 6
"""Up to so many digits behind the point, Arrow's cast writes plain digits whatever the value."""


def keeps_as_text(sink: str, types: Mapping[str, str] | None) -> bool:
    """Return whether a sink's `types` ask to keep decimals beyond its own as text.

    Args:
        sink: The sink's name, for errors.
        types: `{"decimal_overflow": "text"}`, or nothing.

    Raises:
        ConfigError: They hold something else.
    """
    if types and dict(types) != {"decimal_overflow": "text"}:
        raise ConfigError(
            f"the {sink} sink does not know the type settings {sorted(types)} as given",
            remedy="types: {decimal_overflow: text}",
        )
    return bool(types)


def decimal_text(values: pa.Array) -> pa.Array:
    """Print decimals in plain digits; Arrow's own cast writes small ones as `1.0E-20`."""
    scale = values.type.scale
    if 0 <= scale <= _NEVER_SCIENTIFIC:
        return values.cast(pa.string())
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
