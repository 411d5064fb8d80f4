"""Arguments of a call: their leaves as an entry takes them, their specs, their names."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from graphad.errors import DTypeError, TraceError, Where
from graphad.run.described import described
from graphad.spec import Spec, check_dtype, same_dim
from graphad.trace.tensor import Tensor


def defined_at(f) -> Where | None:
    """Where a Python function is written."""
    code = getattr(f, "__code__", None)
    return Where(code.co_filename, code.co_firstlineno) if code is not None else None


def as_spec(s) -> Spec:
    """A spec, or that of an example array."""
    return s if isinstance(s, Spec) else Spec(np.shape(s), np.asarray(s).dtype)


def static_names(signature: inspect.Signature, static) -> frozenset[str]:
    """Names of the static parameters, given by name or position."""
    names = list(signature.parameters)
    chosen = (static,) if isinstance(static, (str, int)) else tuple(static)
    found = set()
    for s in chosen:
        name = names[s] if isinstance(s, int) and s < len(names) else s
        if name not in names:
            raise TraceError(
                "ga.function(static=)", f"there is no parameter {s!r}",
                expected=f"one of {', '.join(names)}", got=repr(s), fix="name a parameter",
            )  # fmt: skip
        found.add(name)
    return frozenset(found)


def positional_names(signature: inspect.Signature, n: int) -> list[str]:
    """Names of the first n positional arguments."""
    names = []
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}{i}" for i in range(n - len(names))]
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
    return (names + [f"a{i}" for i in range(n)])[:n]


def prepare(operation: str, x, device: str = "cpu") -> tuple[Any, Spec]:
    """A leaf as the entry takes it, and its spec; on a GPU arrays may be there already."""
    cls = type(x)
    if cls is np.ndarray:
        if x.ndim == 0:
            x = x[()]
            return x, Spec((), check_dtype(x.dtype, operation))
        if not x.dtype.isnative:
            x = x.astype(x.dtype.newbyteorder("="))
        check_dtype(x.dtype, operation)
        if not x.flags.aligned:
            x = np.array(x)
        return x, Spec(x.shape, x.dtype)
    if cls is float or cls is int or cls is bool:
        return x, Spec((), np.dtype(cls), weak=True)
    if isinstance(x, np.generic):
        kind = x.dtype.newbyteorder("=").type
        return (x if cls is kind else kind(x)), Spec((), check_dtype(np.dtype(kind), operation))
    if isinstance(x, Tensor):
        return x, x.spec
    there = described(x) if device == "cuda" else None
    if there is not None:
        return there, Spec(there.shape, check_dtype(there.dtype, operation))
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        return prepare(operation, np.asarray(x).view(np.ndarray))
    if isinstance(x, (float, int)):  # of a class of the user's
        kind = float if isinstance(x, float) else int
        return kind(x), Spec((), np.dtype(kind), weak=True)
    if isinstance(x, complex):
        check_dtype("c16", operation)
    raise DTypeError(
        operation,
        f"an argument of type {cls.__name__} is neither an array nor a number",
        expected="arrays, numbers, or pytrees of them",
        got=repr(x)[:60],
        fix="name it in static=, or register its class with ga.register_pytree",
    )


def same_shape(a, b) -> bool:
    """Whether two shapes are equal, symbolic dims renamed where they must be."""
    return len(a) == len(b) and all(map(same_dim, a, b))
