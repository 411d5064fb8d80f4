"""The largest errors of special functions and their derivatives, for docs/accuracy.md.

What is exact comes from FLINT's ball arithmetic (F. Johansson, Arb: efficient arbitrary-precision
midpoint-radius interval arithmetic, IEEE Trans. Comput. 66, 2017) in 150 bits. A million points for
functions in our own arithmetic, a tenth of that for derivatives and for what is SciPy's own
function: a third in the everyday range, a third across the exponents, a third where the function is
hard. Derivatives are `ga.grad`'s, and `jax.grad`'s, with respect to the last argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special

import graphad as ga
from bench.peers import module

MANY, FEWER = 1_000_000, 100_000
BITS = 150


# -- arguments ----------------------------------------------------------------
def _spread(rng, n, low, high, signed=False):
    x = 10.0 ** rng.uniform(low, high, n)
    return x * rng.choice([-1.0, 1.0], n) if signed else x


def real(rng, n, top):
    """Any number."""
    usual = rng.normal(size=n) * rng.choice([0.1, 1.0, 5.0], n)
    return [usual, _spread(rng, n, -top, top, True), rng.uniform(-40, 40, n)]


def near(rng, n, top):
    """Numbers up to 50."""
    return [rng.normal(size=n), _spread(rng, n, -8, 1, True), rng.uniform(-50, 50, n)]


def positive(rng, n, top):
    """Positive numbers."""
    return [rng.uniform(0, 3, n), _spread(rng, n, -0.9 * top, 0.9 * top), rng.uniform(0, 60, n)]


def moderate(rng, n, top):
    """Positive numbers up to 30."""
    return [rng.uniform(0.01, 3, n), _spread(rng, n, -3, 1.4), rng.uniform(1, 30, n)]


def part(rng, n, top):
    """Numbers between 0 and 1."""
    return [rng.uniform(0, 1, n), _spread(rng, n, -0.9 * top, -1), 1 - _spread(rng, n, -6, -1)]


def signed_part(rng, n, top):
    """Numbers between -1 and 1."""
    return [rng.uniform(-1, 1, n), _spread(rng, n, -0.9 * top, -1, True),
            (1 - _spread(rng, n, -6, -1)) * rng.choice([-1.0, 1.0], n)]  # fmt: skip


def twice_part(rng, n, top):
    """Numbers between 0 and 2."""
    return [rng.uniform(0, 2, n), _spread(rng, n, -0.9 * top, -1), 2 - _spread(rng, n, -6, -1)]


# -- what is exact ------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """A function: exact values and derivatives of balls, and where its arguments lie."""

    name: str
    value: Callable[..., Any]
    slope: Callable[..., Any] | None
    kinds: tuple[Callable, ...]
    own: bool = True  # in our own arithmetic


def cases() -> list[Case]:
    """Every function."""
    from flint import arb

    def sqrt_pi():
        return arb.pi().sqrt()

    def expit(x):
        small = (-abs(x)).exp()
        return (small if x < 0 else 1) / (1 + small)

    def pdf(x):
        return (-x * x / 2).exp() / (2 * arb.pi()).sqrt()

    def ndtr(x):
        return (-x / arb(2).sqrt()).erfc() / 2

    def ndtri(p):
        return -arb(2).sqrt() * (2 * p).erfcinv()

    def softplus(x):
        return x.exp().log1p() if x < 0 else x + (-x).exp().log1p()

    def i(n, x):
        return x.bessel_i(arb(n))

    def j(n, x):
        return x.bessel_j(arb(n))

    def betaln(a, b):
        return a.lgamma() + b.lgamma() - (a + b).lgamma()

    def logit(p):
        return (p / (1 - p)).log()

    def xlogy(x, y):
        return x * y.log()

    def sign(x):
        return 1 if x > 0 else -1

    e = arb.exp
    return [
        Case("expit", expit, lambda x: e(-abs(x)) / (1 + e(-abs(x))) ** 2, (real,)),
        Case("logit", logit, lambda p: 1 / (p * (1 - p)), (part,)),
        Case("log_expit", lambda x: -softplus(-x), lambda x: expit(-x), (real,)),
        Case("softplus", softplus, expit, (real,)),
        Case("erf", arb.erf, lambda x: 2 * e(-x * x) / sqrt_pi(), (real,)),
        Case("erfc", arb.erfc, lambda x: -2 * e(-x * x) / sqrt_pi(), (real,)),
        Case("erfinv", arb.erfinv, lambda p: sqrt_pi() * e(p.erfinv() ** 2) / 2, (signed_part,)),
        Case("erfcinv", arb.erfcinv, lambda p: -sqrt_pi() * e(p.erfcinv() ** 2) / 2,
             (twice_part,), False),
        Case("ndtr", ndtr, pdf, (real,)),
        Case("ndtri", ndtri, lambda p: 1 / pdf(ndtri(p)), (part,)),
        Case("log_ndtr", lambda x: ndtr(x).log() if x < 5 else (-ndtr(-x)).log1p(),
             lambda x: pdf(x) / ndtr(x), (near,)),
        Case("gamma", arb.gamma, lambda x: x.gamma() * x.digamma(), (moderate,), False),
        Case("gammaln", arb.lgamma, arb.digamma, (positive,)),
        Case("digamma", arb.digamma, lambda x: arb(2).zeta(x), (positive,)),
        Case("i0", lambda x: i(0, x), lambda x: i(1, x), (near,), False),
        Case("i1", lambda x: i(1, x), lambda x: i(0, x) - i(1, x) / x, (near,), False),
        Case("i0e", lambda x: i(0, x) * e(-abs(x)),
             lambda x: (i(1, x) - sign(x) * i(0, x)) * e(-abs(x)), (near,)),
        Case("i1e", lambda x: i(1, x) * e(-abs(x)),
             lambda x: (i(0, x) - i(1, x) / x - sign(x) * i(1, x)) * e(-abs(x)), (near,)),
        Case("j0", lambda x: j(0, x), lambda x: -j(1, x), (near,), False),
        Case("j1", lambda x: j(1, x), lambda x: j(0, x) - j(1, x) / x, (near,), False),
        Case("entr", lambda x: -x * x.log(), lambda x: -x.log() - 1, (positive,)),
        Case("xlogy", xlogy, lambda x, y: x / y, (near, positive)),
        Case("xlog1py", lambda x, y: x * y.log1p(), lambda x, y: x / (1 + y), (near, positive)),
        Case("rel_entr", lambda x, y: x * (x / y).log(), lambda x, y: -x / y,
             (moderate, moderate)),
        Case("kl_div", lambda x, y: x * (x / y).log() - x + y, lambda x, y: 1 - x / y,
             (moderate, moderate)),
        Case("betaln", betaln, lambda a, b: b.digamma() - (a + b).digamma(),
             (moderate, moderate)),
        Case("beta", lambda a, b: betaln(a, b).exp(),
             lambda a, b: betaln(a, b).exp() * (b.digamma() - (a + b).digamma()),
             (moderate, moderate), False),
        Case("gammainc", lambda a, x: x.gamma_lower(a, regularized=1),
             lambda a, x: ((a - 1) * x.log() - x - a.lgamma()).exp(), (moderate, moderate), False),
        Case("gammaincc", lambda a, x: x.gamma_upper(a, regularized=1),
             lambda a, x: -((a - 1) * x.log() - x - a.lgamma()).exp(), (moderate, moderate),
             False),
        Case("betainc", lambda a, b, x: x.beta_lower(a, b, regularized=1),
             lambda a, b, x: ((a - 1) * x.log() + (b - 1) * (1 - x).log() - betaln(a, b)).exp(),
             (moderate, moderate, part), False),
        Case("zeta", lambda s, q: s.zeta(q), None,
             (lambda rng, n, top: [rng.uniform(1.1, 20, n)] * 3, moderate), False),
    ]  # fmt: skip


# -- errors -------------------------------------------------------------------
def doubled(f, args) -> tuple[np.ndarray, np.ndarray]:
    """Exact values as sums of two doubles."""
    from flint import arb, ctx

    ctx.prec = BITS
    high, low = np.empty(len(args[0])), np.empty(len(args[0]))
    for k, xs in enumerate(zip(*[a.tolist() for a in args], strict=True)):
        want = f(*map(arb, xs))
        high[k] = float(want)
        low[k] = float(want - arb(high[k])) if np.isfinite(high[k]) else 0.0
    return high, low


def worst(got, high, low, dtype: str) -> float:
    """The largest error in units in the last place of the result."""
    limits = np.finfo(dtype)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(high).astype(dtype)).astype("f8")
        unit = np.maximum(unit, float(limits.smallest_subnormal))
        error = np.abs((np.asarray(got, "f8") - high) - low) / unit
    beyond = (np.abs(high) > float(limits.max)) & ~np.isfinite(got)
    error = np.where(beyond | (np.isnan(got) & np.isnan(high)), 0, error)
    return float(np.where(np.isnan(error), np.inf, error).max())


def _arguments(case: Case, dtype: str, n: int, rng) -> list[np.ndarray]:
    top = -np.log10(float(np.finfo(dtype).tiny))
    columns = []
    for kind in case.kinds:
        x = np.concatenate(kind(rng, n // 3, top)).astype(dtype)
        columns.append(rng.permutation(x) if len(case.kinds) > 1 else x)
    return columns


def _slope(f, count: int):
    return ga.grad(lambda *a: f(*a).sum(), wrt=count - 1)


def rows() -> Iterator[tuple[str, str, list[float | None]]]:
    """(function, dtype, errors of graphad, SciPy and JAX)."""
    jax: Any = module("jax")
    rng = np.random.default_rng(0)
    for case in cases():
        ours = getattr(ga.special, case.name)
        theirs = getattr(scipy.special, case.name, None)
        other = jax and getattr(jax.scipy.special, case.name, None)
        for dtype in ("f8", "f4"):
            args = _arguments(case, dtype, MANY if case.own else FEWER, rng)
            high, low = doubled(case.value, args)
            found = [ga.function(lambda *a, f=ours: f(*a))(*args)]
            found += [f and np.asarray(f(*args)) for f in (theirs, other)]
            yield case.name, dtype, [None if g is None else worst(g, high, low, dtype)
                                     for g in found]  # fmt: skip
            if case.slope is None:
                continue
            args = [a[: FEWER // 3] for a in np.split(np.array(args), 3, axis=1)]
            args = list(np.concatenate(args, axis=1))
            high, low = doubled(case.slope, args)
            found = [_slope(ours, len(args))(*args), None]
            found.append(other and np.asarray(
                jax.vmap(jax.grad(other, argnums=len(args) - 1))(*args)))  # fmt: skip
            yield f"{case.name}'", dtype, [None if g is None else worst(g, high, low, dtype)
                                           for g in found]  # fmt: skip
