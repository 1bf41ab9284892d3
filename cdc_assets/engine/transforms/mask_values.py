"""What masks do to arrays.

In: an array and a mask. Out: an array as long, NULL where the values are NULL.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc_assets.engine.casts import valid
from cdc_assets.engine.transforms.rule import Mask
from cdc_assets.engine.transforms.typed import is_bytes, is_text
from resources.model.arrays import pack_bits, unwritten
from resources.model.keys import key_text

DIGEST = 64
"""Hex digits of a SHA-256."""
REDACTED = "***"
Bytes = npt.NDArray[np.uint8]


def digests_of(values: pa.Array, mask: Mask) -> pa.Array:
    """Return digests in hex, as strings."""
    if is_text(values.type) or is_bytes(values.type):
        return _digests(values, mask)
    encoded = pc.dictionary_encode(values)
    found = [canonical(v) for v in encoded.dictionary.to_pylist()]
    return _digests(pa.array(found, pa.binary()), mask).take(encoded.indices)


def masked_key(value: Any, type_: pa.DataType, mask: Mask) -> str:  # noqa: ANN401 - JSON value
    """Return the digest of a key column's value as `key_text` writes it."""
    if is_bytes(type_):
        value = bytes.fromhex(value[2:])
    elif pa.types.is_decimal(type_):
        value = Decimal(value)
    digest: str = digests_of(pa.array([canonical(value)], pa.binary()), mask)[0].as_py()
    return digest


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any Arrow value
    """Return the bytes that are hashed: text as UTF-8, binary as it is, the rest as plain text.

    Numbers are in plain digits with all digits behind the point, times as `keys.key_text` has them.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"1" if value else b"0"
    if isinstance(value, Decimal):
        return f"{value:f}".encode()
    if isinstance(value, dt.date | dt.timedelta):
        return key_text({"": value})[5:-2].encode()
    return str(value).encode()


def _digests(values: pa.Array, mask: Mask) -> pa.Array:
    """Return the digests of texts or binary values."""
    # Kernels take half a second to load, and few processes mask.
    from cdc_assets.engine.transforms.mask_kernels import put_hex
    from cdc_assets.engine.transforms.sha256 import BLOCK, SIZE, digests

    data, offsets, known = _parts(values)
    salt = mask.salt.encode()
    if mask.kind == "hmac":  # RFC 2104, section 2
        key = (salt if len(salt) <= BLOCK else hashlib.sha256(salt).digest()).ljust(BLOCK, b"\0")
        inner = digests(data, offsets, bytes(b ^ 0x36 for b in key))
        places = np.arange(len(inner) + 1, dtype=np.int64) * SIZE
        found = digests(inner.reshape(-1), places, bytes(b ^ 0x5C for b in key))
    else:
        found = digests(data, offsets, salt)
    out, ends = unwritten(found.size * 2, np.uint8), unwritten(len(found) + 1, np.int32)
    put_hex(found, known, out, ends)
    return _built(pa.string(), known, ends, out)


def _parts(values: pa.Array) -> tuple[Bytes, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the bytes of texts or binary values, where each begins and ends, and which there are.

    All read only, so that kernels are compiled once for them.
    """
    large = values.type in (pa.large_string(), pa.large_binary())
    kind = np.int64 if large else np.int32
    offsets, data = np.zeros(1, np.int64), np.empty(0, np.uint8)
    if len(values):  # else there may be no buffers
        _, places, texts = values.buffers()
        place = values.offset * np.dtype(kind).itemsize
        offsets = np.frombuffer(places, kind, len(values) + 1, place).astype(np.int64)
        data = np.frombuffer(texts, np.uint8) if texts else data
    known = valid(values) if values.null_count else np.ones(len(values), bool)
    for array in (data, offsets, known):
        array.flags.writeable = False
    return data, offsets, known


def _built(
    type_: pa.DataType, known: npt.NDArray[np.bool_], ends: npt.NDArray[Any], out: Bytes
) -> pa.Array:
    """Return the values that a kernel wrote."""
    validity = None if known.all() else pack_bits(known)
    buffers = [validity, pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]])]
    return pa.Array.from_buffers(type_, len(known), buffers)


def _filled(values: pa.Array, value: object) -> pa.Array:
    """Return one value where there is any."""
    return pc.if_else(
        values.is_valid(), pa.scalar(value, values.type), pa.scalar(None, values.type)
    )


def _partial(values: pa.Array, mask: Mask) -> pa.Array:
    """Hide the middle; of values too short to have one, everything."""
    from cdc_assets.engine.transforms.mask_kernels import put_partial

    data, offsets, known = _parts(values)
    binary, sign = is_bytes(values.type), np.frombuffer(mask.character.encode(), np.uint8)
    out = unwritten(int(offsets[-1] - offsets[0]) * len(sign), np.uint8)
    ends = unwritten(len(offsets), offsets.dtype)
    put_partial(data, offsets, known, mask.keep_first, mask.keep_last, sign, binary, out, ends)
    made = pa.large_binary() if binary else pa.large_string()
    return _built(made, known, ends, out).cast(values.type)


def _truncate(values: pa.Array, mask: Mask) -> pa.Array:
    cut = pc.binary_slice if is_bytes(values.type) else pc.utf8_slice_codeunits
    return cut(values, 0, mask.length)


def _redact(values: pa.Array, _: Mask) -> pa.Array:
    if is_text(values.type):
        return _filled(values, REDACTED)
    if is_bytes(values.type):
        return _filled(values, b"")
    return pa.nulls(len(values), values.type)


def _fixed(values: pa.Array, mask: Mask) -> pa.Array:
    return _filled(values, mask.value.encode() if is_bytes(values.type) else mask.value)


def _email(values: pa.Array, _: Mask) -> pa.Array:
    hidden = pc.replace_substring_regex(values, r"(?s)^.*@", f"{REDACTED}@")
    return pc.if_else(pc.match_substring(values, "@"), hidden, _filled(values, REDACTED))


def _phone(values: pa.Array, mask: Mask) -> pa.Array:
    """Hide all digits but the last; of values that have no more digits than those, all.

    What has no digits at all is no number, and is hidden as a whole.
    """
    from cdc_assets.engine.transforms.mask_kernels import put_phones

    data, offsets, known = _parts(values)
    out = unwritten(int(offsets[-1] - offsets[0]) + len(REDACTED) * len(known), np.uint8)
    ends, sign = unwritten(len(offsets), offsets.dtype), ord(mask.character)
    if sign > 127 or not put_phones(data, offsets, known, mask.keep_last, sign, out, ends):
        distinct = pc.dictionary_encode(values)
        hidden = [phone_text(v, mask) for v in distinct.dictionary.to_pylist()]
        return pa.array(hidden, values.type).take(distinct.indices)
    return _built(pa.large_string(), known, ends, out).cast(values.type)


def phone_text(value: str, mask: Mask) -> str:
    """Return one telephone number with all digits but the last hidden; digits of any script."""
    digits = [i for i, c in enumerate(value) if c.isdecimal()]
    if not digits:
        return REDACTED
    hidden = digits[: len(digits) - mask.keep_last] if len(digits) > mask.keep_last else digits
    places = set(hidden)
    return "".join(mask.character if i in places else c for i, c in enumerate(value))


VALUES: Mapping[str, Callable[[pa.Array, Mask], pa.Array]] = MappingProxyType(
    {
        "partial": _partial,
        "truncate": _truncate,
        "redact": _redact,
        "fixed": _fixed,
        "email": _email,
        "phone": _phone,
    }
)
"""Masks that are no digests, by kind."""
