"""What the package does to its process when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = (
    "import cdc_assets, os, sys; "
    "print(os.environ['MIMALLOC_PURGE_DELAY'], 'pyarrow' in sys.modules)"
)


@pytest.mark.parametrize(("given", "used"), [(None, "-1"), ("500", "500")])
def test_memory_is_kept_by_arrow_unless_the_environment_says_otherwise(
    given: str | None, used: str
) -> None:
    """The setting is there before pyarrow is, which asks for it once."""
    environment = {k: v for k, v in os.environ.items() if k != "MIMALLOC_PURGE_DELAY"}
    if given is not None:
        environment["MIMALLOC_PURGE_DELAY"] = given
    command = [sys.executable, "-c", SHOW]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [used, "False"]
