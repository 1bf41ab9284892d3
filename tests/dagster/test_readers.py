"""Who reads what a schema change is about: assets below a target, by column lineage."""

from __future__ import annotations

import dagster as dg
import pytest

from cdc_assets.readers import find_readers

TARGET = dg.AssetKey(["shop", "shop", "orders"])


def lineage(**columns: tuple[dg.AssetKey, str]) -> dict[str, dg.TableColumnLineage]:
    deps = {name: [dg.TableColumnDep(key, column)] for name, (key, column) in columns.items()}
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


@dg.asset(key=TARGET)
def orders() -> None: ...


@dg.asset(deps=[orders], metadata=lineage(total=(TARGET, "price"), number=(TARGET, "id")))
def mart() -> None: ...


@dg.asset(deps=[orders])
def unknown() -> None: ...


@dg.asset(deps=[mart])
def report() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata=lineage(sum=(mart.key, "total")))


@pytest.mark.parametrize(
    ("columns", "readers"),
    [
        ({"price"}, ["mart: total", "unknown", "report: sum"]),
        ({"id"}, ["mart: number", "unknown"]),
        ({"note"}, ["unknown"]),
        (set(), ["mart: number, total", "unknown", "report: sum"]),
    ],
)
def test_assets_that_read_a_column_are_found_through_others(
    columns: set[str], readers: list[str], instance: dg.DagsterInstance
) -> None:
    assets = [orders, mart, unknown, report]
    assert dg.materialize(assets, instance=instance, selection=[report]).success
    graph = dg.Definitions(assets).resolve_asset_graph()
    assert [str(r) for r in find_readers(instance, graph, TARGET, columns)] == readers
    assert find_readers(instance, None, TARGET, columns) == []
    assert find_readers(instance, graph, dg.AssetKey("gone"), columns) == []
