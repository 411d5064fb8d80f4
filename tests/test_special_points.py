"""Derivatives of the whole table to the fourth order where they are easily wrong, against mpmath.

A branch that is taken at a point alone has the derivatives of the branch, not of the function: each
partial has to hold around the points, or know its own derivatives.
"""

import itertools
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
import scipy.special
from special_points import CASES, DENSITIES, PARTS, PIECES, exact

import graphad as ga
from graphad.diff.pullback import pull_back
from graphad.diff.pushforward import push_forward
from graphad.errors import DerivativeError
from graphad.graph import Builder
from graphad.op import TABLE
from graphad.ops.value import Value, apply, full
from graphad.reference import evaluate
from graphad.spec import Spec

ORDER = 4
# Where a limit is infinite, what is infinite of both signs may meet on the way to it.
BOTH_SIGNS = {"gammainc", "gammaincc", "betainc"}


def skipped(name, point, orders):
    """At its edges, of the density of betainc a third derivative in both shapes: the infinite
    logarithm there meets what vanishes by cancellation."""
    edge = name == "betainc" and point[-1] in (0.0, 1.0)
    return edge and orders[0] > 0 and orders[1] > 0 and orders[0] + orders[1] > 2


def forward(out, x):
    t = push_forward(x.builder, [out.id], {x.id: full(x, 1)})[0]
    return full(x, 0) if t is None else t


def reverse(out, x):
    t = pull_back(x.builder, [out.id], [full(out, 1)], [x.id])[0]
    return full(x, 0) if t is None else t


def partials(call, xs, modes):
    """Every partial derivative to the fourth order by its orders, innermost by the first mode."""
    found = {(0,) * len(xs): call(*xs)}
    for total in range(1, ORDER + 1):
        for orders in itertools.product(range(total + 1), repeat=len(xs)):
            if sum(orders) != total:
                continue
            k = max(i for i, n in enumerate(orders) if n)
            before = tuple(n - (i == k) for i, n in enumerate(orders))
            if before in found:
                with suppress(DerivativeError):  # there is none, and that says so
                    found[orders] = modes[total % len(modes)](found[before], xs[k])
    return found


def called(name):
    return TABLE.numpy[getattr(np, name)] if name not in TABLE.ops else lambda *xs: apply(name, *xs)


def points_of(name):
    """(point, direction inward or None) for each."""
    points = CASES[name][1]
    points = [p if isinstance(p, tuple) else (p,) for p in points]
    return [p if isinstance(p[0], tuple) else (p, None) for p in points]


@cache
def wanted(name, point, inward, orders):
    if name in DENSITIES:
        orders = (*orders[:-1], orders[-1] - 1)
    return exact(CASES[name][0], point, orders, inward)


def columns(name, dtype="f8"):
    return [np.array(c, dtype) for c in zip(*[p for p, _ in points_of(name)], strict=True)]


def compare(name, orders, got):
    for k, (point, inward) in enumerate(points_of(name)):
        if skipped(name, point, orders):
            continue
        want = wanted(name, point, inward, orders)
        if name == "power" and point[0] == 0 and orders[1] > 0 and np.isinf(want):
            continue  # the convention in the exponent: 0**y is flat
        if np.isinf(want) and name in BOTH_SIGNS:
            assert got[k] == want or (np.isnan(got[k]) and sum(orders) > 1), (point, orders)
            continue
        np.testing.assert_allclose(got[k], want, rtol=1e-9, atol=1e-12, err_msg=f"{point} {orders}")


def known(name, orders):
    """Whether mpmath's function is of these orders: not the value; of a density, with a slope."""
    return sum(orders) > 0 and (name not in DENSITIES or orders[-1] > 0)


@pytest.mark.parametrize("modes", [(forward,), (reverse,), (reverse, forward)],
                         ids=["forward", "reverse", "mixed"])  # fmt: skip
@pytest.mark.parametrize("name", CASES)
def test_derivatives_to_the_fourth_order(name, modes):
    xs = columns(name)
    builder = Builder()
    inputs = [Value(builder, builder.input(Spec(x.shape, x.dtype), f"x{k}"))
              for k, x in enumerate(xs)]  # fmt: skip
    found = partials(called(name), inputs, modes)
    assert len(found) > ORDER
    results = evaluate(builder.finish(v.id for v in found.values()), xs)
    for orders, got in zip(found, results, strict=True):
        if known(name, orders):
            compare(name, orders, got)


COMPILED = ["expit", "ndtri", "erfinv", "cbrt", "i1e", "log_ndtr", "logit", "arccosh", "sinc"]


def test_compiled():
    """Those of one argument in one kernel; the rest are compiled elsewhere."""

    def whole(*xs):
        out = {}
        for name, x in zip(COMPILED, xs, strict=True):
            out[name] = list(partials(called(name), [x], (reverse, forward)).values())
        return out

    found = ga.function(whole)(*[columns(name)[0] for name in COMPILED])
    for name, results in found.items():
        for n, got in enumerate(results[1:], 1):
            compare(name, (n,), got)


@pytest.mark.parametrize("name", ["power", "logaddexp", "xlogy", "rel_entr"])
def test_compiled_of_two_arguments(name):
    found = ga.function(lambda x, y: [v for k, v in partials(called(name), [x, y], (forward,)).items()
                                      if sum(k) < 3])(*columns(name))  # fmt: skip
    orders = [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0)]
    for m, got in zip(orders[1:], found[1:], strict=True):
        compare(name, m, got)


def test_every_operation_is_here():
    differentiable = {
        n for n, op in TABLE.ops.items() if op.partials and op.family == "elementwise"
    }
    assert differentiable == (set(CASES) & set(TABLE.ops)) | PIECES | set(PARTS)
    assert set(PARTS.values()) <= set(CASES)


@pytest.mark.parametrize("name", sorted(n for n in CASES if len(points_of(n)[0][0]) == 1))
def test_no_nan_far_out(name):
    """At infinities, and at numbers whose squares are none: nan only where values are nan or leap
    between their poles, and where a limit is infinite."""
    x = np.array([np.inf, -np.inf, 1e300, -1e300, 1e200, -1e200, 1e-300, -1e-300, 5e-324, 0.0])
    builder = Builder()
    at = Value(builder, builder.input(Spec(x.shape, x.dtype), "x"))
    found = partials(called(name), [at], (forward,))
    results = evaluate(builder.finish(v.id for v in found.values()), [x])
    fine = np.isfinite(results[0])
    if name in ("gamma", "gammaln", "digamma", "logit_slope"):
        fine &= x >= 0
    for n, got in enumerate(results[1:], 1):
        assert not np.isnan(got[fine]).any(), (n, x[fine], got[fine])


# -- reductions ----------------------------------------------------------------------------------
def test_logsumexp_where_a_weight_is_zero():
    b, x = np.array([2.0, 0.0, 5.0]), np.array([0.0, 800.0, 1.0])
    p = np.array([2.0, 0.0, 5.0 * np.e]) / (2.0 + 5.0 * np.e)

    def f(x, b):
        return scipy.special.logsumexp(x, b=b)

    np.testing.assert_allclose(ga.function(f)(x, b), np.log(2.0 + 5.0 * np.e))
    np.testing.assert_allclose(ga.grad(f)(x, b), p)
    np.testing.assert_allclose(ga.hessian(f)(x, b), np.diag(p) - np.outer(p, p), atol=1e-15)
    x[1] = 0.5  # in the weight, the slope is that of a sum
    np.testing.assert_allclose(ga.grad(f, wrt=1)(x, b), np.exp(x) / (b @ np.exp(x)))
    with np.errstate(divide="ignore"):
        assert ga.function(f)(x, np.zeros(3)) == -np.inf
    np.testing.assert_array_equal(ga.grad(f)(x, np.zeros(3)), 0.0)


def test_logsumexp_broadcasts_its_weights():
    x, b = np.array([1.0, 2.0]), np.array([[1.0], [2.0], [0.0]]) + np.array([0.0, 1.0])
    for axis in (None, 0, 1):
        got = ga.function(lambda x, b, a=axis: scipy.special.logsumexp(x, axis=a, b=b))(x, b)
        np.testing.assert_allclose(got, scipy.special.logsumexp(x, axis=axis, b=b))


def test_hessians_with_infinite_elements():
    x = np.array([0.0, -np.inf, 1.0])
    p = scipy.special.softmax(x)
    np.testing.assert_allclose(ga.hessian(ga.special.logsumexp)(x), np.diag(p) - np.outer(p, p))
    got = ga.hessian(lambda x: ga.special.log_softmax(x)[0])(x)
    np.testing.assert_allclose(got, np.outer(p, p) - np.diag(p))
