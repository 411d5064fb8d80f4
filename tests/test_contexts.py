"""Contexts: what is missing, too much or of another shape; broadcasting; noise of each one's own."""

import numpy as np
import pytest

import graphad as ga
from graphad import flows
from graphad.errors import ShapeError

KEY = ga.random.key(9)
OPTIONS = {"transforms": 2, "hidden": (8,), "key": KEY}
MODELS = {"RealNVP": flows.RealNVP, "NSF": flows.NSF, "MAF": flows.MAF, "IAF": flows.IAF}
NAMES = [*MODELS, "conditional", "numbers", "independent", "mixture", "base", "image"]
Transformed = flows.TransformedDistribution


def rows(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def conditional(event=()):
    inner = flows.Affine(np.zeros(event), np.ones(event))
    layer = flows.Conditional(inner, 3, key=KEY, hidden=(8,))
    rng = np.random.default_rng(1)
    return layer.replace({n: p + 0.2 * rng.normal(size=p.shape)
                          for n, p in layer.params.items()})  # fmt: skip


def made(name):
    """A flow of two numbers, or an image, with three features of a context."""
    if name == "conditional":
        return Transformed(flows.StandardNormal((2,)), conditional((2,)))
    if name == "numbers":
        return Transformed(flows.StandardNormal((2,)), conditional())
    if name == "independent":
        return flows.Independent(Transformed(flows.Normal(np.zeros(2), 1.0), conditional()), 1)
    if name == "mixture":
        numbers = flows.Normal(np.arange(6.0).reshape(3, 2), 1.0)
        each = flows.Independent(Transformed(numbers, conditional()), 1)
        return flows.Mixture(np.zeros(3), each)
    if name == "base":
        return Transformed(flows.MAF((2,), **OPTIONS, context=3), flows.Affine(np.zeros(2), 2.0))
    if name == "image":
        flow = flows.Glow((2, 2, 1), transforms=1, hidden=4, key=KEY, levels=1, context=3)
    else:
        flow = MODELS[name]((2,), **OPTIONS, context=3)
    rng = np.random.default_rng(1)
    return flow.replace({n: p + 0.2 * rng.normal(size=p.shape)
                         for n, p in flow.params.items()})  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_contexts_broadcast_as_numpy_would(name):
    flow = made(name)
    event = flow.event_shape
    c, x = rows(2, 4, 3), rows(3, 5, 1, *event)
    whole = flow.log_prob(x, context=c)
    assert whole.shape == (5, 4) and flow.log_prob(x[0, 0], context=c).shape == (4,)
    one = [[flow.log_prob(x[i, 0], context=c[j]) for j in range(4)] for i in range(5)]
    np.testing.assert_allclose(whole, one, rtol=1e-9)
    assert np.ptp(whole, axis=1).min() > 1e-9  # each context has a density of its own
    draws, log_p = flow.sample_and_log_prob(KEY, (5, 1), context=c)
    assert draws.shape == (5, 4, *event) and log_p.shape == (5, 4)
    np.testing.assert_allclose(flow.log_prob(draws, context=c), log_p, rtol=1e-7)
    np.testing.assert_array_equal(flow.sample(KEY, (5, 1), context=c), draws)
    assert flow.sample(KEY, (4,), context=c).shape == flow.sample(KEY, context=c).shape
    same = np.broadcast_to(rows(0, 3), (100, 3))
    draws = flow.sample(KEY, (), context=same).reshape(100, -1)
    assert len(np.unique(draws[:, 0])) == 100  # and noise of its own


@pytest.mark.parametrize("name", NAMES)
def test_errors_of_contexts(name):
    flow = made(name)
    x = np.zeros((4, *flow.event_shape))
    calls = {
        "log_prob": lambda c: flow.log_prob(x, context=c),
        "sample": lambda c: flow.sample(KEY, (4,), context=c),
        "sample_and_log_prob": lambda c: flow.sample_and_log_prob(KEY, (4,), context=c),
        "fit": lambda c: flow.fit(x, key=KEY, steps=1, progress=False, context=c),
    }
    for method, call in calls.items():
        for wrong, text in ((None, "needs a context"), (np.zeros((4, 2)), "other features"),
                            (np.zeros(()), "other features"), (np.zeros((5, 3)), "broadcast"),
                            (np.zeros((2, 3)), "broadcast")):  # fmt: skip
            with pytest.raises(ShapeError, match=text) as error:
                call(wrong)
            assert method in str(error.value) and "fix:" in str(error.value)
    with pytest.raises(ShapeError, match="one row for each"):
        calls["fit"](np.zeros((2, 4, 3)))


def test_a_context_that_nothing_takes_is_an_error():
    layer = flows.AffineCoupling((2,), key=KEY, hidden=(4,))
    flow = Transformed(flows.StandardNormal((2,)), layer)
    for call in (flow.log_prob, layer.forward, layer.inverse_and_log_det, flows.Normal().log_prob,
                 flows.MAF((2,), **OPTIONS).log_prob):  # fmt: skip
        with pytest.raises(ShapeError, match="takes no context"):
            call(np.zeros(2), context=np.zeros(3))
    for call in (flow.sample, flows.Uniform().sample_and_log_prob):
        with pytest.raises(ShapeError, match="takes no context"):
            call(KEY, (2,), context=np.zeros(3))
    with pytest.raises(ShapeError, match="takes no context"):
        flow.fit(np.zeros((4, 2)), key=KEY, steps=1, progress=False, context=np.zeros((4, 1)))
    both = flows.Chain([flows.AffineCoupling((2,), key=KEY, context=n) for n in (2, 3)])
    with pytest.raises(ShapeError, match="different features"):
        both.forward(np.zeros(2), context=np.zeros(3))


def test_functions_may_take_a_context():
    def f(params, kept, context=None):
        t = kept if context is None else kept + params["w"] * context[..., :1]
        return np.concatenate([t, 0.1 * t], -1)

    layer = flows.AffineCoupling((2,), flows.Function(f, {"w": np.array(2.0)}))
    x, c = rows(0, 5, 2), rows(1, 5, 3)
    assert not np.allclose(layer.forward(x), layer.forward(x, c))
    np.testing.assert_allclose(layer.inverse(layer.forward(x, c), c), x)


def test_fitting_with_one_context_for_all_and_with_rows():
    flow, x = made("MAF"), rows(0, 30, 2)
    options = {"key": KEY, "steps": 3, "batch_size": 10, "progress": False}
    for c in (rows(1, 30, 3), rows(1, 3), rows(1, 1, 3)):
        _, history = flow.fit(x, context=c, validation=0.2, **options)
        assert np.isfinite(history.loss).all()
    fitted, _ = flow.fit(x, context=rows(1, 30, 3), validation=(x[:7], rows(1, 3)), **options)
    assert fitted.log_prob(x, context=rows(1, 3)).shape == (30,)


def test_contexts_within_functions():
    flow = made("RealNVP")
    x, c = rows(0, 4, 2), rows(1, 4, 3)
    slope = ga.grad(lambda c: flow.log_prob(x, context=c).sum())(c)
    h = 1e-6 * np.eye(12)[5].reshape(4, 3)
    change = (flow.log_prob(x, context=c + h) - flow.log_prob(x, context=c - h)).sum() / 2e-6
    np.testing.assert_allclose(slope[1, 2], change, rtol=1e-5)
    keys = ga.random.split(KEY, 4)
    many = ga.vmap(lambda k, c: flow.sample(k, (2,), context=c))(keys, c)
    np.testing.assert_allclose(many[3], flow.sample(keys[3], (2,), context=c[3]), rtol=1e-12)
