"""Durations, sizes, references: round trips and refusals."""

from __future__ import annotations

import math
from typing import get_args
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from cdc_assets import settings_env, settings_types
from cdc_assets.settings import PipelineSettings
from cdc_assets.settings_types import Part

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


@given(st.lists(st.tuples(st.integers(0, 9999), st.sampled_from(list(UNITS))), min_size=1))
def test_durations_add_up(parts: list[tuple[int, str]]) -> None:
    expected = math.fsum(number * UNITS[unit] for number, unit in parts)
    assume(expected < 1e10)
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert settings_types.parse_duration(text) == pytest.approx(expected, rel=1e-12)


@given(st.floats(0, 1e10) | st.integers(0, 10**10))
def test_a_number_is_seconds(seconds: float) -> None:
    assert settings_types.parse_duration(seconds) == seconds
    text = f"{seconds:.3f}"
    assert settings_types.parse_duration(text) == float(text)


@given(st.integers(0, 8000), st.sampled_from(list(SIZES)), st.sampled_from(["", " "]))
def test_sizes_have_their_units(number: int, unit: str, space: str) -> None:
    expected = number * SIZES[unit]
    for written in (unit, unit.lower(), unit.upper()):
        assert settings_types.parse_size(f"{number}{space}{written}") == expected
    assert settings_types.parse_size(number) == settings_types.parse_size(str(number)) == number


@given(
    st.text()
    | st.floats(max_value=-1e-9)
    | st.integers(max_value=-1)
    | st.sampled_from([True, False, None, math.nan, math.inf, [], "1e400s", "-1s", "9" * 30 + "w"])
)
def test_everything_else_is_refused(value: object) -> None:
    for parse in (settings_types.parse_duration, settings_types.parse_size):
        try:
            parsed = parse(value)
        except PydanticCustomError as error:
            text = str(value)
            assert len(text) < 4 or text not in str(error)
        else:
            assert isinstance(value, str)
            assert parsed >= 0
            assert math.isfinite(parsed)


@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1))
def test_a_password_in_a_url_survives(password: str) -> None:
    template = "mysql://u:${env:PW}@db.example.com:3306/shop"
    parts = urlsplit(settings_env.expand_url(template, {"PW": password}))
    assert unquote(parts.password or "") == password
    assert (parts.hostname, parts.port, parts.path) == ("db.example.com", 3306, "/shop")


@given(
    st.text("ab:@/?#%é$", min_size=1),
    st.sampled_from(["mysql://u:{}@h/d", "mysql://:{}@h", "x+y://h/d?password={}&a=b"]),
)
def test_any_clear_password_is_found(password: str, template: str) -> None:
    text = template.format(password)
    assume("?" not in template or password.strip("#&"))
    found = settings_env.has_clear_password(text)
    # A `/`, `?` or `#` ends the part of the URL a password can stand in.
    cut = "?" not in template and any(c in password for c in "/?#")
    assert found or cut
    with pytest.raises(PydanticCustomError) as caught:
        settings_env.check_secret(password)
    assert len(password) < 3 or password not in str(caught.value)


def test_the_secret_keys_are_those_of_the_model() -> None:
    known = settings_env.SECRET_KEYS | {settings_env.MASK_KEY, "secrets"}
    assert set(_secret_names(PipelineSettings)) == known
    assert settings_env.is_secret(("transform", 0, "mask", "password", "key"))
    assert settings_env.is_secret(("sink", "catalog", "secrets", "token"))
    assert not settings_env.is_secret(("source", "tls", "key"))


def _secret_names(annotation: object):
    if isinstance(annotation, type) and issubclass(annotation, Part):
        for name, field in annotation.model_fields.items():
            if SecretStr in (field.annotation, *_flat(field.annotation)):
                yield name
            yield from _secret_names(field.annotation)
    for part in get_args(annotation):
        yield from _secret_names(part)


def _flat(annotation: object):
    for part in get_args(annotation):
        yield part
        yield from _flat(part)
