"""Which arguments of a call a derivative is taken for, and the checks that all transforms share."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from graphad.arguments import same_shape
from graphad.errors import DerivativeError, DTypeError, ShapeError
from graphad.function import Function
from graphad.ops.control import alias
from graphad.ops.value import Value, convert, lift, zeros_like
from graphad.trace import pytree
from graphad.trace.tensor import Tensor


class Selection:
    """The arguments of a call with those chosen by `wrt` apart, as leaves with their own names."""

    def __init__(self, f: Function, wrt, args, kwargs, operation: str):
        self.f, self.operation = f, operation
        bound = f._python_signature.bind(*args, **kwargs)
        self.bound = bound
        self.many = isinstance(wrt, (tuple, list))
        slots = self._slots()
        self.chosen = [self._find(w, slots) for w in (wrt if self.many else (wrt,))]
        values = [self._get(s) for s in self.chosen]
        leaves, self.tree = pytree.flatten(tuple(values))
        like = any_tensor((args, kwargs))
        self.like = like
        self.leaves: list[Any] = [alias(self._float_leaf(like, x)) for x in leaves]

    def _float_leaf(self, like, x):
        v = lift(like, x, self.operation)
        if v.dtype.kind != "f":
            names = ", ".join(str(s[1] if s[1] is not None else s[0]) for s in self.chosen)
            raise DTypeError(
                self.operation,
                f"derivatives are taken with respect to floats, not {v.dtype}",
                expected="float64 or float32",
                got=f"{v.dtype} for '{names}'",
                fix="pass a float: x.astype('float64'), or 2.0 instead of 2",
            )
        return v

    def _slots(self):
        parameters = self.f._python_signature.parameters
        slots: list[tuple[str, Any]] = []
        for name, value in self.bound.arguments.items():
            kind = parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                slots += [(name, i) for i in range(len(value))]
            elif kind is inspect.Parameter.VAR_KEYWORD:
                slots += [(name, k) for k in value]
            else:
                slots.append((name, None))
        return slots

    def _find(self, w, slots):
        if isinstance(w, (int, np.integer)) and -len(slots) <= w < len(slots):
            return slots[w]
        for slot in slots:
            if (w == slot[0] and slot[1] is None) or (w == slot[1] and isinstance(w, str)):
                return slot
        names = ", ".join(str(n if k is None else k) for n, k in slots)
        raise DerivativeError(
            self.operation, f"there is no argument {w!r} to differentiate with respect to",
            expected=f"a position or a name among: {names}", got=f"wrt={w!r}",
            fix="wrt=0, wrt='name', or a tuple of these",
        )  # fmt: skip

    def _get(self, slot):
        value = self.bound.arguments[slot[0]]
        return value if slot[1] is None else value[slot[1]]

    def call(self, leaves=None):
        """f of the arguments with the chosen leaves replaced."""
        values = pytree.unflatten(self.tree, self.leaves if leaves is None else leaves)
        arguments = dict(self.bound.arguments)
        for (name, key), value in zip(self.chosen, values, strict=True):
            if key is None:
                arguments[name] = value
            elif isinstance(arguments[name], tuple):
                items = list(arguments[name])
                items[key] = value
                arguments[name] = tuple(items)
            else:
                arguments[name] = {**arguments[name], key: value}
        call = inspect.BoundArguments(self.f._python_signature, arguments)  # type: ignore
        return self.f._f(*call.args, **call.kwargs)

    def shaped(self, parts):
        """Leaves in the structure of wrt: one value, or a tuple of them."""
        whole = pytree.unflatten(self.tree, parts)
        return whole if self.many else whole[0]

    def flat(self, value, what):
        """The leaves of something in the structure of wrt."""
        leaves, tree = pytree.flatten(value if self.many else (value,))
        if isinstance(value, list) and self.many:
            leaves, tree = pytree.flatten(tuple(value))
        if tree != self.tree:
            raise ShapeError(
                self.operation, f"{what} have another structure than the arguments in wrt",
                expected=str(self.tree), got=str(tree), fix=f"one of the {what} for each of wrt",
            )  # fmt: skip
        return leaves


def any_tensor(tree) -> Tensor:
    """The first traced value in a tree."""
    for x in pytree.flatten(tree)[0]:
        if isinstance(x, Tensor):
            return x
    raise DerivativeError("derivative", "no traced value among the arguments")


def outputs_of(like, out) -> tuple[list[Value], Any]:
    """The leaves of a result as values, and its structure."""
    leaves, tree = pytree.flatten(out)
    return [lift(like, x, "result") for x in leaves], tree


def matched(operation, given, like: Value, what: str) -> Value:
    """A cotangent or tangent as a Value, checked against what it belongs to."""
    v = lift(like, given, operation)
    fits = v.ndim == like.ndim and same_shape(v.shape, like.shape)
    if not fits or v.dtype.kind == "c":
        raise ShapeError(
            operation, f"a {what} has the wrong shape",
            expected=f"shape {like.shape}, as the value it belongs to", got=f"shape {v.shape}",
            fix=f"np.broadcast_to({what}, {like.shape})",
        )  # fmt: skip
    return convert(v, like.dtype)


def or_zeros(x: Value | None, like: Value) -> Value:
    """A cotangent or tangent, zeros where there is none."""
    return zeros_like(like) if x is None else x


def tensors(values) -> list[Tensor]:
    """Values as the user sees them."""
    return [Tensor(v.builder, v.id) for v in values]
