"""log |det J| of a function of one array, by the block triangular form of its Jacobian."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from graphad.diff.jacobian_blocks import Lanes, push_within
from graphad.diff.sparsity import Dependence, Structure, block_form
from graphad.errors import DerivativeError, ShapeError
from graphad.function import Function, as_function, derived
from graphad.ops.calls import placeholder
from graphad.ops.value import Value, full, lift, reshape
from graphad.spec import is_static
from graphad.trace import pytree
from graphad.transform.derivatives import jacobian_of, unit_tangents
from graphad.transform.selection import Selection, outputs_of, tensors
from graphad.transform.shared import transform


def _analysed(f: Function, like: Value, x: Value, y: Value):
    """(structure, lanes) of dy/dx."""
    name = f"log_det({f.__name__})"
    if not (is_static(x.shape) and is_static(y.shape)) or x.size != y.size or x.size == 0:
        raise ShapeError(name, "a determinant is of a square Jacobian", where=f._where,
                         expected=f"a result of as many elements as the argument, {x.size}",
                         got=f"shape {y.shape}", fix="a map of R^d into R^d")  # fmt: skip
    found = Dependence(like.builder.nodes, like.builder.captured, x.id, y.id)
    structure = block_form(found.forward[y.id]) if y.id in found.forward else None
    if structure is None:
        raise DerivativeError(name, "the Jacobian is singular for any values", where=f._where,
                              expected="each element of the result to depend on an element of the "
                              "argument of its own", got=_missing(found, y),
                              fix="a map that can be inverted")  # fmt: skip
    lanes = Lanes(found, y.id, structure)
    if structure.kind != "dense" and not lanes.separable:
        structure = replace(structure, separable=False)
    return structure, lanes


def _missing(found: Dependence, y: Value) -> str:
    """What is wrong with a singular pattern, in words."""
    pattern = found.forward.get(y.id)
    if pattern is None:
        return "a result that depends on nothing"
    rows, columns = (np.flatnonzero(pattern.sum(axis=k) == 0) for k in (1, 0))
    if len(rows):
        return f"element {rows[0]} of the result, which depends on nothing"
    if len(columns):
        return f"element {columns[0]} of the argument, on which nothing depends"
    return "several elements of the result that depend on too few elements of the argument"


def _single(f: Function, s: Selection, out) -> tuple[Value, Any]:
    leaves, tree = outputs_of(s.like, out)
    if len(leaves) != 1 or len(s.leaves) != 1 or not leaves[0].spec.is_float:
        raise ShapeError(f"log_det({f.__name__})", "it maps one array of floats to another",
                         where=f._where, expected="one array", got=f"{len(leaves)} results",
                         fix="np.concatenate")  # fmt: skip
    return leaves[0], tree


@transform()
def value_and_log_det(f, *, static=()) -> Any:
    """g(x, *args) = (f(x, *args), log |det J|), J the Jacobian of f in its first argument.

    Diagonal and triangular Jacobians, in any order of rows and columns, are found from the graph;
    their log-det is a sum, from one forward pass where the graph allows it. Otherwise diagonal
    blocks go to `slogdet`, at worst the whole matrix.

    >>> import numpy as np
    >>> y, log_det = value_and_log_det(lambda x: np.cumsum(x) * 2.0)(np.ones(3))
    >>> bool(np.isclose(log_det, 3 * np.log(2.0)))
    True
    """

    def g(*args, **kwargs):
        s = Selection(f, 0, args, kwargs, f"log_det({f.__name__})")
        y, tree = _single(f, s, s.call())
        x = s.leaves[0]
        structure, lanes = _analysed(f, s.like, x, y)
        blocks = _blocks(structure, lanes, s.like, x, y)
        total = _log_dets(structure, *tensors([blocks]))
        return pytree.unflatten(tree, tensors([y])), total

    return g


def _blocks(structure: Structure, lanes: Lanes, like: Value, x: Value, y: Value) -> Value:
    """Row k has for each row of J its entry in column k of its block; or all of J."""
    n = structure.size
    if not structure.separable or structure.kind == "dense":
        return reshape(jacobian_of(like, [y], [x], "auto")[0][0], (n, n))
    if structure.largest == 1:
        ones = full(like, 1.0, x.shape, x.dtype)
        return reshape(push_within(like.builder, lanes, x.id, y.id, ones), (1, n))
    hole = placeholder(like, x.spec)
    out = push_within(like.builder, lanes, x.id, y.id, hole)
    seeds = np.zeros((structure.largest, n))
    for rows in structure.blocks():
        seeds[np.arange(len(rows)), np.array(structure.match)[rows]] = 1.0
    basis = lift(like, seeds.reshape(structure.largest, *x.shape).astype(x.dtype))
    found = unit_tangents(like, [out], hole, x.spec, basis)[0]
    assert found is not None
    return reshape(found, (structure.largest, n))


def _log_dets(structure: Structure, entries):
    """The sum of log |det| over the blocks, from what `_blocks` gives."""
    match, blocks = np.array(structure.match), structure.blocks()
    whole = structure.kind == "dense" or not structure.separable
    if structure.kind == "dense":
        return np.linalg.slogdet(entries)[1]
    total = None
    for size in sorted({len(b) for b in blocks}):
        rows = np.stack([b for b in blocks if len(b) == size])
        if whole:
            part = entries[rows[:, :, None], match[rows][:, None, :]]
        else:
            part = np.moveaxis(entries[:size, rows], 0, -1)
        if size == 1:
            log = np.log(np.abs(part[:, 0, 0])).sum()
        else:
            log = np.linalg.slogdet(part)[1].sum()
        total = log if total is None else total + log
    return total


def structure_of(f) -> Any:
    """g(x, *args) = the `Structure` of the Jacobian of f in its first argument; only shapes count.

    >>> import numpy as np
    >>> print(structure_of(lambda x: x[::-1] * np.exp(x[0]))(np.ones(3)))
    triangular in the order 2, 0, 1, columns permuted, a sum over the event, O(d); 1 forward pass
    """
    f = as_function(f)
    kept: list[Structure] = []

    def g(*args, **kwargs):
        s = Selection(f, 0, args, kwargs, f"structure_of({f.__name__})")
        y, _ = _single(f, s, s.call())
        kept.append(_analysed(f, s.like, s.leaves[0], y)[0])
        return y

    g.__signature__ = f._python_signature  # type: ignore[attr-defined]

    def found(*args, **kwargs) -> Structure:
        kept.clear()
        _ = derived(g, f).lower(*args, **kwargs).graph
        return kept[-1]

    return found
