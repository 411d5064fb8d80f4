"""Every error: its type, and that it names the user's line, what was expected and got, the fix."""

import math

import numpy as np
import pytest

import graphad as ga
from graphad.errors import (
    DerivativeError,
    DTypeError,
    GraphIndexError,
    NotCoveredError,
    ShapeError,
    TraceError,
)

X = np.ones(3)
TABLE = np.arange(5.0)
KEPT = []
RNG = np.random.default_rng(0)


def branch(x):
    if x.sum() > 0:  # the line
        return x
    return -x


def loop(x):
    while x[0] < 3.0:  # the line
        x = x + 1.0
    return x


def assign(x):
    x[0] = 1.0  # the line
    return x


def put(x):
    z = np.zeros(3)
    z[0] = x[0]  # the line
    return z


def put_all(x):
    z = np.zeros(3)
    z[:] = x  # the line
    return z


def add_in_place(x):
    z = np.zeros(3)
    z += x  # the line
    return z


def keep(x):
    KEPT.append(x)
    return x


def use_kept(x):
    return x + KEPT[0]  # the line


def draw(x):
    return x + np.random.rand(3)  # the line


def draw_from_generator(x):
    return x + RNG.normal(size=3)  # the line


def mix(x, y):
    return x + y  # the line


def product(x, y):
    return x @ y  # the line


CASES = [
    ("if", lambda: ga.function(branch)(X), TraceError, "if or while on a traced value", "np.where"),
    ("while", lambda: ga.function(loop)(X), TraceError, "if or while on a traced value", "static"),
    ("float", lambda: ga.function(lambda x: float(x[0]))(X), TraceError, "float(x)", "leave it an array"),
    ("int", lambda: ga.function(lambda x: int(x[0]))(X), TraceError, "int(x)", "astype"),
    ("math", lambda: ga.function(lambda x: math.sin(x[0]))(X), TraceError, "float(x)", "leave it an array"),
    ("item", lambda: ga.function(lambda x: x.item())(X), TraceError, "x.item()", "return the value"),
    ("list index", lambda: ga.function(lambda i: [1, 2, 3][i])(1), TraceError, "index of a list", "np.stack(list)[i]"),
    ("array index", lambda: ga.function(lambda i: TABLE[i])(1), TraceError, "indexed by a traced value", "np.asarray(table, like=i)"),
    ("x[i] = v", lambda: ga.function(assign)(X), TraceError, "never changed in place", "x.at[i].set(v)"),
    ("z[i] = x", lambda: ga.function(put)(X), TraceError, "put into a NumPy array", "np.stack"),
    ("z[:] = x", lambda: ga.function(put_all)(X), TraceError, "put into a NumPy array", "np.stack"),
    ("z += x", lambda: ga.function(add_in_place)(X), TraceError, "cannot be changed", "z = z + x"),
    ("np.float32", lambda: ga.function(lambda x: np.float32(x[0]))(X), TraceError, "NumPy scalar", "astype"),
    ("full", lambda: ga.function(lambda x: np.full(3, x[0], dtype=float))(X), TraceError, "cannot be changed", "np.broadcast_to"),
    ("full_like", lambda: ga.function(lambda x: np.full_like(np.zeros(3), x[0]))(X), TraceError, "cannot be changed", "np.broadcast_to"),
    ("random", lambda: ga.function(draw)(X), TraceError, "np.random inside", "ga.random.normal(key"),
    ("generator", lambda: ga.function(draw_from_generator)(X), TraceError, "np.random inside", "ga.random.normal(key"),
    ("shapes", lambda: ga.function(mix)(X, np.ones(4)), ShapeError, "shapes (3) and (4)", "x[:, None]"),
    ("product", lambda: ga.function(product)(np.ones((3, 4)), np.ones((3, 4))), ShapeError, "sizes of a summed", "transpose"),
    ("reshape", lambda: ga.function(lambda x: x.reshape(2, 2))(X), ShapeError, "number of elements", "-1"),
    ("complex", lambda: ga.function(mix)(X * 1j, X), DTypeError, "complex128", "real"),
    ("half", lambda: ga.function(mix)(X.astype("f2"), X), DTypeError, "float16", "astype"),
    ("object", lambda: ga.function(mix)(X, object()), DTypeError, "neither an array nor a number", "static="),
    ("not scalar", lambda: ga.grad(lambda x: x * 2.0)(X), DerivativeError, "one float scalar", "ga.jacobian"),
    ("integer wrt", lambda: ga.grad(lambda x: (x * 2.0).sum())(np.arange(3)), DTypeError, "int64 for 'x'", "astype('float64')"),
    ("no such wrt", lambda: ga.grad(lambda x: x.sum(), wrt="y")(X), DerivativeError, "no argument 'y'", "wrt=0"),
    ("cotangent", lambda: ga.vjp(lambda x: x * 2.0)(X, cotangents=np.ones(4)), ShapeError, "cotangent has the wrong shape", "(3,)"),
    ("cotangents", lambda: ga.vjp(lambda x: x * 2.0)(X, cotangents=(X, X)), ShapeError, "another structure", "one cotangent"),
    ("tangent", lambda: ga.jvp(lambda x: x * 2.0)(X, tangents=np.ones(4)), ShapeError, "tangent has the wrong shape", "(3,)"),
    ("no tangents", lambda: ga.jvp(lambda x: x * 2.0)(X), DerivativeError, "tangents are missing", "tangents"),
    ("not covered", lambda: ga.function(lambda x: np.frexp(x))(X), NotCoveredError, "np.frexp", "ga.external"),
    ("not covered function", lambda: ga.function(lambda x: np.nanmedian(x))(X), NotCoveredError, "np.nanmedian", "np.median"),
    ("argument", lambda: ga.function(lambda x: np.sum(x, axes=0))(X), TypeError, "axes", ""),
    ("masked variance", lambda: ga.function(lambda x: np.var(x, where=x > 0))(X), NotCoveredError, "an argument is not covered", "leave that argument out"),
    ("masked max", lambda: ga.function(lambda x: np.max(x, where=x > 0, initial=0.0))(X), NotCoveredError, "an argument is not covered", "leave that argument out"),
    ("method", lambda: ga.function(lambda x: x.var(where=x > 0))(X), NotCoveredError, "an argument is not covered", "leave that argument out"),
    ("ufunc", lambda: ga.function(lambda x: np.square(x, dtype="f4"))(X), NotCoveredError, "an argument is not covered", "leave that argument out"),
    ("prepend", lambda: ga.function(lambda x: np.diff(x, prepend=0.0))(X), NotCoveredError, "an argument is not covered", "leave that argument out"),
    ("take mode", lambda: ga.function(lambda x: np.take(x, [-1], mode="clip"))(X), NotCoveredError, "an argument is not covered", "leave that argument out"),
    ("concatenate dtype", lambda: ga.function(lambda x: np.concatenate([x, x], dtype="f4"))(X), NotCoveredError, "an argument is not covered", "leave that argument out"),
    ("mask", lambda: ga.function(lambda x: x[x > 0])(X), TraceError, "traced mask", "np.where(mask, x, 0)"),
    ("static index", lambda: ga.function(lambda x: x[5])(X), GraphIndexError, "index 5 is out of bounds", "shape"),
    ("run-time index", lambda: ga.function(lambda x, i: np.take(x, i))(X, np.array([5])), GraphIndexError, "out of bounds", "np.clip"),
    ("float index", lambda: ga.function(lambda x: x[x[0]])(X), GraphIndexError, "must be an integer", "astype"),
    ("signature", lambda: ga.function(lambda x: x, signature=ga.spec("n 3"))(np.ones((4, 2))), ShapeError, "does not fit the signature", "signature"),
    ("symbolic loop", lambda: ga.function(lambda x: sum(v for v in x), signature=ga.spec("n"))(X), TraceError, "symbolic dim 'n'", "signature"),
    ("unhashable static", lambda: ga.function(lambda x, n: x, static="n")(X, [1]), TraceError, "not hashable", "tuple"),
    ("no such static", lambda: ga.function(lambda x: x, static="n"), TraceError, "no parameter 'n'", "name a parameter"),
    ("out", lambda: ga.function(lambda x: x * 2.0)(X, out=np.empty(4)), ShapeError, "out does not fit", "np.empty"),
    ("gradients outside", lambda: ga.gradients(X, X), DerivativeError, "inside a traced function", "ga.grad"),
    ("cut", lambda: ga.cut(lambda x: ga.tag(x, "h"), "k")[0](X), TraceError, "no value has this tag", "ga.tag"),
    ("tag twice", lambda: ga.cut(lambda x: ga.tag(ga.tag(x, "h") * 2.0, "h"), "h")[0](X), TraceError, "two different values", "own name"),
    ("tag in checkpoint", lambda: ga.cut(lambda x: ga.checkpoint(lambda y: ga.tag(y * 2.0, "h") + 1.0)(x), "h")[0](X), TraceError, "control flow", "outside of"),
    ("no rule", lambda: ga.grad(ga.custom_derivative(lambda x: x.sum()))(X), DerivativeError, "no rule", "define_jvp"),
    ("empty max", lambda: ga.function(lambda x: x.max())(np.zeros(0)), ShapeError, "no extreme", "initial"),
    ("vmap sizes", lambda: ga.vmap(lambda x, y: x + y)(X, np.ones(4)), ShapeError, "mapped axes differ", "in_axes"),
    ("result", lambda: ga.function(lambda x: "text")(X), TraceError, "cannot be returned", "outside"),
    ("sympy", lambda: _sympy_symbol(), TraceError, "no arguments", "args"),
    ("repeated at", lambda: ga.function(lambda x: x.at[[0, 0]].max(2.0))(X), TraceError, "unstated order", "unique"),
]  # fmt: skip


def _sympy_symbol():
    import sympy

    x, y = sympy.symbols("x y")
    return ga.from_sympy(x * y, [x])(1.0)


@pytest.mark.parametrize("name, run, kind, problem, fix", CASES, ids=[c[0] for c in CASES])
def test_wording(name, run, kind, problem, fix):
    with pytest.raises(kind) as caught:
        run()
    text = str(caught.value)
    assert problem in text and fix in text, text
    if kind is not TypeError:
        assert __file__ in text, text
        assert "expected:" in text and "got:" in text and "fix:" in text, text


@pytest.mark.parametrize(
    "f", [branch, loop, assign, put, put_all, add_in_place, draw, draw_from_generator]
)
def test_the_users_own_line(f):
    with pytest.raises(TraceError) as caught:
        ga.function(f)(X)
    assert "# the line" in str(caught.value)


def test_a_traced_value_kept_after_its_trace():
    KEPT.clear()
    ga.function(keep)(X)
    for use in (lambda: KEPT[0] + 1.0, lambda: ga.function(use_kept)(X), lambda: np.sin(KEPT[0])):
        with pytest.raises(TraceError, match="kept after its trace"):
            use()


def test_errors_pickle():
    import pickle

    with pytest.raises(TraceError) as caught:
        ga.function(branch)(X)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is TraceError and str(again) == str(caught.value)


def test_index_errors_reach_njit_callers():
    import numba

    f = ga.function(lambda x, i: np.take(x, i))

    @numba.njit
    def caller(x, i):
        return f(x, i)

    assert caller(X, np.array([0, -1])).tolist() == [1.0, 1.0]
    with pytest.raises(IndexError, match="out of bounds"):
        caller(X, np.array([7]))


def test_names_with_code_in_them_do_nothing():
    name = '\'); import os; os.abort() #\n"""'
    f = ga.function(lambda x: ga.tag(x * 2.0, name) + 1.0, name=name)
    assert f(1.0) == 3.0
    lowered = f.lower(np.ones(200))
    for text in (lowered.source, str(lowered.program)):
        assert "abort" not in text.replace("test_errors.py", "").split("#")[0]
    from graphad.graph import Graph

    assert str(Graph.parse(str(lowered.traced))) == str(lowered.traced)
