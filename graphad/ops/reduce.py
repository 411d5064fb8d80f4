"""Reductions that are not linear: max, min, prod, argmax, argmin."""

from __future__ import annotations

import numpy as np

from graphad.op import Op, register
from graphad.ops.array import back, cut, require_static, total, without
from graphad.ops.scalar import scale
from graphad.ops.value import Value, add, convert, full, reshape
from graphad.spec import Spec


def _infer(specs, params):
    return Spec(without(specs[0].shape, params["axes"]), specs[0].dtype)


def _batch(name):
    def rule(args, batched, size, params):
        return add(args[0], name, args, axes=tuple(a + 1 for a in params["axes"]))

    return rule


def _extreme_jvp(tangents, args, out, params):
    """The tangent at the extreme element; ties share it equally."""
    x, t, axes = args[0], tangents[0], params["axes"]
    hit = convert(x == back(out, x.shape, axes), x.dtype)
    count = total(hit, axes)
    return scale(total(scale(t, hit), axes), 1.0 / count)


def _prod_jvp(tangents, args, out, params):
    """Product rule over a tree of halves: exact where elements are zero, to every order."""
    x, t, axes = args[0], tangents[0], params["axes"]
    for axis in sorted(axes, reverse=True):
        x, t = _prod_tree(x, t, axis)
    return t


def _prod_tree(x: Value, t: Value, axis: int):
    require_static("the derivative of prod", (x.shape[axis],))
    if x.shape[axis] == 0:
        shape = without(x.shape, (axis,))
        return full(x, 1, shape), full(x, 0, shape)
    while x.shape[axis] > 1:
        n = x.shape[axis]
        half = n // 2

        def part(v, start, size):
            at = [0] * v.ndim
            at[axis] = start
            return cut(v, at, v.shape[:axis] + (size,) + v.shape[axis + 1 :])

        a, b = part(x, 0, half), part(x, half, half)
        ta, tb = part(t, 0, half), part(t, half, half)
        y, ty = a * b, scale(ta, b) + scale(tb, a)
        if n % 2:
            y = add(x, "concatenate", [y, part(x, n - 1, 1)], axis=axis)
            ty = add(x, "concatenate", [ty, part(t, n - 1, 1)], axis=axis)
        x, t = y, ty
    shape = without(x.shape, (axis,))
    return reshape(x, shape), reshape(t, shape)


for _name, _f in (("reduce_max", np.max), ("reduce_min", np.min), ("prod", np.prod)):
    register(
        Op(
            _name,
            "linearised",
            _infer,
            lambda arrays, params, spec, _f=_f: np.asarray(
                _f(arrays[0], axis=params["axes"]), spec.dtype
            ),
            arity=1,
            jvp=_prod_jvp if _name == "prod" else _extreme_jvp,
            batch=_batch(_name),
            lowering="reduce",
        )
    )


def _infer_arg(specs, params):
    return Spec(without(specs[0].shape, params["axes"]), np.dtype("i8"))


for _name, _f in (("argmax", np.argmax), ("argmin", np.argmin)):
    register(
        Op(
            _name,
            "opaque",
            _infer_arg,
            lambda arrays, params, spec, _f=_f: np.asarray(
                _f(arrays[0], axis=params["axes"][0]), np.int64
            ),
            arity=1,
            batch=_batch(_name),
            lowering="reduce",
        )
    )
