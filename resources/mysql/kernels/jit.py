"""The one decorator of compiled functions, and where their machine code is kept.

In: plain functions over numpy arrays and integers. Out: the same, compiled at their first call
without the GIL, and read from a cache by every later process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])
_HERE = Path(__file__).parent
_PREFIX = "kernels-"
_config: Any = numba.config
_njit: Any = njit  # its stubs know no `_nrt`


def kernel(function: Function) -> Function:
    """Compile a function over numpy arrays.

    The compiled code checks no bounds and no overflow: a kernel checks every length and offset
    that comes from the wire before it uses it.

    Args:
        function: Takes and returns arrays, numbers and tuples of them.

    Returns:
        The function, compiled for each combination of argument types when first called with it.
    """
    return _compile(function, cache_directory())


def inline(function: Function) -> Function:
    """Compile a small function that only kernels call, each with a copy of it."""
    compiled: Function = _njit(nogil=True, forceinline=True)(function)
    return compiled


def lean_kernel(function: Function) -> Function:
    """Compile as `kernel` does, without counting who holds an array.

    Counts cost most where arrays are handed to many small functions. Such a kernel and the
    functions in it make no array and assign to no slice.
    """
    return _compile(function, cache_directory(), counting=False)


def lean_inline(function: Function) -> Function:
    """Compile as `inline` does, for lean kernels."""
    compiled: Function = _njit(nogil=True, forceinline=True, _nrt=False)(function)
    return compiled


def _compile(function: Function, cache: Path | None, counting: bool = True) -> Function:
    plain: Function = _njit(nogil=True, _nrt=counting)(function)
    if cache is None:
        return plain
    before = _config.CACHE_DIR
    # Numba has one setting for the process and reads it when the function is decorated.
    _config.CACHE_DIR = str(cache)
    try:
        cached: Function = _njit(nogil=True, cache=True, _nrt=counting)(function)
    except RuntimeError:  # the directory is no longer writable
        return plain
    finally:
        _config.CACHE_DIR = before
    return cached


@functools.cache
def cache_directory() -> Path | None:
    """Return where compiled code is kept, None if no directory can be written.

    Its name holds a hash of every kernel's source: numba itself looks only at the file of the
    function it loads, not at the files of those it calls.
    """
    name = _PREFIX + _sources()
    for parent in _parents():
        path = parent / name
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError:
            continue
        if parent.parent == _HERE:
            _remove_others(parent, name)
        return path
    return None


def _parents() -> Iterator[Path]:
    """Yield directories to try: the one asked for, the one beside the source, the user's own."""
    if _config.CACHE_DIR:
        yield Path(_config.CACHE_DIR)
    yield _HERE / "__pycache__"
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        yield (Path(base) if base else Path.home() / ".cache") / "cdc-assets"
    except RuntimeError:  # no home directory
        return


def _sources() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(_HERE.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _remove_others(parent: Path, name: str) -> None:
    """Remove the compiled code of earlier sources of this same checkout."""
    for old in parent.glob(_PREFIX + "*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)
