"""The bytes of a text column as they lie in its buffer, to be looked at all at once.

In: Arrow texts. Out: their bytes, one text behind the other, without a copy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def text_bytes(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """Return the bytes of all texts, and what stands in their place where one is null.

    Args:
        texts: An array of string or large_string.
    """
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return np.empty(0, np.uint8)
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    ends = np.frombuffer(offsets, width)[texts.offset :]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[len(texts)]]
