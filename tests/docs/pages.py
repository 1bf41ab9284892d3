"""The pages of the documentation and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.settings.files import MINIMAL

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
PARTS = ("part", "functions")
"""Marks of YAML blocks that show some sections of a pipeline file."""
_FENCE = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        page: Where it is.
        language: The first word after the fence.
        mark: The second word, by which a test finds it; empty if there is none.
        text: What is in it.
    """

    page: Path
    language: str
    mark: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        language, _, mark = match["words"].strip().partition(" ")
        found.append(Block(page, language, mark, match["text"]))
    return found


def whole(block: Block) -> str:
    """Return the pipeline file that a YAML block shows, or shows a part of."""
    if block.mark not in PARTS:
        return block.text
    given = yaml.safe_load(block.text)
    needed = yaml.safe_load(MINIMAL)
    for one in ("source", "sink"):
        if f"{one}s" in given:
            del needed[one]
    missing = {key: value for key, value in needed.items() if key not in given}
    return yaml.safe_dump(missing, sort_keys=False) + block.text


def marked(page: str, mark: str) -> list[str]:
    """Return the texts of a page's blocks with this mark, in order; there is at least one."""
    texts = [b.text for b in blocks(ROOT / page) if b.mark == mark]
    assert texts, f"{page} has no block marked {mark}"
    return texts


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
