"""Pipeline files for these tests."""

from __future__ import annotations

from pathlib import Path

import yaml

MINIMAL = """\
name: shop
source:
  type: mysql
  host: db
  user: cdc
  password: ${env:PW}
  tables: [shop.*]
sink:
  type: duckdb
  path: shop.duckdb
"""


def minimal(**sections: dict) -> str:
    """Return MINIMAL with keys of its sections replaced or added."""
    data = yaml.safe_load(MINIMAL)
    for section, keys in sections.items():
        data[section] |= keys
    return yaml.safe_dump(data, sort_keys=False)


def write(folder: Path, text: str, name: str = "pipeline.yaml") -> Path:
    """Write a pipeline file and return its path."""
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file
