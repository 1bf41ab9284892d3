"""The model of a pipeline file: one YAML file is one pipeline.

In: a file and the environment. Out: an immutable `PipelineSettings` in plain units (seconds,
bytes, absolute paths), or one ConfigError with every problem of the file and its line. Imported
at every Dagster process start, so nothing heavier than pydantic and yaml may be imported here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_env import (
    bad_reference,
    expand,
    expand_url,
    is_secret,
    missing_names,
)
from cdc_assets.settings_errors import add_problems
from cdc_assets.settings_language import language_problems
from cdc_assets.settings_pipeline import DirtyData, PipelineOptions, Rate
from cdc_assets.settings_problems import KeyPath, Problem, Yaml, join_problems
from cdc_assets.settings_route import RouteRuleSettings
from cdc_assets.settings_sink import (
    DuckDBSinkSettings,
    MemorySinkSettings,
    PostgresSinkSettings,
)
from cdc_assets.settings_source import (
    BinlogFilesSourceSettings,
    MySQLSourceSettings,
    SqlSourceSettings,
)
from cdc_assets.settings_transform import TransformRuleSettings
from cdc_assets.settings_types import (
    ListSection,
    Owner,
    Part,
    PipelineName,
    Section,
    TagKey,
    TagValue,
)
from cdc_assets.settings_yaml import Document, read_document
from resources.errors import ConfigError

T = TypeVar("T")


Source = Annotated[
    MySQLSourceSettings | BinlogFilesSourceSettings | SqlSourceSettings,
    Field(discriminator="type"),
]
Sink = Annotated[
    DuckDBSinkSettings | PostgresSinkSettings | MemorySinkSettings, Field(discriminator="type")
]

_SHAPES_DATA: dict[str, Any] = {
    "name": True,
    "source": {"type", "tables", "exclude", "startup", "stop_at", "keys"},
    "sink": {"type", "types"},
    "route": True,
    "transform": True,
    "pipeline": {
        "window",
        "schema_changes",
        "append",
        "match_routes",
        "target",
        "type_mapping",
    },
    "dirty_data": {"zero_dates"},
}


class PipelineSettings(Part):
    """One pipeline: where data comes from, where it goes, and how."""

    name: PipelineName
    """The pipeline's name: lower-case letters, digits and single underscores, at most 40.
    Assets, jobs, state and the change log are named after it."""
    description: str = ""
    """Shown on the asset pages."""
    owners: tuple[Owner, ...] = ()
    """E-mail addresses or `team:name`."""
    tags: dict[TagKey, TagValue] = Field(default_factory=dict)
    """Dagster tags of every asset of the pipeline."""
    source: Source
    """Where data comes from."""
    sink: Sink
    """Where data goes."""
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
    def _check_stop(self) -> PipelineSettings:
        if self.pipeline.follow_for and self.source.stop_at is not None:
            raise PydanticCustomError(
                "stop",
                "cannot stand beside `pipeline.follow_for`: a run that stops somewhere does not "
                "follow",
                {"at": ("source", "stop_at")},
            )
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
        shape = self.model_dump(mode="json", include=_SHAPES_DATA, exclude_none=True)
        shape["source"]["tables"] = self.capture_filter()
        shape["source"].pop("exclude")
        shape["functions"] = [digest(self.functions_path(rule)) for rule in self.transform]
        text = json.dumps(shape, sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def missing_secrets(self, env: Mapping[str, str] = os.environ) -> list[tuple[str, str]]:
        """Return (variable, file:line:column) of every secret the environment lacks."""
        return [
            (name, self.where(*path))
            for path, secret in _secrets(self)
            for name in missing_names(secret.get_secret_value(), env)
        ]

    def resolve(self, env: Mapping[str, str] = os.environ) -> PipelineSettings:
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
        return _resolved(self, env)


def digest(file: Path | None) -> str:
    """Return 16 hex digits of a file's bytes, empty if there is no file."""
    if file is None or not file.is_file():
        return ""
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def _secrets(value: object, path: KeyPath = ()) -> list[tuple[KeyPath, SecretStr]]:
    """Return every secret with its path, those in lists and mappings too."""
    if isinstance(value, SecretStr):
        return [(path, value)]
    below: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Part):
        below = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, dict):
        below = value.items()
    elif isinstance(value, tuple):
        below = enumerate(value)
    return [found for step, inner in below for found in _secrets(inner, (*path, step))]


def _resolved(value: T, env: Mapping[str, str], name: str = "") -> T:
    """Return a value whose secrets hold their values in place of references.

    Args:
        value: A section, list, mapping or scalar.
        env: The environment; has every variable needed.
        name: The key it stands at.
    """
    done: Any = value
    if isinstance(value, SecretStr):
        read = expand_url if name == "url" else expand
        done = SecretStr(read(value.get_secret_value(), env))
    elif isinstance(value, Part):
        fields = type(value).model_fields
        done = value.model_copy(update={k: _resolved(getattr(value, k), env, k) for k in fields})
    elif isinstance(value, dict):
        done = {k: _resolved(inner, env, str(k)) for k, inner in value.items()}
    elif isinstance(value, tuple):
        done = tuple(_resolved(inner, env) for inner in value)
    return cast("T", done)


def load_pipeline(path: str | Path, env: Mapping[str, str] = os.environ) -> PipelineSettings:
    """Read one pipeline file.

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
    data = _expand_plain(document, document.data, (), env)
    settings = None
    context = {"home": env.get("CDC_HOME"), "folder": Path(path).parent}
    try:
        settings = PipelineSettings.model_validate(data, context=context)
    except ValidationError as error:
        add_problems(error, document, PipelineSettings)
    if settings is not None:
        for where, what in language_problems(settings):
            document.add(where, what)
    if settings is None or document.problems:
        raise join_problems(document.problems) from None
    settings._document = document
    return settings


def _expand_plain(document: Document, value: Yaml, path: KeyPath, env: Mapping[str, str]) -> Yaml:
    """Replace references in everything but secrets, noting those that are wrong or missing."""
    if isinstance(value, dict):
        return {k: _expand_plain(document, v, (*path, k), env) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand_plain(document, v, (*path, i), env) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${" not in value or is_secret(path):
        return value
    if bad_reference(value):
        document.add(path, "has a ${ that begins no reference; write ${env:NAME}")
        return value
    missing = missing_names(value, env)
    for name in missing:
        document.add(path, f"needs environment variable {name}, which is not set")
    return value if missing else expand(value, env)


def load_pipelines(
    folder: str | Path, env: Mapping[str, str] = os.environ
) -> list[PipelineSettings]:
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
    loaded: list[PipelineSettings] = []
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


def _clashes(loaded: list[PipelineSettings]) -> list[ConfigError]:
    """Refuse two pipelines of one name, or with one change log."""
    problems: list[Problem] = []
    first: dict[tuple[str, str | None], PipelineSettings] = {}
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
