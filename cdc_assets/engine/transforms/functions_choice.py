"""Functions that choose between their arguments, as MySQL's.

In: calls. Out: typed SQL, in the narrowest type that holds every choice without loss.
"""

from __future__ import annotations

from cdc_assets.engine.transforms.functions import ANY_NUMBER, Builder, Call, function
from cdc_assets.engine.transforms.typed import BOOL, Typed, coerce, common, derive


def choose(options: list[Typed], what: str) -> list[Typed]:
    """Return options in their common type, with the kind they share."""
    type_ = common(options, what)
    return [coerce(o, type_) for o in options]


def shared_kind(options: list[Typed]) -> str:
    """Return the kind of all options where it is the same, else `plain`."""
    kinds = {o.kind for o in options}
    return kinds.pop() if len(kinds) == 1 and kinds <= {"json"} else "plain"


@function("COALESCE", args=(1, ANY_NUMBER))
def _coalesce(call: Call) -> Typed:
    options = choose(list(call.args), call.name)
    sql = f"coalesce({', '.join(o.sql for o in options)})"
    nullable = all(o.nullable for o in options)
    kind = shared_kind(options)
    return derive(sql, options[0].type, *options, nullable=nullable, kind=kind)


function("IFNULL", "NVL", args=(2, 2))(_coalesce)


@function("NULLIF", args=(2, 2))
def _nullif(call: Call) -> Typed:
    first, a, b = call.args[0], *choose(list(call.args), call.name)
    sql = f"CASE WHEN {a.sql} = {b.sql} THEN NULL ELSE {first.sql} END"
    return derive(sql, first.type, a, b, nullable=True, kind=first.kind)


@function("ISNULL", args=(1, 1))
def _isnull(call: Call) -> Typed:
    return derive(f"({call.args[0].sql} IS NULL)", BOOL, call.args[0], nullable=False)


def _extreme(name: str) -> Builder:
    def build(call: Call) -> Typed:
        options = choose(list(call.args), call.name)
        listed = ", ".join(o.sql for o in options)
        known = " AND ".join(f"{o.sql} IS NOT NULL" for o in options)
        # DuckDB passes NULLs over, MySQL answers NULL.
        return derive(f"CASE WHEN {known} THEN {name}({listed}) END", options[0].type, *options)

    return build


function("GREATEST", args=(2, ANY_NUMBER))(_extreme("greatest"))
function("LEAST", args=(2, ANY_NUMBER))(_extreme("least"))
