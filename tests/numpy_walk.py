"""A random walk over NumPy's calls: traced and interpreted, against NumPy itself.

`python -m tests.numpy_walk --cases 100000 --seed 0` prints what differs in value, dtype, shape or
kind of exception; it ends with 1 if anything does. Calls are made of functions of the table,
operators and indexing, on arrays of every dtype that graphad has, of no, one and several elements,
and on numbers within and beyond their range. Every `--compiled`-th case is compiled, too.
"""

from __future__ import annotations

import argparse
import collections
import operator
import sys
import warnings

import numpy as np

import graphad as ga
from graphad.reference import evaluate

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"]
SHAPES = [(), (0,), (1,), (3,), (4,), (1, 3), (2, 1), (2, 3), (0, 3), (2, 0), (3, 3), (2, 3, 4)]
NUMBERS = [0, 1, -1, 2, 3, 127, 128, -129, 255, 256, 300, 2**31, 2**40, 2**63 - 1, 0.0, 1.0, -2.5,
           0.5, 1e30, True, False, np.float32(1.5), np.float64(2.5), np.int8(3), np.uint8(200),
           np.int64(-7), np.bool_(True)]  # fmt: skip
KINDS = (ZeroDivisionError, IndexError, ValueError, OverflowError, TypeError, AttributeError)

UNARY = [
    "abs",
    "absolute",
    "negative",
    "positive",
    "sign",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sqrt",
    "cbrt",
    "square",
    "reciprocal",
    "sin",
    "cos",
    "tan",
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "arccosh",
    "arctanh",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
    "logical_not",
    "invert",
    "deg2rad",
    "rad2deg",
    "degrees",
    "radians",
    "fabs",
]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "true_divide",
    "floor_divide",
    "remainder",
    "mod",
    "fmod",
    "power",
    "float_power",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "arctan2",
    "hypot",
    "logaddexp",
    "logaddexp2",
    "copysign",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "heaviside",
    "divmod",
]
REDUCTIONS = [
    "sum",
    "prod",
    "max",
    "min",
    "mean",
    "var",
    "std",
    "any",
    "all",
    "argmax",
    "argmin",
    "ptp",
    "median",
    "count_nonzero",
    "cumsum",
    "cumprod",
    "nansum",
    "nanprod",
    "nanmax",
    "nanmin",
    "nanmean",
]
OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor",
             "lshift", "rshift", "lt", "le", "gt", "ge", "eq", "ne", "matmul"]  # fmt: skip


class Walk:
    """Draws calls: (what is shown, function of arrays, arrays)."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def one(self, items):
        return items[int(self.rng.integers(len(items)))]

    def array(self, shape=None, dtype=None):
        shape = self.one(SHAPES) if shape is None else shape
        dtype = np.dtype(self.one(DTYPES) if dtype is None else dtype)
        if dtype.kind == "b":
            return np.asarray(self.rng.random(shape) < 0.5)
        if dtype.kind == "f":
            x = np.asarray(self.rng.normal(size=shape) * self.one([1.0, 30.0]))
            if self.rng.random() < 0.3 and x.size:
                x.flat[0] = self.one([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0])
            return x.astype(dtype)
        info = np.iinfo(dtype)
        if self.rng.random() < 0.8:
            return self.rng.integers(max(info.min, -5), 6, shape).astype(dtype)
        return self.rng.integers(info.min, info.max, shape, dtype, endpoint=True)

    def operand(self):
        return self.one(NUMBERS) if self.rng.random() < 0.3 else self.array()

    def axis(self, ndim, several=True):
        if self.rng.random() < 0.25:
            return None
        if several and self.rng.random() < 0.2:
            return tuple(int(a) for a in self.rng.integers(-ndim - 1, ndim + 1, 2))
        return int(self.rng.integers(-ndim - 1, ndim + 2))

    def case(self):
        return getattr(self, self.one(["unary", "binary", "binary", "operator", "reduction",
                                       "reduction", "shaped", "joined", "indexed"]))()  # fmt: skip

    def unary(self):
        name = self.one(UNARY)
        return f"np.{name}(x)", getattr(np, name), [self.array()]

    def binary(self):
        name, pair = self.one(BINARY), [self.operand(), self.operand()]
        return f"np.{name}(x, y)", *self.with_numbers(getattr(np, name), pair)

    def operator(self):
        name, pair = self.one(OPERATORS), [self.operand(), self.operand()]
        return f"operator.{name}(x, y)", *self.with_numbers(getattr(operator, name), pair)

    def with_numbers(self, f, pair):
        """Numbers as they are within the function, arrays as arguments."""
        if not any(isinstance(p, np.ndarray) for p in pair):
            pair[0] = self.array()
        arrays = [p for p in pair if isinstance(p, np.ndarray)]
        at = [isinstance(p, np.ndarray) for p in pair]

        def call(*given):
            left = iter(given)
            return f(*[next(left) if a else p for a, p in zip(at, pair, strict=True)])

        call.numbers = [p for p in pair if not isinstance(p, np.ndarray)]
        return call, arrays

    def reduction(self):
        name, x = self.one(REDUCTIONS), self.array()
        options = {}
        single = name in ("argmax", "argmin", "cumsum", "cumprod")
        if self.rng.random() < 0.8:
            options["axis"] = self.axis(x.ndim, not single)
        if self.rng.random() < 0.3 and name not in ("cumsum", "cumprod"):
            options["keepdims"] = True
        if name in ("sum", "prod", "mean", "cumsum", "cumprod") and self.rng.random() < 0.2:
            options["dtype"] = np.dtype(self.one(["f4", "f8", "i4", "i8"]))
        if name in ("var", "std") and self.rng.random() < 0.4:
            options["ddof"] = self.one([0, 1, 2, 0.5])
        f = getattr(np, name)
        return f"np.{name}(x, {options})", lambda x: f(x, **options), [x]

    def shaped(self):
        x, size = self.array(), int(self.rng.integers(-2, 4))
        axis, other = (int(a) for a in self.rng.integers(-x.ndim - 1, x.ndim + 1, 2))
        text = self.one([
            "np.reshape(x, (size, -1))", "np.reshape(x, -1)", "np.reshape(x, (3, size))",
            "np.transpose(x)", "np.swapaxes(x, axis, other)", "np.moveaxis(x, axis, other)",
            "np.expand_dims(x, axis)", "np.squeeze(x)", "np.squeeze(x, axis)", "np.flip(x)",
            "np.flip(x, axis)", "np.roll(x, size)", "np.roll(x, size, axis)", "np.ravel(x)",
            "np.repeat(x, size)", "np.repeat(x, 2, axis)", "np.tile(x, (2, 1))", "np.tile(x, 2)",
            "np.take(x, size)", "np.take(x, [0, size], axis)", "np.diff(x)", "np.diff(x, axis=axis)",
            "np.diagonal(x, size)", "np.trace(x)", "np.tril(x, size)", "np.triu(x, size)",
            "np.sort(x)", "np.sort(x, axis)", "np.argsort(x, axis, stable=True)", "np.clip(x, 0, 2)",
            "np.clip(x, -1, None)", "np.rot90(x, size)", "np.broadcast_to(x, (2, 3))",
            "np.broadcast_to(x, (4, *x.shape))", "np.atleast_2d(x)", "np.zeros_like(x)",
            "np.full_like(x, 1.5)", "np.pad(x, 1)", "np.split(x, 3)[0]", "np.delete(x, size)",
            "np.nan_to_num(x)", "np.round(x, 1)", "np.unwrap(x)", "np.gradient(x)", "np.diag(x)",
            "np.where(x, x, 1)", "np.where(x > 0, x, 1.5)", "np.append(x, size)", "np.outer(x, x)",
            "np.dot(x, x)", "np.inner(x, x)", "np.vdot(x, x)", "np.matmul(x, x)", "np.kron(x, x)",
            "np.cross(x, x)", "np.average(x, axis)", "np.quantile(x, 0.3)", "np.cov(x)",
            "np.linalg.norm(x)", "np.linalg.norm(x, axis=axis)", "x.astype('f4')", "x.T", "x.sum()",
            "np.isclose(x, 1)", "np.array_equal(x, x)", "np.convolve(x, x)", "np.vander(x, 3)",
            "np.interp(x, [0.0, 1.0, 2.0], [1.0, 3.0, 2.0])", "np.searchsorted([0, 1, 2], x)",
        ])  # fmt: skip
        code = compile(text, "<walk>", "eval")
        space = {"np": np, "size": size, "axis": axis, "other": other}
        shown = f"{text} with size={size}, axis={axis}, other={other}"
        return shown, lambda x: eval(code, space | {"x": x}), [x]

    def joined(self):
        name = self.one(["stack", "concatenate", "hstack", "vstack", "dstack", "column_stack"])
        arrays = [self.array() for _ in range(int(self.rng.integers(1, 4)))]
        if self.rng.random() < 0.6:
            arrays = [self.array(arrays[0].shape) for _ in arrays]
        f, options = getattr(np, name), {}
        if name in ("stack", "concatenate") and self.rng.random() < 0.6:
            options["axis"] = int(self.rng.integers(-3, 3))
        return f"np.{name}([...], {options})", lambda *a: f(list(a), **options), arrays

    def indexed(self):
        x, parts = self.array(), []
        for _ in range(int(self.rng.integers(1, 4))):
            parts.append(self.one([
                int(self.rng.integers(-4, 4)), slice(None), None, ..., slice(1, None),
                slice(None, None, -1), slice(-1, 0, -2), slice(5, 9), [0, -1], [[0], [1]],
                np.int8(0), np.array([], int),
            ]))  # fmt: skip
        key = parts[0] if len(parts) == 1 and self.rng.random() < 0.5 else tuple(parts)
        return f"x[{key!r}]", lambda x: x[key], [x]


def outcome(f, arrays):
    """The results as a list of arrays, or the exception."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = f(*arrays)
        except Exception as error:
            return error
        return [np.asarray(r) for r in (found if isinstance(found, (tuple, list)) else [found])]


def traced(f, compiled):
    """f traced, and interpreted or compiled."""
    g = ga.function(f)
    if compiled:
        return g
    return lambda *arrays: tuple(evaluate(g.lower(*arrays).traced, arrays))


def documented(want) -> bool:
    """Whether a difference is one that docs/operations.md states."""
    if isinstance(want, Exception):
        return False
    return any(w.dtype.char in "eFDgGO" for w in want)  # half precision, complex, objects


def difference(want, got) -> str:
    """What differs, '' if nothing does."""
    if isinstance(want, Exception) or isinstance(got, Exception):
        if not isinstance(want, Exception):
            return f"an error: {got}".split("\n")[0][:150]
        if not isinstance(got, Exception):
            return f"no error, instead of {type(want).__name__}: {want}"[:150]
        kind = next((k for k in KINDS if isinstance(want, k)), type(want))
        same = isinstance(got, kind)
        return (
            "" if same else f"{type(got).__name__} instead of {type(want).__name__}: {want}"[:150]
        )
    for w, g in zip(want, got, strict=True):
        if w.dtype != g.dtype:
            return f"dtype {g.dtype} instead of {w.dtype}"
        if w.shape != g.shape:
            return f"shape {g.shape} instead of {w.shape}"
        tolerance = {"f4": 2e-5, "f8": 1e-11}.get(w.dtype.str[1:], 0)
        scale = np.max(np.abs(w[np.isfinite(w)]), initial=0.0) if w.dtype.kind == "f" else 0
        if not np.allclose(g, w, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
            return f"value {g!r} instead of {w!r}"[:200]
    return ""


def walk(cases: int, seed: int, compiled: int = 0):
    """(call, arrays, what differs) of the cases that differ."""
    steps = Walk(seed)
    for k in range(cases):
        shown, f, arrays = steps.case()
        want = outcome(f, arrays)
        if documented(want):
            continue
        found = difference(want, outcome(traced(f, compiled and k % compiled == 0), arrays))
        if found:
            numbers = getattr(f, "numbers", [])
            yield shown, [f"{a.dtype.str[1:]}{a.shape}" for a in arrays] + numbers, found


def main() -> int:
    """Walk, and print what differs, one line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compiled", type=int, default=50)
    chosen = parser.parse_args()
    kinds = collections.Counter()
    for shown, arrays, found in walk(chosen.cases, chosen.seed, chosen.compiled):
        kinds[shown.split("(x")[0]] += 1
        if kinds[shown.split("(x")[0]] <= 3:
            print(f"{shown} of {arrays}: {found}", flush=True)
    print(f"{chosen.cases} cases, {sum(kinds.values())} differ: {dict(kinds)}")
    return int(bool(kinds))


if __name__ == "__main__":
    sys.exit(main())
