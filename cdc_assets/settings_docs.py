"""The reference of the pipeline file, made from its model.

python -m cdc_assets.settings_docs > docs/pipeline-file.md
python -m cdc_assets.settings_docs --json-schema > pipeline.schema.json
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from cdc_assets.settings import PipelineFile
from cdc_assets.settings_examples import EXAMPLES
from cdc_assets.settings_types import Kind, Part

_INTRODUCTION = """\
# The pipeline file

One YAML file is one pipeline: a source, a sink (or several of either), and how data gets from one
to the other. Files
are read from the folder `CDC_PIPELINES`, by default `cdc_assets/pipelines`; `examples/` has some
to begin with. This page is made from the model by `python -m cdc_assets.settings_docs`; with
`--json-schema` the same command prints a JSON schema for editors.

A file is checked as a whole before anything starts. Unknown keys, wrong values, duplicate keys
and missing variables are listed together, each with file, line and column:

    shop.yaml:12:3: source.tabels is an unknown key; did you mean `tables`? allowed: …

**Values.** Durations are `250ms`, `10s`, `5m`, `1h30m`, `7d`, `2w` or a number of seconds. Sizes
are `64kB`, `256MB` (powers of 1000), `1GiB` (powers of 1024) or a number of bytes. Patterns are
`database.table` with the wildcards `*`, `?`, `[0-9]` and `[!a]`; put a pattern that begins with
`*` in quotes. In `route` and `transform` a pattern may be a `/regular expression/`; the guide to
[routes, transforms and schema changes](pipeline-language.md) has more. Times are ISO 8601 with
their zone, `2026-11-01T00:00:00Z`. YAML is read by the rules of version 1.2: `off` and `no` are
words. Anchors, aliases, merge keys and tags are refused. A section with nothing below it has its
defaults.

**Environment.** `${env:NAME}` stands for a variable, `${env:NAME:-default}` has a default. A
secret is never written in the file: a `password` is exactly one reference without a default, and
so are every password inside a `url` and the `salt` or `key` of a mask. In a `url` the variable
holds the plain password; it is percent-encoded where it is put in. Secrets are read when a run
opens its source, so that the definitions load on a machine that has none; all other variables are
read when the file is.

**Paths** are relative to `CDC_HOME` if it is set, else to the working directory; `functions` is
relative to the pipeline file. An fsspec URL (`s3://bucket/folder`) is taken as it is.

| variable | meaning | default |
|---|---|---|
| `CDC_PIPELINES` | folder of pipeline files | `cdc_assets/pipelines` |
| `CDC_HOME` | folder that relative paths begin at | the working directory |
| `CDC_STATE` | SQLAlchemy URL of the state store | `sqlite:///.cdc/state.db` |
"""

EXPLAINED = {
    "sources": f"""\
## `sources`

Several servers that fill the same targets. Each has the keys of `source`, by its `type`; `tables`
may be left out where it is that of the top. The guide has
[what becomes of them](pipeline-language.md#several-servers).

```yaml part
{EXAMPLES["sources"]}```
""",
    "sinks": f"""\
## `sinks`

Several targets that are filled from one change log. Each has the keys of `sink`, by its `type`. The
guide has [what becomes of them](pipeline-language.md#several-sinks).

```yaml part
{EXAMPLES["sinks"]}```
""",
}
"""Sections by key whose own keys are those of another section."""


def reference() -> str:
    """Return docs/pipeline-file.md."""
    return "\n".join([_INTRODUCTION, *_section("", PipelineFile, set())])


def json_schema() -> str:
    """Return the JSON schema of a pipeline file.

    `tables` is required of no source: one of several may share those of the top.
    """
    schema = PipelineFile.model_json_schema()
    for part in schema["$defs"].values():
        if {"type", "tables"} <= set(part.get("required", ())):
            part["required"].remove("tables")
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _section(path: str, model: type[Part], seen: set[object]) -> Iterator[str]:
    """Yield a table of a section's keys, then the sections below it, each once."""
    title = f"`{path}`" if path else "The top of the file"
    example = path
    if path in ("source", "sink"):
        kinds = model.model_fields["type"].annotation
        title += f" of type {_type(kinds)}"
        example += f" {get_args(kinds)[0]}"
    yield f"## {title}\n"
    yield f"{(model.__doc__ or '').strip()}\n"
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    below: list[tuple[str, type[Part]]] = []
    for name, field in model.model_fields.items():
        sections = () if name in EXPLAINED else _sections(field.annotation)
        below += [(f"{path}.{name}{mark}".lstrip("."), section) for mark, section in sections]
        word = _type(field.annotation, field.metadata)
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {word} | {_default(field, word)} | {meaning} |"
    yield ""
    if example in EXAMPLES:
        yield f"```yaml {'part' if path else ''}".rstrip() + f"\n{EXAMPLES[example]}```\n"
    if not path:
        yield from EXPLAINED.values()
    for below_path, section in below:
        if (below_path, section) not in seen:
            seen.add((below_path, section))
            yield from _section(below_path, section, seen)


def _sections(annotation: object) -> Iterator[tuple[str, type[Part]]]:
    """Yield the sections a key may hold, with `[]` for items of a list, `.<name>` for a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield "", annotation
    marks: dict[object, str] = {tuple: "[]", dict: ".<name>"}
    mark = marks.get(get_origin(annotation), "")
    for part in get_args(annotation):
        for inner, section in _sections(part):
            yield mark + inner, section


def _type(annotation: object, metadata: Iterable[object] = ()) -> str:
    """Return what may be written for a type, in words."""
    for mark in metadata:
        if isinstance(mark, Kind):
            return mark.word
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return "section"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin in (Union, types.UnionType):
        words = [_type(a) for a in arguments if a is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if origin is tuple:
        return f"list of {_type(arguments[0])}s"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    return {str: "text", bool: "`true`, `false`", int: "whole number", float: "number"}[
        cast("type", annotation)
    ]


def _default(field: FieldInfo, word: str) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == () or value == {} or value == "" or isinstance(value, Part):
        return ""
    if word == "duration":
        return f"`{_duration(value)}`"
    if word == "size":
        return f"`{value // 1_000_000}MB`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:g}s"


def main() -> None:
    """Print the reference or the JSON schema."""
    parser = argparse.ArgumentParser(prog="python -m cdc_assets.settings_docs")
    parser.add_argument("--json-schema", action="store_true", help="print the JSON schema")
    arguments = parser.parse_args()
    sys.stdout.write(json_schema() if arguments.json_schema else reference())


if __name__ == "__main__":
    main()
