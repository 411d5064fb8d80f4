"""Calls: which arguments are differentiated in, options, signatures, states of objects, lifetimes."""

import copy
import dataclasses
import enum
import gc
import pickle
import weakref
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest

import graphad as ga
from graphad.call.recognise import key_of
from graphad.errors import DerivativeError, ShapeError, TraceError

X = np.array([1.0, 2.0])


# -- wrt -----------------------------------------------------------------------------------------
def power(x, k=3.0, *, c=2.0):
    return c * np.sum(x**k)


def test_wrt_arguments_left_at_their_defaults():
    np.testing.assert_allclose(ga.grad(power, wrt="k")(X), 16 * np.log(2))
    np.testing.assert_allclose(ga.grad(power, wrt=1)(X), 16 * np.log(2))
    np.testing.assert_allclose(ga.grad(power, wrt="c")(X), 9.0)
    k, c = ga.grad(power, wrt=("k", "c"))(X, c=1.0)
    np.testing.assert_allclose((k, c), (8 * np.log(2), 9.0))


def test_wrt_all_further_arguments():
    def f(x, *rest, **named):
        return x * rest[0] ** 2 + rest[1] * named["a"] ** 3

    args, named = (2.0, 3.0, 5.0), {"a": 7.0}
    assert ga.grad(f, wrt="rest")(*args, **named) == (12.0, 343.0)
    assert ga.grad(f, wrt="named")(*args, **named) == {"a": 735.0}
    assert ga.grad(f, wrt=("a", 1))(*args, **named) == (735.0, 12.0)


class Pair(NamedTuple):
    a: object
    b: object


@dataclasses.dataclass
class Model:
    w: np.ndarray
    kind: str = "tanh"
    layers: int = 2
    rate: float = dataclasses.field(default=0.5, metadata={"static": True})

    def __post_init__(self):
        self.size = len(self.w)


def deep(p):
    return p["scale"] * np.sum(p["layers"][1].w ** 2) + p["pair"].b ** 3


def test_wrt_paths_into_a_pytree():
    p = {"scale": 3.0, "layers": [Model(X), Model(2 * X)], "pair": Pair(1.0, 2.0)}
    assert ga.grad(deep, wrt="p.scale")(p) == 20.0
    np.testing.assert_allclose(ga.grad(deep, wrt="p.layers.1.w")(p), 12 * X)
    np.testing.assert_allclose(ga.grad(deep, wrt="p['layers'][1].w")(p), 12 * X)
    b, s = ga.grad(deep, wrt=("p.pair.b", "p.scale"))(p)
    assert (b, s) == (12.0, 20.0)
    assert p["pair"] == Pair(1.0, 2.0) and p["layers"][1].w is not X


@pytest.mark.parametrize("wrt", [("p", "p.scale"), ("p.scale", "p"), ("p.scale", "p.scale")])
def test_wrt_that_overlap_are_refused(wrt):
    with pytest.raises(DerivativeError, match="part of another"):
        ga.grad(lambda p: p["scale"] ** 2, wrt=wrt)({"scale": 1.0})


def test_a_path_that_is_not_there_says_what_is():
    with pytest.raises(DerivativeError, match=r"p\.scale"):
        ga.grad(lambda p: p["scale"] ** 2, wrt="p.sclae")({"scale": 1.0})


# -- options -------------------------------------------------------------------------------------
class Kind(enum.Enum):
    LINEAR = 1
    TANH = 2


def forward(m, x):
    y = x
    for _ in range(m.layers):
        y = np.tanh(y * m.w) if m.kind == "tanh" else y * m.w
    return m.rate * y.sum() / m.size


def test_options_of_a_dataclass_are_static():
    got = ga.grad(forward)(Model(np.ones(3)), np.ones(3))
    assert (got.kind, got.layers, got.rate, got.size) == ("tanh", 2, 0.5, 3)
    h = 1e-6
    steps = np.eye(3) * h
    want = [
        (forward(Model(np.ones(3) + s), np.ones(3)) - forward(Model(np.ones(3) - s), np.ones(3)))
        / (2 * h)
        for s in steps
    ]
    np.testing.assert_allclose(got.w, want, rtol=1e-8)
    linear = Model(np.ones(3), kind="linear", layers=1)
    np.testing.assert_allclose(ga.grad(forward)(linear, np.ones(3)).w, 1 / 6)


@pytest.mark.parametrize("options", [
    {"kind": "linear", "n": 3, "on": True, "none": None, "act": np.tanh, "way": Kind.TANH,
     "dtype": np.dtype("f4"), "own": lambda x: x},
])  # fmt: skip
def test_options_beside_arrays_are_static(options):
    def f(p, x):
        assert type(p["n"]) is int and type(p["on"]) is bool and p["none"] is None
        assert p["way"] is Kind.TANH and p["kind"] == "linear"
        return np.sum(p["act"](p["w"] * x)) * p["n"]

    p = {"w": X, **options}
    for _ in range(3):
        g = ga.grad(f)(p, X)
        assert g.keys() == p.keys() and g["act"] is np.tanh
        np.testing.assert_allclose(g["w"], 3 * X * (1 - np.tanh(X * X) ** 2))
    assert ga.function(f)(OrderedDict(p), X) == pytest.approx(3 * np.tanh(X * X).sum())
    other = ga.grad(f)({**p, "n": 5}, X)
    np.testing.assert_allclose(other["w"], 5 * X * (1 - np.tanh(X * X) ** 2))


def test_ints_beside_floats_and_alone_are_numbers():
    f = ga.function(lambda p: p["a"] * p["b"])
    assert f({"a": 2, "b": 1.5}) == 3.0 and f({"a": 3, "b": 1.5}) == 4.5
    assert len(f._calls.specialisations.known) == 1
    g = ga.function(lambda p: p["a"] * 2)
    assert g({"a": 2}) == 4 and g({"a": 3}) == 6 and len(g._calls.specialisations.known) == 1


def test_options_among_the_arguments_and_results():
    f = ga.function(lambda x, how, act=np.sin: (act(x) if how == "up" else -act(x), {"how": how}))
    for _ in range(3):
        assert f(1.0, "up") == (np.sin(1.0), {"how": "up"})
        assert f(1.0, "down", np.cos) == (-np.cos(1.0), {"how": "down"})


def test_static_in_every_transform():
    def f(x, n):
        return sum((x**k).sum() for k in range(n))

    np.testing.assert_allclose(ga.grad(f, static="n")(X, 3), 1 + 2 * X)
    np.testing.assert_allclose(ga.hessian(f, static="n")(X, n=3), 2 * np.eye(2))
    np.testing.assert_allclose(ga.jacobian(f, static=1)(X, 3), 1 + 2 * X)
    np.testing.assert_allclose(ga.vmap(f, in_axes=(0, None), static="n")(X, 3), 1 + X + X**2)
    np.testing.assert_allclose(ga.vjp(f, static="n")(X, 3)[1], 1 + 2 * X)
    np.testing.assert_allclose(ga.hvp(f, static="n")(X, 3, tangents=X), 2 * X)
    np.testing.assert_allclose(ga.jvp(f, static="n")(X, 3, tangents=X)[1], X @ (1 + 2 * X))


# -- signatures ----------------------------------------------------------------------------------
def test_signatures_with_pytrees_and_open_arguments():
    spec = {"w": ga.spec("3 2"), "b": ga.spec("2")}
    f = ga.function(lambda p, x: x @ p["w"] + p["b"], signature=(spec, ga.spec("n 3")))
    p = {"w": np.ones((3, 2)), "b": np.zeros(2)}
    for n in (5, 9, 5, 7):
        np.testing.assert_array_equal(f(p, np.ones((n, 3))), np.full((n, 2), 3.0))
    assert len(f._calls.specialisations.known) == 1
    with pytest.raises(ShapeError, match="signature"):
        f(p, np.ones((5, 4)))
    g = ga.function(lambda p, x: p["a"] * x, signature=(..., ga.spec("n")))
    assert g({"a": 2.0}, X).tolist() == [2.0, 4.0]
    assert g({"a": X}, X).tolist() == [1.0, 4.0]


# -- memory --------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [">f8", "<f8", ">f4", ">i4", ">u2"])
def test_both_byte_orders(dtype):
    x = np.arange(6).astype(dtype)
    f = ga.function(lambda x: x * 2 + x[::-1])
    for _ in range(3):
        got = f(x)
        np.testing.assert_array_equal(got, x * 2 + x[::-1])
        assert got.dtype.isnative
    assert f(x[3]).tolist() if x[3].ndim else True


def test_numbers_of_classes_of_the_users():
    class Metres(float):
        pass

    class Count(int):
        pass

    f = ga.function(lambda x: x * 2)
    for _ in range(4):
        assert f(Metres(1.5)) == 3.0 and f(Count(4)) == 8


def test_out_that_overlaps_what_the_call_reads():
    w = np.arange(1003.0)
    f = ga.function(lambda x: x + w[:-3])
    x = np.ones(1000)
    for _ in range(4):
        w[:] = np.arange(1003.0)
        want = x + w[:-3]
        np.testing.assert_array_equal(f(x, out=w[3:]), want)
    two = ga.function(lambda x: (x + w[:-3], x[::-1] * 2))
    w[:] = np.arange(1003.0)
    want = x + w[:-3]
    rest = np.empty(1000)
    two(x, out=(w[3:], rest))
    np.testing.assert_array_equal(w[3:], want)
    y = np.arange(1000.0)
    want = y[::-1] * 2
    first = np.empty(1000)
    two(y, out=(first, y))
    np.testing.assert_array_equal(y, want)


def test_one_memory_for_two_results_is_refused():
    f = ga.function(lambda x: (x + 1, x * 2))
    x, out = np.ones(10), np.empty(12)
    for pair in ((out[:10], out[:10]), (out[:10], out[2:])):
        for _ in range(3):
            with pytest.raises(ShapeError, match="same memory"):
                f(x, out=pair)
    apart = np.empty(20)
    f(x, out=(apart[::2], apart[1::2]))
    np.testing.assert_array_equal(apart, np.tile([2.0, 2.0], 10))


# -- many shapes and functions -------------------------------------------------------------------
def test_each_of_many_shapes_goes_by_the_gate():
    f = ga.grad(lambda x: (x * x).sum())
    xs = [np.arange(float(n)) for n in range(1, 60)]
    for x in xs + xs:
        np.testing.assert_array_equal(f(x), 2 * x)
    table = f._calls._table()
    assert len(table.plans) == len(xs)
    before = f._calls.call
    f._calls.call = None  # nothing needs it any more
    for x in xs:
        np.testing.assert_array_equal(f(x), 2 * x)
    f._calls.call = before


def test_no_more_than_a_bound_of_specialisations_are_kept(monkeypatch):
    from graphad.call import specialise
    from graphad.run import gate

    monkeypatch.setattr(specialise, "MOST", 8)
    monkeypatch.setattr(gate, "MOST_PLANS", 8)
    f = ga.function(lambda x: x.sum() + 1.0)
    for _ in range(2):
        for n in range(1, 30):
            for _ in range(3):
                assert f(np.ones(n)) == n + 1.0
    assert len(f._calls.specialisations.known) <= 8 and len(f._calls._table().plans) <= 8


def test_transforms_written_at_the_call_are_known_again():
    f = ga.function(lambda x: (x**2).sum())
    assert ga.grad(f) is ga.grad(f) and ga.grad(f) is not ga.grad(f, wrt=0)
    made = {id(ga.grad(lambda x: (x * scale).sum())) for scale in (2.0, 2.0)}
    assert len(made) == 1
    values = [float(ga.grad(lambda x, s=s: x**2 / s)(1.5)) for s in (1.0, 2.0, 1.0, 0.0, -0.0, 0.0)]
    assert values == [3.0, 1.5, 3.0, np.inf, -np.inf, np.inf]


SCALE, OTHER = 2.0, 1.0
TABLE = [1.0]


def test_what_a_lambda_reads_is_part_of_it(monkeypatch):
    def grads():
        return float(ga.grad(lambda x: helper(x) * SCALE)(1.0)), float(
            ga.grad(lambda x: TABLE[0] * x)(1.0)
        )

    def helper(x):
        return x**2 * OTHER

    assert grads() == (4.0, 1.0)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert grads() == (6.0, 1.0)
    monkeypatch.setitem(globals(), "OTHER", 2.0)
    monkeypatch.setattr(f"{__name__}.TABLE", [5.0])
    assert grads() == (12.0, 5.0)
    array = np.ones(2)
    assert key_of(lambda x: x * array) is not None
    assert key_of(lambda x: x * TABLE[0]) is None
    large = np.ones(1_000_000)
    assert key_of(lambda x: x * large) is None  # it would be kept alive


# -- methods -------------------------------------------------------------------------------------
class Machine:
    def __init__(self):
        self.a, self.b, self.unread = 2.0, np.array([1.0]), 0
        self.parts = [{"k": 1.0}]

    @ga.function
    def f(self, x):
        return (self.a * x + self.b + self.helper()).sum()

    def helper(self):
        return self.parts[0]["k"]

    def plain(self, x):
        return self.a * (x**2).sum() + self.helper()


def test_attributes_that_change_are_noticed():
    m = Machine()
    handle, slope = m.f, ga.grad(m.plain)
    for _ in range(3):
        assert m.f(3.0) == handle(3.0) == 8.0 and slope(X).tolist() == [4.0, 8.0]
    m.a = 5.0
    assert m.f(3.0) == handle(3.0) == 17.0 and slope(X).tolist() == [10.0, 20.0]
    m.b = np.array([9.0])
    assert m.f(3.0) == 25.0
    m.b[0] = 4.0  # arrays are read at each call
    assert m.f(3.0) == 20.0
    m.parts[0]["k"] = 2.0
    assert m.f(3.0) == handle(3.0) == 21.0
    m.a, m.b, m.parts[0]["k"] = 2.0, np.array([1.0]), 1.0
    assert handle(3.0) == 8.0
    before = len(m.f._family.members)
    for k in range(20):
        m.unread = k
        assert m.f(3.0) == 8.0
    assert len(m.f._family.members) == before


def test_objects_are_freed_with_their_compiled_methods():
    seen = []
    for _ in range(5):
        m = Machine()
        m.own = ga.grad(m.plain)
        m.f(1.0), m.own(X), ga.jacobian(m.plain)(X), ga.hessian(m.plain)(X)
        m.f(1.0), m.own(X)
        seen.append(weakref.ref(m))
        del m
    gc.collect()
    assert not any(r() for r in seen)
    f = Machine().f  # a handle keeps its object
    assert f(1.0) == 4.0 and f(1.0) == 4.0


def test_functions_and_what_they_close_over_are_freed():
    class Array(np.ndarray):
        pass

    seen = []
    for _ in range(3):
        table = np.ones(3).view(Array)
        f = ga.function(lambda x, t=table: x * t.sum())
        ga.grad(lambda x, f=f: f(x).sum())(X)
        for _ in range(4):
            f(X), ga.grad(lambda x, f=f: f(x).sum())(X), ga.vjp(f)(X)
        seen.append(weakref.ref(f))
        del f, table
    gc.collect()
    from graphad.transform import shared

    shared._RECOGNISED.clear()
    gc.collect()
    assert not any(r() for r in seen)


class Holder:
    def __init__(self):
        self.lam = 0.1
        self.g = ga.grad(self.f)

    def f(self, w):
        return self.lam * np.sum(w**2)


@pytest.mark.parametrize(
    "again", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_objects_that_hold_their_own_gradient_are_copied_and_pickled(again):
    m = Holder()
    m.g(X)
    twin = again(m)
    np.testing.assert_allclose(twin.g(X), 0.2 * X)
    if again is not copy.copy:
        twin.lam = 1.0
        np.testing.assert_allclose(twin.g(X), 2 * X)
        np.testing.assert_allclose(m.g(X), 0.2 * X)


# -- messages ------------------------------------------------------------------------------------
MESSAGES = {
    "argnums": (lambda: ga.grad(power, argnums=0), "wrt="),
    "argnums at the call": (lambda: ga.grad(power)(X, argnums=0), "wrt="),
    "static_argnums": (lambda: ga.function(power, static_argnums=0), "static="),
    "a value": (lambda: ga.grad(3), r"ga\.grad\(f\)\(3\)"),
    "a value to compile": (lambda: ga.function(3), "a int is not a function"),
    "too many": (lambda: ga.function(lambda x: x)(1.0, 2.0), r"lambda>?\(x\)"),
    "too few": (lambda: ga.function(lambda x, y: x)(1.0), "missing a required argument: 'y'"),
    "jit": (lambda: ga.jit, r"ga\.function"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_name_the_fix(name):
    run, text = MESSAGES[name]
    with pytest.raises((TraceError, AttributeError), match=text):
        run()
