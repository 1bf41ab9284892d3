"""Imports go one way, Dagster stays out of the engine, and loading stays light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("sensors", "cdc_assets", "resources")
HEAVY = {
    *("duckdb", "matplotlib", "numba", "numpy", "pandas", "pyarrow", "pymysql", "sqlalchemy"),
    "sqlglot",
}
KNOWS_DAGSTER = {Path("resources/configurable.py")}
LOCATION = Path("cdc_assets/definitions.py")


def modules() -> list[Path]:
    return [p.relative_to(ROOT) for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Yield the top packages a file imports anywhere, in functions too."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_go_from_sensors_to_cdc_assets_to_resources(path: Path) -> None:
    if path == LOCATION:
        return
    above = ROOMS[: ROOMS.index(path.parts[0])]
    assert not set(imported(path)) & set(above)


def test_no_room_imports_the_tests() -> None:
    assert not [p for p in modules() if "tests" in imported(p)]


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if p.parts[0] == "resources" or p.parts[:2] == ("cdc_assets", "engine")],
    ids=str,
)
def test_resources_and_the_engine_do_not_know_dagster(path: Path) -> None:
    assert path in KNOWS_DAGSTER or "dagster" not in set(imported(path))


def run_python(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_location_loads_without_drivers_and_frames(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(
        "name: shop\n"
        "source: {type: mysql, host: db, user: cdc, tables: [shop.orders, 'shop.c_*']}\n"
        "sink: {type: duckdb, path: lake.duckdb}\n"
    )
    code = (
        "import sys\n"
        "import dagster\n"
        f"heavy = {sorted(HEAVY)}\n"
        "before = set(heavy) & set(sys.modules)\n"
        "from cdc_assets.definitions import definitions\n"
        "repository = definitions().get_repository_def()\n"
        "repository.load_all_definitions()\n"
        "assert len(repository.get_all_jobs()) == 8\n"
        "print(*sorted(set(heavy) & set(sys.modules) - before))\n"
    )
    found = run_python(code, CDC_PIPELINES=str(tmp_path), CDC_HOME=str(tmp_path))
    assert found.split() == []


def test_the_engine_and_its_resources_run_without_dagster() -> None:
    code = (
        "import sys\n"
        "import cdc_assets.engine.run, cdc_assets.engine.replay, cdc_assets.connect\n"
        "import resources.mysql.source, resources.sql.source, resources.sinks.duckdb\n"
        "print('dagster' in sys.modules)\n"
    )
    assert run_python(code).strip() == "False"
