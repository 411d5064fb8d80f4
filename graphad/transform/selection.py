"""Which arguments of a call a derivative is taken for, and the checks that all transforms share."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np

from graphad.call.arguments import same_shape
from graphad.errors import DerivativeError, DTypeError, ShapeError
from graphad.function import Function
from graphad.ops.calls import alias
from graphad.ops.value import Value, convert, lift, zeros_like
from graphad.trace import pytree
from graphad.trace.tensor import Tensor


class Selection:
    """The arguments of a call with those chosen by `wrt` apart, as leaves with their own names.

    Each of wrt is a position, the name of a parameter (`args` and `kwargs` as wholes, too), or a
    path into it: "p.scale", "layers.0.w".
    """

    def __init__(self, f: Function, wrt, args, kwargs, operation: str):
        self.f, self.operation = f, operation
        self.bound = f._definition.parameters.bind(args, kwargs)
        self.many = isinstance(wrt, (tuple, list))
        self.chosen = [self._find(w) for w in (wrt if self.many else (wrt,))]
        self._check_apart()
        values = tuple([self._get(*place) for place in self.chosen])
        leaves, self.tree = pytree.flatten(values, None, True)
        like = any_tensor((args, kwargs))
        self.like = like
        self.leaves: list[Any] = [alias(self._float_leaf(like, x)) for x in leaves]

    def _float_leaf(self, like, x):
        v = lift(like, x, self.operation)
        if v.dtype.kind != "f":
            names = ", ".join(".".join(place) for place in self._named())
            raise DTypeError(
                self.operation,
                f"derivatives are taken with respect to floats, not {v.dtype}",
                expected="float64 or float32",
                got=f"{v.dtype} for '{names}'",
                fix="pass a float: x.astype('float64'), or 2.0 instead of 2",
            )
        return v

    def _named(self) -> list[tuple[str, ...]]:
        """Where the chosen are, as paths."""
        kinds = self.f._python_signature.parameters
        star = inspect.Parameter.VAR_KEYWORD
        return [path if path and kinds[name].kind is star else (name, *path)
                for name, path in self.chosen]  # fmt: skip

    def _slots(self) -> list[tuple[str, tuple[str, ...]]]:
        """(parameter, path) of each argument."""
        parameters = self.f._python_signature.parameters
        slots: list[tuple[str, tuple[str, ...]]] = []
        for name, value in self.bound.arguments.items():
            kind = parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                slots += [(name, (str(i),)) for i in range(len(value))]
            elif kind is inspect.Parameter.VAR_KEYWORD:
                slots += [(name, (k,)) for k in value]
            else:
                slots.append((name, ()))
        return slots

    def _find(self, w) -> tuple[str, tuple[str, ...]]:
        """Where an argument is; one left at its default is found, too."""
        for given in (True, False):
            if not given:
                self.bound.apply_defaults()
            slots = self._slots()
            if isinstance(w, (int, np.integer)) and not isinstance(w, bool):
                if -len(slots) <= w < len(slots):
                    return slots[w]
            elif isinstance(w, str):
                found = self._by_path(tuple(re.split(r"[.\[\]'\"]+", w.rstrip("]'\""))), slots)
                if found is not None:
                    return found
        places = [".".join(path if path and not path[0].isdigit() else (n, *path))
                  for n, path in slots]  # fmt: skip
        raise DerivativeError(
            self.operation, f"there is no argument {w!r} to differentiate with respect to",
            expected=f"a position, a name among: {', '.join(places)}, or a path such as "
            f"'{places[0] if places else 'p'}.scale'", got=f"wrt={w!r}",
            fix=self._below(w) or "wrt=0, wrt='name', or a tuple of these",
        )  # fmt: skip

    def _by_path(self, path, slots):
        candidates = [(path[0], path[1:])] if path[0] in self.bound.arguments else []
        candidates += [(n, (k[0], *path[1:])) for n, k in slots if k and k[0] == path[0]]
        for name, rest in candidates:
            try:
                self._get(name, rest)
            except KeyError:
                continue
            return name, rest
        return None

    def _below(self, w) -> str:
        """What a path into an argument may go on with."""
        name = str(w).split(".")[0].split("[")[0]
        steps = pytree.steps_below(self.bound.arguments.get(name))
        return f"wrt='{name}.{steps[0]}', one of {', '.join(steps[:8])}" if steps else ""

    def _check_apart(self) -> None:
        """An error where one of wrt is part of another."""
        places = [(name, *path) for name, path in self.chosen]
        for i, a in enumerate(places):
            for j, b in enumerate(places):
                if i != j and b[: len(a)] == a:
                    raise DerivativeError(
                        self.operation, "one of wrt is part of another",
                        expected="arguments apart from one another",
                        got=f"'{'.'.join(a)}' and '{'.'.join(b)}'", fix="leave one of them out",
                    )  # fmt: skip

    def _get(self, name, path):
        return pytree.get_at(self.bound.arguments[name], path)

    def call(self, leaves=None):
        """f of the arguments with the chosen leaves replaced."""
        values = pytree.unflatten(self.tree, self.leaves if leaves is None else leaves)
        arguments = dict(self.bound.arguments)
        for (name, path), value in zip(self.chosen, values, strict=True):
            arguments[name] = pytree.put_at(arguments[name], path, value)
        call = inspect.BoundArguments(self.f._python_signature, arguments)  # type: ignore
        return self.f._f(*call.args, **call.kwargs)

    def shaped(self, parts):
        """Leaves in the structure of wrt: one value, or a tuple of them."""
        whole = pytree.unflatten(self.tree, parts)
        return whole if self.many else whole[0]

    def flat(self, value, what):
        """The leaves of something in the structure of wrt."""
        whole = value if self.many else (value,)
        leaves, tree = pytree.flatten(
            tuple(whole) if isinstance(whole, list) else whole, None, True
        )
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
