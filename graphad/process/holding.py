"""For code that has the address of an array: what keeps its memory there, and tells if it moved."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

# Where things are in NumPy's arrays, in bytes: of its stable headers, and looked at before use.
DATA_AT, RANK_AT, DIMS_AT = 16, 24, 32


def word(address: int) -> int:
    """The integer at an address."""
    return ctypes.c_int64.from_address(address).value


def _owners(array: np.ndarray) -> Iterator[Any]:
    """The array, and what it is a view of."""
    owner: Any = array
    while owner is not None:
        yield owner
        owner = owner.base if isinstance(owner, np.ndarray) else None


def _readable(array: np.ndarray) -> bool:
    """Whether it lies in memory as we think."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    at, dims = id(array), word(id(array) + DIMS_AT)
    rank = word(at + RANK_AT) & 0xFFFFFFFF
    if (word(at + DATA_AT), rank) != (array.ctypes.data, array.ndim):
        return False
    return all(word(dims + 8 * k) == size for k, size in enumerate(array.shape))


def holds(array: Any) -> tuple[Any, ...]:
    """Things that keep the memory of an array in its place as long as they are there.

    What lends its memory to arrays (a memory map, a bytearray) can be neither closed nor resized
    while it is exported, which an array made with `buffer=` does not say. That an array itself was
    resized is seen by `watched`; where that cannot look, nobody can resize it: NumPy refuses to
    where there are weak references, whatever `refcheck` says.
    """
    kept: list[Any] = [array]
    for owner in _owners(array):
        if not isinstance(owner, np.ndarray):
            with suppress(TypeError, ValueError, BufferError):  # others look after it themselves
                kept.append(memoryview(owner))
        elif not _readable(owner):
            kept.append(weakref.ref(owner))
    return tuple(kept)


def watched(array: np.ndarray, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """(address, the word that is there as long as the array of this shape is in its place), to be
    looked at in this order."""
    found: list[tuple[int, int]] = []
    for owner in _owners(array):
        if isinstance(owner, np.ndarray) and _readable(owner):
            at = id(owner)
            found += [(at + k, word(at + k)) for k in (RANK_AT, DATA_AT, DIMS_AT)]
            dims = word(at + DIMS_AT)
            found += [(dims + 8 * k, size) for k, size in enumerate(owner.shape)]
    if tuple(array.shape) != shape and found:
        address, there = found[0]
        return [(address, ~there)]  # it has been resized since the trace
    return found
