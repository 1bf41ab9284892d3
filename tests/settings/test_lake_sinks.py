"""The sinks of lake formats in a pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import engine_options, sink_opener
from cdc_assets.open import build_resources
from resources.configurable import SinkResource
from resources.errors import ConfigError
from resources.sinks.delta import DeltaSink
from tests.settings.test_connect import settings_of

SOURCE = {"type": "sql", "url": "sqlite:///x.db", "tables": ["main.*"]}
STORAGE = {"endpoint": "https://s3.example.com", "region": "eu", "access_key_id": "me"}
SECRETS = {"secret_access_key": "${env:LAKE_SECRET}", "session_token": "${env:LAKE_TOKEN}"}


def test_a_delta_sink_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"LAKE_SECRET": "s@cret", "LAKE_TOKEN": "t@ken"}
    sink = {"type": "delta", "location": "s3://lake/x", "storage": {**STORAGE, **SECRETS}}
    sink |= {"types": {"decimal_overflow": "text"}}
    settings = settings_of(tmp_path, SOURCE, sink)
    resource = build_resources(settings)["a_sink"]
    assert "@" not in repr(settings) + repr(resource.options)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    given = SinkResource(kind="delta", options=resource.options).open()
    for opened in (sink_opener(settings.resolve(values))(), given):
        assert isinstance(opened, DeltaSink)
        named = {"secret_access_key": "s@cret", "session_token": "t@ken"}
        assert opened.store.options == {**STORAGE, **named}
        assert opened.store.root == "lake/x"
        assert opened.capabilities.decimal_precision == 76


def test_a_delta_sink_in_a_folder(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SOURCE, {"type": "delta", "location": str(tmp_path / "lake")})
    with sink_opener(settings)() as opened:
        assert isinstance(opened, DeltaSink)
        assert opened.store.root == str(tmp_path / "lake")
        assert opened.capabilities.refused_types == {"decimal256"}
    assert engine_options(settings).writers == 2


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ({"secret_access_key": "clear"}, "secret_access_key"),
        ({"session_token": "x${env:A}"}, "session_token"),
        ({"key": "x"}, "unknown key"),
    ],
)
def test_secrets_in_clear_text_are_refused(tmp_path: Path, storage: dict, said: str) -> None:
    sink = {"type": "delta", "location": "s3://lake/x", "storage": storage}
    with pytest.raises(ConfigError, match=said):
        settings_of(tmp_path, SOURCE, sink)
