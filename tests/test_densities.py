"""Densities at edges and outside of supports, in single precision, and derivatives that are none."""

import numpy as np
import pytest
import scipy.stats as st

import graphad as ga
from graphad import flows
from graphad.errors import DerivativeError

KEY = ga.random.key(2)
Transformed = flows.TransformedDistribution
PAIRS = {
    "normal": (lambda dt: flows.Normal(1.0, 2.0, dtype=dt), st.norm(1, 2)),
    "uniform": (lambda dt: flows.Uniform(-1.0, 3.0, dtype=dt), st.uniform(-1, 4)),
    "logistic": (lambda dt: flows.Logistic(0.5, 1.5, dtype=dt), st.logistic(0.5, 1.5)),
    "student t": (lambda dt: flows.StudentT(3.5, 1.0, 2.0, dtype=dt), st.t(3.5, 1, 2)),
}
EDGES = np.array([-np.inf, -1e30, -1.0, -1.00001, 0.0, 3.0, 3.00001, 1e30, np.inf, np.nan])


@pytest.mark.parametrize("name", PAIRS)
def test_edges_are_scipys(name):
    make, theirs = PAIRS[name]
    with np.errstate(all="ignore"):
        want = theirs.logpdf(EDGES)
        rounded = want.astype("f4")
    np.testing.assert_allclose(make("f8").log_prob(EDGES), want, rtol=1e-12)
    single = make("f4").log_prob(EDGES.astype("f4"))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, rounded, rtol=2e-6)
    slope = ga.grad(lambda x: make("f8").log_prob(x).sum())(EDGES[1:-2])
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(0,), (), (1,), (3, 0, 2), (100_000,)])
def test_shapes_of_draws(name, shape):
    d = PAIRS[name][0]("f4")
    draws, log_p = d.sample_and_log_prob(KEY, shape)
    assert draws.shape == log_p.shape == shape and draws.dtype == log_p.dtype == np.float32
    assert np.isfinite(draws).all() and np.isfinite(log_p).all()


@pytest.mark.parametrize("name", PAIRS)
def test_draws_for_many_keys(name):
    d, keys = PAIRS[name][0]("f8"), ga.random.split(KEY, 5)
    many = ga.vmap(lambda k: d.sample(k, (3,)))(keys)
    np.testing.assert_array_equal(many, [d.sample(k, (3,)) for k in keys])


OUTSIDE = {
    "exp": (np.exp, None, st.lognorm(1.0)),
    "minus exp": (lambda v: -np.exp(v), None, None),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), None, None),
    "tanh": (np.tanh, None, None),
    "softsign": (lambda v: v / (1 + np.abs(v)), None, None),
    "square": (lambda v: v**2, (0.0, np.inf), None),
    "everywhere": (lambda v: v + 0.5 * np.tanh(v), None, None),
    "log": (np.log, (0.0, np.inf), None),
}
IMAGES = {"exp": (0, np.inf), "minus exp": (-np.inf, 0), "sigmoid": (0, 1), "tanh": (-1, 1),
          "softsign": (-1, 1), "square": (0, np.inf)}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outside_of_its_image_a_density_is_zero(name, dtype):
    f, domain, theirs = OUTSIDE[name]
    e = flows.Elementwise(f, **({} if domain is None else {"domain": domain}))
    d = Transformed(flows.Normal(dtype=dtype), e)
    low, high = IMAGES.get(name, (-np.inf, np.inf))
    y = np.array([-np.inf, -3.0, -1.0, -0.5, 0.25, 0.5, 1.5, 5.0, np.inf, np.nan], dtype)
    found = d.log_prob(y)
    assert found.dtype == np.dtype(dtype) and np.isnan(found[-1])
    inside = (y > low) & (y < high) & np.isfinite(y)
    assert (found[:-1][~inside[:-1]] == -np.inf).all() and np.isfinite(found[:-2][inside[:-2]])[
        :5
    ].all()
    slope = ga.grad(lambda y: d.log_prob(y).sum())(y[1:-2])
    assert np.isfinite(slope).all() and not slope[~inside[1:-2]].any()
    if theirs is not None and dtype == "float64":
        np.testing.assert_allclose(found, theirs.logpdf(y), rtol=1e-12)
    by_loc = ga.grad(lambda m: Transformed(flows.Normal(m), e).log_prob(y[1:-3]).sum())(0.1)
    if not (~inside[1:-3]).any():
        return
    assert by_loc == -np.inf or np.isfinite(by_loc)


def test_an_inverse_of_a_domain_and_chains_of_them():
    y = np.array([-1.0, 0.0, 0.5, 2.0])
    back = flows.Invert(flows.Elementwise(np.log, domain=(0.0, np.inf)))
    np.testing.assert_allclose(Transformed(flows.Normal(), back).log_prob(y)[2:],
                               Transformed(flows.Normal(), flows.Invert(flows.Elementwise(
                                   np.log, domain=(0.0, np.inf)))).log_prob(y)[2:])  # fmt: skip
    assert Transformed(flows.Normal(), flows.Elementwise(np.exp)).log_prob(y)[0] == -np.inf
    chain = flows.Chain([flows.Affine(np.zeros(2), 2.0), flows.Elementwise(np.exp),
                         flows.Affine(np.ones(2), 1.0)])  # fmt: skip
    d = Transformed(flows.StandardNormal((2,)), chain)
    x = np.array([[2.0, 3.0], [0.5, 3.0], [1.0, 2.0]])
    want = st.lognorm(2.0).logpdf(x - 1.0).sum(-1)
    np.testing.assert_allclose(d.log_prob(x), want, rtol=1e-12)
    slopes = ga.grad(lambda p: d.replace(p).log_prob(x[1]))(d.params)
    assert all(not s.any() for s in slopes.values())


def test_the_image_follows_the_parameters():
    e = flows.Elementwise(lambda v, a: a + np.exp(v), params=[np.array([0.0, 1.0])])
    d = Transformed(flows.Normal(np.zeros(2)), e)
    found = d.log_prob(np.array([0.5, 0.5]))
    assert np.isfinite(found[0]) and found[1] == -np.inf
    g = ga.grad(lambda p: d.replace(p).log_prob(np.array([0.5, 0.5]))[0])(d.params)
    assert all(np.isfinite(v).all() for v in g.values())


def test_a_mixture_weight_that_is_zero_has_a_slope():
    loc = np.array([0.0, 1.0, 2.0])
    p = np.array([0.0, 0.5, 0.5])
    pdf = st.norm(loc).pdf(0.3)
    want = pdf / (p @ pdf) - 1.0
    by_logits = ga.grad(lambda p: flows.Mixture(np.log(p), flows.Normal(loc)).log_prob(0.3))
    by_weights = ga.grad(
        lambda p: flows.Mixture(weights=p, components=flows.Normal(loc)).log_prob(0.3)
    )
    np.testing.assert_allclose(by_logits(p), want, rtol=1e-12)
    np.testing.assert_allclose(by_weights(p), want, rtol=1e-12)
    second = ga.jacobian(by_weights)(p)
    np.testing.assert_allclose(second, 1.0 - np.outer(pdf, pdf) / (p @ pdf) ** 2, rtol=1e-10)
    never = flows.Mixture(weights=p, components=flows.Normal(loc))
    np.testing.assert_allclose(never.log_prob(0.3), np.log(p @ pdf), rtol=1e-14)
    g = ga.grad(lambda w: flows.Mixture(w, flows.Normal(loc)).log_prob(0.3))(np.log(p + 1e-300))
    assert np.isfinite(g).all()


def test_draws_of_a_mixture_have_no_derivative_in_its_weights():
    loc = np.array([-1.0, 5.0])

    def mean(logits, loc):
        return flows.Mixture(logits, flows.Normal(loc, 0.1)).sample(KEY, (40,)).mean()

    share = (flows.Mixture(np.zeros(2), flows.Normal(loc, 0.1)).sample(KEY, (40,)) > 2).mean()
    np.testing.assert_allclose(ga.grad(mean, wrt=1)(np.zeros(2), loc), [1 - share, share])
    np.testing.assert_allclose(ga.jvp(mean, wrt=1)(np.zeros(2), loc, tangents=np.ones(2))[1], 1.0)
    for derivative in (ga.grad(mean), ga.grad(mean, wrt=(0, 1)), ga.hessian(mean),
                       lambda w, m: ga.jvp(mean)(w, m, tangents=w)):  # fmt: skip
        with pytest.raises(DerivativeError, match="draws have no derivative in the weights"):
            derivative(np.zeros(2), loc)
    held = ga.grad(lambda w: mean(ga.stop_gradient(w), loc))(np.zeros(2))
    assert not held.any()
    parts = flows.Normal(loc)
    held = ga.grad(lambda w: flows.Mixture(weights=ga.stop_gradient(w), components=parts).sample(
        KEY, (4,)).sum())(np.ones(2))  # fmt: skip
    assert not held.any()
    keys = ga.random.split(KEY, 3)
    many = ga.vmap(lambda k: flows.Mixture(np.zeros(2), flows.Normal(loc)).sample(k, (2,)))(keys)
    one = [flows.Mixture(np.zeros(2), flows.Normal(loc)).sample(k, (2,)) for k in keys]
    np.testing.assert_allclose(many, one)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_steep_splines_in_single_precision(scale):
    layer = flows.SplineCoupling((4,), key=ga.random.key(1), dtype="float32")
    wild = layer.replace({n: (p * scale).astype("f4") for n, p in layer.params.items()})
    x = ga.random.uniform(ga.random.key(3), (2000, 4), "float32", low=-5.5, high=5.5)
    y, log_det = wild.forward_and_log_det(x)
    back, opposite = wild.inverse_and_log_det(y)
    for v in (y, log_det, back, opposite):
        assert np.isfinite(v).all() and v.dtype == np.float32
    value = lambda p: wild.replace(p).inverse_and_log_det(y)[1].sum()  # noqa: E731
    assert all(np.isfinite(g).all() for g in ga.grad(value)(wild.params).values())


def test_splines_are_those_of_the_formula():
    """The inverse and its slope against bisection of the forward map in double precision."""
    from graphad.flows.transformers import SplineTransformer

    spline = SplineTransformer(5, 3.0)
    rng = np.random.default_rng(0)
    for steep in (1.0, 8.0):
        raw = [np.full(401, r) for r in steep * rng.normal(size=spline.count)]
        x = np.linspace(-2.99, 2.99, 401)
        y, slope = spline.forward(x, raw)
        back, inverse = spline.inverse(y, raw)
        room = 1e-11 * np.exp(-slope) + 1e-11
        assert (np.abs(back - x) <= room * 10).all() and (np.diff(y) > 0).all()
        np.testing.assert_allclose(inverse, -slope, atol=1e-6)


def test_parameters_that_no_distribution_has():
    parameter, weight = ga.errors.ParameterError, ga.errors.WeightError
    for make, kind, text in (
        (lambda: flows.Uniform(2.0, 1.0), parameter, "low is not below high"),
        (lambda: flows.Uniform(0.0, [1.0, np.nan]), parameter, "low is not below high"),
        (lambda: flows.MultivariateNormalTril(np.zeros(2), -np.eye(2)), parameter, "diagonal"),
        (lambda: flows.Affine(0.0, [1.0, 0.0]), parameter, "scale of zero"),
        (
            lambda: flows.Mixture(weights=[-1.0, 2.0], components=flows.Normal(np.zeros(2))),
            weight,
            "negative or nan",
        ),
    ):
        with pytest.raises(kind, match=text):
            make()
    categorical = ga.random.Categorical(probs=[0.25, 0.75])
    np.testing.assert_allclose(categorical.log_prob([-1, 1, 2]), [-np.inf, np.log(0.75), -np.inf])
    with pytest.raises(ga.errors.DTypeError, match="categories are integers"):
        categorical.log_prob([0.5])
    single = flows.Mixture(
        weights=np.ones(2, "f4"), components=flows.Normal(np.zeros(2, "f4"), dtype="f4")
    )
    assert single.log_prob(np.float32(0.0)).dtype == np.float32
