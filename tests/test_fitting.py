"""Fitting: domains, parts used twice, which parameters move, and what comes back."""

import numpy as np
import pytest

import graphad as ga
from graphad import flows
from graphad.errors import ParameterError, ShapeError

KEY = ga.random.key(4)
QUIET = {"key": KEY, "progress": False}


def rows(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_scales_stay_positive_and_reach_the_closed_form():
    x = 3.0 + 0.05 * rows(0, 1000)
    normal, history = flows.Normal(0.0, 1.0).fit(x, steps=1500, learning_rate=0.1, **QUIET)
    assert history.stopped is None
    np.testing.assert_allclose([normal.loc, normal.scale], [x.mean(), x.std()], rtol=0.15)
    single = flows.Normal(0.0, 1.0, dtype="float32")
    fitted, _ = single.fit(x.astype("f4"), steps=400, learning_rate=0.1, **QUIET)
    assert fitted.scale.dtype == np.float32 and fitted.scale > 0
    t, _ = flows.StudentT(3.0, 0.0, 1.0).fit(x, steps=300, learning_rate=0.1, **QUIET)
    assert t.df > 0 and t.scale > 0 and np.isfinite(t.log_prob(x)).all()


def test_a_triangular_factor_keeps_its_positive_diagonal():
    tril = np.array([[0.3, 0.0], [2.0, 0.1]])
    x = np.array([1.0, -2.0]) + rows(1, 2000, 2) @ tril.T
    start = flows.MultivariateNormalTril(np.zeros(2), np.eye(2))
    fitted, history = start.fit(x, steps=1500, learning_rate=0.05, **QUIET)
    assert history.stopped is None and (np.diagonal(fitted.scale_tril) > 0).all()
    np.testing.assert_allclose(
        np.tril(fitted.scale_tril), np.linalg.cholesky(np.cov(x.T)), atol=0.1
    )


def test_a_parameter_outside_its_domain_is_named():
    wrong = flows.Normal(np.zeros(1), np.ones(1)).replace({"scale": -np.ones(1)})
    with pytest.raises(ParameterError, match="'scale' is not positive"):
        wrong.fit(rows(0, 9, 1), **QUIET)
    moved, _ = wrong.fit(rows(0, 9, 1), steps=0, trainable="loc", **QUIET)
    assert moved.scale == -1.0


def test_a_mixture_is_fitted_saved_and_loaded(tmp_path):
    start = flows.Mixture(np.zeros(2), flows.Normal(np.array([-1.0, 1.0]), np.ones(2)))
    rng = np.random.default_rng(0)
    x = np.where(rng.random(3000) < 0.3, -2.0 + 0.5 * rng.normal(size=3000), 3.0 + rng.normal(
        size=3000))  # fmt: skip
    fitted, history = start.fit(x, steps=800, learning_rate=0.05, **QUIET)
    assert history.loss[-1] < history.loss[0]
    order = np.argsort(fitted.components.loc)
    np.testing.assert_allclose(fitted.components.loc[order], [-2.0, 3.0], atol=0.15)
    weights = np.exp(fitted.logits[order]) / np.exp(fitted.logits).sum()
    np.testing.assert_allclose(weights, [0.3, 0.7], atol=0.05)
    fitted.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(flows.load(tmp_path / "m.npz").log_prob(x), fitted.log_prob(x))


def test_a_part_used_twice_stays_one(tmp_path):
    shared = flows.Affine(np.zeros(1), np.ones(1))
    chain = flows.Chain([shared, flows.Elementwise(np.sinh), flows.Invert(shared)])
    flow = flows.TransformedDistribution(flows.StandardNormal((1,)), chain)
    assert list(flow.params) == ["bijector.parts.0.loc", "bijector.parts.0.scale"]
    moved = flow.replace({"bijector.parts.2.inner.loc": np.full(1, 2.0)})  # either name
    assert moved.bijector.parts[0] is moved.bijector.parts[2].inner
    assert moved.bijector.parts[0].loc == 2.0

    def loss(value):  # the gradient is that of both places
        return flow.replace({"bijector.parts.0.loc": value}).log_prob(np.full(1, 0.4))

    g, h = ga.grad(loss)(np.full(1, 0.3)), 1e-5
    slope = (loss(np.full(1, 0.3 + h)) - loss(np.full(1, 0.3 - h))) / (2 * h)
    np.testing.assert_allclose(g, [slope], rtol=1e-7)
    fitted, _ = flow.fit(rows(0, 100, 1), steps=20, **QUIET)
    assert fitted.bijector.parts[0] is fitted.bijector.parts[2].inner
    fitted.save(tmp_path / "f.npz")
    again = flows.load(tmp_path / "f.npz")
    assert again.bijector.parts[0] is again.bijector.parts[2].inner
    assert list(again.params) == list(flow.params)
    only, _ = flow.fit(rows(0, 100, 1), steps=3, trainable="bijector.parts.2", **QUIET)
    assert (
        only.bijector.parts[0].loc != 0.0 and only.bijector.parts[0] is only.bijector.parts[2].inner
    )


def test_an_act_norm_used_twice_is_set_once():
    norm = flows.ActNorm((2,))
    chain = flows.Chain([norm, flows.Permute([1, 0]), norm])
    made, _ = chain.initialised(3.0 + rows(0, 50, 2))
    assert made.parts[0] is made.parts[2] and made.parts[0].ready
    plain = flows.Chain([flows.Permute([1, 0]), flows.Affine(np.zeros(2))])
    assert plain.initialised(rows(0, 5, 2))[0] is plain


def test_conditional_parts_with_one_inside_used_twice():
    shared = flows.Affine(np.zeros(2), np.ones(2))
    layer = flows.Conditional(flows.Chain([shared, shared]), 3, key=KEY, hidden=(4,))
    x, c = rows(0, 5, 2), rows(1, 5, 3)
    np.testing.assert_allclose(layer.inverse(layer.forward(x, c), c), x)


def test_prefixes_name_whole_parts():
    flow = flows.RealNVP((2,), transforms=12, hidden=(4,), key=KEY)
    x = rows(0, 100, 2)

    def moved(trainable):
        fitted, _ = flow.fit(x, steps=2, trainable=trainable, **QUIET)
        return {n.split(".")[2] for n in flow.params
                if not np.array_equal(flow.params[n], fitted.params[n])}  # fmt: skip

    assert moved("bijector.parts.1") == {"1"}
    assert moved(["bijector.parts.1", "bijector.parts.11"]) == {"1", "11"}
    assert moved(lambda n: ".parts.3." in n) == {"3"}
    assert len(moved("bijector")) == 12
    for wrong in ("bijector.part", "bijector.parts.99", ["bijector", "nothing"]):
        with pytest.raises(ShapeError, match="no parameter is in"):
            moved(wrong)
    with pytest.raises(ShapeError, match="nothing to train"):
        moved([])


def test_what_comes_back_is_the_best_that_was_seen():
    x = 2.0 + rows(0, 400)
    start = flows.Normal(x.mean(), x.std())  # nothing can be better
    loss = -start.log_prob(x).mean()
    for rate in (0.01, 5.0, lambda k: 1e-3 if k < 40 else 30.0):
        fitted, history = start.fit(x, steps=60, batch_size=20, learning_rate=rate, **QUIET)
        assert -fitted.log_prob(x).mean() <= loss and history.best_step == 0
        assert len(history.loss) == 60
    away = flows.Normal(0.0, 1.0)
    fitted, history = away.fit(x, steps=200, batch_size=100, learning_rate=lambda k: 0.1 if k < 100
                               else 50.0, **QUIET)  # fmt: skip
    assert -fitted.log_prob(x).mean() < loss + 0.3 and 0 < history.best_step < 200


def test_what_comes_back_is_finite():
    x = rows(0, 200)
    uniform = flows.Uniform(-4.0, 4.0)  # its bounds may cross, and leave data outside
    with pytest.warns(flows.TrainingStopped):
        fitted, history = uniform.fit(x, steps=500, learning_rate=0.3, **QUIET)
    assert history.stopped and np.isfinite(fitted.log_prob(x)).all() and fitted.high > fitted.low
    assert -fitted.log_prob(x).mean() <= np.log(8.0)
    with pytest.warns(flows.TrainingStopped):
        same, _ = flows.Normal().fit(np.array([0.0, np.nan]), steps=5, **QUIET)
    assert (same.loc, same.scale) == (0.0, 1.0)


def test_batches_of_distributions_are_fitted_side_by_side():
    x = np.array([1.0, -3.0]) + rows(0, 4000, 2)
    fitted, _ = flows.Normal(np.zeros(2), np.ones(2)).fit(
        x, steps=1500, learning_rate=0.05, **QUIET
    )
    np.testing.assert_allclose(fitted.loc, x.mean(0), atol=0.05)
    t = flows.Independent(flows.StudentT(np.full(2, 5.0)), 1)
    fitted, _ = t.fit(x, steps=50, **QUIET)
    assert fitted.event_shape == (2,)
    with pytest.raises(ShapeError, match="rows of events"):
        flows.Normal(np.zeros(2)).fit(np.zeros(2), **QUIET)
    for wrong in ({"steps": -1}, {"batch_size": 0}):
        with pytest.raises(ShapeError, match="steps, and rows"):
            flows.Normal().fit(np.zeros(2), **QUIET, **wrong)
