"""What NumPy has no name for, and `ga.random` and `ga.flows` are written with.

Operations of the table, each a compiled function of arrays and a node of the graph in traced code:

    random_bits(key, shape, dtype)       words of Philox4x32-10
    tail_log(x)                          the logarithm of 0 < x < inf, normal
    tail_quantile(x)                     the normal quantile of x <= 1/2
    invert(logits, words)                categorical draws by inversion, one for each word
    alias_table(weights)                 what `alias_draw` reads
    alias_draw(table, key, first, count) categorical draws by the alias method
    distinct(weights, key, first, count) categorical draws without replacement
    few_of_many(key, total, count)       different integers

And of a map of R^d into itself:

    structure_of(f)                      the block triangular form of its Jacobian
    value_and_log_det(f)                 f and log |det J|, by that form
"""

from __future__ import annotations

import numpy as np

from graphad.errors import DTypeError, ShapeError
from graphad.function import function
from graphad.ops.array import iota
from graphad.ops.value import Value, add, apply, broadcast_to, convert, lift, repeated
from graphad.spec import same_dim
from graphad.trace.tensor import Tensor
from graphad.transform.determinant import structure_of, value_and_log_det
from graphad.transform.selection import any_tensor

U8 = np.dtype("u8")


def _tensor(x: Value) -> Tensor:
    return Tensor(x.builder, x.id)


def checked_key(operation: str, key, *others) -> Tensor:
    """The key as a value of the trace, or the error that says how to make one."""
    key = lift(any_tensor((key, *others)), key, operation)
    if key.dtype != U8:
        raise DTypeError(operation, "this is no random key", expected="uint64 of shape (2,)",
                         got=str(key.spec), fix="key = ga.random.key(0)")  # fmt: skip
    if key.ndim != 1 or not same_dim(key.shape[0], 2):
        raise ShapeError(
            operation, "this is not one random key", expected="shape (2,)",
            got=f"shape {key.shape}", fix="for many keys: ga.vmap(lambda key: ...)(keys)",
        )  # fmt: skip
    return _tensor(key)


@function(static=("shape", "dtype"))
def random_bits(key, shape, dtype="uint64", first=0):
    """Words first, first + 1, ... of the key's stream, in C order; uint64 or uint32.

    Word i of 64 bits is half of Philox block i // 2, of 32 bits a quarter of block i // 4.
    """
    key = checked_key("ga.random", key, first)
    code = {8: "u8", 4: "u4"}[np.dtype(dtype).itemsize]
    index = iota(key, shape, None, "u8")
    start = lift(key, first, "random_bits")
    if not (type(first) is int and first == 0):
        index = index + broadcast_to(convert(start, U8), shape)
    both = [broadcast_to(key[k], shape) for k in range(2)]
    return _tensor(add(key, f"random_{code}", [*both, index]))


@function
def tail_log(x):
    """log(x) of positive, normal, finite numbers."""
    return _tensor(apply("tail_log", lift(any_tensor(x), x, "tail_log")))


@function
def tail_quantile(x):
    """The standard normal quantile of x in (0, 1/2]; in float32 to 4 parts in 10**7."""
    return _tensor(apply("tail_quantile", lift(any_tensor(x), x, "tail_quantile")))


@function
def invert(logits, words):
    """For words (..., m) and log-weights (..., K) the elements (..., m) drawn by inversion."""
    like = any_tensor((logits, words))
    x, w = lift(like, logits, "invert"), lift(like, words, "invert")
    return _tensor(add(x, "categorical", [x, w]))


@function
def alias_table(weights):
    """For weights (..., K) in float64 the thresholds and aliases (..., K, 2)."""
    w = lift(any_tensor(weights), weights, "alias_table")
    return _tensor(add(w, "alias_table", [w]))


def _with_streams(name, x: Value, key, first, rank: int, count) -> Tensor:
    """x has `rank` axes of rows, which all draw from one key: each starts behind the other."""
    key = checked_key("ga.random", key, x)
    rows = x.shape[:rank]
    start = iota(x, rows, None, "u8") if rows else lift(x, np.uint64(0))
    start = start * (count if name == "alias_draw" else 1 << 40)
    start = start + convert(lift(x, first, name), U8)
    for size in reversed(rows):
        key = repeated(key, size)
    return _tensor(add(x, name, [x, key, start], count=count))


@function(static="count")
def alias_draw(table, key, first, count):
    """For a table (..., K, 2) the elements (..., count)."""
    x = lift(any_tensor((table, key)), table, "alias_draw")
    return _with_streams("alias_draw", x, key, first, x.ndim - 2, count)


@function(static="count")
def distinct(weights, key, first, count):
    """For weights (..., K) in float64 the different elements (..., count), in order of drawing."""
    x = lift(any_tensor((weights, key)), weights, "distinct")
    return _with_streams("distinct", x, key, first, x.ndim - 1, count)


@function(static=("total", "count"))
def few_of_many(key, total, count):
    """So many different integers below `total`, in order of drawing; time and memory by `count`."""
    key = checked_key("ga.random", key)
    return _tensor(add(key, "few_of_many", [key], count=count, total=total))


__all__ = [
    "alias_draw",
    "alias_table",
    "distinct",
    "few_of_many",
    "invert",
    "random_bits",
    "structure_of",
    "tail_log",
    "tail_quantile",
    "value_and_log_det",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in globals() if n.startswith("__"))})
