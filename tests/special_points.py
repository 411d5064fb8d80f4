"""Functions of the table and the points where their derivatives are easily wrong, for
tests/test_special_points.py: 0, ties, edges of domains, poles, the huge and the tiny.

A function is given in mpmath's arithmetic. A point at an edge is a pair: the point, and the
direction into the domain from which its limit is taken.
"""

import math

import mpmath
from mpmath import mp, mpf


def ndtr(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def softplus(x):
    return mp.log1p(mp.exp(x)) if x < 50 else x + mp.log1p(mp.exp(-x))


def angle(y, x):
    """arctan2 but for a constant, without its cut."""
    return mp.atan(y / x) if abs(x) > abs(y) else -mp.atan(x / y)


def log_beta(a, b):
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def sinc(x):
    return mp.sin(mp.pi * x) / (mp.pi * x) if x else mpf(1)


def xlogy(x, y):
    return x * mp.log(y) if x else mpf(0)


def gamma_density(a, x):
    return x ** (a - 1) * mp.exp(-x) / mp.gamma(a)


def beta_density(a, b, x):
    return x ** (a - 1) * (1 - x) ** (b - 1) / mp.beta(a, b)


def from_right(*points):
    """Edges of a domain on the right of them, in the last argument."""
    points = [p if isinstance(p, tuple) else (p,) for p in points]
    return [(p, (0,) * (len(p) - 1) + (1,)) for p in points]


def from_left(*points):
    """Edges of a domain on the left of them, in the last argument."""
    return [(p, tuple(-d for d in step)) for p, step in from_right(*points)]


def of_first(*points):
    """Edges of a domain on the right of them, in the first argument."""
    return [(p, (1, 0)) for p in points]


STEEP = [0.0, 1.0, -1.0, 20.0, -20.0, 40.0, -700.0, 700.0]
SHAPES = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]

CASES = {
    "mul": (lambda x, y: x * y, [(0.0, 0.0), (0.0, 2.0)]),
    "div": (lambda x, y: x / y, [(0.0, 1.0), (0.0, -2.0), (1e-100, 1e50), *from_right((1.0, 0.0))]),
    "power": (lambda x, y: x**y, [
        (1.5, 0.0), (1.0, 0.0), (1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (2.0, 2.0), (1.0, -3.0),
        (10.0, 3.0), *of_first(*[(0.0, y) for y in (2.0, 1.0, 3.0, 2.5, 0.5, 6.0)])]),
    "exp": (mp.exp, [0.0, -700.0]),
    "exp2": (lambda x: mpf(2) ** x, [0.0, -1000.0]),
    "expm1": (mp.expm1, [0.0, 1e-20, -700.0, 40.0]),
    "log": (mp.log, [1.0, 1e-50, 1e50, *from_right(0.0)]),
    "log2": (lambda x: mp.log(x) / mp.log(2), [1.0, 1e-50, *from_right(0.0)]),
    "log10": (lambda x: mp.log(x) / mp.log(10), [1.0, 1e-50, *from_right(0.0)]),
    "log1p": (mp.log1p, [0.0, 1e-20, 1e50, *from_right(-1.0)]),
    "sqrt": (mp.sqrt, [1.0, 1e-50, *from_right(0.0)]),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), [
        1.0, -1.0, 1e-50, -1e-40, 1e100, *from_right(0.0)]),
    "logaddexp": (lambda x, y: mp.log(mp.exp(x) + mp.exp(y)), [
        (0.0, 0.0), (0.4, 0.4), (1.0, -1.0), (0.0, 100.0), (700.0, 700.0), (-800.0, -800.0)]),
    "sin": (mp.sin, [0.0, math.pi / 2, math.pi]),
    "cos": (mp.cos, [0.0, math.pi / 2, math.pi]),
    "tan": (mp.tan, [0.0, math.pi, 1.5]),
    "arcsin": (mp.asin, [0.0, *from_left(1.0), *from_right(-1.0)]),
    "arccos": (mp.acos, [0.0, *from_left(1.0), *from_right(-1.0)]),
    "arctan": (mp.atan, [0.0, 1.0, 1e10, 1e200]),
    "arctan2": (angle, [
        (0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0), (3.0, -4.0), (1e-30, 1.0)]),
    "hypot": (lambda x, y: mp.sqrt(x * x + y * y), [
        (0.0, 1.0), (1.0, 0.0), (3.0, -4.0), (0.0, -2.0), (1e-30, 1.0)]),
    "sinh": (mp.sinh, [0.0, -20.0]),
    "cosh": (mp.cosh, [0.0, 1.0]),
    "tanh": (mp.tanh, [0.0, 1.0, -20.0, 400.0]),
    "arcsinh": (mp.asinh, [0.0, -1.0, 1e10, 1e200]),
    "arccosh": (mp.acosh, [2.0, 1e10, 1e200, *from_right(1.0)]),
    "arctanh": (mp.atanh, [0.0, 0.5, *from_left(1.0), *from_right(-1.0)]),
    "exp_minus_square": (lambda x: mp.exp(-x * x), [0.0, 1.0, 30.0, 1e200]),
    "exp_minus_half_square": (lambda x: mp.exp(-x * x / 2), [0.0, 1.0, 40.0]),
    "erf": (mp.erf, [0.0, 1.0, -5.0, 30.0]),
    "erfc": (mp.erfc, [0.0, 1.0, -5.0, 20.0]),
    "erfinv": (mp.erfinv, [0.0, 0.5, -0.99, 1e-20, *from_left(1.0), *from_right(-1.0)]),
    "erfcinv": (lambda x: mp.erfinv(1 - x), [1.0, 1.5, 1e-5, *from_right(0.0), *from_left(2.0)]),
    "ndtr": (ndtr, [0.0, 1.0, -5.0, 5.0, -30.0]),
    "ndtri": (lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), [
        0.5, 0.9, 1e-5, *from_right(0.0), *from_left(1.0)]),
    "log_ndtr": (lambda x: mp.log(ndtr(x)), [0.0, 1.0, -5.0, 5.0, -8.1, -30.0, -1e4]),
    "inverse_mills": (lambda x: mp.npdf(x) / ndtr(x), [0.0, 1.0, -5.0, 5.0, -8.1, -30.0, -1e4]),
    "expit": (lambda x: 1 / (1 + mp.exp(-x)), STEEP),
    "logistic_density": (lambda x: mp.exp(-x) / (1 + mp.exp(-x)) ** 2, STEEP),
    "softplus": (softplus, STEEP),
    "log_expit": (lambda x: -softplus(-x), STEEP),
    "logit": (lambda p: mp.log(p / (1 - p)), [0.5, 0.9, 1e-30, *from_right(0.0), *from_left(1.0)]),
    "logit_slope": (lambda p: 1 / (p * (1 - p)), [0.5, 0.9, 1e-30, *from_right(0.0)]),
    "gamma": (mp.gamma, [1.0, 2.0, -0.5, -1.5, 10.0]),
    "gammaln": (lambda x: mp.log(abs(mp.gamma(x))), [
        1.0, 2.0, -0.5, -1.5, 10.0, 1e10, 1e-10, *from_right(0.0)]),
    "digamma": (mp.digamma, [1.0, -0.5, -1.5, 1e10, 1e-10, 1.4616321449683623]),
    "trigamma": (lambda x: mp.psi(1, x), [1.0, 0.5, 1e10, 1e-10, *from_right(0.0)]),
    "zeta": (mp.zeta, [(2.0, 1.0), (3.0, 0.5), (4.0, 20.0)]),
    "beta": (mp.beta, [(1.0, 1.0), (2.0, 1.0), (0.5, 3.0)]),
    "betaln": (log_beta, [(1.0, 1.0), (0.5, 0.5), (30.0, 1.0)]),
    "gammainc": (gamma_density, [
        (1.0, 1.0), (2.5, 0.3), (10.0, 9.0), (2.0, 1e-60),
        *from_right(*[(a, 0.0) for a in SHAPES])]),
    "gammaincc": (lambda a, x: -gamma_density(a, x), from_right((1.0, 0.0), (3.0, 0.0))),
    "betainc": (beta_density, [
        (1.0, 1.0, 0.5), (2.0, 3.0, 0.5), (3.0, 2.0, 1e-60),
        *from_right(*[(a, b, 0.0) for a in (0.5, 1.0, 3.0) for b in (1.0, 2.0)]),
        *from_left(*[(a, b, 1.0) for a in (0.5, 3.0) for b in (0.5, 1.0, 2.0, 4.0)])]),
    "xlogy": (xlogy, [(0.0, 1.0), (0.0, 2.0), (2.0, 1.0), *from_right((0.0, 0.0), (1.0, 0.0))]),
    "xlog1py": (lambda x, y: xlogy(x, 1 + y), [
        (0.0, 0.0), (0.0, 2.0), (2.0, 0.0), *from_right((0.0, -1.0), (1.0, -1.0))]),
    "entr": (lambda x: -x * mp.log(x), [1.0, 1e-30, *from_right(0.0)]),
    "log_ratio": (lambda x, y: mp.log(x / y), [(1.0, 1.0), (2.0, 1e-50), *of_first((0.0, 1.0))]),
    "rel_entr": (lambda x, y: x * mp.log(x / y), [
        (1.0, 1.0), (1e-30, 1.0), *of_first((0.0, 1.0)), *from_right((1.0, 0.0))]),
    "kl_div": (lambda x, y: x * mp.log(x / y) - x + y, [
        (1.0, 1.0), (1e-30, 1.0), *of_first((0.0, 1.0)), *from_right((1.0, 0.0))]),
    "i0": (lambda x: mp.besseli(0, x), [0.0, 1.0, -1.0, 1e-5, 1e-20, 0.03]),
    "i1": (lambda x: mp.besseli(1, x), [0.0, 1.0, -1.0, 1e-5, 1e-20, -1e-3]),
    "i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), [1.0, -1.0, 1e-5, 1e-20, 50.0]),
    "i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), [1.0, -1.0, 1e-5, 1e-20, 50.0]),
    "j0": (lambda x: mp.besselj(0, x), [0.0, 1.0, -1.0, 1e-5, 1e-20, 0.03]),
    "j1": (lambda x: mp.besselj(1, x), [0.0, 1.0, -1.0, 1e-5, 1e-20, -1e-3]),
    # composed of the table's
    "sinc": (sinc, [0.0, 1.0, 1e-3, 1e-8, 0.3, 0.33]),
    "logaddexp2": (lambda x, y: mp.log(mpf(2) ** x + mpf(2) ** y, 2), [(0.0, 0.0), (3.0, 3.0)]),
    "reciprocal": (lambda x: 1 / x, [1e-50, *from_right(0.0)]),
}  # fmt: skip
DENSITIES = ("gammainc", "gammaincc", "betainc")  # given by their slopes in the last argument

# Constant or linear between kinks, where their conventions are: tests/test_derivatives.py.
PIECES = {"abs", "sign", "floor", "ceil", "rint", "trunc", "maximum", "minimum", "fmax", "fmin",
          "remainder", "fmod", "floor_divide", "copysign", "heaviside"}  # fmt: skip
# Parts of derivatives, of which those are tested.
PARTS = {"ratio": "xlogy", "quantile_slope": "ndtri", "gamma_power": "gammainc",
         "beta_power": "betainc", "gammainc_da": "gammainc", "betainc_da": "betainc",
         "betainc_db": "betainc", "i1_over": "i1", "i1e_over": "i1e", "j1_over": "j1",
         "difference": "logaddexp"}  # fmt: skip


def limit(near, nearer):
    """The limit of what is this near it, and this nearer."""
    near, nearer = mp.re(near), mp.re(nearer)
    if abs(nearer) > abs(near) * mpf("1.05") and abs(nearer) > 1:
        return mp.inf * mp.sign(nearer)
    return mpf(0) if abs(nearer) < abs(near) / 1000 else nearer


def exact(f, point, orders, inward) -> float:
    """The partial derivative of these orders, or its limit."""
    digits = 50 + max([0, *[int(-math.log10(abs(x))) for x in point if x]])

    def at(h):
        p = [mpf(x) + h * d for x, d in zip(point, inward or point, strict=True)]
        if not any(orders):
            return f(*p)
        # The step of the differences is beyond the digits, so far below h.
        return mp.diff(f, tuple(p), orders) if len(p) > 1 else mp.diff(f, p[0], orders[0])

    with mpmath.workdps(digits + 10 * bool(inward)):
        return float(limit(at(mpf(10) ** -20), at(mpf(10) ** -40)) if inward else mp.re(at(0)))
