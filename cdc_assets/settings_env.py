"""Environment references in a pipeline file, and the rule that a secret is never written in it.

In: text of the form `${env:NAME}` or `${env:NAME:-default}`. Out: the text with values, or the
names that are missing. Secrets stay references until a run opens its source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, quote, unquote

from pydantic_core import PydanticCustomError

REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
SECRET_KEYS = frozenset({"password", "url", "salt", "secret_access_key", "session_token"})
"""Keys whose values are kept as references until `PipelineSettings.resolve`."""
MASK_KEY = "key"
"""One more, in a mask; the key of `source.tls` is a file."""

_SECRET_PARAMETERS = frozenset(
    {"password", "passwd", "pwd", "passphrase", "sslpassword", "secret", "token", "key"}
)
_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/?#]*)")


def is_secret(path: Sequence[str | int]) -> bool:
    """Return whether a key, given by its path, holds a secret."""
    in_mask = path[-1] == MASK_KEY and path[-3:-2] == ("mask",)
    return path[-1] in SECRET_KEYS or in_mask or path[-2:-1] == ("secrets",)


def bad_reference(text: str) -> bool:
    """Return whether the text has a `${` that begins no environment reference."""
    return "${" in REFERENCE.sub("", text)


def missing_names(text: str, env: Mapping[str, str]) -> list[str]:
    """Return the variables the text needs that are neither set nor have a default."""
    found = (m.group(1, 2) for m in REFERENCE.finditer(text))
    return [name for name, default in found if default is None and name not in env]


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace every reference by its value. All of them must be available."""
    return REFERENCE.sub(lambda m: _value(m, env), text)


def expand_url(text: str, env: Mapping[str, str]) -> str:
    """Replace references, percent-encoding those inside user, password and query.

    A URL that is one single reference is taken as it is: the variable holds a whole URL.
    """
    if REFERENCE.fullmatch(text):
        return expand(text, env)
    authority = _AUTHORITY.match(REFERENCE.sub(_blank, text))
    user_end = text.rfind("@", 0, authority.end()) if authority else -1
    query = REFERENCE.sub(_blank, text).find("?")

    def replace(match: re.Match[str]) -> str:
        encode = match.start() < user_end or 0 <= query < match.start()
        value = _value(match, env)
        return quote(value, safe="") if encode else value

    return REFERENCE.sub(replace, text)


def server_of(template: str) -> str:
    """Return what names the server in a URL template: no user, no password, no query.

    References are shown by their variable's name, so that no variable needs to be set.
    """
    whole = REFERENCE.fullmatch(template)
    if whole:
        return whole.group(1)
    text = REFERENCE.sub(r"\1", template)
    scheme, _, rest = text.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme.partition('+')[0]}://{authority.rpartition('@')[2]}{slash}{path}"


def user_of(template: str) -> str:
    """Return the user in a URL template, references as they are written; empty if there is none."""
    match = _AUTHORITY.match(REFERENCE.sub(_blank, template))
    if match is None:
        return ""
    start, end = match.span("authority")
    return _split_user(template[start:end].rpartition("@")[0])[0]


def check_secret(text: str) -> str:
    """Accept exactly one reference without a default.

    Raises:
        PydanticCustomError: It is anything else; the text is not shown.
    """
    match = REFERENCE.fullmatch(text)
    if match is None or match.group(2) is not None:
        raise PydanticCustomError(
            "clear_secret",
            "must be exactly one environment reference without a default, ${env:NAME}; "
            "a secret is never written in the file",
        )
    return text


def check_url(text: str) -> str:
    """Accept a URL whose passwords are all references.

    Raises:
        PydanticCustomError: A password is in clear text, or it is no URL; the text is not shown.
    """
    whole = REFERENCE.fullmatch(text)
    if whole is not None:
        if whole.group(2):
            check_url(whole.group(2))
        return text
    if bad_reference(text):
        raise PydanticCustomError("reference", "has a ${ that begins no ${env:NAME}")
    if "://" not in text:
        raise PydanticCustomError("url", "must be a URL, dialect://user@host:port/database")
    if has_clear_password(text):
        raise PydanticCustomError(
            "clear_secret",
            "has a password in clear text; write dialect://user:${env:NAME}@host/database",
        )
    return text


def has_clear_password(text: str) -> bool:
    """Return whether a URL carries a password that is not one plain reference."""
    blanked = REFERENCE.sub(_blank, text)
    match = _AUTHORITY.match(blanked)
    if match is None:
        return False
    start, end = match.span("authority")
    user, at, _ = text[start:end].rpartition("@")
    _, colon, password = _split_user(user)
    if at and colon and not _plain_reference(password):
        return True
    _, _, query = text.partition("?")
    return any(
        key.lower() in _SECRET_PARAMETERS and not _plain_reference(value)
        for key, value in parse_qsl(query, keep_blank_values=True)
    )


def _split_user(user: str) -> tuple[str, str, str]:
    """Split `user:password` at the first colon outside a reference."""
    at = REFERENCE.sub(_blank, user).find(":")
    return (user, "", "") if at < 0 else (user[:at], ":", user[at + 1 :])


def _plain_reference(text: str) -> bool:
    match = REFERENCE.fullmatch(text) or REFERENCE.fullmatch(unquote(text))
    return match is not None and match.group(2) is None


def _blank(match: re.Match[str]) -> str:
    return "x" * len(match.group())


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    name, default = match.groups()
    if name in env:
        return env[name]
    if default is None:
        raise KeyError(name)
    return default
