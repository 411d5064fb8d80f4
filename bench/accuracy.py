"""`python -m bench.accuracy`: the largest errors of the elementary functions, to docs/accuracy.md.

A million points for each function and dtype: a third in the everyday range, a third across all
exponents, a third where the function is hard. What is exact: for f32 the C library in f64, for
f64 the C library in the 64-bit mantissas of x87 (a thousandth of a unit), on x86 only. Numbers
are units in the last place of the result (of the smallest subnormal where it is below).
"""

from __future__ import annotations

import datetime
import pathlib

import numpy as np

import graphad as ga
from bench import special_accuracy
from bench.peers import module

TARGET = pathlib.Path(__file__).parent.parent / "docs" / "accuracy.md"
UNARY = (
    "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "arcsin", "arccos",
    "arctan", "sinh", "cosh", "tanh", "exp2", "cbrt", "arcsinh", "arccosh", "arctanh",
)  # fmt: skip
BINARY = ("arctan2", "hypot", "power")
POSITIVE = ("log", "log2", "log10", "power")


def points(name: str, dtype: str, n: int, rng) -> np.ndarray:
    """n arguments."""
    limits = np.finfo(dtype)
    third = n // 3
    usual = rng.normal(size=third) * rng.choice([0.1, 1.0, 5.0, 50.0], third)
    wide = rng.choice([-1.0, 1.0], third) * 10.0 ** rng.uniform(
        np.log10(limits.tiny) - 5, np.log10(float(limits.max)), third
    )
    if name in ("arcsin", "arccos", "arctanh"):
        hard = 1 - 10.0 ** rng.uniform(-15, 0, n - 2 * third)
        usual, wide = rng.uniform(-1, 1, third), wide / np.maximum(1, np.abs(wide)) * 0.999
    elif name in ("log", "log2", "log10"):
        hard = 1 + rng.normal(size=n - 2 * third) * 0.3
    elif name == "log1p":
        hard = -1 + 10.0 ** rng.uniform(-7, 0.5, n - 2 * third)
    elif name in ("exp", "expm1", "sinh", "cosh"):
        hard = rng.uniform(-1, 1, n - 2 * third) * np.log(float(limits.max)) * 1.01
    else:
        hard = rng.integers(-(2**20), 2**20, n - 2 * third) * (np.pi / 4)
    x = np.concatenate([usual, wide, hard])
    if name in POSITIVE:
        x = np.abs(x)
    if name == "arccosh":
        x = 1 + np.abs(x)
    if name == "arctanh":
        x = np.where(np.abs(x) < 1, x, 0.5)
    if name == "log1p":
        x = np.where(x < -1, -x, x)
    return rng.permutation(x).astype(dtype)


def worst(got, want, dtype: str) -> float:
    """The largest error in units in the last place; inf where only one side is finite."""
    limits = np.finfo(dtype)
    with np.errstate(all="ignore"):
        near = np.abs(want).astype(dtype)
        unit = np.maximum(np.spacing(near), limits.smallest_subnormal)
        error = np.abs(got.astype(want.dtype) - want) / unit
    both_nan = np.isnan(got) & np.isnan(want)
    same = got.astype(want.dtype) == want
    beyond = (np.abs(want) > float(limits.max)) & (np.isinf(got) | (np.abs(got) == limits.max))
    error = np.where(both_nan | same | beyond, 0, error)
    return float(np.where(np.isnan(error), np.inf, error).max())


def rows(n: int = 1_000_000):
    """(function, dtype, errors of graphad, NumPy and JAX)."""
    jax = module("jax")
    rng = np.random.default_rng(0)
    for name in (*UNARY, *BINARY):
        f = getattr(np, name)
        for dtype, exact in (("f8", np.longdouble), ("f4", np.float64)):
            args = [points(name, dtype, n, rng) for _ in range(1 + (name in BINARY))]
            if name == "power":
                args[1] = (rng.normal(size=n) * rng.choice([1, 10, 100], n)).astype(dtype)
            with np.errstate(all="ignore"):
                want = f(*[a.astype(exact) for a in args])
                found = [ga.function(lambda *a, f=f: f(*a))(*args), f(*args)]
            if jax:
                found.append(np.asarray(getattr(jax.numpy, name)(*args)))
            yield name, dtype, [worst(g, want, dtype) for g in found]


def special_lines() -> list[str]:
    """The second table."""
    lines = [
        "",
        "## Special functions and their derivatives",
        "",
        "How: the docstring of `bench/special_accuracy.py`. A prime marks a derivative. Where",
        "SciPy has the error of graphad, the function is SciPy's own. What is a difference of",
        "nearly equal terms (`i0e'`, `i1e'`, `entr'`, `kl_div`, `betaln`, `beta'`), has zeros",
        "(`j0`, `j1`) or a power in it (`gammainc'`, `betainc'`) loses as many units as its terms",
        "are larger.",
        "These are the bounds that are promised.",
        "",
        "| function | dtype | graphad | SciPy | JAX |",
        "|---|---|---|---|---|",
    ]
    for name, dtype, errors in special_accuracy.rows():
        shown = ["" if e is None else f"{e:.2f}" if e < 1000 else f"{e:.0e}" for e in errors]
        lines.append(f"| {name} | {dtype} | {' | '.join(shown)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure and write."""
    lines = [
        "# Accuracy of the elementary functions",
        "",
        f"Written by `python -m bench.accuracy` on {datetime.date.today()}: the largest error in a",
        "million points, in units in the last place. How: the docstring of `bench/accuracy.py`.",
        "JAX flushes subnormals to zero and approximates some functions; `inf` marks a finite",
        "result where the exact one is not, or the reverse. Beyond 2^28 (f64) and 2^17 (f32), sin,",
        "cos and tan are the C library's.",
        "",
        "| function | dtype | graphad | NumPy | JAX |",
        "|---|---|---|---|---|",
    ]
    for name, dtype, errors in rows():
        shown = [f"{e:.2f}" if e < 1000 else f"{e:.0e}" for e in errors]
        lines.append(f"| {name} | {dtype} | {' | '.join(shown)} |")
        print(lines[-1], flush=True)
    lines += special_lines()
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
