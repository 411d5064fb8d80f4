"""Products of two arrays: one bilinear operation, `contract`.

`contract(x, y; left='ij', right='jk', out='ik')` is a two-operand einsum in which no label is
repeated within an operand and every label of an operand stands in the other or in the result.
matmul, dot, tensordot, inner, outer, einsum and their transposes are all this one operation, and
the transpose rule permutes the three label strings.
"""

from __future__ import annotations

import numpy as np

from graphad.errors import ShapeError
from graphad.op import Op, register
from graphad.ops.array import total
from graphad.ops.value import Value, add
from graphad.spec import Spec, same_dim


def contract(x: Value, y: Value, left: str, right: str, out: str) -> Value:
    """Sum of x[left] * y[right] over the labels that are not in `out`."""
    lone_x = [a for a, label in enumerate(left) if label not in right and label not in out]
    lone_y = [a for a, label in enumerate(right) if label not in left and label not in out]
    x, left = total(x, lone_x), "".join(c for a, c in enumerate(left) if a not in lone_x)
    y, right = total(y, lone_y), "".join(c for a, c in enumerate(right) if a not in lone_y)
    left, right, out = canonical(left, right, out)
    return add(x, "contract", [x, y], left=left, right=right, out=out)


def canonical(left, right, out):
    """The same contraction with labels named a, b, c, ... by first appearance."""
    names: dict[str, str] = {}
    for label in left + right + out:
        names.setdefault(label, chr(ord("a") + len(names)))
    return tuple("".join(names[c] for c in part) for part in (left, right, out))


def dims_of(specs, params) -> dict[str, object]:
    """The size of each label."""
    dims: dict[str, object] = {}
    for labels, spec in zip((params["left"], params["right"]), specs, strict=True):
        for label, dim in zip(labels, spec.shape, strict=True):
            if label in dims and not same_dim(dims[label], dim):
                raise ShapeError(
                    "matrix product",
                    "the sizes of a summed or shared axis differ",
                    expected=f"equal sizes, e.g. {dims[label]} and {dims[label]}",
                    got=f"shapes {specs[0].shape} and {specs[1].shape}: {dims[label]} and {dim}",
                    fix="transpose one of them, or check which axis is summed",
                )
            dims.setdefault(label, dim)
    return dims


def _infer(specs, params):
    dims = dims_of(specs, params)
    return Spec(tuple(dims[c] for c in params["out"]), specs[0].dtype)


def _reference(arrays, params, spec):
    rule = f"{params['left']},{params['right']}->{params['out']}"
    return np.asarray(np.einsum(rule, *arrays), spec.dtype)


def _transpose(ct, i, args, specs, params):
    left, right, out = params["left"], params["right"], params["out"]
    if i == 0:
        return contract(ct, args[1], out, right, left)
    return contract(ct, args[0], out, left, right)


def _batch(args, batched, size, params):
    new = chr(ord("a") + len(set(params["left"] + params["right"])))
    left = new * batched[0] + params["left"]
    right = new * batched[1] + params["right"]
    return contract(args[0], args[1], left, right, new + params["out"])


register(
    Op(
        "contract",
        "bilinear",
        _infer,
        _reference,
        arity=2,
        transpose=_transpose,
        batch=_batch,
        lowering="contract",
    )
)
