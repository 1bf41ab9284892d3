"""Where a pipeline begins and stops, as its file and a run config say it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.connect import engine_options, open_source
from cdc_assets.settings import PipelineSettings, load_pipeline
from cdc_assets.settings_place import parse_place
from cdc_assets.sync import SyncConfig, sync_options
from resources.errors import ConfigError
from resources.model.place import FilePlace, GtidPlace, TimePlace
from tests.settings.files import MINIMAL, minimal, write

MYSQL_SET = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-57"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLACES = {
    "time": ({"timestamp": "2026-11-01T12:00:00Z"}, TimePlace(NOON)),
    "time in a zone": ({"timestamp": "2026-11-01T13:30:00+01:30"}, TimePlace(NOON)),
    "file": ({"file": "binlog.000003"}, FilePlace("binlog.000003", 4)),
    "byte": ({"file": "binlog.000003", "position": 157}, FilePlace("binlog.000003", 157)),
    "set": ({"gtid_set": MYSQL_SET}, GtidPlace(MYSQL_SET)),
}
FILES = """\
name: old
source:
  type: binlog_files
  path: logs
  tables: [shop.*]
sink: {type: memory}
"""


def load(folder: Path, text: str) -> PipelineSettings:
    return load_pipeline(write(folder, text), {"CDC_HOME": str(folder)})


@pytest.mark.parametrize("case", PLACES)
def test_a_place_is_written_as_a_section(case: str, tmp_path: Path) -> None:
    written, place = PLACES[case]
    both = {"startup": dict(written), "stop_at": dict(written)}
    files = FILES.replace("sink:", f"  startup: {written}\n  stop_at: {written}\nsink:")
    for text in (minimal(source=both), files):
        settings = load(tmp_path, text)
        source = settings.source
        assert source.startup.place() == source.stop_at.place() == place
        assert (source.loads, source.follows) == (False, True)
        assert engine_options(settings).history == "none"


@pytest.mark.parametrize(
    ("word", "loads", "follows", "start"),
    [
        ("initial", True, True, "latest"),
        ("snapshot", True, False, "latest"),
        ("latest", False, True, "latest"),
        ("earliest", False, True, "earliest"),
    ],
)
def test_words(tmp_path: Path, word: str, loads: bool, follows: bool, start: str) -> None:
    settings = load(tmp_path, minimal(source={"startup": word})).resolve({"PW": "x"})
    assert (settings.source.loads, settings.source.follows) == (loads, follows)
    assert engine_options(settings).history == ("snapshot" if loads else "none")
    source: Any = open_source(settings)
    assert source._startup == start


def test_archived_files_begin_with_the_first(tmp_path: Path) -> None:
    settings = load(tmp_path, FILES)
    assert settings.source.startup == "earliest"
    assert settings.source.path == settings.source.server == str(tmp_path / "logs")
    assert load(tmp_path, FILES.replace("logs", "s3://b/logs")).source.path == "s3://b/logs"


HEAD = MINIMAL.split("sink:")[0]
SINK = "sink: {type: memory}\n"
BAD = {
    "an unknown word": (
        "  startup: earlist\n",
        "8:12: source.startup is not one of its values; did you mean `earliest`? "
        "allowed: initial, snapshot, latest, earliest",
    ),
    "an unknown key": (
        "  startup:\n    timestmp: 2026-11-01T00:00:00Z\n",
        "9:5: source.startup.timestmp is an unknown key; did you mean `timestamp`? "
        "allowed: timestamp, file, position, gtid_set",
    ),
    "no zone": (
        "  startup: {timestamp: 2026-11-01T00:00:00}\n",
        "8:24: source.startup.timestamp must be a time with its zone",
    ),
    "no time": (
        "  startup: {timestamp: yesterday}\n",
        "8:24: source.startup.timestamp must be a time with its zone",
    ),
    "two places": (
        "  startup: {file: binlog.000003, timestamp: 2026-11-01T00:00:00Z}\n",
        "8:12: source.startup needs exactly one of `timestamp`, `file` and `gtid_set`; it has "
        "timestamp and file",
    ),
    "no place": ("  startup: {}\n", "8:12: source.startup needs exactly one of"),
    "a position alone": (
        "  startup: {position: 4, gtid_set: 0-1-1}\n",
        "8:12: source.startup has `position` without `file`",
    ),
    "a position before the first": (
        "  startup: {file: b.000001, position: 3}\n",
        "8:39: source.startup.position must be greater than or equal to 4",
    ),
    "a path": ("  startup: {file: /x/b.000001}\n", "8:19: source.startup.file must be the name"),
    "no set": ("  startup: {gtid_set: abc}\n", "8:23: source.startup.gtid_set must be a GTID set"),
    "the other dialect": (
        "  startup: {gtid_set: 0-1-100}\n",
        "8:23: source.startup.gtid_set is not a GTID set of mysql",
    ),
    "a list": ("  startup: [initial]\n", "8:12: source.startup is not one of its values"),
    "a word to stop at": ("  stop_at: latest\n", "8:12: source.stop_at must be a mapping"),
    "an unknown key to stop at": (
        "  stop_at: {time: 5}\n",
        "8:13: source.stop_at.time is an unknown key; did you mean `timestamp`? allowed: timestamp",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_places_have_their_line(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, HEAD + text + SINK)
    assert expected in str(caught.value)


def test_a_pipeline_that_stops_does_not_follow(tmp_path: Path) -> None:
    text = HEAD + "  stop_at: {file: b.000001}\n" + SINK + "pipeline: {follow_for: 5s}\n"
    with pytest.raises(ConfigError, match=r"8:12: source\.stop_at cannot stand beside"):
        load(tmp_path, text)
    settings = load(tmp_path, text.replace("5s", "0s"))
    assert sync_options(settings, SyncConfig()).stop_at == FilePlace("b.000001")
    with pytest.raises(ConfigError, match="does not follow"):
        sync_options(settings, SyncConfig(follow_for=3.0))


def test_archives_are_not_loaded_and_polled_tables_have_no_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"startup is not one of its values; allowed: earliest"):
        load(tmp_path, FILES.replace("sink:", "  startup: initial\nsink:"))
    polled = "name: a\nsource: {type: sql, url: 'sqlite:///x', tables: [a.b], stop_at: {}}\n"
    with pytest.raises(ConfigError, match=r"source\.stop_at is an unknown key"):
        load(tmp_path, polled + SINK)


def test_a_run_config_names_places_in_one_text(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    for text, place in {
        "2026-11-01T12:00:00Z": TimePlace(NOON),
        " 2026-11-01 12:00:00+00:00 ": TimePlace(NOON),
        "binlog.000003:157": FilePlace("binlog.000003", 157),
        "my-bin.1:0": FilePlace("my-bin.1", 4),
        MYSQL_SET: GtidPlace(MYSQL_SET),
        "0-1-100,1-1-7": GtidPlace("0-1-100,1-1-7"),
    }.items():
        assert sync_options(settings, SyncConfig(stop_at=text)).stop_at == place
    for text in ("", "now", "2026-11-01", "2026-11-01T12:00:00", "binlog.000003", ":4", "1-2"):
        with pytest.raises(ConfigError, match="no place in a log"):
            parse_place(text)


@given(st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.timezones()))
def test_times_are_exact_to_the_microsecond(moment: datetime) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    try:
        place = parse_place(moment.isoformat())
    except ConfigError:  # zones whose offset has seconds are not ISO 8601
        assert moment.utcoffset() is not None and moment.utcoffset().seconds % 60  # type: ignore
        return
    assert isinstance(place, TimePlace)
    since = moment - epoch
    assert place.time_us == (since.days * 86400 + since.seconds) * 10**6 + since.microseconds
    assert parse_place(str(place)) == place
