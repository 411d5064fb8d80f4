"""The errors of calls: what a status that a kernel returned means to the user."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad import status as codes
from graphad.errors import (
    NOWHERE,
    GraphIndexError,
    LinAlgError,
    ShapeError,
    WeightError,
    explain,
)
from graphad.graph import Graph
from graphad.lower.scalar_linalg import NAMES as WRITTEN_OUT

LINALG = {
    codes.SINGULAR: ("Singular matrix", "check the matrix, or np.linalg.lstsq and pinv"),
    codes.NOT_POSITIVE: (
        "Matrix is not positive definite",
        "add a small multiple of the identity",
    ),
    codes.NOT_CONVERGED: (
        "the iteration did not converge",
        "look for nan and inf in the matrix",
    ),
    codes.NOT_REAL: (
        "an eigenvalue is negative, and the result complex",
        "a matrix without eigenvalues on the negative real axis",
    ),
}
WEIGHTS = {
    codes.BAD_WEIGHT: (
        "a log-weight is nan or +inf",
        "numbers, or -inf for what is impossible",
        "look for where it comes from: np.isnan(logits).any()",
    ),
    codes.NO_WEIGHT: (
        "every log-weight is -inf: nothing is possible",
        "at least one finite log-weight in each row",
        "leave something possible, or draw only for the rows that have it",
    ),
    codes.TOO_FEW: (
        "more draws without replacement than there are non-zero weights",
        "num_samples non-zero weights in each row, or more",
        "fewer num_samples, or replace=True",
    ),
}


def _routines(graph: Graph):
    """(name, the user's line) of what may fail in a graph and in those that it holds."""
    for node in graph.nodes:
        if node.op.name in WRITTEN_OUT and node.op.name != "lu":
            yield node.op.name, node.where
        for _, value in node.params:
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Graph):
                    yield from _routines(inner)


def error_of(status: int, region, lowered, leaves) -> Exception:
    """The error of a call in which a region came to this status."""
    if status == codes.BAD_INDEX:
        return _index_error(region)
    if status == codes.NO_MEMORY:
        return MemoryError(f"graphad: no memory for a call of {lowered.name}")
    if status == codes.FOREIGN:
        return RuntimeError(explain(region.param("callee").name, "the foreign function raised",
                                    where=region.where, fix="call it by itself"))  # fmt: skip
    if status == codes.MOVED:
        return ShapeError(lowered.name, "an array that the function uses was resized since it was "
                          "traced", expected="the array as it was", got="other memory",
                          fix="pass it as an argument")  # fmt: skip
    if status in WEIGHTS:
        problem, expected, fix = WEIGHTS[status]
        where = None if lowered.ours else region.where
        return WeightError("ga.random", problem, where=where, expected=expected,
                           got="others in at least one row", fix=fix)  # fmt: skip
    if status in LINALG:
        return _linalg_error(status, region, lowered)
    return _shape_error(status, lowered, leaves)


def _linalg_error(status: int, region, lowered) -> Exception:
    """NumPy's error of a matrix that cannot be factored or solved with."""
    problem, fix = LINALG[status]
    name, where = getattr(region, "name", ""), region.where
    if where == NOWHERE or not name:  # somewhere in straight-line code
        name, where = next(_routines(lowered.graph), ("linear algebra", where))
    where = None if lowered.ours else where
    if name == "real_result":
        name = region.param("operation")
    return LinAlgError(name.removeprefix("small_"), problem, where=where, fix=fix)


def _shape_error(status: int, lowered, leaves) -> ShapeError:
    """The error of symbolic dims that do not fit this call."""
    program: Any = lowered.program
    wanted = [str(program.buffers[b].spec) for b in program.inputs]
    if status == codes.BAD_SLICE:
        problem, fix = "a slice reaches over the end of a symbolic dim", "pass longer arrays"
    else:
        problem = "sizes that the function needs to be equal differ, or a fixed one does"
        fix = "check the sizes, or call the function without signature="
    return ShapeError(
        lowered.name, problem, expected=", ".join(wanted),
        got=", ".join(str(np.shape(x)) for x in leaves), fix=fix,
    )  # fmt: skip


def _index_error(region) -> GraphIndexError:
    """The error of an index out of bounds, with the line of the region that met it."""
    wheres = [s.where for s in getattr(region, "body", ()) if s.op == "gather"]
    return GraphIndexError(
        "indexing", "an index is out of bounds", where=wheres[0] if wheres else region.where,
        expected="indices from -n to n - 1 of the axis", got="one outside",
        fix="check the index array; np.clip(i, 0, n - 1) to keep it inside",
    )  # fmt: skip
