"""Foreign code in a graph: a compiled function of arrays, opaque to derivatives.

`callee` says how to call it from Python (the reference), and what to compile: see
njit/foreign_kernels.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.errors import DerivativeError
from graphad.op import Op, register
from graphad.ops.iterate import one_by_one
from graphad.spec import Spec


@dataclass(frozen=True, eq=False)
class Callee:
    """A foreign function. `elementwise`: of numbers, applied to each element; `function`: what
    Python calls; `pointer`: its address, for a C function of f64 numbers."""

    name: str
    function: Any
    elementwise: bool
    pointer: int = 0

    def __repr__(self):
        return repr(self.name)


def _reference(arrays, params, spec):
    callee = params["callee"]
    if callee.elementwise:
        grid = np.broadcast(*arrays)
        values = [callee.function(*map(float, point)) for point in grid]
        return np.asarray(values, spec.dtype).reshape(spec.shape)
    return np.asarray(callee.function(*[np.array(a, order="C")[()] for a in arrays]), spec.dtype)


def _batch(args, batched, size, params):
    return one_by_one("external", args, batched, size, params)[0]


def _no_derivative(tangents, args, out, params):
    name = params["callee"].name
    raise DerivativeError(
        f"external({name})", "this function has no derivative", expected="derivative=rule",
        got="a derivative in one of its arguments",
        fix=f"ga.external({name}, derivative=rule), or pass ga.stop_gradient(x) for a constant",
    )  # fmt: skip


register(
    Op("external", "linearised", lambda specs, params: Spec(params["shape"], params["dtype"]),
       _reference, jvp=_no_derivative, batch=_batch, lowering="routine",
       cost=1000)
)  # fmt: skip
