"""A statement's words, by MySQL's own lexical rules.

In: statement text and the SQL mode it was logged under. Out: tokens without comments, version
comments opened, and the text again with its literals cut.

A version comment is opened whatever it says, so that no table's name is missed, unless the server
is named: then as that server reads it.

The rules depend on `sql_mode` (ANSI_QUOTES, NO_BACKSLASH_ESCAPES), which general SQL parsers do
not know; a misread quote would hide table names.
Source: MySQL reference manual, "Language Structure".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.gtid import Flavor

_SPACE = re.compile(r"\s+")
_LINE_COMMENT = re.compile(r"(?:#|--(?=[\s\x00-\x1f]|$))[^\n]*")
_VERSION_COMMENT = re.compile(r"/\*(M?)!(\d*)")
_IGNORED_BY_MARIADB = range(50_700, 100_000)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_WORD = re.compile(r"[0-9A-Za-z_$\x80-\U0010FFFF]+")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?![\w$])")
_OTHER_MODE = re.compile(r"\s*SET\s+STATEMENT\b.*?\bSQL_MODE\b", re.IGNORECASE | re.DOTALL)
"""A MariaDB statement that is read in one SQL mode and logged with another."""
_MAX_DETAIL = 500
_ESCAPES = {
    "0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": r"\%", "_": r"\_"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerKind:
    """Whose SQL a statement is.

    Args:
        flavor: The family.
        version: As version comments count it: 9.7.4 is 90704, 10.11.19 is 101119.
    """

    flavor: Flavor
    version: int

    @classmethod
    def of(cls, flavor: Flavor, version: tuple[int, int, int]) -> ServerKind:
        """Return the kind of a server of a version `major.minor.patch`."""
        major, minor, patch = version
        return cls(flavor, major * 10_000 + minor * 100 + patch)


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Args:
        kind: `word` (bare identifier or keyword), `name` (quoted identifier), `literal`, `mark`.
        text: The word, the name without quotes, the mark; empty for literals.
        value: What a literal says: a string's characters, a number's digits. Never to be shown.
        quoted: Whether a literal is a string.
    """

    kind: Literal["word", "name", "literal", "mark"]
    text: str
    value: str = field(default="", repr=False)
    quoted: bool = False

    @property
    def upper(self) -> str:
        """The keyword it may be; empty for everything that is no bare word."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def is_identifier(self) -> bool:
        """Whether it can name something."""
        return self.kind in ("word", "name")


def tokenize(query: Query, server: ServerKind | None = None) -> list[Token]:
    """Return the statement's tokens; a quote left open makes the rest one literal.

    Args:
        query: The statement.
        server: Whose rules for version comments hold; None opens all of them.
    """
    sql = query.sql
    out: list[Token] = []
    may_quote_names = query.ansi_quotes or _OTHER_MODE.match(sql) is not None
    pos, end = 0, len(sql)
    while pos < end:
        skipped = _skip(sql, pos, server)
        if skipped > pos:
            pos = skipped
            continue
        char = sql[pos]
        if char in "'\"`":
            is_name = char == "`" or (char == '"' and may_quote_names)
            text, pos = _quoted(sql, pos, query.backslash_escapes and not is_name)
            out.append(Token("name", text) if is_name else Token("literal", "", text, True))
        elif match := _NUMBER.match(sql, pos):
            out.append(Token("literal", "", match[0]))
            pos = match.end()
        elif match := _WORD.match(sql, pos):
            out.append(Token("word", match[0]))
            pos = match.end()
        else:
            out.append(Token("mark", char))
            pos += 1
    return out


def without_literals(tokens: list[Token]) -> str:
    """Return the statement's text with a question mark for every literal, cut to 500 characters."""
    words: list[str] = []
    for token in tokens:
        if token.kind == "name":
            words.append("`" + token.text.replace("`", "``") + "`")
        else:
            words.append(token.text if token.kind != "literal" else "?")
    text = re.sub(r" ?([.,()]) ?", r"\1", " ".join(words))
    return text if len(text) <= _MAX_DETAIL else text[: _MAX_DETAIL - 1] + "…"


def _skip(sql: str, pos: int, server: ServerKind | None) -> int:
    """Return where blanks, comments and the marks of version comments end."""
    if (match := _VERSION_COMMENT.match(sql, pos)) and _opens(match, server):
        return match.end()
    for pattern in (_SPACE, _LINE_COMMENT, _COMMENT):
        if match := pattern.match(sql, pos):
            return match.end()
    return pos + 2 if sql.startswith("*/", pos) else pos


def _opens(match: re.Match[str], server: ServerKind | None) -> bool:
    """Return whether a server runs what a version comment holds."""
    if server is None:
        return True
    version = int(match[2] or 0)
    if server.flavor == "mariadb":
        ignored = not match[1] and version in _IGNORED_BY_MARIADB
        return version <= server.version and not ignored
    return version <= server.version and not match[1]


def _quoted(sql: str, pos: int, escapes: bool) -> tuple[str, int]:
    """Return a quoted text and where it ends; a doubled quote stands for one."""
    quote, out, at = sql[pos], [], pos + 1
    while at < len(sql):
        char = sql[at]
        if char == "\\" and escapes:
            escaped = sql[at + 1 : at + 2]
            out.append(_ESCAPES.get(escaped, escaped))
            at += 2
        elif char != quote:
            out.append(char)
            at += 1
        elif sql.startswith(quote, at + 1):
            out.append(quote)
            at += 2
        else:
            return "".join(out), at + 1
    return "".join(out), at
