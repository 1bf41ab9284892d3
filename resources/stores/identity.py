"""What a row is known by where its names are too long for a key.

In: words. Out: one short word that differs if any of them does.
"""

from __future__ import annotations

from hashlib import blake2b


def digest(*parts: str) -> str:
    """Return 32 hex digits for words; their boundaries count."""
    made = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        made.update(len(encoded).to_bytes(8, "little") + encoded)
    return made.hexdigest()
