"""SymPy in: expressions become a Function."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from graphad.errors import ShapeError, TraceError
from graphad.function import Function
from graphad.ops.sympy_nodes import build
from graphad.ops.value import lift
from graphad.trace import pytree
from graphad.trace.tensor import Tensor


def from_sympy(exprs, args) -> Function:
    """A Function of sympy expressions.

    Args:
        exprs: an expression, a sympy Matrix (its result has the same shape), or a list or tuple
            of these.
        args: the arguments in order: symbols (scalars), `MatrixSymbol`s (arrays of their shape),
            sympy Matrices of symbols (arrays of their shape; vectors where one dim is 1), lists
            of symbols (vectors), or `IndexedBase`s (arrays, indexed by integers).

    >>> import sympy as sp
    >>> x, y = sp.symbols('x y')
    >>> f = from_sympy(sp.sin(x) * y, [x, y])
    >>> f(0.0, 3.0)
    np.float64(0.0)
    """
    import sympy

    arguments = list(args) if isinstance(args, (list, tuple)) else [args]

    def run(*values):
        like = next(v for v in values if isinstance(v, Tensor))
        known: dict[Any, Any] = {}
        for argument, value in zip(arguments, values, strict=True):
            bind(known, argument, lift(like, value, "from_sympy"))
        return pytree.map_leaves(lambda e: one(known, e, like), exprs)

    def one(known, e, like):
        if isinstance(e, sympy.MatrixBase):
            rows = [[one(known, e[i, j], like) for j in range(e.cols)] for i in range(e.rows)]
            return lift(like, rows if e.cols != 1 else [r[0] for r in rows], "from_sympy")
        e = sympy.sympify(e)
        missing = [
            s
            for s in e.free_symbols
            if s not in known
            and getattr(s, "base", None) not in known
            and not any(s in (a, getattr(a, "label", None)) for a in arguments)
        ]
        if missing:
            raise TraceError(
                "from_sympy", "an expression has symbols that are no arguments",
                expected=f"symbols among {arguments}", got=", ".join(map(str, missing)),
                fix="add them to args",
            )  # fmt: skip
        return Tensor(like.builder, build(e, _values(known, e, like)).id)

    names = [_name(a, k) for k, a in enumerate(arguments)]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    run.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore
    run.__name__ = "from_sympy"
    return Function(run)


def _name(argument, k) -> str:
    name = str(getattr(argument, "name", ""))
    return name if name.isidentifier() else f"a{k}"


def bind(known, argument, value):
    """Note which value each symbol of an argument has."""
    import sympy

    if isinstance(argument, (list, tuple)):
        argument = sympy.Matrix(argument)
    if isinstance(argument, sympy.MatrixSymbol):
        argument = argument.as_explicit()
    if isinstance(argument, sympy.MatrixBase):
        vector = 1 in argument.shape and value.ndim == 1
        want = (len(argument),) if vector else argument.shape
        if value.shape != want:
            raise ShapeError("from_sympy", "an argument has another shape than its symbols",
                             expected=str(want), got=str(value.shape),
                             fix="reshape it")  # fmt: skip
        for i in range(argument.rows):
            for j in range(argument.cols):
                at = (i * argument.cols + j,) if vector else (i, j)
                known[argument[i, j]] = value[at]
    else:
        known[argument] = value


def _values(known, e, like):
    """Values of the symbols, and of the indexed entries, that an expression has."""
    import sympy

    values = {k: v for k, v in known.items() if not isinstance(k, sympy.IndexedBase)}
    for entry in e.atoms(sympy.Indexed):
        values[entry] = known[entry.base][tuple(int(i) for i in entry.indices)]
    return values or {sympy.Dummy(): lift(like, np.float64(0.0))}
