"""Special functions, elementwise: those of scipy.special with derivatives.

The error function, the logistic function and their kin are arithmetic of our own, which
vectorises; the rest are SciPy's own scalar functions, called from the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import DerivativeError
from graphad.op import TABLE
from graphad.ops.scalar import elementwise, scale, sym
from graphad.ops.value import Value, add, apply, broadcast_to, lift, select
from graphad.spec import broadcast_shapes

ROOT_PI = math.sqrt(math.pi)
ROOT_TWO = math.sqrt(2.0)
ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


def _scipy(name: str) -> Callable[..., Any]:
    """SciPy's ufunc of this name, imported when first called."""

    def call(*args):
        import scipy.special

        return getattr(scipy.special, name)(*args)

    call.__name__ = name
    return call


def special(name, arity, body=None, **more):
    """Declare a special function; without a body it is SciPy's."""
    called = ", ".join(f"f8({{{k}}})" for k in range(arity))
    op = elementwise(
        name, None, body or f"{{cast}}(special_{name}({called}))", arity=arity,
        reference=more.pop("reference", _scipy(name)), takes="float",
        **{"cost": 200 if body is None else 30, **more},
    )  # fmt: skip
    TABLE.scipy[name] = lambda *xs, _name=name: apply(_name, *xs)
    return op


def _numerically(f: str, which: int) -> Callable[..., Any]:
    """The derivative of SciPy's function by an argument, by Richardson's extrapolation of central
    differences: the slow, obvious reference, good to about eight digits."""

    def call(*args):
        def slope(h):
            moved = [list(args), list(args)]
            moved[0][which], moved[1][which] = args[which] * (1 + h), args[which] * (1 - h)
            return (_scipy(f)(*moved[0]) - _scipy(f)(*moved[1])) / (2 * h * args[which])

        return (4.0 * slope(5e-4) - slope(1e-3)) / 3.0

    return call


def without(function: str, argument: str, twice: bool = False):
    """A partial that there is none of, or none of its own: an error where it is asked for."""
    fix = f"ga.stop_gradient({argument})"
    if twice:
        fix = "differences of the first: (g(a + h) - g(a - h)) / (2 * h) with g = ga.grad(f)"

    def raise_error():
        raise DerivativeError(
            function,
            f"there is no {'second ' * twice}derivative with respect to {argument}",
            expected="a derivative with respect to the other arguments",
            got=f"wrt {argument}{', twice' * twice}", fix=fix,
        )  # fmt: skip

    return raise_error


def polynomial(x, coefficients):
    """By Horner's rule, lowest first."""
    *others, out = coefficients
    for c in reversed(others):
        out = out * x + c
    return out


def _exp(x):
    return apply("exp", x)


def _log(x):
    return apply("log", x)


# -- the error function ----------------------------------------------------------------------------
def _wide(f):
    """A reference in longer numbers."""

    def call(x):
        long = np.longdouble if np.dtype(x.dtype).itemsize == 8 else np.float64
        with np.errstate(all="ignore"):
            return np.asarray(f(x.astype(long)), x.dtype)[()]

    return call


# Of the squares in these nothing is lost, which for a large x would be hundreds of units.
special("exp_minus_square", 1, "exp_minus_square_{code}({0})",
        reference=_wide(lambda x: np.exp(-x * x)), meaning=lambda x: sym("exp")(-x * x),
        partials=lambda x, out: (scale(-2.0 * x, out),))  # fmt: skip
special("exp_minus_half_square", 1, "exp_minus_half_square_{code}({0})",
        reference=_wide(lambda x: np.exp(-0.5 * x * x)), meaning=lambda x: sym("exp")(-x * x / 2),
        partials=lambda x, out: (scale(-x, out),))  # fmt: skip
special("erf", 1, "erf_{code}({0})", meaning=sym("erf"),
        partials=lambda x, out: (apply("exp_minus_square", x) * (2.0 / ROOT_PI),))  # fmt: skip
special("erfc", 1, "erfc_{code}({0})", meaning=sym("erfc"),
        partials=lambda x, out: (apply("exp_minus_square", x) * (-2.0 / ROOT_PI),))  # fmt: skip


def mills_ratio(x):
    """By SciPy's scaled function."""
    return math.sqrt(0.5 * math.pi) * _scipy("erfcx")(x * math.sqrt(0.5))


# 1 over the normal density at a quantile beyond which there is this much: Mills' ratio over that,
# which hardly feels the quantile's rounding. A power of e would, by the square. That it is a
# function of the quantile alone is what its derivative is of.
elementwise(
    "quantile_slope", None,
    "({cast}(np.inf) if {0} == {zero} else mills_ratio_{code}(abs({1})) / {0})",
    arity=2, takes="float", cost=30, domain=((0.1, 0.5), (-3, 3)),
    reference=lambda tail, quantile: np.where(
        tail == 0, np.inf, mills_ratio(abs(quantile)) / tail).astype(tail.dtype),
    meaning=lambda tail, quantile: sym("sqrt")(2 * sym("acos")(-1)) * sym("exp")(quantile**2 / 2),
    partials=lambda tail, quantile, out: (None, quantile * out),
)  # fmt: skip


def _slope_of_quantile(tail, quantile):
    return apply("quantile_slope", tail, quantile)


special("erfinv", 1, "erfinv_{code}({0})", units=(6.0, 6.0),
        meaning=sym("erfinv"), domain=((-0.9, 0.9),),
        partials=lambda x, out: (
            _slope_of_quantile(1.0 - apply("abs", x), ROOT_TWO * out) / ROOT_TWO,))  # fmt: skip
special("erfcinv", 1, meaning=lambda p: sym("erfinv")(1 - p), domain=((0.1, 1.9),),
        partials=lambda x, out: (
            _slope_of_quantile(select(x < 1.0, x, 2.0 - x), ROOT_TWO * out) / -ROOT_TWO,
        ))  # fmt: skip


def _mills_reference(x):
    """By SciPy's scaled function."""
    with np.errstate(all="ignore"):
        return math.sqrt(2 / math.pi) / _scipy("erfcx")(-x * math.sqrt(0.5))


special("ndtr", 1, "ndtr_{code}({0})",
        meaning=lambda x: (1 + sym("erf")(x / sym("sqrt")(2))) / 2,
        partials=lambda x, out: (apply("exp_minus_half_square", x) / ROOT_TWO_PI,))  # fmt: skip
special("ndtri", 1, "ndtri_{code}({0})", units=(6.0, 6.0),
        meaning=lambda p: sym("sqrt")(2) * sym("erfinv")(2 * p - 1),
        partials=lambda p, out: (_slope_of_quantile(select(p < 0.5, p, 1.0 - p), out),),
        domain=((0.1, 0.9),))  # fmt: skip
# -x times (x + the inverse of Mills' ratio at -x), for x far on the left: the continued fraction of
# Mills' ratio (NIST DLMF 7.9.3), sixteen terms as one quotient in 1 / x**2; lowest first.
_EXCESS = (
    (1.0, 133.0, 6747.0, 166155.0, 2089395.0, 12873735.0, 33453945.0, 24137505.0),
    (1.0, 135.0, 7007.0, 178893.0, 2386395.0, 16288965.0, 51450525.0, 58437855.0, 10321920.0),
)


def _inverse_mills_slope(x, out):
    """-out (x + out), by a quotient where x + out is a small difference."""
    u = 1.0 / (x * x)
    excess = polynomial(u, _EXCESS[0]) / polynomial(u, _EXCESS[1])
    return select(x < -8.0, -excess * (1.0 + excess * u), -scale(out, x + out))


special("log_ndtr", 1, "log_ndtr_{code}({0})", units=(6.0, 6.0),
        meaning=lambda x: sym("log")((1 + sym("erf")(x / sym("sqrt")(2))) / 2),
        partials=lambda x, out: (apply("inverse_mills", x),))  # fmt: skip
special("inverse_mills", 1, "inverse_mills_{code}({0})", units=(5.0, 5.0),
        reference=_mills_reference,
        meaning=lambda x: (sym("exp")(-x * x / 2) * sym("sqrt")(2 / sym("acos")(-1))
                           / (1 + sym("erf")(x / sym("sqrt")(2)))),
        partials=lambda x, out: (_inverse_mills_slope(x, out),))  # fmt: skip


# -- the logistic function and its kin -------------------------------------------------------------
special("logistic_density", 1, "logistic_density_{code}({0})",
        reference=lambda x: np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2,
        meaning=lambda x: sym("exp")(-x) / (1 + sym("exp")(-x)) ** 2,
        partials=lambda x, out: (-apply("tanh", 0.5 * x) * out,))  # fmt: skip
special("expit", 1, "expit_{code}({0})", meaning=lambda x: 1 / (1 + sym("exp")(-x)),
        partials=lambda x, out: (apply("logistic_density", x),))  # fmt: skip
special("softplus", 1, "softplus_{code}({0})", reference=lambda x: np.logaddexp(x, x.dtype.type(0)),
        meaning=lambda x: sym("log")(1 + sym("exp")(x)),
        partials=lambda x, out: (apply("expit", x),))  # fmt: skip
special("log_expit", 1, "(-softplus_{code}(-{0}))",
        meaning=lambda x: -sym("log")(1 + sym("exp")(-x)),
        partials=lambda x, out: (apply("expit", -x),))  # fmt: skip
special("logit_slope", 1, "({one} / ({0} * ({one} - {0})))", domain=((0.05, 0.95),),
        reference=lambda p: 1 / (p * (1 - p)), meaning=lambda p: 1 / (p * (1 - p)),
        partials=lambda p, out: (scale(out * out, 2.0 * p - 1.0),))  # fmt: skip
special("logit", 1, "logit_{code}({0})", domain=((0.05, 0.95),),
        meaning=lambda p: sym("log")(p / (1 - p)),
        partials=lambda p, out: (apply("logit_slope", p),))  # fmt: skip


# -- the gamma function ----------------------------------------------------------------------------
def _gammaln_reference(x):
    """SciPy's, which is infinite for subnormal numbers too."""
    tiny = (x != 0) & (abs(x) < np.finfo(x.dtype).smallest_normal)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(tiny, -np.log(abs(x)), _scipy("gammaln")(x))[()]


special("gamma", 1, meaning=sym("gamma"), domain=((0.3, 5.0),),
        partials=lambda x, out: (out * apply("digamma", x),))  # fmt: skip
special("gammaln", 1, "gammaln_{code}({0})", units=(6.0, 0.6),
        meaning=sym("loggamma"), domain=((0.3, 9.0),),
        reference=_gammaln_reference,
        partials=lambda x, out: (apply("digamma", x),))  # fmt: skip


def _trigamma(x):
    """The derivative of digamma; on the left by reflection (NIST DLMF 5.15.6)."""
    safe = select(x > 0.0, x, 1.0 - x)
    value = apply("trigamma", safe)
    r = math.pi / apply("sin", x * math.pi)
    left = r * r - value
    return select(x > 0.0, value, left)


special("trigamma", 1, "trigamma_{code}({0})", units=(3.5, 3.5), domain=((0.3, 9.0),),
        meaning=lambda x: sym("polygamma", 1)(x),
        reference=lambda x: _scipy("polygamma")(1, x).astype(x.dtype),
        partials=lambda x, out: (-2.0 * apply("zeta", 3.0, x),))  # fmt: skip
special("digamma", 1, "digamma_{code}({0})", units=(4.0, 0.6),
        meaning=sym("digamma"), domain=((0.3, 9.0),),
        partials=lambda x, out: (_trigamma(x),))  # fmt: skip
TABLE.scipy["psi"] = TABLE.scipy["digamma"]
special("zeta", 2, domain=((1.5, 6.0), (0.4, 5.0)),
        partials=lambda s, q, out: (without("zeta", "its exponent"),
                                    -s * apply("zeta", s + 1.0, q)))  # fmt: skip


def _beta_slope(p, q):
    return apply("digamma", p + q) - apply("digamma", p)


TABLE.scipy["_zeta"] = TABLE.scipy["zeta"]
special("beta", 2, meaning=lambda a, b: sym("gamma")(a) * sym("gamma")(b)
        / sym("gamma")(a + b), domain=((0.3, 4.0),),
        partials=lambda a, b, out: (
            -out * _beta_slope(a, b), -out * _beta_slope(b, a)))  # fmt: skip
special("betaln", 2, "betaln_{code}({0}, {1})", units=(10.0, 0.6),
        meaning=lambda a, b: sym("loggamma")(a) + sym("loggamma")(b)
        - sym("loggamma")(a + b), domain=((0.3, 4.0),),
        partials=lambda a, b, out: (-_beta_slope(a, b), -_beta_slope(b, a)))  # fmt: skip


TINY = 1e-8  # below, powers of the argument are differentiated as such

# x**(a - 1 - k) exp(-x) / gamma(a), a power 0 of x being 1: for k = 0 the density, for more what
# its derivatives are made of.
elementwise(
    "gamma_power", None,
    "exp_{code}((({zero} if {1} - {one} == {0} else ({1} - {one} - {0}) * log_{code}({2})) - {2})"
    " - gammaln_{code}({1}))",
    arity=3, takes="float", cost=60, domain=((0, 2), (0.3, 4), (0.2, 6)),
    reference=lambda k, a, x: np.exp(
        _scipy("xlogy")(a - 1 - k, x) - x - _scipy("gammaln")(a)).astype(x.dtype),
    meaning=lambda k, a, x: x ** (a - 1 - k) * sym("exp")(-x) / sym("gamma")(a),
    partials=lambda k, a, x, out: (
        None, scale(out, _log(x) - apply("digamma", a)), _gamma_power_slope(k, a, x, out)),
)  # fmt: skip


def _gamma_power_slope(k, a, x, out):
    power = a - 1.0 - k
    edge = scale(power, apply("gamma_power", k + 1.0, a, x)) - out
    return select(x < TINY, edge, scale(out, power / x - 1.0))


def _gamma_density(a, x):
    return apply("gamma_power", 0.0, a, x)


special("gammainc", 2, domain=((0.3, 4.0), (0.2, 6.0)),
        partials=lambda a, x, out: (apply("gammainc_da", a, x), _gamma_density(a, x)))  # fmt: skip
special("gammaincc", 2, domain=((0.3, 4.0), (0.2, 6.0)),
        partials=lambda a, x, out: (
            -apply("gammainc_da", a, x), -_gamma_density(a, x)))  # fmt: skip
special("gammainc_da", 2, reference=_numerically("gammainc", 0), domain=((0.3, 4.0), (0.2, 6.0)),
        partials=lambda a, x, out: (
            without("gammainc", "the shape", twice=True),
            scale(_gamma_density(a, x), _log(x) - apply("digamma", a))))  # fmt: skip


# x**(a - 1 - j) (1 - x)**(b - 1 - k) / beta(a, b), likewise.
elementwise(
    "beta_power", None,
    "exp_{code}(({zero} if {2} - {one} == {0} else ({2} - {one} - {0}) * log_{code}({4}))"
    " + ({zero} if {3} - {one} == {1} else ({3} - {one} - {1}) * log1p_{code}(-{4}))"
    " - betaln_{code}({2}, {3}))",
    arity=5, takes="float", cost=80,
    domain=((0, 2), (0, 2), (0.3, 4), (0.3, 4), (0.05, 0.95)),
    reference=lambda j, k, a, b, x: np.exp(
        _scipy("xlogy")(a - 1 - j, x) + _scipy("xlog1py")(b - 1 - k, -x)
        - _scipy("betaln")(a, b)).astype(x.dtype),
    meaning=lambda j, k, a, b, x: x ** (a - 1 - j) * (1 - x) ** (b - 1 - k)
    * sym("gamma")(a + b) / (sym("gamma")(a) * sym("gamma")(b)),
    partials=lambda j, k, a, b, x, out: (
        None, None, scale(out, _log(x) + _beta_slope(a, b)),
        scale(out, apply("log1p", -x) + _beta_slope(b, a)), _beta_power_slope(j, k, a, b, x, out)),
)  # fmt: skip


def _beta_power_slope(j, k, a, b, x, out):
    p, q = a - 1.0 - j, b - 1.0 - k
    edge = scale(p, apply("beta_power", j + 1.0, k, a, b, x)) - scale(
        q, apply("beta_power", j, k + 1.0, a, b, x))  # fmt: skip
    inside = apply("logical_and", x >= TINY, 1.0 - x >= TINY)
    inside = apply("logical_or", inside, out == np.inf)  # one of the terms below is larger
    return select(inside, scale(out, p / x - q / (1.0 - x)), edge)


def _beta_density(a, b, x):
    return apply("beta_power", 0.0, 0.0, a, b, x)


_SECOND = without("betainc", "a shape", twice=True)
special("betainc", 3, domain=((0.3, 4.0), (0.3, 4.0), (0.05, 0.95)),
        partials=lambda a, b, x, out: (apply("betainc_da", a, b, x), apply("betainc_db", a, b, x),
                                       _beta_density(a, b, x)))  # fmt: skip
special("betainc_da", 3, reference=_numerically("betainc", 0),
        partials=lambda a, b, x, out: (
            _SECOND, _SECOND,
            scale(_beta_density(a, b, x), _log(x) + _beta_slope(a, b))))  # fmt: skip
special("betainc_db", 3, reference=_numerically("betainc", 1),
        partials=lambda a, b, x, out: (
            _SECOND, _SECOND,
            scale(_beta_density(a, b, x), apply("log1p", -x) + _beta_slope(b, a))))  # fmt: skip

# -- entropies -------------------------------------------------------------------------------------
special("xlogy", 2, "({zero} if (({0} == {zero}) & ({1} == {1})) else {0} * log_{code}({1}))",
        meaning=lambda x, y: x * sym("log")(y), domain=((0.1, 3.0), (0.1, 3.0)),
        partials=lambda x, y, out: (_log(y), apply("ratio", x, y)))  # fmt: skip
special("xlog1py", 2, "({zero} if (({0} == {zero}) & ({1} == {1})) else {0} * log1p_{code}({1}))",
        meaning=lambda x, y: x * sym("log")(1 + y), domain=((0.1, 3.0), (-0.8, 3.0)),
        partials=lambda x, y, out: (apply("log1p", y), apply("ratio", x, 1.0 + y)))  # fmt: skip
special("entr", 1, "(-{0} * log_{code}({0}) if {0} > {zero} else "
        "({zero} if {0} == {zero} else ({0} if {0} != {0} else {cast}(-np.inf))))",
        meaning=lambda x: -x * sym("log")(x), domain=((0.1, 3.0),),
        partials=lambda x, out: (-_log(x) - 1.0,))  # fmt: skip


def _log_ratio_reference(x, y):
    long = np.longdouble if x.dtype.itemsize == 8 else np.float64
    return (np.log(x.astype(long)) - np.log(y.astype(long))).astype(x.dtype)[()]


_DIVERGENCE = (
    "(({0} * log_ratio_{code}({0}, {1}){rest}) if (({0} > {zero}) & ({1} > {zero})) else "
    "({at_zero} if (({0} == {zero}) & ({1} >= {zero})) else "
    "({0} + {1} if ({0} != {0}) | ({1} != {1}) else {cast}(np.inf))))"
)
special("log_ratio", 2, "log_ratio_{code}({0}, {1})", reference=_log_ratio_reference,
        meaning=lambda x, y: sym("log")(x / y), domain=((0.1, 3.0), (0.1, 3.0)),
        partials=lambda x, y, out: (1.0 / x, -1.0 / y))  # fmt: skip
special("rel_entr", 2, _DIVERGENCE.replace("{rest}", "").replace("{at_zero}", "{zero}"),
        meaning=lambda x, y: x * sym("log")(x / y), domain=((0.1, 3.0), (0.1, 3.0)),
        partials=lambda x, y, out: (
            apply("log_ratio", x, y) + 1.0, -apply("ratio", x, y)))  # fmt: skip
special("kl_div", 2, _DIVERGENCE.replace("{rest}", " + ({1} - {0})").replace("{at_zero}", "{1}"),
        meaning=lambda x, y: x * sym("log")(x / y) - x + y, domain=((0.1, 3.0), (0.1, 3.0)),
        partials=lambda x, y, out: (
            apply("log_ratio", x, y), 1.0 - apply("ratio", x, y)))  # fmt: skip


# -- composites ------------------------------------------------------------------------------------
def polygamma(n: int, x: Value) -> Value:
    """The n-th derivative of digamma: (-1)^(n+1) n! zeta(n + 1, x)."""
    if n == 0:
        return apply("digamma", x)
    if n == 1:
        return _trigamma(x)
    return apply("zeta", float(n + 1), x) * ((-1.0) ** (n + 1) * math.factorial(n))


def _largest(x: Value, axis) -> Value:
    from graphad.ops.numpy_math import amax

    top = amax(x, axis=axis, keepdims=True)
    top = select(apply("isfinite", top), top, 0.0)
    return add(x, "stop_gradient", [top])


def logsumexp(x: Value, axis=None, b=None, keepdims=False) -> Value:
    """log(sum(b exp(x))), shifted by the largest x that has a weight."""
    from graphad.ops.numpy_math import sum_
    from graphad.ops.numpy_shape import squeeze

    if b is None:
        top = _largest(x, axis)
        terms = _exp(x - top)
    else:
        weights = lift(x, b, "logsumexp")
        x = broadcast_to(x, broadcast_shapes("logsumexp", x.shape, weights.shape))
        top = _largest(select(weights != 0, x, -np.inf), axis)
        terms = apply("scale", weights, _exp(x - top))  # what weighs nothing may be infinite
    out = _log(sum_(terms, axis=axis, keepdims=True)) + top
    if keepdims:
        return out
    return squeeze(out, axis if axis is not None else tuple(range(x.ndim)))


def softmax(x: Value, axis=None) -> Value:
    """exp(x) / sum(exp(x)), shifted by the largest x."""
    from graphad.ops.numpy_math import sum_

    terms = _exp(x - _largest(x, axis))
    return terms / sum_(terms, axis=axis, keepdims=True)


def log_softmax(x: Value, axis=None) -> Value:
    """x - logsumexp(x)."""
    from graphad.ops.numpy_math import sum_

    shifted = x - _largest(x, axis)
    return shifted - _log(sum_(_exp(shifted), axis=axis, keepdims=True))


__all__ = ["log_softmax", "logsumexp", "polygamma", "softmax"]
