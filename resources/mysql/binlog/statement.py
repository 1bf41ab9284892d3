"""A statement as a row of tokens to walk along.

In: a QUERY event. Out: keywords and table names, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from resources.model.table import TableId
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.sql_tokens import Token, tokenize

Doubt: TypeAlias = Literal["", "names", "values"]
_END = Token("mark", "")


@dataclass(frozen=True)
class Effect:
    """What a statement does.

    Args:
        table: To which table; None for more than one.
        kind: A notice's kind.
        rewrites: Whether rows or values may change without row events.
        database: Without a table: which database's tables; None for any.
        doubt: Why it may rewrite, where shapes can show that it does not: `names` where columns
            have other names, `values` where they are defined anew, copied or added with a value.
    """

    table: TableId | None
    kind: str
    rewrites: bool
    database: str | None = None
    doubt: Doubt = ""


class Statement:
    """Tokens and a place among them.

    Args:
        query: The statement and its default database.
        tokens: Some of its tokens instead of all.

    Attributes:
        tokens: All of them.
    """

    def __init__(self, query: Query, tokens: list[Token] | None = None) -> None:
        self.tokens = tokenize(query) if tokens is None else tokens
        self._database = query.database
        self._pos = 0

    def _peek(self, ahead: int = 0) -> Token:
        at = self._pos + ahead
        return self.tokens[at] if at < len(self.tokens) else _END

    @property
    def at_end(self) -> bool:
        """Whether every token was passed."""
        return self._pos >= len(self.tokens)

    def next_word(self) -> str:
        """Pass the next token and return the keyword it may be, else an empty string."""
        token = self._peek()
        self._pos += 1
        return token.upper

    def peek_word(self, ahead: int = 0) -> str:
        """Return the keyword a token may be without passing it."""
        return self._peek(ahead).upper

    def accept(self, *words: str) -> bool:
        """Pass the next token if it is one of these keywords."""
        found = self._peek().upper in words
        self._pos += found
        return found

    def mark(self, char: str) -> bool:
        """Pass the next token if it is this mark."""
        token = self._peek()
        found = token.kind == "mark" and token.text == char
        self._pos += found
        return found

    def if_exists(self) -> bool:
        """Pass IF EXISTS or IF NOT EXISTS; return whether it was there."""
        found = self.accept("IF")
        if found:
            self.accept("NOT")
            self.accept("EXISTS")
        return found

    def settings(self) -> set[str]:
        """Pass MariaDB's `SET STATEMENT … FOR`; return the keywords in it, none if it is not there.

        The log keeps it before the statement it holds for.
        """
        if not (self.peek_word() == "SET" and self.peek_word(1) == "STATEMENT"):
            return set()
        passed = self.words_until(frozenset({"FOR"}))
        self.next_word()
        return passed

    def identifier(self) -> str | None:
        """Pass and return an identifier, None if there is none."""
        token = self._peek()
        if not token.is_identifier:
            return None
        self._pos += 1
        return token.text

    def name(self) -> TableId | None:
        """Pass and return a table's name, in the default database unless it names one."""
        first = self.identifier()
        if first is None:
            return None
        if self.mark("."):
            second = self.identifier()
            return None if second is None else TableId(first, second)
        return TableId(self._database, first)

    def words_until(self, stops: frozenset[str]) -> set[str]:
        """Pass tokens up to one of these keywords; return the keywords passed."""
        passed: set[str] = set()
        while not self.at_end and self._peek().upper not in stops:
            passed.add(self.next_word())
        return passed

    def skip_past(self, word: str) -> None:
        """Pass tokens up to and including a keyword."""
        while not self.at_end and self.next_word() != word:
            pass

    def rest_words(self) -> set[str]:
        """Return the keywords among the tokens left."""
        return {token.upper for token in self.tokens[self._pos :]}

    def specs(self) -> Iterator[list[Token]]:
        """Yield the tokens left, parted at commas outside parentheses."""
        depth = 0
        spec: list[Token] = []
        for token in self.tokens[self._pos :]:
            if token.kind == "mark":
                depth += {"(": 1, ")": -1}.get(token.text, 0)
                if token.text == "," and depth == 0:
                    yield spec
                    spec = []
                    continue
            spec.append(token)
        yield spec

    def table_in(self, tokens: list[Token]) -> TableId | None:
        """Return the table named at the start of some tokens."""
        return Statement(Query(self._database, ""), tokens).name()

    def candidates(self) -> Iterator[TableId]:
        """Yield everything in the tokens left that could be a table's name."""
        tokens = self.tokens[self._pos :]
        for index, token in enumerate(tokens):
            if not token.is_identifier:
                continue
            after = [t.text if t.kind == "mark" else "" for t in tokens[index + 1 : index + 2]]
            if after == ["."] and index + 2 < len(tokens) and tokens[index + 2].is_identifier:
                yield TableId(token.text, tokens[index + 2].text)
            yield TableId(self._database, token.text)
