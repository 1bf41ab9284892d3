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

from cdc_assets.engine.transforms.rule import Mask
from cdc_assets.engine.transforms.typed import is_bytes, is_text
from resources.model.arrays import from_mask
from resources.model.keys import key_text

DIGEST = 64
"""Hex digits of a SHA-256."""
_BLOCK = 64
"""Bytes SHA-256 takes at once."""
REDACTED = "***"


def digests_of(values: pa.Array, mask: Mask) -> pa.Array:
    """Return digests in hex; each distinct value of the array is hashed once."""
    raw = values
    if is_text(values.type):
        raw = values.cast(pa.large_binary() if values.type == pa.large_string() else pa.binary())
    encoded = pc.dictionary_encode(raw)
    found = encoded.dictionary.to_pylist()
    if raw.type not in (pa.binary(), pa.large_binary()):
        found = [canonical(v) for v in found]
    digests = b"".join(map(_digest(mask), found)).hex().encode("ascii")
    offsets = np.arange(len(found) + 1, dtype=np.int32) * DIGEST
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(digests)]
    return pa.Array.from_buffers(pa.string(), len(found), buffers).take(encoded.indices)


def masked_key(value: Any, type_: pa.DataType, mask: Mask) -> str:  # noqa: ANN401 - JSON value
    """Return the digest of a key column's value as `key_text` writes it."""
    if is_bytes(type_):
        value = bytes.fromhex(value[2:])
    elif pa.types.is_decimal(type_):
        value = Decimal(value)
    return _digest(mask)(canonical(value)).hex()


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


def _digest(mask: Mask) -> Callable[[bytes], bytes]:
    salt, sha256 = mask.salt.encode(), hashlib.sha256
    if mask.kind != "hmac":
        return lambda value: sha256(salt + value).digest()
    # What the key does to either hash is done once, not per value as `hmac.digest` does it: that
    # takes a quarter of the time. RFC 2104, section 4.
    key = (salt if len(salt) <= _BLOCK else sha256(salt).digest()).ljust(_BLOCK, b"\0")
    inner, outer = (sha256(bytes(b ^ pad for b in key)) for pad in (0x36, 0x5C))

    def digest(value: bytes) -> bytes:
        within, around = inner.copy(), outer.copy()
        within.update(value)
        around.update(within.digest())
        return around.digest()

    return digest


def _filled(values: pa.Array, value: object) -> pa.Array:
    """Return one value where there is any."""
    return pc.if_else(
        values.is_valid(), pa.scalar(value, values.type), pa.scalar(None, values.type)
    )


def _partial(values: pa.Array, mask: Mask) -> pa.Array:
    """Hide the middle; of values too short to have one, everything."""
    binary = is_bytes(values.type)
    size = pc.binary_length(values) if binary else pc.utf8_length(values)
    cut = pc.binary_slice if binary else pc.utf8_slice_codeunits
    sign = pa.scalar(mask.character.encode() if binary else mask.character, values.type)
    keep = mask.keep_first + mask.keep_last
    hidden = pc.binary_repeat(
        sign, pc.max_element_wise(pc.subtract(size, keep), 0, skip_nulls=False)
    )
    first = cut(values, 0, mask.keep_first)
    last = (
        cut(values, -mask.keep_last) if mask.keep_last else pa.scalar(sign.as_py()[:0], values.type)
    )
    empty = pa.scalar(sign.as_py()[:0], values.type)
    shown = pc.binary_join_element_wise(first, hidden, last, empty)
    return pc.if_else(pc.greater(size, keep), shown, pc.binary_repeat(sign, size))


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
    plain = values.cast(pa.large_string())
    offsets = np.frombuffer(plain.buffers()[1], np.int64, len(plain) + 1, plain.offset * 8)
    text = plain.buffers()[2]
    low, high = int(offsets[0]), int(offsets[-1])
    data = np.frombuffer(text, np.uint8, high - low, low) if text else np.empty(0, np.uint8)
    if len(mask.character.encode()) > 1 or bool((data > 127).any()):
        distinct = pc.dictionary_encode(values)
        hidden = [phone_text(v, mask) for v in distinct.dictionary.to_pylist()]
        return pa.array(hidden, values.type).take(distinct.indices)
    digit = (data >= ord("0")) & (data <= ord("9"))
    ends: npt.NDArray[np.integer[Any]] = np.zeros(
        len(data) + 1, np.int32 if len(data) < 2**31 else np.int64
    )
    np.cumsum(digit, out=ends[1:])
    first, last = ends[offsets[:-1] - low], ends[offsets[1:] - low]
    shown = np.where(last - first > mask.keep_last, mask.keep_last, 0)
    border = np.repeat(last - shown, np.diff(offsets))  # digits up to here are hidden
    masked = np.where(digit & (ends[1:] <= border), np.uint8(ord(mask.character)), data)
    buffers = [None, pa.py_buffer(offsets - low), pa.py_buffer(masked)]
    texts = pa.Array.from_buffers(pa.large_string(), len(plain), buffers).cast(values.type)
    numbers = pc.if_else(from_mask(last > first), texts, pa.scalar(REDACTED, values.type))
    return pc.if_else(values.is_valid(), numbers, pa.scalar(None, values.type))


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
