"""Distributions: densities, shapes, moments, entropies; against SciPy and by integration."""

import numpy as np
import pytest
import scipy.stats as st

import graphad as ga
from graphad import flows
from graphad.errors import NotCoveredError, ShapeError

KEY = ga.random.key(5)
TRIL = np.array([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.7, 0.5]])
SCALAR = {
    "normal": (flows.Normal(1.0, 2.0), st.norm(1, 2)),
    "uniform": (flows.Uniform(-1.0, 3.0), st.uniform(-1, 4)),
    "logistic": (flows.Logistic(0.5, 1.5), st.logistic(0.5, 1.5)),
    "student t": (flows.StudentT(3.5, 1.0, 2.0), st.t(3.5, 1, 2)),
}


@pytest.mark.parametrize("name", SCALAR)
def test_scalar_densities_entropies_and_draws(name):
    ours, theirs = SCALAR[name]
    x = np.concatenate([np.linspace(-8, 8, 101), [-1e3, 1e3, 1e8, -1e30]])
    np.testing.assert_allclose(ours.log_prob(x), theirs.logpdf(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ours.entropy(), theirs.entropy(), rtol=1e-12)
    draws = ours.sample(KEY, (100_000,))
    assert draws.shape == (100_000,)
    # Kolmogorov's distance stays below this with probability 1 - 1e-6.
    assert st.kstest(draws, theirs.cdf).statistic < np.sqrt(np.log(2 / 1e-6) / 2 / len(draws))
    values, log_prob = ours.sample_and_log_prob(KEY, (5,))
    np.testing.assert_allclose(log_prob, ours.log_prob(values))
    np.testing.assert_array_equal(values, ours.sample(KEY, (5,)))
    assert np.isnan(ours.log_prob(np.nan))


def test_derivatives_in_the_parameters():
    x = np.array([0.3, -2.0])
    for d in (flows.Normal(1.0, 2.0), flows.Logistic(0.5, 1.5), flows.StudentT(3.5, 1.0, 2.0)):
        gradient = ga.grad(lambda p, d=d: d.replace(p).log_prob(x).sum())(d.params)
        for name, value in d.params.items():
            h = 1e-5
            up, down = (d.replace({name: value + s}).log_prob(x).sum() for s in (h, -h))
            np.testing.assert_allclose(gradient[name], (up - down) / (2 * h), rtol=1e-7)


def test_vectors():
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=3), np.array([0.5, 1.0, 2.0])
    x = rng.normal(size=(2, 5, 3))
    diag = flows.MultivariateNormalDiag(loc, scale)
    tril = flows.MultivariateNormalTril(loc, TRIL + np.triu(np.full((3, 3), 9.0), 1))
    for ours, cov in ((diag, np.diag(scale**2)), (tril, TRIL @ TRIL.T)):
        theirs = st.multivariate_normal(loc, cov)
        assert (ours.event_shape, ours.batch_shape) == ((3,), ())
        np.testing.assert_allclose(ours.log_prob(x), theirs.logpdf(x), rtol=1e-11)
        np.testing.assert_allclose(ours.log_prob(x[0, 0]), theirs.logpdf(x[0, 0]), rtol=1e-11)
        np.testing.assert_allclose(ours.entropy(), theirs.entropy(), rtol=1e-12)
        draws = ours.sample(KEY, (200_000,))
        np.testing.assert_allclose(draws.mean(0), loc, atol=0.03)
        np.testing.assert_allclose(np.cov(draws.T), cov, atol=0.05)


def test_batches_of_parameters():
    d = flows.Normal(np.zeros((4, 3)), np.ones(3))
    assert (d.batch_shape, d.event_shape) == ((4, 3), ())
    assert d.sample(KEY, (2,)).shape == (2, 4, 3)
    assert d.log_prob(0.0).shape == (4, 3)
    rows = flows.MultivariateNormalDiag(np.zeros((4, 3)), np.ones(3))
    assert (rows.batch_shape, rows.event_shape) == ((4,), (3,))
    assert rows.log_prob(np.zeros((7, 4, 3))).shape == (7, 4)
    many = flows.MultivariateNormalTril(np.zeros((4, 3)), np.broadcast_to(TRIL, (4, 3, 3)))
    assert many.log_prob(np.zeros((7, 4, 3))).shape == (7, 4) and many.sample(KEY).shape == (4, 3)
    np.testing.assert_allclose(many.log_prob(np.ones(3))[2],
                               flows.MultivariateNormalTril(np.zeros(3), TRIL).log_prob(np.ones(3)))  # fmt: skip
    whole = flows.Independent(d, 2)
    assert (whole.batch_shape, whole.event_shape) == ((), (4, 3))
    np.testing.assert_allclose(whole.log_prob(np.ones((4, 3))), d.log_prob(np.ones((4, 3))).sum())
    part = flows.Independent(d, 1)
    assert part.sample(KEY, (2,)).shape == (2, 4, 3) and part.entropy().shape == (4,)


def test_kl():
    p, q = flows.Normal(0.3, 1.5), flows.Normal(-1.0, 2.0)
    np.testing.assert_allclose(p.kl(q), np.log(2 / 1.5) + (1.5**2 + 1.3**2) / 8 - 0.5)
    a = flows.MultivariateNormalTril(np.arange(3.0), TRIL)
    b = flows.MultivariateNormalTril(np.zeros(3), np.eye(3) * 2 + np.tril(np.ones((3, 3)), -1))
    x, log_p = a.sample_and_log_prob(KEY, (400_000,))
    np.testing.assert_allclose(a.kl(b), (log_p - b.log_prob(x)).mean(), rtol=0.01)
    np.testing.assert_allclose(a.kl(a), 0, atol=1e-12)
    diag = flows.MultivariateNormalDiag(np.zeros(3), np.ones(3))
    other = flows.MultivariateNormalDiag(np.ones(3), np.full(3, 2.0))
    np.testing.assert_allclose(diag.kl(other), 3 * (np.log(2) + 2 / 8 - 0.5))
    assert flows.Uniform(0.0, 1.0).kl(flows.Uniform(-1.0, 1.0)) == np.log(2)
    assert flows.Uniform(0.0, 2.0).kl(flows.Uniform(0.0, 1.0)) == np.inf
    with pytest.raises(NotCoveredError, match="no closed form"):
        p.kl(flows.Logistic())
    with pytest.raises(NotCoveredError, match="no closed form"):
        flows.Mixture(np.zeros(2), flows.Normal(np.zeros(2))).entropy()


def test_mixture():
    weights, loc, scale = (
        np.array([0.2, 0.5, 0.3]),
        np.array([-3.0, 0.0, 4.0]),
        np.array([1.0, 0.5, 2.0]),
    )
    d = flows.Mixture(weights=weights, components=flows.Normal(loc, scale))
    x = np.linspace(-9, 12, 50)
    expected = np.log((weights * st.norm(loc, scale).pdf(x[:, None])).sum(1))
    np.testing.assert_allclose(d.log_prob(x), expected, rtol=1e-12)
    draws = d.sample(KEY, (100_000,))
    cdf = lambda v: (weights * st.norm(loc, scale).cdf(np.asarray(v)[:, None])).sum(1)  # noqa: E731
    assert st.kstest(draws, cdf).statistic < np.sqrt(np.log(2 / 1e-6) / 2 / len(draws))
    vectors = flows.Mixture(np.zeros(3), flows.MultivariateNormalDiag(np.arange(6.0).reshape(3, 2)))
    assert (vectors.event_shape, vectors.batch_shape) == ((2,), ())
    assert vectors.sample(KEY, (5,)).shape == (5, 2)
    each = [
        st.multivariate_normal(m, np.eye(2)).pdf(np.ones(2)) for m in np.arange(6.0).reshape(3, 2)
    ]
    np.testing.assert_allclose(vectors.log_prob(np.ones(2)), np.log(np.mean(each)))
    never = flows.Mixture(weights=[0.0, 1.0], components=flows.Normal(np.array([50.0, 0.0])))
    assert never.sample(KEY, (1000,)).max() < 25
    with pytest.raises(ShapeError, match="one weight for each component"):
        flows.Mixture(np.zeros(2), flows.Normal(np.zeros(3)))


def test_transformed():
    d = flows.TransformedDistribution(flows.Normal(0.5, 0.7), flows.Elementwise(np.exp))
    theirs = st.lognorm(0.7, scale=np.exp(0.5))
    x = np.geomspace(1e-3, 1e3, 40)
    np.testing.assert_allclose(d.log_prob(x), theirs.logpdf(x), rtol=1e-12)
    draws, log_prob = d.sample_and_log_prob(KEY, (50,))
    np.testing.assert_allclose(log_prob, theirs.logpdf(draws), rtol=1e-10)
    # A bijector of numbers maps each element of an event, and log-dets are summed.
    base = flows.MultivariateNormalDiag(np.zeros(3), np.ones(3))
    vector = flows.TransformedDistribution(base, flows.Elementwise(np.exp))
    assert vector.event_shape == (3,) and vector.log_prob(np.ones((5, 3))).shape == (5,)
    np.testing.assert_allclose(vector.log_prob(np.full(3, 2.0)), 3 * st.lognorm(1).logpdf(2.0))
    # A bijector of vectors takes batch axes of the base as its event.
    rows = flows.TransformedDistribution(flows.Normal(np.zeros(4)), flows.Permute("reverse", (4,)))
    assert (rows.event_shape, rows.batch_shape) == ((4,), ())
    with pytest.raises(ShapeError, match="does not fit the bijector"):
        flows.TransformedDistribution(flows.Normal(np.zeros(3)), flows.Permute("reverse", (4,)))


def test_shape_errors_name_the_shapes():
    d = flows.MultivariateNormalDiag(np.zeros((4, 3)), np.ones(3))
    for x, text in ((np.zeros((5, 4, 2)), "last axes are not the event shape"),
                    (np.zeros((5, 3)), "do not fit the batch shape"), (np.float64(1.0), "last axes")):  # fmt: skip
        with pytest.raises(ShapeError, match=text) as error:
            d.log_prob(x)
        for part in (
            "sample shape",
            "batch shape (4,)",
            "event shape (3,)",
            str(np.shape(x)),
            "fix:",
        ):
            assert part in str(error.value)
    with pytest.raises(ShapeError, match=r"x.reshape\(10, 32, 32, 3\)"):
        flows.StandardNormal((32, 32, 3)).log_prob(np.zeros((10, 3072)))


def test_frozen_pickled_and_replaced():
    import pickle

    d = flows.Normal(np.zeros(3), 2.0)
    with pytest.raises(AttributeError, match="does not change"):
        d.loc = 1.0
    again = pickle.loads(pickle.dumps(d))
    np.testing.assert_array_equal(again.log_prob(1.0), d.log_prob(1.0))
    assert list(d.params) == ["loc", "scale"]
    assert d.replace({"loc": np.ones(3)}).log_prob(1.0)[0] == flows.Normal(1.0, 2.0).log_prob(1.0)
    with pytest.raises(ShapeError, match="there is no parameter 'scales'"):
        d.replace({"scales": 1.0})
    with pytest.raises(ShapeError, match="another shape"):
        d.replace({"loc": np.ones(4)})


def test_parameters_that_are_not_allowed():
    for make in (flows.Normal, flows.Logistic, lambda m, s: flows.StudentT(3.0, m, s),
                 lambda m, s: flows.MultivariateNormalDiag(np.zeros(2), s)):  # fmt: skip
        for wrong in (-1.0, 0.0, np.nan):
            with pytest.raises(ga.errors.ParameterError, match="scale must be positive"):
                make(0.0, wrong)
    loc = ga.grad(lambda s: flows.Normal(0.0, s).log_prob(1.0))(
        2.0
    )  # traced values are not looked at
    assert np.isclose(loc, -0.5 + 0.125)


def test_within_functions():
    density = ga.function(lambda loc, x: flows.Normal(loc, 1.0).log_prob(x).sum())
    x = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(ga.grad(density)(0.3, x), (x - 0.3).sum())
    draw = ga.function(lambda key, loc: flows.Normal(loc, 2.0).sample(key, (3,)))
    np.testing.assert_array_equal(draw(KEY, 0.5), flows.Normal(0.5, 2.0).sample(KEY, (3,)))
    # Reparameterised: draws have derivatives in loc and scale.
    moved = ga.grad(lambda s: flows.Normal(0.0, s).sample(KEY, (4,)).sum())(1.0)
    np.testing.assert_allclose(moved, flows.Normal().sample(KEY, (4,)).sum())
