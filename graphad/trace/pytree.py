"""Pytrees: tuples, lists, dicts, dataclasses, NamedTuples and registered classes of leaves."""

from __future__ import annotations

import dataclasses
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


def _parts(value):
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
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = tuple(f.name for f in dataclasses.fields(value))
        return "dataclass", (cls, names), tuple(getattr(value, n) for n in names)
    return None


def flatten(value, leaves: list | None = None) -> tuple[list, Any]:
    """The leaves in order, and the structure, which is hashable."""
    leaves = [] if leaves is None else leaves
    parts = _parts(value)
    if parts is None:
        leaves.append(value)
        return leaves, LEAF
    kind, extra, children = parts
    return leaves, Tree(kind, extra, tuple(flatten(c, leaves)[1] for c in children))


def unflatten(tree, leaves) -> Any:
    """The value with this structure and these leaves."""
    return _build(tree, iter(leaves))


def _build(tree, leaves):
    if tree is LEAF:
        return next(leaves)
    children = [_build(c, leaves) for c in tree.children]
    match tree.kind:
        case "tuple":
            return tuple(children)
        case "list":
            return children
        case "dict":
            return dict(zip(tree.extra, children, strict=True))
        case "none":
            return None
        case "namedtuple":
            return tree.extra(*children)
        case "registered":
            cls, extra = tree.extra
            return _REGISTERED[cls][1](extra, children)
    cls, names = tree.extra
    made = object.__new__(cls)
    for name, child in zip(names, children, strict=True):
        object.__setattr__(made, name, child)
    return made


def map_leaves(f: Callable, value, *others) -> Any:
    """f of corresponding leaves, in the structure of the first value."""
    leaves, tree = flatten(value)
    rest = [flatten(o)[0] for o in others]
    return unflatten(tree, [f(*ls) for ls in zip(leaves, *rest, strict=True)])


def _complex(_, parts):
    """Of traced parts a pair, of the arrays of a call a complex array."""
    real, imag = parts
    if isinstance(real, (np.ndarray, np.generic)):
        return real + 1j * imag
    return ComplexPair(real, imag)


register_pytree(ComplexPair, lambda z: ((z.real, z.imag), None), _complex)
