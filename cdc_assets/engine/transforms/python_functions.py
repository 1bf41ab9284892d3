"""Functions of the user's own over Arrow arrays, from a Python file beside the pipeline.

In: a path. Out: functions with their types. Such a file looks like this:

    import pyarrow as pa
    import pyarrow.compute as pc
    from cdc_assets.engine.transforms.python_functions import arrow_function

    @arrow_function(pa.string(), pa.string(), pa.int32())
    def masked(name: pa.StringArray, keep: pa.Int32Array) -> pa.StringArray:
        ...

The decorator takes the type of the result and then those of the parameters. A function is called
with whole arrays, for every row of a batch: also where a CASE around the call would not need it. It
must give the same for the same values, since a replay calls it again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from cdc_assets.engine.transforms.evaluate import NONE, Indices, spread
from cdc_assets.engine.transforms.typed import storage_type
from resources.errors import ConfigError
from resources.model.arrays import from_numbers
from resources.sinks.bisect import Refusal, bisect_rejected

_SIGNATURE = "_arrow_signature"
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class ArrowFunction:
    """A function of the user's own.

    Args:
        name: Its name.
        returns: Type of its result.
        takes: Types of its parameters.
        run: The function.
        where: The file it is from.
    """

    name: str
    returns: pa.DataType
    takes: tuple[pa.DataType, ...]
    run: Callable[..., Any]
    where: str

    def __call__(self, args: Sequence[pa.Array], rows: int) -> tuple[pa.Array, Indices]:
        """Call it; rows it raises on are found by trying parts of the batch.

        Args:
            args: One array per parameter, of its type.
            rows: Their length.

        Returns:
            The result, NULL in failed rows, and the failed rows.

        Raises:
            ConfigError: The result has another type or length than it should.
        """
        try:
            return self._checked(args, rows), NONE
        except ConfigError:
            raise
        except Exception:  # of the user's own code: it may raise anything
            return self._without_failing(args, rows)

    def _without_failing(self, args: Sequence[pa.Array], rows: int) -> tuple[pa.Array, Indices]:
        def part(indices: Indices) -> pa.Array:
            taken = from_numbers(pa.int64(), indices)
            return self._checked([a.take(taken) for a in args], len(indices))

        def trial(indices: Indices) -> Refusal | None:
            try:
                part(indices)
            except ConfigError:
                raise
            except Exception as error:  # as above; its class alone is told, for texts have values
                return Refusal(self.name, type(error).__name__)
            return None

        failed = np.array([r.index for r in bisect_rejected(rows, trial)], np.int64)
        good = np.setdiff1d(np.arange(rows, dtype=np.int64), failed)
        return spread(part(good), good, rows), failed

    def _checked(self, args: Sequence[pa.Array], rows: int) -> pa.Array:
        found = self.run(*args)
        if isinstance(found, pa.ChunkedArray):
            found = found.combine_chunks()
        if not isinstance(found, pa.Array):
            raise self._wrong(f"returned {type(found).__name__}, not an Arrow array")
        if found.type != self.returns:
            raise self._wrong(f"returned {found.type}, but is declared to return {self.returns}")
        if len(found) != rows:
            raise self._wrong(f"returned {len(found)} values for {rows} rows")
        return found

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(
            f"the function {self.name} {what}",
            where=self.where,
            remedy="return one value of the declared type per row, in the order of the rows",
        )


def arrow_function(returns: pa.DataType, *takes: pa.DataType) -> Callable[[_F], _F]:
    """Declare a function of a functions file.

    Args:
        returns: Arrow type of the array it returns.
        takes: Arrow types of the arrays it takes, one per parameter.
    """

    def declare(run: _F) -> _F:
        setattr(run, _SIGNATURE, (returns, takes))
        return run

    return declare


def load_functions(path: str, where: str) -> Mapping[str, ArrowFunction]:
    """Return the functions of a file by name; the file is run once per version of it.

    Args:
        path: The file; empty for none.
        where: Who names it, for errors.

    Raises:
        ConfigError: It cannot be read or run, or declares no function.
    """
    if not path:
        return MappingProxyType({})
    return _load(path, file_version(path, where), where)


def file_version(path: str, where: str) -> tuple[int, int]:
    """Return what changes when a file does.

    Raises:
        ConfigError: There is no such file.
    """
    try:
        facts = Path(path).stat()
    except OSError as error:
        raise ConfigError(
            f"the functions file {path} cannot be read: {error.strerror}",
            where=where,
            remedy="give its path as the process sees it",
        ) from None
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=32)
def _load(path: str, version: tuple[int, int], where: str) -> Mapping[str, ArrowFunction]:
    name = (
        "cdc_functions_" + hashlib.blake2b(f"{path}{version}".encode(), digest_size=8).hexdigest()
    )
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file", where=where, remedy="name it something.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is the user's own code
        del sys.modules[name]
        raise ConfigError(
            f"the functions file {path} cannot be run: {type(error).__name__}: {error}",
            where=where,
            remedy="run it with Python by itself to see where",
        ) from error
    found = {n: _declared(f, path) for n, f in vars(module).items() if hasattr(f, _SIGNATURE)}
    if not found:
        raise ConfigError(
            f"{path} declares no function",
            where=where,
            remedy="put @arrow_function(type of the result, types of the parameters) before each",
        )
    return MappingProxyType(found)


def _declared(run: Callable[..., Any], path: str) -> ArrowFunction:
    returns, takes = getattr(run, _SIGNATURE)
    name = run.__name__
    try:
        parameters = len(inspect.signature(run).parameters)
    except (TypeError, ValueError):
        parameters = len(takes)
    if parameters != len(takes):
        raise ConfigError(
            f"the function {name} has {parameters} parameters and {len(takes)} declared types",
            where=path,
            remedy="@arrow_function takes the result's type, then one type per parameter",
        )
    for type_ in (returns, *takes):
        if not isinstance(type_, pa.DataType) or storage_type(type_) in (None, "NULL"):
            raise ConfigError(
                f"the function {name} declares {type_}, which expressions do not have",
                where=path,
                remedy="use types of docs/types.md that are not nested and have up to 38 digits",
            )
    return ArrowFunction(name, returns, takes, run, path)
