"""Functions written where they are used: known again by their code and all that it reads.

`ga.grad(lambda x: scale * f(x))(x)` makes a new lambda at each call. It is the one of the call
before if its code is the same, and if its closure, defaults and the globals that it names, with
theirs, hold the same: equal numbers and strings, the same arrays, modules and functions. Where it
reads what could change unseen (a list, an object), it is not recognised, and is traced anew.
"""

from __future__ import annotations

import sys
import sysconfig
import types
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from graphad.trace.code_names import ordered_names

MOST_BYTES = 1 << 20  # of the arrays that one recognised function keeps alive
DEEPEST = 6
_NUMBERS = (float, int, bool, str, bytes, complex, type(None), type(Ellipsis))
_LIBRARIES = tuple({sysconfig.get_path(p) for p in ("stdlib", "purelib", "platlib")})


class _Unsafe(Exception):
    """It reads what may change unseen."""


def key_of(f: Callable) -> Hashable | None:
    """What a function is known by; None where it cannot be told."""
    try:
        return _function(f, [MOST_BYTES], 0)
    except (_Unsafe, RecursionError):
        return None


def _function(f, room: list[int], depth: int) -> Hashable:
    if type(f) is not types.FunctionType:
        raise _Unsafe
    if depth > DEEPEST:
        raise _Unsafe
    code = f.__code__
    parts: list[Any] = [code, id(f.__globals__)]
    space = f.__globals__
    for name in ordered_names(code):
        if name in space:
            parts.append(_value(space[name], code, room, depth))
    if f.__closure__:
        for cell in f.__closure__:
            try:
                content = cell.cell_contents
            except ValueError:
                raise _Unsafe from None
            parts.append(_value(content, code, room, depth))
    if f.__defaults__:
        parts += [_value(v, code, room, depth) for v in f.__defaults__]
    if f.__kwdefaults__:
        parts += [(k, _value(v, code, room, depth)) for k, v in f.__kwdefaults__.items()]
    return tuple(parts)


def _value(value, code, room: list[int], depth: int) -> Hashable:
    cls = type(value)
    if cls in _NUMBERS:
        exact = (cls is not float and cls is not complex) or value  # nan, and the sign of zero
        return (cls, value if exact and value == value else repr(value))
    if cls is np.ndarray:
        room[0] -= value.nbytes
        if room[0] < 0:
            raise _Unsafe
        return _Same(value)
    if cls is types.FunctionType:
        if getattr(value, "__code__", None) is code:  # it calls itself
            return "itself"
        if _of_library(value.__module__):
            return _Same(value)
        return _function(value, room, depth + 1)
    if cls is types.ModuleType:
        return _module(value, code, room, depth)
    if isinstance(value, (type, types.BuiltinFunctionType, np.ufunc)):
        return _Same(value)
    if cls is tuple:
        return tuple([_value(v, code, room, depth) for v in value])
    if isinstance(value, np.generic):
        return (cls, value.tobytes())
    if isinstance(value, np.dtype):
        return value
    if getattr(cls, "recognised_by_identity", False) or cls is type(np.sum):
        return _Same(value)
    raise _Unsafe


def _module(module, code, room, depth) -> Hashable:
    """A module: of libraries itself, of the user's the names in it that the code may read."""
    if _of_library(module.__name__):
        return _Same(module)
    if depth > DEEPEST:
        raise _Unsafe
    space = vars(module)
    found = [_value(space[n], code, room, depth + 1) for n in ordered_names(code) if n in space]
    return (_Same(module), *found)


_IN_LIBRARY: dict[str | None, bool] = {}


def _of_library(name: str | None) -> bool:
    known = _IN_LIBRARY.get(name)
    if known is None:
        module = sys.modules.get(name or "")
        file = getattr(module, "__file__", None)
        ours = (name or "").split(".")[0] == "graphad"
        builtin = module is not None and file is None and name != "__main__"
        known = ours or builtin or bool(file and file.startswith(_LIBRARIES))
        _IN_LIBRARY[name] = known
    return known


class _Same:
    """An object in a key, alike only to itself; the key keeps it alive."""

    __slots__ = ("it",)

    def __init__(self, it):
        self.it = it

    def __eq__(self, other):
        return type(other) is _Same and other.it is self.it

    def __hash__(self):
        return id(self.it)
