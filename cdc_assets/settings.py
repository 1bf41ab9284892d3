"""The model of a pipeline file: one YAML file is one pipeline.

In: a file and the environment. Out: an immutable `PipelineSettings` in plain units (seconds,
bytes, absolute paths), or one ConfigError with every problem of the file and its line. Imported
at every Dagster process start, so nothing heavier than pydantic and yaml may be imported here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from cdc_assets import naming
from cdc_assets.settings_clickhouse import ClickHouseSinkSettings
from cdc_assets.settings_env import missing_names
from cdc_assets.settings_errors import add_problems
from cdc_assets.settings_iceberg import IcebergSinkSettings
from cdc_assets.settings_kafka import KafkaSinkSettings
from cdc_assets.settings_lake import DeltaSinkSettings, ParquetSinkSettings
from cdc_assets.settings_language import language_problems
from cdc_assets.settings_mysql_sink import MySQLSinkSettings
from cdc_assets.settings_paimon import PaimonSinkSettings
from cdc_assets.settings_parts import SHAPES_DATA, check_parts, digest
from cdc_assets.settings_pipeline import DirtyData, PipelineOptions, Rate
from cdc_assets.settings_problems import KeyPath, Problem, join_problems
from cdc_assets.settings_route import RouteRuleSettings
from cdc_assets.settings_secrets import find_secrets, resolve_secrets
from cdc_assets.settings_sink import (
    DuckDBSinkSettings,
    MemorySinkSettings,
    PostgresSinkSettings,
)
from cdc_assets.settings_source import Source, share_tables
from cdc_assets.settings_transform import TransformRuleSettings
from cdc_assets.settings_types import (
    Kind,
    ListSection,
    Owner,
    Part,
    PipelineName,
    Section,
    SourceName,
    TablePattern,
    TagKey,
    TagValue,
)
from cdc_assets.settings_yaml import Document, expand_plain, read_document
from resources.errors import ConfigError
from resources.model.table_id import TableId

Sink = Annotated[
    ClickHouseSinkSettings
    | DuckDBSinkSettings
    | MySQLSinkSettings
    | PostgresSinkSettings
    | DeltaSinkSettings
    | IcebergSinkSettings
    | PaimonSinkSettings
    | ParquetSinkSettings
    | KafkaSinkSettings
    | MemorySinkSettings,
    Field(discriminator="type"),
]


class PipelineFile(Part):
    """One pipeline: where data comes from, where it goes, and how."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {"oneOf": [{"required": ["source"]}, {"required": ["sources"]}]},
                {"oneOf": [{"required": ["sink"]}, {"required": ["sinks"]}]},
            ]
        }
    )

    name: PipelineName
    """The pipeline's name: lower-case letters, digits and single underscores, at most 40.
    Assets, jobs, state and the change log are named after it."""
    description: str = ""
    """Shown on the asset pages."""
    owners: tuple[Owner, ...] = ()
    """E-mail addresses or `team:name`."""
    tags: dict[TagKey, TagValue] = Field(default_factory=dict)
    """Dagster tags of every asset of the pipeline."""
    source: Source | None = None
    """Where data comes from. One of `source` and `sources` is needed."""
    sources: Annotated[dict[SourceName, Source], Kind("mapping of name to section")] = Field(
        default_factory=dict
    )
    """Where data comes from if there are several: a name of at most 20 lower-case letters, digits
    and single underscores, and the keys of `source` for each. Each has a position and a change log
    of its own."""
    tables: tuple[TablePattern, ...] = ()
    """Tables to take from those of `sources` that have no `tables` of their own."""
    sink: Sink | None = None
    """Where data goes. One of `sink` and `sinks` is needed."""
    sinks: Annotated[dict[SourceName, Sink], Kind("mapping of name to section")] = Field(
        default_factory=dict
    )
    """Where data goes if there are several: a name, made like those of `sources`, and the keys of
    `sink` for each. They share one change log, and each takes from it at its own pace."""
    route: Annotated[tuple[RouteRuleSettings, ...], ListSection] = ()
    """Which target a table's rows go to; tables that no rule means keep their names."""
    transform: Annotated[tuple[TransformRuleSettings, ...], ListSection] = ()
    """What becomes of rows on the way: columns, filters, masks, rules."""
    pipeline: Annotated[PipelineOptions, Section] = PipelineOptions()
    """How the pipeline runs."""
    dirty_data: Annotated[DirtyData, Section] = DirtyData()
    """Rows that cannot be decoded, converted or written."""
    rate: Annotated[Rate, Section] = Rate()
    """Limits of what is read from the source server."""

    _document: Document | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_parts(self) -> PipelineFile:
        check_parts(self)
        return self

    @model_validator(mode="before")
    @classmethod
    def _default_change_log(cls, data: object) -> object:
        """Give the change log its default folder, which depends on the name."""
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            return data
        pipeline = data.get("pipeline") or {}
        if not isinstance(pipeline, dict) or pipeline.get("change_log") is not None:
            return data
        return {**data, "pipeline": {**pipeline, "change_log": f".cdc/{data['name']}"}}

    @model_validator(mode="before")
    @classmethod
    def _share_tables(cls, data: object) -> object:
        """Give every source that names no tables those that all share."""
        return share_tables(data) if isinstance(data, dict) else data

    def named_sources(self) -> Iterator[tuple[KeyPath, Source]]:
        """Yield every source with the path of its section."""
        if self.source is not None:
            yield ("source",), self.source
        for name, source in self.sources.items():
            yield ("sources", name), source

    @property
    def several(self) -> bool:
        """Whether it has more than one member."""
        return len(self.sources) > 1 or len(self.sinks) > 1

    def members(self) -> tuple[PipelineSettings, ...]:
        """Return the pipeline of every source and sink, named after the file and those of several.

        Each has its own state. Those of one source share a change log; those of one sink meet in
        its targets. The pipeline of a file with one source and one sink has the file's name.
        """
        sources: dict[str, Source | None] = dict(self.sources) or {"": self.source}
        sinks: dict[str, Sink | None] = dict(self.sinks) or {"": self.sink}
        return tuple(self._member(source, sink) for source in sources for sink in sinks)

    def _member(self, source: str, sink: str) -> PipelineSettings:
        log = f"{self.pipeline.change_log}/{source}".rstrip("/")
        own: dict[str, Any] = {
            "name": naming.member_name(self.name, source, sink),
            "source": self.sources.get(source, self.source),
            "sources": {},
            "sink": self.sinks.get(sink, self.sink),
            "sinks": {},
            "pipeline": self.pipeline.model_copy(update={"change_log": log}),
        }
        fields = {key: getattr(self, key) for key in type(self).model_fields}
        member = PipelineSettings.model_construct(**{**fields, **own})
        member._document, member._whole = self._document, self
        member._source_name, member._sink_name = source, sink
        return member

    @property
    def file(self) -> str:
        """The file it was loaded from, empty if it was not."""
        return self._document.file if self._document else ""

    def where(self, *path: str | int) -> str:
        """Return `file:line:column` of a key, for the `where` of an error."""
        return self._document.where(path) if self._document else ".".join(map(str, path))

    def functions_path(self, rule: TransformRuleSettings) -> Path | None:
        """Return the file of a rule's functions, None if it has none."""
        return Path(self.file).parent / rule.functions if rule.functions else None

    def config_hash(self) -> str:
        """Return 16 hex digits that change when a setting changes what the tables hold."""
        text = "".join(member.config_hash() for member in self.members())
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def missing_secrets(self, env: Mapping[str, str] = os.environ) -> list[tuple[str, str]]:
        """Return (variable, file:line:column) of every secret the environment lacks."""
        return [
            (name, self.where(*path))
            for path, secret in find_secrets(self)
            for name in missing_names(secret.get_secret_value(), env)
        ]

    def resolve(self, env: Mapping[str, str] = os.environ) -> Self:
        """Return a copy whose secrets hold their values in place of references.

        Raises:
            ConfigError: A variable is not set; names every one with its line.
        """
        missing = self.missing_secrets(env)
        if missing:
            lines = [f"{where}: environment variable {name} is not set" for name, where in missing]
            raise ConfigError(
                "secrets are missing:\n  " + "\n  ".join(lines),
                where=self.file,
                remedy="set them where the run's process starts: "
                + " ".join(sorted({f"{name}=…" for name, _ in missing})),
            )
        return resolve_secrets(self, env)


class PipelineSettings(PipelineFile):
    """The pipeline of one source and one sink: the file's own, or those among several."""

    source: Source
    sink: Sink

    _whole: PipelineFile | None = PrivateAttr(default=None)
    _source_name: str = PrivateAttr(default="")
    _sink_name: str = PrivateAttr(default="")

    @property
    def whole(self) -> PipelineFile:
        """The file that it is, or is a part of."""
        return self._whole or self

    @property
    def source_name(self) -> str:
        """Which of `sources` it reads, empty if the file has one source."""
        return self._source_name

    @property
    def sink_name(self) -> str:
        """Which of `sinks` it fills, empty if the file has one sink."""
        return self._sink_name

    @property
    def part(self) -> str:
        """What names it among the members of its file: source, sink or both; empty if alone."""
        return "/".join(filter(None, (self._source_name, self._sink_name)))

    @property
    def log_name(self) -> str:
        """The name of its change log, which the pipelines of all sinks share."""
        return naming.member_name(self.whole.name, self._source_name)

    def table_key(self, target: TableId) -> list[str]:
        """Return the asset key of one of its targets."""
        return naming.table_key(self.whole.name, target, self._sink_name)

    def where(self, *path: str | int) -> str:
        """Return `file:line:column` of a key of its own, for the `where` of an error."""
        for key, name in (("source", self._source_name), ("sink", self._sink_name)):
            if name and path[:1] == (key,):
                path = (f"{key}s", name, *path[1:])
        return super().where(*path)

    def members(self) -> tuple[PipelineSettings, ...]:
        """Return itself."""
        return (self,)

    def capture_filter(self) -> str:
        """Return the table patterns in a form that is equal when the selection is."""
        patterns = {
            "include": sorted(set(self.source.tables)),
            "exclude": sorted(set(self.source.exclude)),
        }
        return json.dumps(patterns, ensure_ascii=False, separators=(",", ":"))

    def config_hash(self) -> str:
        """Return 16 hex digits that change when a setting changes what the tables hold.

        Addresses, secrets, limits, timings and words for people do not count; what is in files of
        functions does.
        """
        shape = self.model_dump(mode="json", include=SHAPES_DATA, exclude_none=True)
        shape["source"]["tables"] = self.capture_filter()
        shape["source"].pop("exclude")
        shape["functions"] = [digest(self.functions_path(rule)) for rule in self.transform]
        text = json.dumps(shape, sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def load_pipeline(path: str | Path, env: Mapping[str, str] = os.environ) -> PipelineFile:
    """Read one pipeline file; one with a single source is a `PipelineSettings`.

    References in other keys than secrets are replaced now; relative paths become absolute,
    below `CDC_HOME` or the working directory.

    Raises:
        ConfigError: The file is wrong; lists every problem with its line.
        NotBuiltYet: It only asks for what this version cannot do yet.
    """
    document = read_document(Path(path))
    if not isinstance(document.data, dict):
        document.add((), "must be a mapping with at least name, source and sink")
        raise join_problems(document.problems)
    data = expand_plain(document, document.data, (), env)
    settings: PipelineFile | None = None
    context = {"home": env.get("CDC_HOME"), "folder": Path(path).parent}
    several = {"sources", "sinks"} & document.data.keys()
    model = PipelineFile if several else PipelineSettings
    try:
        settings = model.model_validate(data, context=context)
    except ValidationError as error:
        add_problems(error, document, model)
    if settings is not None:
        for where, what in language_problems(settings):
            document.add(where, what)
    if settings is None or document.problems:
        raise join_problems(document.problems) from None
    settings._document = document
    return settings


def load_pipelines(folder: str | Path, env: Mapping[str, str] = os.environ) -> list[PipelineFile]:
    """Read every `*.yaml` and `*.yml` file of a folder, sorted by pipeline name.

    Raises:
        ConfigError: The folder is missing, a file is wrong, or two files have the same name or
            the same change log.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(
            "the folder of pipeline files does not exist",
            where=str(folder),
            remedy="create it, or name another one in CDC_PIPELINES",
        )
    files = sorted(f for f in folder.iterdir() if f.suffix in (".yaml", ".yml") and f.is_file())
    loaded: list[PipelineFile] = []
    errors: list[ConfigError] = []
    for file in files:
        try:
            loaded.append(load_pipeline(file, env))
        except ConfigError as error:
            errors.append(error)
    errors += _clashes(loaded)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError("\n".join(map(str, errors)), where=str(folder))
    return sorted(loaded, key=lambda settings: settings.name)


def _clashes(loaded: list[PipelineFile]) -> list[ConfigError]:
    """Refuse two pipelines of one name, or with one change log."""
    problems: list[Problem] = []
    first: dict[tuple[str, str | None], PipelineFile] = {}
    for settings in loaded:
        for path, value in (
            (("name",), settings.name),
            (("pipeline", "change_log"), settings.pipeline.change_log),
        ):
            other = first.setdefault((path[-1], value), settings)
            if other is not settings:
                line, column = settings._document.mark(path) if settings._document else (1, 1)
                what = f"is the same as in {other.where(*path)}"
                problems.append(Problem(settings.file, line, column, path, what))
    return [join_problems(problems)] if problems else []


def state_url(env: Mapping[str, str] = os.environ) -> str:
    """Return the SQLAlchemy URL of the state store: `CDC_STATE`, or a SQLite file."""
    given = env.get("CDC_STATE")
    return given or f"sqlite:///{Path(env.get('CDC_HOME') or Path.cwd(), '.cdc', 'state.db')}"


def pipelines_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of pipeline files: `CDC_PIPELINES`, or the packaged one."""
    given = env.get("CDC_PIPELINES")
    return Path(given).expanduser() if given else Path(__file__).parent / "pipelines"
