"""The reference and the JSON schema say what the model does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from cdc_assets.settings import PipelineFile
from cdc_assets.settings_docs import json_schema, reference
from cdc_assets.settings_examples import EXAMPLES
from cdc_assets.settings_types import Part

ROOT = Path(__file__).parents[2]


def test_the_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "pipeline-file.md").read_text(encoding="utf-8") == reference(), (
        "run: python -m cdc_assets.settings_docs > docs/pipeline-file.md"
    )


def test_every_key_is_explained() -> None:
    parts = [part for part in Part.__subclasses__() if part.__module__.startswith("cdc_assets")]
    assert len(parts) > 10
    undescribed = [
        f"{part.__name__}.{key}"
        for part in parts
        for key, field in part.model_fields.items()
        if not field.description
    ]
    assert undescribed == []


def test_every_key_is_in_an_example() -> None:
    text = reference()
    missing = []
    for section in re.split(r"^## ", text.split("## The top", 1)[1], flags=re.MULTILINE):
        heading = section.splitlines()[0]
        keys = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        top = re.sub(r"[`\[].*", "", heading.lstrip("`")).partition(".")[0].strip()
        shown = "\n".join(e for name, e in EXAMPLES.items() if _shows(name, top, heading))
        missing += [f"{heading}: {key}" for key in keys if not re.search(rf"\b{key}:", shown)]
    assert missing == []


def _shows(name: str, top: str, heading: str) -> bool:
    """Return whether an example is that of a section; unions by the type in their heading."""
    section, _, kind = name.partition(" ")
    if section.removesuffix("[]") != top.removeprefix("The top"):
        return top == "of the file" and not name
    return not kind or "of type" not in heading or f"`{kind}`" in heading


def test_the_schema_knows_every_key_and_no_other() -> None:
    schema = json.loads(json_schema())
    assert set(schema["properties"]) == set(PipelineFile.model_fields)
    assert schema["required"] == ["name"]
    assert schema["allOf"] == [
        {"oneOf": [{"required": [one]}, {"required": [f"{one}s"]}]} for one in ("source", "sink")
    ]
    parts = [schema, *schema["$defs"].values()]
    sections = [part for part in parts if "properties" in part]
    assert len(sections) > 15
    assert all(part["additionalProperties"] is False for part in sections)
    (source, _) = schema["properties"]["source"]["anyOf"]
    assert set(source["discriminator"]["mapping"]) == {
        "mysql",
        "mariadb",
        "oceanbase",
        "binlog_files",
        "sql",
    }


def test_the_command_prints_both() -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "cdc_assets.settings_docs", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert run() == reference()
    assert json.loads(run("--json-schema")) == json.loads(json_schema())
