"""Compiled kernels are kept where that is possible, and work where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import resources.mysql.kernels as kernels

SCRIPT = """
import numpy as np
from resources.mysql.kernels.cells import _locate, locate
from resources.mysql.kernels.jit import cache_directory
cells = locate(np.frombuffer(b"\\x02ab\\x00", np.uint8), np.array([0, -1, 3]), 1, 0)
assert cells.start.tolist() == [1, 0, 4] and cells.size.tolist() == [2, 0, 0]
assert cells.null.tolist() == [False, True, False]
print(cache_directory(), sum(_locate.stats.cache_hits.values()))
"""


@pytest.fixture
def install(tmp_path: Path) -> Path:
    """The kernels alone, where nothing can be written beside their sources."""
    package = tmp_path / "install" / "resources" / "mysql" / "kernels"
    package.mkdir(parents=True)
    for folder in (package.parents[1], package.parent, package):
        (folder / "__init__.py").touch()
    for source in Path(kernels.__file__).parent.glob("*.py"):
        shutil.copy(source, package)
    # A file in a directory's place stops even root, whom no mode of a directory does.
    (package / "__pycache__").touch()
    return tmp_path / "install"


def run(install: Path, cache_home: Path) -> tuple[str, int]:
    """Where a new process keeps compiled code, and how much of it was there."""
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    env |= {"PYTHONPATH": str(install), "XDG_CACHE_HOME": str(cache_home)}
    env |= {"PYTHONDONTWRITEBYTECODE": "1"}  # what is looked for are kernels
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, cwd=install, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    where, hits = done.stdout.split()
    return where, int(hits)


def test_an_install_without_a_writable_cache_directory_still_works(
    install: Path, tmp_path: Path
) -> None:
    (tmp_path / "no-folder").touch()
    before = sorted(tmp_path.rglob("*"))
    assert run(install, tmp_path / "no-folder") == ("None", 0)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_install_that_cannot_be_written_keeps_kernels_in_the_users_cache(
    install: Path, tmp_path: Path
) -> None:
    where, hits = run(install, tmp_path)
    assert Path(where).parent == tmp_path / "cdc-assets" and not hits
    assert run(install, tmp_path) == (where, 1)
    # Code compiled from other sources is not taken for these.
    with (install / "resources/mysql/kernels/cells.py").open("a") as file:
        file.write("# changed\n")
    other, hits = run(install, tmp_path)
    assert other != where and not hits
