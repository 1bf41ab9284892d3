"""Walking along the tokens of a definition, and refusing what is not known.

In: tokens. Out: keywords, names, numbers and texts, one after the other; `CannotTellError` where
the grammar is another one.
"""

from __future__ import annotations

from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.sql_tokens import Token
from resources.mysql.binlog.statement import Statement

_REPLACED = "\ufffd"


class CannotTellError(Exception):
    """A statement's effect on a table's shape cannot be told from its text."""


class Words(Statement):
    """Tokens of a definition, and a place among them.

    Args:
        query: The statement they are of.
        tokens: They.
    """

    def __init__(self, query: Query, tokens: list[Token]) -> None:
        super().__init__(query, tokens)
        self.query = query

    def fail(self) -> CannotTellError:
        """Return the error for the token at hand; what a literal says is not in it."""
        token = self._peek()
        return CannotTellError(f"{token.text or token.kind!r} is not understood here")

    def rest(self) -> list[Token]:
        """Return the tokens left."""
        return self.tokens[self._pos :]

    def starts(self, char: str) -> bool:
        """Return whether this mark is next, without passing it."""
        token = self._peek()
        return token.kind == "mark" and token.text == char

    def sequence(self, *words: str) -> bool:
        """Pass these keywords if all of them follow."""
        if any(self.peek_word(ahead) != word for ahead, word in enumerate(words)):
            return False
        self._pos += len(words)
        return True

    def need_identifier(self) -> str:
        """Pass and return an identifier."""
        name = self.identifier()
        if name is None or _REPLACED in name:
            raise self.fail()
        return name

    def need_mark(self, char: str) -> None:
        """Pass this mark."""
        if not self.mark(char):
            raise self.fail()

    def text(self) -> str:
        """Pass and return a quoted text whose characters are known."""
        token = self._peek()
        if token.kind != "literal" or not token.quoted or _REPLACED in token.value:
            raise self.fail()
        self._pos += 1
        return token.value

    def number(self) -> int:
        """Pass and return a whole number."""
        token = self._peek()
        if token.kind != "literal" or not token.value.isdecimal():
            raise self.fail()
        self._pos += 1
        return int(token.value)

    def charset_name(self) -> str:
        """Pass and return the name of a character set or collation, in lower case."""
        token = self._peek()
        name = self.text() if token.kind == "literal" else self.need_identifier()
        return name.lower()

    def numbers(self) -> tuple[int, ...]:
        """Pass and return whole numbers in parentheses, none if there are no parentheses."""
        if not self.mark("("):
            return ()
        found = [self.number()]
        while self.mark(","):
            found.append(self.number())
        self.need_mark(")")
        return tuple(found)

    def texts(self) -> tuple[str, ...]:
        """Pass and return quoted texts in parentheses."""
        self.need_mark("(")
        found = [self.text()]
        while self.mark(","):
            found.append(self.text())
        self.need_mark(")")
        return tuple(found)

    def parenthesized(self) -> list[Token]:
        """Pass a pair of parentheses and return what is between them."""
        self.need_mark("(")
        begin, depth = self._pos, 1
        while not self.at_end:
            token = self._peek()
            self._pos += 1
            if token.kind == "mark":
                depth += {"(": 1, ")": -1}.get(token.text, 0)
                if depth == 0:
                    return self.tokens[begin : self._pos - 1]
        raise CannotTellError("a parenthesis is not closed")

    def elements(self) -> list[Words]:
        """Return the tokens left, parted at commas outside parentheses."""
        return [Words(self.query, tokens) for tokens in self.specs()]

    def value(self) -> tuple[Token, ...]:
        """Pass one plain value and return its tokens.

        It is a literal, a name, a function call or an expression in parentheses. Character set
        introducers, `DATE '…'`, signs and concatenated strings count.
        """
        begin = self._pos
        self._pass_value()
        return tuple(self.tokens[begin : self._pos])

    def _pass_value(self) -> None:
        while self.mark("-") or self.mark("+") or self.mark("."):
            pass
        if self.starts("("):
            self.parenthesized()
            return
        if self._peek().is_identifier:
            self._pos += 1
            while self.mark("."):
                self.need_identifier()
            if self.starts("("):
                self.parenthesized()
                return
            if self._peek().kind != "literal":
                return
        if self._peek().kind != "literal":
            raise self.fail()
        while self._peek().kind == "literal":
            self._pos += 1
