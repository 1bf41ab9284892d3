"""Secrets of a loaded pipeline file: where they stand, and copies that hold their values.

In: sections whose secrets are references. Out: the references with their keys, or resolved copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import SecretStr

from cdc_assets.settings_env import expand, expand_url
from cdc_assets.settings_problems import KeyPath
from cdc_assets.settings_types import Part

T = TypeVar("T")


def find_secrets(value: object, path: KeyPath = ()) -> list[tuple[KeyPath, SecretStr]]:
    """Return every secret with its path, those in lists and mappings too."""
    if isinstance(value, SecretStr):
        return [(path, value)]
    below: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Part):
        below = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, dict):
        below = value.items()
    elif isinstance(value, tuple):
        below = enumerate(value)
    return [found for step, inner in below for found in find_secrets(inner, (*path, step))]


def resolve_secrets(value: T, env: Mapping[str, str], name: str = "") -> T:
    """Return a value whose secrets hold their values in place of references.

    Args:
        value: A section, list, mapping or scalar.
        env: The environment; has every variable needed.
        name: The key it stands at.
    """
    done: Any = value
    if isinstance(value, SecretStr):
        read = expand_url if name == "url" else expand
        done = SecretStr(read(value.get_secret_value(), env))
    elif isinstance(value, Part):
        fields = type(value).model_fields
        update = {k: resolve_secrets(getattr(value, k), env, k) for k in fields}
        done = value.model_copy(update=update)
    elif isinstance(value, dict):
        done = {k: resolve_secrets(inner, env, str(k)) for k, inner in value.items()}
    elif isinstance(value, tuple):
        done = tuple(resolve_secrets(inner, env) for inner in value)
    return cast("T", done)
