"""Folders and files that only their owner may read.

In: paths. Out: what was missing of them, made with modes 0700 and 0600.
"""

from __future__ import annotations

import os
from pathlib import Path


def create_private_folder(path: Path) -> None:
    """Create a folder and its missing parents with mode 0700; those there stay as they are."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for folder in reversed(missing):  # Path.mkdir gives parents the default mode
        folder.mkdir(mode=0o700, exist_ok=True)


def create_private_file(path: Path) -> None:
    """Create an empty file of mode 0600, and its folder, unless it is there."""
    create_private_folder(path.parent)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
