"""Resources of a pipeline file in the hands of users' own assets: each sink, every key given."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest
import yaml

from cdc_assets.open import build_resources
from cdc_assets.settings import load_pipeline
from cdc_assets.settings_examples import EXAMPLES
from resources import SinkResource

SINKS = [name.removeprefix("sink ") for name in EXAMPLES if name.startswith("sink ")]
NEEDED = (
    *("type", "location", "path", "host", "user", "password", "database"),
    *("bootstrap", "security", "catalog"),
)
"""Beginnings of the keys that a file with few of them has."""
HEAD = "name: shop\nsource: {type: sql, url: 'sqlite:///x.db', tables: ['*.*']}\n"


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize("whole", [True, False], ids=["every key", "few keys"])
def test_dagster_takes_the_options_of_every_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, whole: bool
) -> None:
    """Its config has no place for None; opening a sink connects to nothing."""
    for name in re.findall(r"\$\{env:(\w+)\}", EXAMPLES[f"sink {kind}"]):
        monkeypatch.setenv(name, "secret")
    file = tmp_path / "shop.yaml"
    given = yaml.safe_load(EXAMPLES[f"sink {kind}"])["sink"]
    kept = {k: v for k, v in given.items() if whole or k.startswith(NEEDED)}
    file.write_text(HEAD + yaml.safe_dump({"sink": kept}))
    resource = build_resources(load_pipeline(file, {"CDC_HOME": str(tmp_path)}))["shop_sink"]
    taken: list[str] = []

    @dg.asset
    def mart(sink: SinkResource) -> None:
        with sink.open() as opened:
            taken.append(type(opened).__name__)

    assert dg.materialize([mart], resources={"sink": resource}).success
    assert [name.lower() for name in taken] == [f"{kind}sink"]
