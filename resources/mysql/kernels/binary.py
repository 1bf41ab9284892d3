"""BINARY, BLOB, GEOMETRY and VECTOR: values that are bytes, or structures of bytes.

In: cells of any size. Out: binary, struct and list arrays; cells too short to be one are marked.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.mysql.kernels.cells import Cells, Converted, Converter, Mask, gather
from resources.mysql.kernels.direct import TEXT, Direct
from resources.mysql.kernels.numbers import fixed_array, little_endian
from resources.mysql.types import GEOMETRY

_SRID_BYTES = 4
_FLOAT_BYTES = 4
_OFFSET = 4


def binaries(arrow: pa.DataType) -> Converter:
    """Return the converter of a VARBINARY or BLOB column.

    Args:
        arrow: binary or large_binary.
    """

    def convert(cells: Cells) -> Converted:
        return Converted(gather(cells, arrow))

    return convert if pa.types.is_large_binary(arrow) else Direct(convert, TEXT, arrow, _OFFSET)


def padded(width: int) -> Converter:
    """Return the converter of a BINARY(n) column, to binary.

    Row images lack the trailing zero bytes of such values.

    Args:
        width: Bytes of each value.
    """

    def convert(cells: Cells) -> Converted:
        # Arrow pads only what it takes for strings, and for ASCII looks at no byte of them.
        full = pc.ascii_rpad(gather(cells, pa.string()), width, padding="\0")
        return Converted(pa.Array.from_buffers(pa.binary(), len(full), full.buffers()))

    return convert


def geometries(cells: Cells) -> Converted:
    """Convert a GEOMETRY column, a little-endian SRID and WKB, to a struct of both."""
    usable, bad = _usable(cells, cells.size < _SRID_BYTES)
    srid = fixed_array(pa.uint32(), little_endian(usable, _SRID_BYTES), usable.null)
    # NULL cells begin at 0 with size 0, where the SRID is to be left out too.
    size = np.where(usable.null, 0, usable.size - _SRID_BYTES)
    wkb = gather(
        Cells(cells.data, usable.start + _SRID_BYTES, size, usable.null), GEOMETRY.field("wkb").type
    )
    array = pa.Array.from_buffers(GEOMETRY, len(cells), [usable.validity()], children=[srid, wkb])
    return Converted(array, bad, "not a geometry")


def vectors(cells: Cells) -> Converted:
    """Convert a VECTOR column, float32 values end to end, to list<float32>."""
    usable, bad = _usable(cells, cells.size % _FLOAT_BYTES != 0)
    arrow = pa.list_(pa.float32())
    _, offsets, content = gather(usable, pa.binary()).buffers()
    edges = np.frombuffer(offsets, np.int32) // _FLOAT_BYTES
    values = pa.Array.from_buffers(pa.float32(), int(edges[-1]), [None, content])
    buffers = [usable.validity(), pa.py_buffer(edges)]
    array = pa.Array.from_buffers(arrow, len(cells), buffers, children=[values])
    return Converted(array, bad, "not a vector")


def _usable(cells: Cells, wrong: Mask) -> tuple[Cells, Mask | None]:
    """Return the cells with the wrong ones as NULL, and which those are, None if none."""
    bad = wrong & ~cells.null
    if not bad.any():
        return cells, None
    size = np.where(bad, 0, cells.size)
    return Cells(cells.data, cells.start, size, cells.null | bad), bad
