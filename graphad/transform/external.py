"""`ga.external`: functions compiled elsewhere, called from the graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.call.arguments import as_spec
from graphad.compile.functions import capsule_address
from graphad.errors import DTypeError, ShapeError, TraceError
from graphad.ops.foreign import Callee
from graphad.ops.value import Value, broadcast_to, convert, lift
from graphad.spec import Spec, broadcast_shapes
from graphad.transform.control import eager, like_of
from graphad.transform.parts import custom_derivative
from graphad.transform.selection import tensors


def external(f, derivative: Callable | None = None, result: Any = None) -> Callable:
    """A Numba function, or a `scipy.LowLevelCallable`, as part of traced code.

    Args:
        f: an `@njit` function of arrays (and numbers) that returns an array or a number; or a
            LowLevelCallable `double (double, ...)`, applied to each element.
        derivative: rule(primals, outputs, cotangents) -> gradients, a tuple with one for each
            argument, in traced code: as `custom_derivative`'s define_vjp. Without it the call
            cannot be differentiated, unless its arguments are under `ga.stop_gradient`.
        result: `ga.spec` of what f returns, or a function from the arguments' specs to it; by
            default that of the first argument.

    Calls need static shapes. An exception in f becomes a RuntimeError.

    >>> import numba
    >>> import numpy as np
    >>> import graphad as ga
    >>> @numba.njit
    ... def cube(x):
    ...     return x**3
    >>> g = ga.external(cube, derivative=lambda xs, y, ct: (3 * xs[0] ** 2 * ct,))
    >>> ga.grad(lambda x: g(x).sum())(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    callee = _callee(f)

    def call(*args):
        like = like_of(args)
        if like is None:
            return eager(lambda call, *args: call(*args), call)(*args)
        values = [lift(like, a, callee.name) for a in args]
        shape, dtype = _result(callee, values, result)
        if callee.elementwise:
            values = [broadcast_to(convert(v, "f8"), shape, callee.name) for v in values]
        builder = like.builder
        ids = [convert(v, v.dtype).id for v in values]
        node = builder.add("external", ids, None, callee=callee, shape=shape, dtype=dtype)
        return tensors([Value(builder, node)])[0]

    call.__name__ = callee.name
    if derivative is None:
        return call
    ruled = custom_derivative(call)
    ruled.define_vjp(derivative)
    return ruled


def _callee(f) -> Callee:
    if hasattr(f, "py_func"):
        return Callee(f.py_func.__name__, f, False)
    if type(f).__name__ != "LowLevelCallable":
        raise TraceError("external", f"cannot call a {type(f).__name__} from a kernel",
                         expected="an @njit function or a scipy.LowLevelCallable",
                         got=repr(f)[:60], fix="numba.njit(f)")  # fmt: skip
    signature = f.signature.replace(" ", "").replace(",void*)", ")")
    count = signature.count("double") - 1
    if signature != f"double({','.join(['double'] * count)})" or not count:
        raise TraceError("external", "this signature is not covered",
                         expected="double (double, ...)", got=f.signature,
                         fix="an @njit function")  # fmt: skip
    inner = f.function
    if type(inner).__name__ == "PyCapsule":
        pointer = capsule_address(inner)
    else:
        pointer = ctypes.cast(inner, ctypes.c_void_p).value or 0
    kind = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * count)
    name = getattr(inner, "__name__", "foreign function")
    return Callee(name, kind(pointer), True, pointer)


def _result(callee: Callee, values, result) -> tuple[tuple, np.dtype]:
    if not values:
        raise ShapeError(callee.name, "it takes arguments", expected="one or more", got="none")
    if callee.elementwise:
        return broadcast_shapes(callee.name, *[v.shape for v in values]), np.dtype("f8")
    specs = [Spec(v.shape, v.dtype) for v in values]
    made = result(*specs) if callable(result) else result
    spec = specs[0] if made is None else as_spec(made)
    if spec.dtype.kind not in "fiub":
        raise DTypeError(callee.name, "the result's dtype", expected="numbers", got=str(spec.dtype))
    return spec.shape, spec.dtype


__all__ = ["external"]
