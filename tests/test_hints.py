"""What errors say to write instead: it exists, it is covered, and it does the job."""

import functools
import re

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.optimize
import scipy.special
import scipy.stats

import graphad as ga
from graphad import errors
from graphad.op import TABLE
from graphad.trace.instead import OF_ARRAYS, OF_NUMPY, OF_SCIPY, instead
from graphad.trace.tensor import Tensor

X = np.array([3.0, 1.0, 2.0])
FIXES = [*OF_NUMPY.values(), *OF_SCIPY.values(), *OF_ARRAYS.values()]
NAMES = sorted({n for fix in FIXES for n in re.findall(r"\b(?:np|ga)(?:\.[a-z]\w*)+", fix)})
OUTSIDE = ("np.polynomial.legendre.leggauss", "np.pi", "np.inf")  # made before a trace


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_exists_and_is_covered(name):
    package, *path = name.split(".")
    found = functools.reduce(getattr, path, {"np": np, "ga": ga}[package])
    assert package == "ga" or name in OUTSIDE or found in TABLE.numpy


def test_only_calls_that_exist_and_are_not_covered_have_hints():
    assert all(getattr(np, n) not in TABLE.numpy for n in OF_NUMPY)
    assert not any(hasattr(Tensor, n) and n != "sort" for n in OF_ARRAYS)
    assert len(OF_NUMPY) > 40


def message(f, *args):
    with pytest.raises((TypeError, AttributeError)) as caught:
        ga.function(f)(*args)
    assert isinstance(caught.value, errors.GraphadError) and __file__ in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "f, said",
    [
        (lambda x: np.fft.fft(x), "Fourier transforms are not covered"),
        (lambda x: scipy.fft.fft(x), "Fourier transforms are not covered"),
        (lambda x: np.unique(x), "its shape depends on values"),
        (lambda x: np.polyfit(x, x, 1), "np.vander"),
        (lambda x: scipy.special.hyp2f1(1.0, 2.0, 3.0, x), "scipy.special.hyp2f1"),
        (lambda x: scipy.optimize.brentq(lambda y: y - x[0], 0, 9), "ga.root"),
        (lambda x: scipy.optimize.minimize(lambda y: (y - x[0]) ** 2, 0.0).x, "jac=ga.grad(f)"),
        (lambda x: scipy.integrate.quad(lambda y: y * x[0], 0, 1)[0], "leggauss"),
        (lambda x: scipy.integrate.solve_ivp(lambda t, y: -y, (0, 1), x).y, "ga.odeint"),
        (lambda x: scipy.interpolate.CubicSpline(X, x), "scipy.interpolate.CubicSpline"),
        (lambda x: scipy.stats.norm.logpdf(x), "ga.flows"),
        (lambda x: x.fill(1.0), "np.full_like"),
        (lambda x: x.partition(1), "np.partition"),
        (lambda x: x.nonzero(), "its shape depends on values"),
    ],
)
def test_messages(f, said):
    assert said in message(f, X)


def test_attributes_that_nobody_has():
    with pytest.raises(AttributeError, match="no attribute 'foo'"):
        ga.function(lambda x: x.foo)(X)
    assert ga.function(lambda x: x * (1 if hasattr(x, "fill") else 2))(1.0) == 2.0


def test_hints_do_the_job():
    y = X**2
    fit = ga.function(lambda x: np.linalg.lstsq(np.vander(x, 3), y)[0])(X)
    np.testing.assert_allclose(fit, np.polyfit(X, y, 2), atol=1e-12)
    edges = np.array([0.0, 1.5, 2.5, 4.0])
    count = ga.function(
        lambda x: np.bincount(np.digitize(x, edges), minlength=len(edges) + 1)[1:-1]
    )
    np.testing.assert_array_equal(count(X), np.histogram(X, edges)[0])
    holed = np.where(X > 2, np.nan, X)
    arg = ga.function(lambda x: np.argmax(np.where(np.isnan(x), -np.inf, x)))
    assert arg(holed) == np.nanargmax(holed)


def test_no_hint_is_by_spelling():
    assert "ga.external" in instead("np.gcd") and "np.pad" not in instead("np.polyadd")
