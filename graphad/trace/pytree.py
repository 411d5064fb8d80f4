"""Pytrees: tuples, lists, dicts, dataclasses, NamedTuples and registered classes of leaves.

What stands in a container and is no number (str, None, an enum, a function, a dtype) is part of
the structure: an option, the same for all values of the leaves.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphad.ops.complex_pairs import ComplexPair
from graphad.spec import Spec

_REGISTERED: dict[type, tuple[Callable, Callable]] = {}


class Leaf:
    """The structure of a single leaf."""

    def __repr__(self):
        return "*"

    def __reduce__(self):
        return "LEAF"


LEAF = Leaf()


class Static:
    """A Python value that is part of a structure; equal values of one type are alike."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return (
            isinstance(other, Static)
            and type(self.value) is type(other.value)
            and bool(self.value == other.value)
        )

    def __hash__(self):
        return hash(self.value)

    def __repr__(self):
        return repr(self.value)


class Tree(NamedTuple):
    """The structure of one container: its kind, what rebuilds it, and its children's structures."""

    kind: str
    extra: Any
    children: tuple

    @property
    def leaves(self) -> int:
        """Number of leaves below."""
        return sum(count(c) for c in self.children)


def count(tree) -> int:
    """Number of leaves of a structure."""
    return 1 if tree is LEAF else tree.leaves


def static(value) -> Tree:
    """The structure of an option."""
    return Tree("static", Static(value), ())


def register_pytree(cls: type, flatten: Callable, unflatten: Callable) -> type:
    """Let instances of `cls` be arguments and results.

    flatten(instance) -> (children, extra), with `extra` hashable; unflatten(extra, children)
    -> instance.

    >>> class Pair:
    ...     def __init__(self, a, b): self.a, self.b = a, b
    >>> _ = register_pytree(Pair, lambda p: ((p.a, p.b), None), lambda _, c: Pair(*c))
    """
    _REGISTERED[cls] = (flatten, unflatten)
    return cls


@functools.lru_cache(maxsize=256)
def _fields(cls: type) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of a dataclass's fields, and of those whose metadata say that they are static."""
    fields = dataclasses.fields(cls)
    return tuple(f.name for f in fields), frozenset(
        f.name for f in fields if f.metadata.get("static") or f.metadata.get("pytree_node") is False
    )


def _parts(value) -> tuple[str, Any, Any] | None:
    """(kind, extra, children) of a container, or None for a leaf."""
    cls = type(value)
    if cls is np.ndarray or cls is float:
        return None
    if cls is tuple or cls is list:
        return cls.__name__, None, value
    if cls is dict:
        return "dict", tuple(value), tuple(value.values())
    if value is None:
        return "none", None, ()
    if cls is Spec:
        return None
    if cls in _REGISTERED:
        children, extra = _REGISTERED[cls][0](value)
        return "registered", (cls, extra), tuple(children)
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return "namedtuple", cls, tuple(value)
    if isinstance(value, dict):  # OrderedDict, defaultdict
        return "mapping", (cls, tuple(value)), tuple(value.values())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = _fields(cls)[0]
        more = [n for n in getattr(value, "__dict__", ()) if n not in names]  # of __post_init__
        names = (*(n for n in names if hasattr(value, n)), *more)
        return "dataclass", (cls, names), tuple(getattr(value, n) for n in names)
    return None


_OPTIONS = (str, bytes, enum.Enum, np.dtype, type, types.FunctionType, types.BuiltinFunctionType,
            types.MethodType, functools.partial, np.ufunc, slice, range)  # fmt: skip


def is_option(value) -> bool:
    """Whether a value in a container is no number, but a choice."""
    if isinstance(value, _OPTIONS):
        return True
    return callable(value) and not hasattr(value, "__array__") and not hasattr(value, "spec")


def _named_numbers(children, extra, held) -> bool:
    """Whether ints and bools beside these are options: sizes and switches of a model whose
    parameters are arrays. Beside a float they are numbers as it is."""
    arrays = False
    for k, c in enumerate(children):
        if held and extra[1][k] in held:
            continue
        if isinstance(c, (float, np.floating)):
            return False
        rank = getattr(c, "ndim", None)
        if rank == 0 and not isinstance(c, np.ndarray):
            if getattr(getattr(c, "dtype", None), "kind", "") == "f":
                return False
        elif rank is not None:
            arrays = True
        elif not arrays and _parts(c) is not None:
            arrays = any(hasattr(x, "ndim") for x in flatten(c)[0])
    return arrays


def flatten(value, leaves: list | None = None, numbers: bool = False) -> tuple[list, Any]:
    """The leaves in order, and the structure, which is hashable.

    `numbers`: whether Python's ints and bools beside arrays under a name (in a dict, NamedTuple
    or dataclass) are options; for arguments of calls.
    """
    leaves = [] if leaves is None else leaves
    parts = _parts(value)
    if parts is None:
        leaves.append(value)
        return leaves, LEAF
    kind, extra, children = parts
    found = []
    named = numbers and kind in ("dict", "mapping", "namedtuple", "dataclass")
    held = _fields(extra[0])[1] if kind == "dataclass" else ()
    for k, c in enumerate(children):
        cls = type(c)
        if cls is np.ndarray:
            leaves.append(c)
            found.append(LEAF)
        elif (held and extra[1][k] in held) or (
            named and (cls is int or cls is bool) and _named_numbers(children, extra, held)
        ):
            found.append(static(c))
        else:
            found.append(flatten_child(c, leaves, numbers))
    return leaves, Tree(kind, extra, tuple(found))


def flatten_child(value, leaves: list, numbers: bool = False) -> Any:
    """The structure of a value in a container, or among arguments: an option is no leaf there."""
    tree = flatten(value, leaves, numbers)[1]
    if tree is LEAF and type(value) not in (float, int) and is_option(value):
        leaves.pop()
        return static(value)
    return tree


def unflatten(tree, leaves) -> Any:
    """The value with this structure and these leaves."""
    return build(tree, iter(leaves))


def build(tree, leaves) -> Any:
    """The value with this structure, its leaves taken from an iterator."""
    if tree is LEAF:
        return next(leaves)
    if tree.kind == "static":
        return tree.extra.value
    return _made(tree.kind, tree.extra, [build(c, leaves) for c in tree.children])


def _made(kind: str, extra: Any, children: list) -> Any:
    """A container of this kind with these children."""
    match kind:
        case "tuple":
            return tuple(children)
        case "list":
            return children
        case "dict":
            return dict(zip(extra, children, strict=True))
        case "none":
            return None
        case "namedtuple":
            return extra(*children)  # type: ignore[operator]
        case "registered":
            return _REGISTERED[extra[0]][1](extra[1], children)
        case "mapping":
            return _mapping(extra[0], extra[1], children)
    cls, names = extra
    made: Any = object.__new__(cls)
    for name, child in zip(names, children, strict=True):
        object.__setattr__(made, name, child)
    return made


def _mapping(cls: Any, keys, children) -> Any:
    made = cls.__new__(cls)
    dict.update(made, zip(keys, children, strict=True))
    return made


def map_leaves(f: Callable, value, *others) -> Any:
    """f of corresponding leaves, in the structure of the first value."""
    leaves, tree = flatten(value)
    rest = [flatten(o)[0] for o in others]
    return unflatten(tree, [f(*ls) for ls in zip(leaves, *rest, strict=True)])


# -- places within -------------------------------------------------------------------------------
def _key(value, step: str):
    """What `step` of a path names in a container: a key, a position, or an attribute."""
    parts = _parts(value)
    if parts is None:
        raise KeyError(step)
    kind, extra, children = parts
    if kind in ("dict", "mapping"):
        for key in value:
            if str(key) == step:
                return key
    elif kind in ("tuple", "list"):
        if step.lstrip("-").isdigit() and -len(children) <= int(step) < len(children):
            return int(step)
    elif kind == "namedtuple":
        if step in extra._fields:
            return extra._fields.index(step)
    elif kind == "dataclass" and step in extra[1]:
        return extra[1].index(step)
    raise KeyError(step)


def get_at(value, path: tuple[str, ...]) -> Any:
    """The part of a pytree at a path of keys, positions and attributes; KeyError if none."""
    for step in path:
        value = _child_at(value, _key(value, step))
    return value


def _child_at(value, key) -> Any:
    kind, _, children = _opened(value)
    return value[key] if kind in ("dict", "mapping") else children[key]


def _opened(value) -> tuple[str, Any, Any]:
    """The parts of what is known to be a container."""
    parts = _parts(value)
    assert parts is not None
    return parts


def put_at(value, path: tuple[str, ...], part) -> Any:
    """The pytree with another part at a path; nothing is changed in place."""
    if not path:
        return part
    key = _key(value, path[0])
    kind, extra, children = _opened(value)
    children = list(children)
    at = extra.index(key) if kind == "dict" else extra[1].index(key) if kind == "mapping" else key
    children[at] = put_at(children[at], path[1:], part)
    return _made(kind, extra, children)


def steps_below(value) -> list[str]:
    """What a path may go on with."""
    parts = _parts(value)
    if parts is None:
        return []
    kind, extra, children = parts
    if kind in ("dict", "mapping"):
        return [str(k) for k in value]
    if kind == "namedtuple":
        return list(extra._fields)
    return list(extra[1]) if kind == "dataclass" else [str(k) for k in range(len(children))]


def _complex(_, parts):
    """Of traced parts a pair, of the arrays of a call a complex array."""
    real, imag = parts
    if isinstance(real, (np.ndarray, np.generic)):
        return real + 1j * imag
    return ComplexPair(real, imag)


register_pytree(ComplexPair, lambda z: ((z.real, z.imag), None), _complex)
