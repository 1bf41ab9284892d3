"""Where a sink is, in words: what tells two sinks apart, and knows one again by another name.

In: the `sink` section as it is written, secrets still references. Out: text without a secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import SecretStr

from cdc_assets.settings_env import server_of
from cdc_assets.settings_types import Part

if TYPE_CHECKING:
    from cdc_assets.settings import Sink

_WHERE = ("path", "location", "url", "host", "socket", "bootstrap_servers")
"""Keys that say where a sink is; of each kind of sink one is given."""
_APART = ("port", "database", "catalog")
"""Keys that tell places at one address apart."""
_ALONE = {"bootstrap_servers": ("state_topic", "topic")}
"""Keys each of which alone must differ between two sinks at one address."""


def place_of(sink: Sink, name: str) -> str:
    """Return words that are equal for the same place; no password is in them.

    Args:
        sink: The section.
        name: What tells sinks apart that have no place.
    """
    return places_of(sink, name)[0][1]


def places_of(sink: Sink, name: str) -> list[tuple[str, str]]:
    """Return the places a sink has for itself, each with the key that says most of it.

    Args:
        sink: The section.
        name: What tells sinks apart that have no place.
    """
    given = {key: _plain(getattr(sink, key, None)) for key in (*_WHERE, *_APART)}
    found = {key: value for key, value in given.items() if value}
    where = next((key for key in _WHERE if key in found), "")
    if not where:
        return [("type", json.dumps({"name": name, "type": sink.type}))]
    base = {"at" if where in ("path", "location") else where: found.pop(where), **found}
    alone = _ALONE.get(where, ())
    if not alone:
        return [(where, json.dumps(base, sort_keys=True))]
    return [(k, json.dumps(base | {k: getattr(sink, k)}, sort_keys=True)) for k in alone]


def _plain(value: object) -> object:
    """Return a setting without what is secret in it."""
    if isinstance(value, SecretStr):
        return server_of(value.get_secret_value())
    if isinstance(value, Part):
        found = {key: getattr(value, key) for key in type(value).model_fields if key != "secrets"}
        return {key: _plain(inner) for key, inner in found.items()}
    return value
