"""The pages hold together: links, pictures, pipelines, commands, and nothing of this machine."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from cdc_assets.naming import job_name
from cdc_assets.settings import load_pipeline
from cdc_assets.settings_errors import NOT_BUILT_TYPES
from tests.docs.pages import PAGES, ROOT, blocks, prose, whole

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_JOB = re.compile(r"-j (\w+)")
LARGEST_PICTURE = 300 << 10

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, by the rule of GitHub."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if path.startswith("https:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_pictures_are_used_and_small() -> None:
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    text = "".join(prose(page) for page in PAGES)
    for picture in pictures:
        content = picture.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, _height = struct.unpack(">II", content[16:24])
        assert width >= 1000, f"{picture.name} is too small to read"
        assert len(content) < LARGEST_PICTURE, picture.name
        assert f"images/{picture.name})" in text, f"{picture.name} is not shown"


def test_pipelines_load(tmp_path: Path) -> None:
    found = [b for page in PAGES for b in blocks(page) if b.language == "yaml"]
    assert len(found) >= 20
    (tmp_path / "my_functions.py").touch()
    for number, block in enumerate(found):
        path = tmp_path / f"{number}.yaml"
        path.write_text(whole(block), encoding="utf-8")
        settings = load_pipeline(path, {"CDC_HOME": str(tmp_path)})
        assert settings.name == "shop", block.page


def test_commands_name_what_there_is() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    jobs = {job_name("shop", job) for job in ("sync", "snapshot", "replay", "compact")}
    shell = [b for page in PAGES for b in blocks(page) if b.language == "sh"]
    text = "\n".join(b.text for b in shell)
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) - targets == set()
    assert set(_JOB.findall(text)) == jobs
    for module in re.findall(r"python -m ([\w.]+)", "".join(map(prose, PAGES))):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_what_is_not_there_yet_is_refused() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"Sources of other kinds: ([\w,\s]+)\.", readme)
    assert found is not None
    assert set(found[1].replace(",", " ").split()) == set(NOT_BUILT_TYPES["source"])


def test_the_readme_stays_a_promise() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 250


def test_no_file_names_this_machine() -> None:
    """Neither a package registry's host nor a private folder: both work here and nowhere else."""
    hosts = ["pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs", "art" + "ifactory"]
    hosts += ["index" + "-url", "nex" + "us/repository"]
    folders = [str(ROOT), sys.prefix, str(Path.home()) + "/", "/wo" + "rk/"]
    pattern = re.compile("|".join(map(re.escape, hosts + folders)))
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    found = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix == ".png" or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{name}:{number}: {line.strip()[:80]}")
    assert found == []
