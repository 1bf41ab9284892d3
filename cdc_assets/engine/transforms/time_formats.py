"""Patterns of dates: MySQL's (`%Y-%m-%d`) and Flink's (`yyyy-MM-dd`) as DuckDB has them.

In: a pattern. Out: DuckDB's, or a refusal of what it cannot say.
"""

from __future__ import annotations

import re

from cdc_assets.engine.transforms.typed import Refused

_MYSQL = {
    **{c: f"%{c}" for c in "YymdHpfbjawp"},
    "i": "%M",
    "s": "%S",
    "S": "%S",
    "h": "%I",
    "I": "%I",
    "M": "%B",
    "W": "%A",
    "e": "%-d",
    "c": "%-m",
    "k": "%-H",
    "l": "%-I",
    "T": "%H:%M:%S",
    "r": "%I:%M:%S %p",
    "U": "%U",
    "v": "%V",
    "x": "%G",
    "%": "%%",
}
_JAVA = {
    "yyyy": "%Y", "yy": "%y", "MM": "%m", "M": "%-m", "MMM": "%b", "MMMM": "%B", "dd": "%d",
    "d": "%-d", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "ss": "%S", "a": "%p",
    "SSS": "%g", "SSSSSS": "%f", "EEE": "%a", "EEEE": "%A", "DDD": "%j",
}  # fmt: skip


def time_format(pattern: str) -> str:
    """Return a pattern as DuckDB's strftime and strptime have it.

    A pattern with `%` is MySQL's, any other Flink's.

    Raises:
        Refused: It asks for what DuckDB cannot write (English ordinals, weeks by other rules).
    """
    return _from_mysql(pattern) if "%" in pattern else _from_java(pattern)


def _from_mysql(pattern: str) -> str:
    def code(found: re.Match[str]) -> str:
        known = _MYSQL.get(found[1])
        if known is None and found[1] in "DuVX":
            raise Refused(
                f"the pattern %{found[1]} has no equal here",
                "%v and %x are the week and year of ISO 8601, %e the day without zero",
            )
        return known if known is not None else found[1]  # MySQL takes %z for the letter z

    if re.search(r"(?:^|[^%])(?:%%)*%$", pattern):
        raise Refused(f"the pattern {pattern} ends inside a code")
    return re.sub(r"%(.)", code, pattern, flags=re.DOTALL)


def _from_java(pattern: str) -> str:
    out: list[str] = []
    for found in re.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|'", pattern):
        text = found[0]
        if text == "'":
            raise Refused(f"the pattern {pattern} has a quote without its pair")
        if text.startswith("'"):
            out.append((found[1].replace("''", "'") or "'").replace("%", "%%"))
        elif found[2]:
            if text not in _JAVA:
                raise Refused(
                    f"the pattern letters {text} have no equal here",
                    "known are " + ", ".join(_JAVA) + ", or MySQL's patterns like %Y-%m-%d",
                )
            out.append(_JAVA[text])
        else:
            out.append(text)
    return "".join(out)
