"""From a syntax tree to typed DuckDB SQL, by a list of what is known; anything else is refused.

In: sqlglot's tree and the columns it may name. Out: one `Typed`. Text is compared by
bytes, whatever collation the column has on its server: `a` is not `A`, trailing spaces count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Protocol

from cdc_assets.engine.transforms import casts, conditions
from cdc_assets.engine.transforms.arithmetic import calculate, negate
from cdc_assets.engine.transforms.functions import Call, as_text, call_function, unstable
from cdc_assets.engine.transforms.functions_choice import choose, shared_kind
from cdc_assets.engine.transforms.functions_json import extract, unquoted
from cdc_assets.engine.transforms.functions_text import trim
from cdc_assets.engine.transforms.functions_time import add, difference
from cdc_assets.engine.transforms.typed import (
    BOOL,
    BYTES,
    DOUBLE,
    INT64,
    MAX_DIGITS,
    NULL,
    TEXT,
    Refused,
    Typed,
    derive,
    literal,
    quote_text,
    storage_type,
    words,
)


class Scope(Protocol):
    """What an expression may name."""

    def column(self, name: str) -> Typed | None:
        """Return a column by name, in any case; None if there is none."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of all columns."""
        ...

    def functions(self) -> Sequence[str]:
        """Return the names of the user's own functions."""
        ...

    def call(self, name: str, args: Sequence[Typed]) -> Typed | None:
        """Return a call of one of the user's own functions; None if there is none."""
        ...


def translate(tree: Any, scope: Scope) -> Typed:  # noqa: ANN401 - a sqlglot Expression
    """Return the SQL of an expression.

    Args:
        tree: From `parse_expression`.
        scope: The columns and functions it may name.

    Raises:
        Refused: It cannot be compiled; says why.
    """
    return _Translator(scope).value(tree)


class _Translator:
    """One walk over a tree; a method per kind of node."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def value(self, node: Any) -> Typed:  # noqa: ANN401
        """Return a node's SQL."""
        name = type(node).__name__
        method: Callable[[Any], Typed] | None = getattr(self, f"_{name.lower()}", None)
        if name in _SIGNS:
            return self._arithmetic(node, _SIGNS[name])
        if name in conditions.COMPARISONS:
            a, b = self.value(node.this), self.value(node.expression)
            return conditions.compare(conditions.COMPARISONS[name], a, b)
        if method is None:
            raise _unknown_node(name, node)
        return method(node)

    def _paren(self, node: Any) -> Typed:  # noqa: ANN401
        return self.value(node.this)

    def _column(self, node: Any) -> Typed:  # noqa: ANN401
        if node.table:
            raise Refused(f"{node.table}.{node.name}: columns are named without their table")
        found = self.scope.column(node.name)
        if found is None:
            near = get_close_matches(node.name, self.scope.names(), n=3, cutoff=0.6)
            known = "names in use are " + ", ".join(self.scope.names())
            remedy = f"did you mean {', '.join(near)}?" if near else known
            raise Refused(f"there is no column {node.name}", remedy)
        if found.type != NULL and storage_type(found.type) is None:
            raise Refused(
                f"column {node.name} is {words(found.type)}, which no expression can read",
                f"project it as it is; expressions know plain types of up to {MAX_DIGITS} digits",
            )
        return found

    def _literal(self, node: Any) -> Typed:  # noqa: ANN401
        text: str = node.this
        if node.is_string:
            if "\0" in text:
                raise Refused("text literals hold no NUL character")
            return Typed(quote_text(text), TEXT, False, constant=text)
        return number_literal(text)

    def _boolean(self, node: Any) -> Typed:  # noqa: ANN401
        return Typed("TRUE" if node.this else "FALSE", BOOL, False)

    def _null(self, _: Any) -> Typed:  # noqa: ANN401
        return Typed("NULL", NULL)

    def _hexstring(self, node: Any) -> Typed:  # noqa: ANN401
        digits = node.this
        return Typed(f"unhex('{digits.zfill(len(digits) + len(digits) % 2)}')", BYTES, False)

    def _neg(self, node: Any) -> Typed:  # noqa: ANN401
        return negate(self.value(node.this))

    def _arithmetic(self, node: Any, sign: str) -> Typed:  # noqa: ANN401
        left, right = node.this, node.expression
        for moment, span in ((left, right), (right, left)):
            if type(span).__name__ == "Interval" and sign in "+-":
                if sign == "-" and span is left:
                    raise Refused("a date cannot be taken from an INTERVAL")
                return self._moved(self.value(moment), span, minus=sign == "-")
        return calculate(sign, self.value(left), self.value(right))

    def _moved(self, moment: Typed, span: Any, *, minus: bool) -> Typed:  # noqa: ANN401
        if span.unit is None:
            raise Refused("INTERVAL needs a unit", "INTERVAL 1 DAY")
        amount = span.this
        if getattr(amount, "is_string", False):
            try:
                count = Typed("", INT64, False, constant=int(amount.this))
            except ValueError:
                raise Refused(f"INTERVAL takes whole numbers, not '{amount.this}'") from None
            count = replace(count, sql=f"CAST({count.constant} AS BIGINT)")
        else:
            count = self.value(amount)
        return add(self._moment(moment), count, span.unit.name, minus=minus)

    def _moment(self, value: Typed) -> Typed:
        return Call("INTERVAL", (value,)).moment(0)

    def _and(self, node: Any) -> Typed:  # noqa: ANN401
        return conditions.connect("AND", self.value(node.this), self.value(node.expression))

    def _or(self, node: Any) -> Typed:  # noqa: ANN401
        return conditions.connect("OR", self.value(node.this), self.value(node.expression))

    def _xor(self, node: Any) -> Typed:  # noqa: ANN401
        return conditions.connect("XOR", self.value(node.this), self.value(node.expression))

    def _not(self, node: Any) -> Typed:  # noqa: ANN401
        value = conditions.truth(self.value(node.this))
        return derive(f"(NOT {value.sql})", BOOL, value)

    def _is(self, node: Any) -> Typed:  # noqa: ANN401
        value, other = self.value(node.this), type(node.expression).__name__
        if other == "Null":
            return derive(f"({value.sql} IS NULL)", BOOL, value, nullable=False)
        if other == "Boolean":
            wanted = "TRUE" if node.expression.this else "FALSE"
            sql = f"({conditions.truth(value).sql} IS NOT DISTINCT FROM {wanted})"
            return derive(sql, BOOL, value, nullable=False)
        raise Refused("IS compares with NULL, TRUE and FALSE")

    def _between(self, node: Any) -> Typed:  # noqa: ANN401
        value = self.value(node.this)
        low = conditions.compare(">=", value, self.value(node.args["low"]))
        high = conditions.compare("<=", value, self.value(node.args["high"]))
        return conditions.connect("AND", low, high)

    def _in(self, node: Any) -> Typed:  # noqa: ANN401
        if node.args.get("query") or not node.expressions:
            raise Refused("a transform sees one row, so there are no subqueries")
        value = self.value(node.this)
        return conditions.among(value, [self.value(e) for e in node.expressions])

    def _like(self, node: Any, escape: str = "\\") -> Typed:  # noqa: ANN401
        text = as_text(self.value(node.this), "the left side of LIKE")
        pattern = as_text(self.value(node.expression), "the pattern of LIKE")
        sign = "NOT LIKE" if node.args.get("negate") else "LIKE"
        sql = f"({text.sql} {sign} {pattern.sql} ESCAPE {quote_text(escape)})"
        return derive(sql, BOOL, text, pattern)

    def _escape(self, node: Any) -> Typed:  # noqa: ANN401
        sign = node.expression.this if getattr(node.expression, "is_string", False) else ""
        if type(node.this).__name__ != "Like" or len(sign) != 1:
            raise Refused("ESCAPE takes one character and stands behind LIKE")
        return self._like(node.this, sign)

    def _regexplike(self, node: Any) -> Typed:  # noqa: ANN401
        found = self.call("REGEXP_LIKE", [node.this, node.expression])
        return derive(f"(NOT {found.sql})", BOOL, found) if node.args.get("negate") else found

    def _if(self, node: Any) -> Typed:  # noqa: ANN401
        otherwise = node.args.get("false")
        return self._choice([(node.this, node.args["true"])], otherwise, "IF")

    def _case(self, node: Any) -> Typed:  # noqa: ANN401
        branches = [(i.this, i.args["true"]) for i in node.args["ifs"]]
        return self._choice(branches, node.args.get("default"), "CASE", node.this)

    def _choice(
        self,
        branches: list[tuple[Any, Any]],
        otherwise: Any,  # noqa: ANN401
        what: str,
        subject: Any = None,  # noqa: ANN401
    ) -> Typed:
        if subject is None:
            tests = [conditions.truth(self.value(test)) for test, _ in branches]
        else:
            value = self.value(subject)
            tests = [conditions.compare("=", value, self.value(test)) for test, _ in branches]
        last = Typed("NULL", NULL) if otherwise is None else self.value(otherwise)
        raw = [*(self.value(then) for _, then in branches), last]
        options = choose(raw, what)
        whens = "".join(
            f" WHEN {t.sql} THEN {o.sql}" for t, o in zip(tests, options[:-1], strict=True)
        )
        sql = f"(CASE{whens} ELSE {options[-1].sql} END)"
        nullable = any(o.nullable for o in options)
        kind = shared_kind([o for o in raw if o.type != NULL] or raw)
        return derive(sql, options[0].type, *tests, *options, nullable=nullable, kind=kind)

    def _cast(self, node: Any) -> Typed:  # noqa: ANN401
        return casts.cast(self.value(node.this), node.to)

    def _extract(self, node: Any) -> Typed:  # noqa: ANN401
        return self.call(node.this.name.upper(), [node.expression])

    def _trim(self, node: Any) -> Typed:  # noqa: ANN401
        cut = node.expression
        if cut is not None and not getattr(cut, "is_string", False):
            raise Refused("TRIM takes away a text literal")
        value = as_text(self.value(node.this), "the text of TRIM")
        return trim(value, node.args.get("position") or "BOTH", None if cut is None else cut.this)

    def _substring(self, node: Any) -> Typed:  # noqa: ANN401
        parts = [node.this, node.args.get("start"), node.args.get("length")]
        return self.call("SUBSTRING", [p for p in parts if p is not None])

    def _strposition(self, node: Any) -> Typed:  # noqa: ANN401
        return self.call("LOCATE", [node.args["substr"], node.this])

    def _jsonextract(self, node: Any) -> Typed:  # noqa: ANN401
        return extract(self._document(node), _path(node))

    def _jsonextractscalar(self, node: Any) -> Typed:  # noqa: ANN401
        return unquoted(self._document(node), _path(node))

    def _document(self, node: Any) -> Typed:  # noqa: ANN401
        return as_text(self.value(node.this), "the left side of ->")

    def _anonymous(self, node: Any) -> Typed:  # noqa: ANN401
        name: str = node.name
        upper = name.upper()
        own = name in self.scope.functions()
        if not own and upper in ("DATE_ADD", "ADDDATE", "DATE_SUB", "SUBDATE"):
            return self._date_add(upper, node.expressions)
        if not own and upper in ("TIMESTAMPDIFF", "TIMESTAMPADD"):
            return self._by_unit(upper, node.expressions)
        return self.call(name, node.expressions)

    def call(self, name: str, nodes: Sequence[Any]) -> Typed:
        """Return a call of a function by the values of its arguments."""
        own = name in self.scope.functions()
        if not own:
            found = unstable(name)
            if found is not None:
                raise found
            if any(type(n).__name__ in ("Star", "Distinct") for n in nodes):
                call_function(name, ())  # says that it is an aggregate, or unknown
                raise Refused(f"{name} takes neither * nor DISTINCT")
            if name.upper() == "JSON_UNQUOTE":
                return self._unquote(nodes)
        args = [self.value(n) for n in nodes]
        return (self.scope.call(name, args) if own else None) or call_function(
            name, args, self.scope.functions()
        )

    def _unquote(self, nodes: Sequence[Any]) -> Typed:
        """JSON_UNQUOTE of JSON_EXTRACT is `->>`."""
        inner: Any = nodes[0] if len(nodes) == 1 else None
        name = type(inner).__name__
        if name == "JSONExtract":
            return self._jsonextractscalar(inner)
        if name == "Anonymous" and inner.name.upper() == "JSON_EXTRACT":
            args = [self.value(n) for n in inner.expressions]
            if len(args) == 2:
                call = Call(inner.name, tuple(args))
                return unquoted(call.text(0), call.words(1))
        return call_function("JSON_UNQUOTE", [self.value(n) for n in nodes])

    def _date_add(self, name: str, nodes: Sequence[Any]) -> Typed:
        minus = name in ("DATE_SUB", "SUBDATE")
        if len(nodes) != 2:
            raise Refused(f"{name} takes a date and an INTERVAL")
        moment = self._moment(self.value(nodes[0]))
        if type(nodes[1]).__name__ == "Interval":
            return self._moved(moment, nodes[1], minus=minus)
        if name in ("DATE_ADD", "DATE_SUB"):
            raise Refused(f"{name} takes a date and an INTERVAL", f"{name}(x, INTERVAL 1 DAY)")
        return add(moment, self.value(nodes[1]), "DAY", minus=minus)

    def _by_unit(self, name: str, nodes: Sequence[Any]) -> Typed:
        if len(nodes) != 3:
            raise Refused(f"{name} takes a unit and two arguments")
        unit = nodes[0].name
        first, second = self.value(nodes[1]), self.value(nodes[2])
        if name == "TIMESTAMPADD":
            return add(self._moment(second), first, unit)
        return difference(unit, self._moment(first), self._moment(second))


_SIGNS = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%", "IntDiv": "DIV"}


def number_literal(text: str) -> Typed:
    """Return a number as MySQL types it: whole, DECIMAL, or DOUBLE where it has an exponent."""
    if "e" in text.lower():
        return Typed(f"CAST({text} AS DOUBLE)", DOUBLE, False, constant=float(text))
    return literal(Decimal(text) if "." in text else int(text))


def _path(node: Any) -> str:  # noqa: ANN401
    path: Any = node.expression
    if type(path).__name__ == "Literal":
        return str(path.this)
    text = "$"
    for step in path.expressions[1:]:
        if type(step).__name__ == "JSONPathSubscript":
            text += f"[{step.this}]"
        elif type(step).__name__ == "JSONPathKey" and isinstance(step.this, str):
            text += f'."{step.this}"'
        else:
            text += ".*"
    return text


def _unknown_node(name: str, node: Any) -> Refused:  # noqa: ANN401
    if name in ("Subquery", "Select", "Exists", "Any", "All", "Union"):
        return Refused("a transform sees one row, so there are no subqueries")
    if name == "Window":
        return Refused(
            "a transform sees one row, so there are no window functions", "use them in the target"
        )
    if name == "Interval":
        return Refused("an INTERVAL is only added to dates and timestamps")
    if name == "Collate":
        return Refused(
            "COLLATE has no effect here: text is compared by its bytes", "compare LOWER(…)"
        )
    found = unstable(getattr(node, "sql_name", lambda: name)())
    return found or Refused(f"{node.sql(dialect='mysql')}: this is not part of the language here")
