"""Flows: training, files, densities that integrate to one, real-world nuisances."""

import warnings

import numpy as np
import pytest

import graphad as ga
from graphad import flows
from graphad.errors import ShapeError

KEY = ga.random.key(11)
RNG = np.random.default_rng(0)
MODELS = {"RealNVP": flows.RealNVP, "NSF": flows.NSF, "MAF": flows.MAF, "IAF": flows.IAF}


def moons(n):
    """Two half circles."""
    t = RNG.uniform(0, np.pi, n)
    side = RNG.integers(0, 2, n)
    x = np.where(side, np.cos(t), 1 - np.cos(t))
    y = np.where(side, np.sin(t), 0.5 - np.sin(t))
    return np.stack([x, y], 1) + 0.1 * RNG.normal(size=(n, 2))


@pytest.mark.parametrize("name", MODELS)
def test_ready_made(name):
    flow = MODELS[name](event_shape=(3,), transforms=3, hidden=(16,), key=KEY)
    draws, log_p = flow.sample_and_log_prob(KEY, (200,))
    assert draws.shape == (200, 3)
    np.testing.assert_allclose(flow.log_prob(draws), log_p, atol=1e-8)
    np.testing.assert_array_equal(draws, flow.sample(KEY, (200,)))
    single = MODELS[name]((3,), transforms=2, hidden=(8,), key=KEY, dtype="float32")
    assert single.sample(KEY, (4,)).dtype == np.float32
    assert single.log_prob(np.zeros((4, 3), "f4")).dtype == np.float32
    given = MODELS[name]((3,), transforms=2, hidden=(16,), key=KEY, context=2, activation="tanh")
    rng = np.random.default_rng(0)  # last layers start near zero
    given = given.replace({n: p + 0.3 * rng.normal(size=p.shape) for n, p in given.params.items()})
    c = RNG.normal(size=(5, 2))
    first = ga.jacobian(lambda c: given.bijector.forward(np.ones((5, 3)), c)[:, 0].sum())(c)
    assert first.any()  # the first element depends on the context, too
    np.testing.assert_allclose(
        given.bijector.inverse(given.bijector.forward(np.ones((5, 3)), c), c), 1.0, atol=1e-8
    )


def test_glow_of_images():
    flow = flows.Glow((8, 8, 2), transforms=2, hidden=8, key=KEY)
    x = RNG.normal(size=(3, 8, 8, 2))
    assert flow.log_prob(x).shape == (3,)
    z, log_det = flow.bijector.inverse_and_log_det(x)
    back, opposite = flow.bijector.forward_and_log_det(z)
    np.testing.assert_allclose(back, x, atol=1e-9)
    np.testing.assert_allclose(opposite, -log_det, atol=1e-8)


def test_density_integrates_to_one_after_training():
    flow = flows.RealNVP((2,), transforms=6, hidden=(32, 32), activation="tanh", key=KEY)
    x = moons(2000)
    before = flow.log_prob(x).mean()
    flow, history = flow.fit(x, key=KEY, steps=800, batch_size=200, learning_rate=3e-3,
                             progress=False)  # fmt: skip
    assert flow.log_prob(x).mean() > before + 1.0
    assert len(history.loss) == 800 and history.stopped is None and history.seconds > 0
    grid = np.linspace(-4, 5, 700)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1)
    total = np.exp(flow.log_prob(points)).sum() * (grid[1] - grid[0]) ** 2
    assert abs(total - 1) < 2e-3
    draws = flow.sample(KEY, (20_000,))
    np.testing.assert_allclose(draws.mean(0), x.mean(0), atol=0.1)
    np.testing.assert_allclose(draws.std(0), x.std(0), rtol=0.1)


def test_one_dimension_after_training():
    x = np.concatenate([RNG.normal(-2, 0.5, (500, 1)), RNG.normal(1.5, 0.3, (500, 1))])
    flow = flows.NSF((1,), transforms=2, hidden=(8,), key=KEY, bins=12, autoregressive=True)
    flow, _ = flow.fit(x, key=KEY, steps=400, learning_rate=0.02, progress=False)
    grid = np.linspace(-8, 8, 8001)
    density = np.exp(flow.log_prob(grid[:, None]))
    assert abs(np.trapezoid(density, grid) - 1) < 1e-4
    assert density[np.abs(grid + 2).argmin()] > 4 * density[np.abs(grid).argmin()]
    below = np.trapezoid(density[grid < 0], grid[grid < 0])
    assert abs((flow.sample(KEY, (20_000,)) < 0).mean() - below) < 0.02


def test_a_slice_of_two_dimensions():
    flow = flows.NSF((2,), transforms=1, hidden=(8,), key=KEY, bins=6)
    flow = flow.replace({n: p + 0.5 * RNG.normal(size=p.shape) for n, p in flow.params.items()})
    grid = np.linspace(-8, 8, 4001)
    kept = 0.3
    line = np.stack([np.full_like(grid, kept), grid], 1)
    density = np.exp(flow.log_prob(line)) / np.exp(-0.5 * kept**2) * np.sqrt(2 * np.pi)
    assert abs(np.trapezoid(density, grid) - 1) < 1e-3


def test_importance_weights_give_the_volume_of_the_ball():
    """E_q[1(|x| < 1) / q(x)] is the volume of the unit ball, π²/2 in 4 dimensions."""
    flow = flows.RealNVP((4,), transforms=4, hidden=(16,), activation="tanh", key=KEY)
    rng = np.random.default_rng(5)
    flow = flow.replace({n: p + 0.1 * rng.normal(size=p.shape) for n, p in flow.params.items()})
    x, log_q = flow.sample_and_log_prob(KEY, (400_000,))
    weights = np.where((x * x).sum(1) < 1, np.exp(-log_q), 0.0)
    error = weights.std() / np.sqrt(len(weights))
    assert abs(weights.mean() - np.pi**2 / 2) < 5 * error and error < 0.1


def test_training_is_repeatable_and_ends_early():
    x = moons(400)
    flow = flows.RealNVP((2,), transforms=2, hidden=(16,), key=KEY)
    options = {"key": KEY, "steps": 60, "batch_size": 50, "progress": False}
    one, first = flow.fit(x, **options)
    two, second = flow.fit(x, **options)
    assert first.loss == second.loss
    assert all((one.params[n] == two.params[n]).all() for n in one.params)
    assert all((flow.params[n] == p).all() for n, p in flow.replace({}).params.items())
    best, history = flow.fit(x, **{**options, "steps": 2000, "learning_rate": 0.02},
                             validation=0.25, patience=3)  # fmt: skip
    assert history.stopped and history.best_step < len(history.loss)
    assert min(v for _, v in history.validation) == dict(history.validation)[history.best_step]
    assert best.event_shape == (2,)
    kept, _ = flow.fit(x, trainable=lambda n: n.endswith("bias"), **options)
    assert all((kept.params[n] == flow.params[n]).all() for n in flow.params if "weight" in n)
    given = flows.RealNVP((2,), transforms=2, hidden=(8,), context=1, key=KEY)
    given, _ = given.fit(x, context=x[:, :1], **options)
    assert given.log_prob(x, context=x[:, :1]).shape == (400,)


def test_a_step_is_adam_on_the_mean_loss():
    """Two steps of fit against Adam written out here, on gradients by differences."""
    x = RNG.normal(size=(30, 1)) * 2 + 1
    flow = flows.TransformedDistribution(
        flows.StandardNormal((1,)), flows.Affine(np.zeros(1), np.ones(1))
    )
    trained, _ = flow.fit(x, key=KEY, steps=2, batch_size=30, learning_rate=0.1, progress=False)
    p, m, v = np.array([0.0, 1.0]), np.zeros(2), np.zeros(2)

    def loss(p):
        z = (x - p[0]) / p[1]
        return (0.5 * z * z).mean() + np.log(p[1]) + 0.5 * np.log(2 * np.pi)

    for t in (1, 2):
        e = 1e-6 * np.eye(2)
        g = np.array([(loss(p + e[k]) - loss(p - e[k])) / 2e-6 for k in range(2)])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    found = [trained.bijector.loc[0], trained.bijector.scale[0]]
    np.testing.assert_allclose(found, p, rtol=1e-6)


def test_gradients_are_clipped():
    x = RNG.normal(size=(64, 1)) * 1e4
    flow = flows.TransformedDistribution(
        flows.StandardNormal((1,)), flows.Affine(np.zeros(1), np.ones(1))
    )
    for clip in (None, 1.0):
        found, _ = flow.fit(x, key=KEY, steps=1, batch_size=64, clip=clip, progress=False)
        assert np.isfinite(found.bijector.scale).all()


def test_a_loss_that_is_not_finite_stops_and_names_the_layer():
    x = moons(300)
    flow = flows.RealNVP((2,), transforms=3, hidden=(16,), key=KEY, bound=None)
    with pytest.warns(flows.TrainingStopped, match=r"step \d+: .*(parts\.\d|base)") as seen:
        kept, history = flow.fit(x, key=KEY, steps=300, learning_rate=1e6, clip=None,
                                 progress=False)  # fmt: skip
    assert history.stopped in str(seen[0].message)
    assert all(np.isfinite(p).all() for p in kept.params.values())
    with pytest.warns(flows.TrainingStopped, match="step 0: the data are not finite"):
        flow.fit(np.full((10, 2), np.nan), key=KEY, steps=3, progress=False)


def test_nuisances_of_real_data():
    n = 1000
    base = RNG.normal(size=(n, 4))
    atom = base.copy()
    atom[: n // 2, 0] = 0.0
    constant = base.copy()
    constant[:, 2] = 3.0
    scaled = base * np.array([1.0, 1e6, 1e-6, 1.0])
    for x in (atom, constant, scaled):
        norm = flows.ActNorm((4,))
        parts = [flows.AffineCoupling((4,), key=KEY, hidden=(16,), flip=k % 2 == 1)
                 for k in range(4)]  # fmt: skip
        flow = flows.TransformedDistribution(
            flows.StandardNormal((4,)), flows.Chain([*parts, norm])
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            flow, history = flow.fit(x, key=KEY, steps=150, batch_size=100, progress=False)
        assert np.isfinite(history.loss).all()
        assert np.isfinite(flow.log_prob(x)).all()


def test_a_spline_fed_only_tails_trains():
    x = 50.0 + RNG.normal(size=(200, 2))
    flow = flows.NSF((2,), transforms=2, hidden=(8,), key=KEY)
    flow, history = flow.fit(x, key=KEY, steps=20, progress=False)
    assert np.isfinite(history.loss).all() and history.stopped is None


def test_errors_of_fit():
    flow = flows.RealNVP((2,), transforms=2, hidden=(8,), key=KEY)
    with pytest.raises(ShapeError, match="rows of events"):
        flow.fit(np.zeros(2), key=KEY)
    with pytest.raises(ShapeError, match="event shape"):
        flow.fit(np.zeros((5, 3)), key=KEY)
    with pytest.raises(ShapeError, match="no part of the data"):
        flow.fit(np.zeros((5, 2)), key=KEY, validation=0.01)
    with pytest.raises(ShapeError, match="there is no parameter"):
        flow.replace({"nothing": np.zeros(1)})
    with pytest.raises(AttributeError, match="does not change"):
        flow.base = None
    with pytest.raises(ShapeError, match="drawn at random"):
        flows.RealNVP((2,))


def test_progress_is_shown(capsys):
    flow = flows.RealNVP((2,), transforms=2, hidden=(8,), key=KEY)
    flow.fit(moons(100), key=KEY, steps=20, batch_size=50, progress=True)
    shown = capsys.readouterr()
    assert "loss" in shown.out + shown.err


def test_pictures():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    flow = flows.RealNVP((2,), transforms=2, hidden=(8,), key=KEY)
    axes = flow.plot(points=20, data=moons(50))
    assert axes.collections
    line = flows.TransformedDistribution(flows.StandardNormal((1,)), flows.Affine(np.ones(1), 2.0))
    assert line.plot(points=20).lines
    with pytest.raises(ga.errors.NotCoveredError, match="1 and 2 dimensions"):
        flows.RealNVP((3,), transforms=2, hidden=(8,), key=KEY).plot()
    matplotlib.pyplot.close("all")


def test_flows_are_pytrees():
    flow, x = flows.RealNVP((2,), transforms=2, hidden=(8,), key=KEY), moons(50)
    value, gradient = ga.value_and_grad(lambda f, x: f.log_prob(x).mean())(flow, x)
    assert isinstance(gradient, flows.TransformedDistribution) and np.isfinite(value)
    by_name = ga.grad(lambda p: flow.replace(p).log_prob(x).mean())(flow.params)
    for n, g in gradient.params.items():
        np.testing.assert_allclose(g, by_name[n])


def test_autoregressive_in_turn_and_in_passes(monkeypatch):
    from graphad.flows.bijectors import autoregressive

    for more in ({}, {"context": 2}, {"spline": True, "bins": 4}):
        b = flows.MaskedAutoregressive((5,), key=KEY, hidden=(12, 9), activation="tanh", **more)
        rng = np.random.default_rng(1)
        b = b.replace({n: p + 0.3 * rng.normal(size=p.shape) for n, p in b.params.items()})
        x = rng.normal(size=(7, 5))
        c = rng.normal(size=(7, 2)) if "context" in more else None
        monkeypatch.setattr(autoregressive, "MOST_IN_TURN", 32)
        y, log_det = b.forward_and_log_det(x, c)
        monkeypatch.setattr(autoregressive, "MOST_IN_TURN", 0)
        again = b.replace({})
        z, other = ga.function(lambda x, c: again._forward(x, c))(x, c)
        np.testing.assert_allclose(y, z, atol=1e-12)
        np.testing.assert_allclose(log_det, other, atol=1e-12)
