"""numpy's arrays in memory of their own, each before a page nobody may touch.

In: a stretch of a program. Out: a process that dies where compiled code reads or writes more than
seven bytes behind an array made there, or anything of one that is gone, and an error for a write
to those seven.
Source: NumPy C-API, "Memory management in NumPy", `PyDataMem_Handler`.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy._core._multiarray_umath as numpy_core
from numba import carray, cfunc

from tests.fuzz.guard import map_before_forbidden

_SET_HANDLER = 304
"""Place of `PyDataMem_SetHandler` in the C-API's table."""
_ALIGNED = 8
_HEADER = 16
_PAGE = mmap.PAGESIZE
_p, _size = ctypes.c_void_p, ctypes.c_size_t


def _libc(name: str, *arguments: Any) -> Any:
    """Return a function of the C library that takes addresses as integers."""
    function = ctypes.CDLL(None)[name]
    function.argtypes, function.restype = arguments, ctypes.c_ssize_t
    return function


_copy = _libc("memcpy", _size, _size, _size)
_compare = _libc("memcmp", _size, _size, _size)
_unmap = _libc("munmap", _size, _size)

_found = np.zeros(3, np.int64)
"""What the array to be freed has in its header: its end, its size; and how many were spoilt."""
_canary = np.full(_ALIGNED, 0xA5, np.uint8)
_FOUND, _CANARY = _found.ctypes.data, _canary.ctypes.data


@cfunc("void(CPointer(int64), intp, intp)")
def _free(found: Any, at: int, _: int) -> None:
    """Give an array's memory back. Compiled: numpy calls it while exceptions are on their way."""
    if at == 0:
        return
    _copy(_FOUND, at - _HEADER, _HEADER)
    header = carray(found, 3)
    end, size = header[0], header[1]
    if _compare(at + size, _CANARY, end - at - size) != 0:
        header[2] += 1
    begin = (at - _HEADER) // _PAGE * _PAGE
    _unmap(begin, end + _PAGE - begin)


def _malloc(_: Any, size: int) -> int | None:
    rounded = -(-size // _ALIGNED) * _ALIGNED
    try:
        end = map_before_forbidden(rounded + _HEADER)
    except OSError:  # numpy takes NULL for an answer
        return None
    at = end - rounded
    ctypes.memset(at + size, 0xA5, rounded - size)
    header = (ctypes.c_int64 * 2).from_address(at - _HEADER)
    header[:] = end, size
    return at


def _calloc(_: Any, count: int, size: int) -> int | None:
    return _malloc(None, count * size)  # fresh pages are zeros


def _realloc(_: Any, old: int | None, size: int) -> int | None:
    new = _malloc(None, size)
    if old is not None and new is not None:
        old_size = ctypes.c_int64.from_address(old - _HEADER + 8).value
        ctypes.memmove(new, old, min(size, old_size))
        _free.ctypes(_found.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)), old, 0)
    return new


class _Handler(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("ctx", _p),
        ("malloc", ctypes.CFUNCTYPE(_p, _p, _size)),
        ("calloc", ctypes.CFUNCTYPE(_p, _p, _size, _size)),
        ("realloc", ctypes.CFUNCTYPE(_p, _p, _p, _size)),
        ("free", _p),
    )


_types = dict(_Handler._fields_)
_handler = _Handler(
    b"guarded",
    1,
    _FOUND,
    _types["malloc"](_malloc),
    _types["calloc"](_calloc),
    _types["realloc"](_realloc),
    _free.address,
)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [_p, _p, _p]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = _p, [ctypes.py_object, ctypes.c_char_p]
_capsule_name = ctypes.create_string_buffer(b"mem_handler")
_capsule = _new_capsule(ctypes.addressof(_handler), ctypes.addressof(_capsule_name), None)
_table = ctypes.cast(_pointer_of(numpy_core._ARRAY_API, None), ctypes.POINTER(_p))
_set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(_table[_SET_HANDLER])


@contextmanager
def guarded_arrays() -> Iterator[None]:
    """Have arrays made inside lie each before a forbidden page.

    Raises:
        AssertionError: Something was written right behind an array that is gone by now.
    """
    before = _set_handler(_capsule)
    try:
        yield
    finally:
        _set_handler(before)
    spoilt, _found[2] = int(_found[2]), 0
    if spoilt:
        raise AssertionError(f"written behind {spoilt} arrays")
