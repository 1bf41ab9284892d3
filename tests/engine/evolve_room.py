"""The table that the tests of single plans change, and how they plan.

In: a table's columns after a statement, and what differs from a plain situation of its feed.
Out: the plan. Before it the table is (id, a, b) with key id, in a target that has just these.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa

from cdc_assets.engine.evolution import EvolutionPlan, Situation
from cdc_assets.engine.evolve import plan_evolution
from resources.model.table import Column, TableSchema
from tests.engine.evolution_model import ABLE, TABLE

ID = Column("id", pa.int64(), "bigint", nullable=False)
A, B = Column("a", pa.int32(), "int"), Column("b", pa.string(), "text")
NEW = Column("c", pa.date32(), "date")
WIDE, NARROW = Column("a", pa.int64(), "bigint"), Column("a", pa.int8(), "tinyint")
TEXT = Column("a", pa.string(), "text")
COPY = replace(A, name="x")
BEFORE = TableSchema(TABLE, (ID, A, B), ("id",))
LIVE = (replace(ID, nullable=True), A, B)


def situation(*after: Column, **changes: Any) -> Situation:
    """Return the situation after a statement.

    Args:
        after: The table's columns after it.
        changes: `key` of the table after it, and fields of the situation that are not plain.
    """
    key = changes.pop("key", ("id",))
    plain = Situation(LIVE, TableSchema(TABLE, after, key), BEFORE, {}, capabilities=ABLE)
    return replace(plain, **changes)


def plan(*after: Column, **changes: Any) -> EvolutionPlan:
    """Plan for `situation` of the same arguments."""
    return plan_evolution(situation(*after, **changes))
