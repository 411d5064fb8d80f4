"""What a method reads of its object: whether an attribute has changed since it was traced.

Attributes are Python values to a trace, as closures are: they are read once. Methods are expected
to see them change, so a compiled method is kept for each state of what it reads. Which attributes
these are is read off the code: the names in it, and in what it calls. Arrays are compared by
identity, since their elements are read at each call.
"""

from __future__ import annotations

import operator
import types
import weakref
from typing import Any

import numpy as np

from graphad.trace.code_names import names_in

MOST_STATES = 8  # of one object: the first goes when there are more
MOST_PARTS = 1000  # of one state
DEEPEST = 5
_MISSING = object()
_ATOMS = (np.ndarray, np.generic, type, types.ModuleType, types.FunctionType,
          types.BuiltinFunctionType, np.ufunc)  # fmt: skip
_NUMBERS = (float, int, bool, str, bytes, complex, type(None))


def _walk(value, parts: list, depth: int) -> None:
    """Append what a state is compared by."""
    cls = type(value)
    if cls is types.MethodType:  # made anew each time that it is looked up
        parts.append(value.__func__)
    elif cls in _NUMBERS or isinstance(value, _ATOMS) or len(parts) > MOST_PARTS or depth > DEEPEST:
        parts.append(value)
    elif cls is list or cls is tuple:
        parts.append(len(value))
        for v in value:
            _walk(v, parts, depth + 1)
    elif cls is dict:
        parts.append(len(value))
        for k, v in value.items():
            parts.append(k)
            _walk(v, parts, depth + 1)
    elif hasattr(value, "__dict__") and not getattr(cls, "__module__", "").startswith("graphad."):
        parts.append(cls)
        _walk(vars(value), parts, depth + 1)
    else:
        parts.append(value)


def _parts(values) -> list:
    """What a state of these values is compared by."""
    parts: list[Any] = []
    for v in values:
        _walk(v, parts, 0)
    return parts


def _same(a, b) -> bool:
    """Whether two parts make the same trace."""
    if a is b:
        return True
    if type(a) is weakref.ref:
        return a() is b
    if type(a) is not type(b) or not isinstance(a, (*_NUMBERS, np.generic)):
        return False
    return bool(a == b and repr(a) == repr(b)) or bool(a != a and b != b)


def _kept(part):
    """A part as it is remembered: nothing that could hold the object is kept alive."""
    if isinstance(part, (*_NUMBERS, np.generic, type)) or part is _MISSING:
        return part
    try:
        return weakref.ref(part)
    except TypeError:
        return part


class Attributes:
    """The states that an object was in, as numbers that count up."""

    def __init__(self, instance, code_of):
        self.instance = instance  # a weak reference
        self.names = _read_by(type(instance()), code_of)
        self.flat = True  # whether the last state holds no containers
        self.last: list[Any] = []
        self.current = -1
        self.seen: list[tuple[int, list]] = []
        self.count = 0

    def state(self) -> int:
        """The number of the state that the object is in."""
        instance = self.instance()
        if self.names is None:
            values = list(vars(instance).values()) if hasattr(instance, "__dict__") else []
        else:
            values = [getattr(instance, n, _MISSING) for n in self.names]
        parts = values if self.flat and self.current >= 0 else _parts(values)
        last = self.last
        if len(parts) == len(last):
            for a, b in zip(parts, last, strict=True):
                if a is not b and not (type(b) is weakref.ref and b() is a):
                    break
            else:
                if self.current >= 0:
                    return self.current
        return self._other(values)

    def _other(self, values) -> int:
        parts = _parts(values)
        self.flat = len(parts) == len(values) and all(map(operator.is_, parts, values))
        self.last = [_kept(p) for p in parts]
        for number, seen in self.seen:
            if len(seen) == len(parts) and all(map(_same, seen, parts)):
                self.current = number
                return number
        self.current, self.count = self.count, self.count + 1
        self.seen.append((self.current, self.last))
        del self.seen[:-MOST_STATES]
        return self.current


def _read_by(cls: type, function) -> tuple[str, ...] | None:
    """Names of attributes that a function and the methods it calls may read; None for any."""
    names: set[str] = set()
    waiting, done = [function], set()
    while waiting:
        f = waiting.pop()
        code = getattr(f, "__code__", None)
        if code is None or code in done:
            continue
        done.add(code)
        found = names_in(code)
        if found & {"getattr", "vars", "__dict__", "setattr"}:
            return None
        for name in found - names:
            waiting += _functions_at(cls, name, f)
        names |= found
    return tuple(sorted(n for n in names if not _is_code(cls, n)))


def _functions_at(cls: type, name: str, f) -> list:
    """The Python functions that a name may stand for: methods, properties, helpers."""
    found = []
    held = getattr(cls, name, None)
    for one in (held, getattr(f, "__globals__", {}).get(name)):
        if isinstance(one, property):
            one = one.fget
        one = getattr(one, "func", one)  # functools.cached_property
        one = getattr(one, "_f", one)  # a Function
        one = getattr(one, "__func__", one)
        if isinstance(one, types.FunctionType):
            found.append(one)
    return found


def _is_code(cls: type, name: str) -> bool:
    """Whether a class has code under a name: methods, properties, Functions."""
    held = getattr(cls, name, None)
    return hasattr(held, "__get__") and not isinstance(held, types.MemberDescriptorType)
