"""The page on places and archives, as it is written, on the recorded archive."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from cdc_assets.settings import load_pipeline
from cdc_assets.settings_place import LogPlace
from examples import record_archive
from tests import oracle
from tests.docs.pages import ROOT, marked
from tests.docs.test_tour import run
from tests.settings.files import minimal, write

PAGE = "docs/places.md"
LARGEST_ARCHIVE = 300 << 10


def follow(home: Path, mark: str, lake: str, command: str = "") -> dict[str, list[tuple[str]]]:
    """Run a command of the page on one of its pipelines; returns the rows in the lake."""
    (pipeline,) = (text for text in marked(PAGE, mark) if text.startswith("name:"))
    plain = [text for text in marked(PAGE, "archive") if not text.startswith("name:")]
    (command,) = marked(PAGE, command) if command else plain
    (home / "pipelines").mkdir(parents=True)
    (home / "pipelines" / "shop.yaml").write_text(pipeline, encoding="utf-8")
    shutil.copytree(record_archive.FOLDER, home / "examples" / "archive")
    setting = (
        f"export CDC_HOME={home} CDC_PIPELINES={home}/pipelines DAGSTER_HOME={home}/dagster\n"
        "mkdir -p $DAGSTER_HOME\n"
    )
    run(home, setting, f"mkdir -p {home}/dagster\n{command}")
    found = {}
    for table in record_archive.TABLES:
        rows = oracle.duckdb_rows(str(home / lake), "shop", table)
        found[table] = sorted(record_archive.as_recorded(rows))
    return found


def test_the_archive_is_loaded_as_the_page_says(tmp_path: Path) -> None:
    whole = follow(tmp_path / "whole", "archive", "lake.duckdb")
    assert whole == record_archive.expected_rows("after")
    before = follow(tmp_path / "before", "archive-until", "before.duckdb")
    assert before == record_archive.expected_rows("before")
    stopped = follow(tmp_path / "stopped", "archive", "lake.duckdb", command="stop")
    assert stopped == before
    assert len(before["orders"]) > len(whole["orders"])


def test_the_page_names_the_recorded_moment() -> None:
    (pipeline,), (command,) = marked(PAGE, "archive-until"), marked(PAGE, "stop")
    assert f"stop_at: {{timestamp: {record_archive.mistake_after()}}}" in pipeline
    assert f'stop_at: "{record_archive.mistake_after()}"' in command


def test_every_start_of_the_page_can_be_written(tmp_path: Path) -> None:
    starts = re.findall(r"^\| `(.+?)` \|", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(starts) == 8
    for start in starts[1:]:
        file = write(tmp_path, minimal().replace("tables:", f"startup: {start}\n  tables:"))
        settings = load_pipeline(file, {"CDC_HOME": str(tmp_path)})
        given = settings.source.startup
        assert given == start or isinstance(given, LogPlace), start


def test_the_archive_is_small_and_holds_no_account() -> None:
    files = sorted(record_archive.FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) < LARGEST_ARCHIVE
    assert [file.name for file in files] == [
        "README.md",
        "binlog.000001.gz",
        "binlog.000002.zst",
        "binlog.000003",
        record_archive.EXPECTED,
    ]
    assert (ROOT / "examples" / "archive.yaml").is_file()
