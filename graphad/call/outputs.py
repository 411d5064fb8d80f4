"""`out=`: results written where the caller wants them."""

from __future__ import annotations

import itertools

import numpy as np

from graphad.errors import ShapeError
from graphad.pipeline import Compiled
from graphad.trace import pytree


def write_into(name: str, compiled: Compiled, tree, leaves, out):
    """Run and write the results to `out`, which has their structure; returns it."""
    given, out_tree = pytree.flatten(out)
    if out_tree != tree:
        raise ShapeError(
            f"{name}(out=)", "out has another structure than the result",
            expected=str(tree), got=str(out_tree), fix="pass one array for each result",
        )  # fmt: skip
    _check(name, given, compiled)
    leaves = [np.array(x) if isinstance(x, np.ndarray) and _meets(x, given) else x for x in leaves]
    # Nothing is written where the call may still refuse its arguments, or reads while it writes.
    captured = compiled.lowered.traced.captured
    safe = not compiled.may_refuse
    direct = [
        o if safe and o.flags.c_contiguous and o.flags.aligned and not _meets(o, captured)
        else np.empty(o.shape, o.dtype)
        for o in given
    ]  # fmt: skip
    results = compiled.call(leaves, [d for d in direct if d.ndim])
    for d, r in zip(direct, results, strict=True):
        if d.ndim == 0:
            d[...] = r
    for o, d in zip(given, direct, strict=True):
        if o is not d:
            o[...] = d
    return out


def _meets(array, others) -> bool:
    return any(np.may_share_memory(array, o) for o in others)


def _overlap(a, b) -> bool:
    """Whether two arrays have an element in common."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _check(name: str, given, compiled: Compiled) -> None:
    """An error where an array does not fit its result, or meets another one."""
    for array, spec in zip(given, compiled.outputs, strict=True):
        fits = isinstance(array, np.ndarray) and array.dtype == spec.dtype
        if not fits or array.ndim != spec.ndim or (
            all(isinstance(d, int) for d in spec.shape) and array.shape != spec.shape
        ):  # fmt: skip
            raise ShapeError(
                f"{name}(out=)", "out does not fit the result", expected=str(spec),
                got=f"{getattr(array, 'dtype', type(array).__name__)}{np.shape(array)}",
                fix=f"np.empty({spec.shape}, '{spec.dtype}')",
            )  # fmt: skip
        if not array.flags.writeable:
            raise ShapeError(
                f"{name}(out=)", "out is read-only", expected="an array that can be written to",
                got="flags.writeable = False", fix="out=np.empty_like(array)",
            )  # fmt: skip
    for (i, a), (j, b) in itertools.combinations(enumerate(given), 2):
        if _overlap(a, b):
            raise ShapeError(
                f"{name}(out=)", f"results {i} and {j} are written to the same memory",
                expected="arrays that do not overlap", got="one array, or views of one, for two",
                fix="an array of its own for each result",
            )  # fmt: skip


__all__ = ["write_into"]
