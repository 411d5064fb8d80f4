"""Special functions for arrays and traced code: `ga.special.erf(x)`, `ga.special.logsumexp(x)`, ...

All are elementwise but `logsumexp`, `softmax` and `log_softmax`, broadcast like NumPy's functions,
and have derivatives in every argument that has one, the shape parameters of `betainc` and
`gammainc` included. In traced code the ufuncs of `scipy.special` itself work as well.

    erf erfc erfinv erfcinv ndtr ndtri log_ndtr    the error function and the normal distribution
    expit logit log_expit softplus                 the logistic function
    gamma gammaln digamma polygamma zeta           the gamma function; zeta(s, q) is Hurwitz's
    trigamma                                       polygamma(1, x), of positive x only
    beta betaln betainc gammainc gammaincc         regularised where incomplete, as in SciPy
    xlogy xlog1py entr rel_entr kl_div             0 where the first argument is 0
    i0 i1 i0e i1e j0 j1                            Bessel functions
    logsumexp softmax log_softmax                  over an axis

>>> import numpy as np
>>> import graphad as ga
>>> ga.special.gamma(5.0)
np.float64(24.0)
>>> ga.grad(ga.special.erf)(0.0)
np.float64(1.1283791670955126)
>>> ga.special.softmax(np.array([0.0, 0.0]))
array([0.5, 0.5])
"""

from __future__ import annotations

import inspect
from typing import Any

from graphad.function import Function
from graphad.op import TABLE, find
from graphad.ops import special_functions as rules
from graphad.ops.value import apply, lift
from graphad.transform.selection import any_tensor

HIDDEN = ("psi", "_zeta", "gammainc_da", "betainc_da", "betainc_db", "exp_minus_square",
          "exp_minus_half_square", "inverse_mills", "logistic_density", "logit_slope", "log_ratio",
          "ratio", "difference", "quantile_slope", "gamma_power", "beta_power", "i1_over",
          "i1e_over", "j1_over")  # fmt: skip
_ARGUMENTS = {
    "zeta": ("s", "q"), "beta": ("a", "b"), "betaln": ("a", "b"), "betainc": ("a", "b", "x"),
    "gammainc": ("a", "x"), "gammaincc": ("a", "x"), "logit": ("p",), "ndtri": ("p",),
}  # fmt: skip


def _elementwise(name: str) -> Function:
    count = find(name).arity or 1
    names = _ARGUMENTS.get(name, ("x", "y")[:count])

    def call(*args):
        return apply(name, *args)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(n, kind) for n in names]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__name__ = call.__qualname__ = name
    call.__module__ = __name__
    call.__doc__ = f"As scipy.special.{name}, elementwise, with derivatives."
    if name == "softplus":
        call.__doc__ = "log(1 + exp(x)), elementwise, without overflow."
    if name == "trigamma":
        call.__doc__ = "The second derivative of gammaln, elementwise, for x > 0; nan elsewhere."
    return Function(call)


def _over_axis(rule) -> Function:
    def call(x, axis=None, **options):
        return rule(lift(any_tensor((x, options)), x, rule.__name__), axis, **options)

    call.__name__ = call.__qualname__ = rule.__name__
    call.__module__ = __name__
    call.__doc__ = rule.__doc__
    return Function(call, static="axis")


def _logsumexp(x, axis=None, b=None, keepdims=False):
    """log(sum(b exp(x))) over an axis, a tuple of axes, or all; shifted by the largest x."""
    like = any_tensor((x, b))
    return rules.logsumexp(lift(like, x, "logsumexp"), axis, b, keepdims)


def _polygamma(n, x):
    """The n-th derivative of digamma, n a number."""
    return rules.polygamma(n, lift(any_tensor(x), x, "polygamma"))


def _named(f, name: str, static) -> Function:
    f.__name__ = f.__qualname__ = name
    return Function(f, static=static)


logsumexp = _named(_logsumexp, "logsumexp", ("axis", "keepdims"))
polygamma = _named(_polygamma, "polygamma", ("n",))
softmax = _over_axis(rules.softmax)
log_softmax = _over_axis(rules.log_softmax)
__all__ = ["log_softmax", "logsumexp", "polygamma", "softmax"]
for _name in TABLE.scipy:
    if _name not in HIDDEN:
        globals()[_name] = _elementwise(_name)
        __all__.append(_name)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"graphad.special has no {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in globals() if n.startswith("__"))})
