"""NumPy's functions of lists that hold traced values: `np.array([1.0, x])`, `np.mean([x, y])`.

NumPy asks what it is given, but not what lies in lists. The names that lead to it in the user's
module (`np`, `array`) stand for objects whose functions turn such lists into traced arrays, once
NumPy asks one of their elements for an array; see coercion.py.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import ShapeError
from graphad.ops.numpy_shape import broadcast_to
from graphad.ops.value import Value, convert, holds_traced, lift, reshape
from graphad.trace.coercion import Asked, interrupting
from graphad.trace.stand_ins import learn, register, stand_in

MODULES = (np, np.linalg)
_ARRAY_FUNCTION = type(np.sum)  # of functions that look for __array_function__


def learned(namespaces: list[dict], before: int) -> bool:
    """Whether there are names to begin again with, in namespaces whose lines called NumPy with
    traced values in lists, that were not known after `before` lessons."""
    if not namespaces:
        return False
    _register()
    return learn(namespaces, before)


class _Ufunc:
    """A ufunc of lists, too; all else is the ufunc's."""

    def __init__(self, ufunc: np.ufunc):
        self._of = ufunc
        self._call = _asking(ufunc)
        self.__name__, self.__doc__ = ufunc.__name__, ufunc.__doc__

    def __call__(self, *args, **kwargs):
        return self._call(*args, **kwargs)

    def __getattr__(self, name: str):
        found = getattr(self._of, name)
        return _asking(found) if name in ("reduce", "accumulate", "outer") else found

    def __repr__(self):
        return repr(self._of)


class _Module(types.ModuleType):
    """A module whose functions take lists of traced values; all else is the module's."""

    def __init__(self, module: types.ModuleType):
        super().__init__(module.__name__, module.__doc__)
        self.__dict__["_of"] = module

    def __getattr__(self, name: str):
        return stand_in(getattr(self.__dict__["_of"], name))

    def __setattr__(self, name: str, value):
        setattr(self.__dict__["_of"], name, value)

    def __dir__(self):
        return dir(self.__dict__["_of"])


@functools.lru_cache(maxsize=1)
def _register() -> None:
    """What stands in for NumPy's modules and functions."""
    found: dict[int, tuple[Any, Any]] = {id(m): (m, _Module(m)) for m in MODULES}
    for module in MODULES:
        for name in module.__all__:
            f = getattr(module, name)
            if isinstance(f, np.ufunc):
                found[id(f)] = f, _Ufunc(f)
            elif isinstance(f, _ARRAY_FUNCTION) or (callable(f) and f in _MAKERS):
                found[id(f)] = f, functools.wraps(f)(_asking(f))
    register(found.values())


def _asking(f: Callable) -> Callable:
    """f, whose lists become traced arrays where NumPy asks an element for an array."""
    make = _MAKERS.get(f)

    def call(*args, **kwargs):
        try:
            with interrupting(True):
                return f(*args, **kwargs)
        except Asked as question:
            like = question.value
        with interrupting(False):
            if make is not None:
                return make(like, *args, **kwargs)
            whole = [_whole(like, a) for a in args]
            return f(*whole, **{k: _whole(like, v) for k, v in kwargs.items()})

    return call


def _whole(like: Value, x):
    """A list that holds traced values as an array, or as a list of arrays of several shapes."""
    if not isinstance(x, (list, tuple)) or not holds_traced(x):
        return x
    try:
        return lift(like, x)
    except ShapeError:
        return [_whole(like, item) for item in x]


# -- what makes arrays -----------------------------------------------------------------------------
def _array(like: Value, x, dtype=None, *_, ndmin=0, **unused):
    """np.array; a traced value is never shared memory, so how to copy does not matter."""
    found = lift(like, x, "np.array")
    found = found if dtype is None else convert(found, dtype)
    return reshape(found, (1,) * max(ndmin - found.ndim, 0) + found.shape)


def _contiguous(like: Value, x, dtype=None, **unused):
    return _array(like, x, dtype, ndmin=1)


def _full(like: Value, shape, fill_value, dtype=None, **unused):
    found = _array(like, fill_value, dtype)
    return broadcast_to(found, shape)


_MAKERS: dict[Callable, Callable] = {
    np.array: _array, np.asarray: _array, np.asanyarray: _array,
    np.ascontiguousarray: _contiguous, np.asfortranarray: _array, np.full: _full,
}  # fmt: skip
