"""Every bijector, from one dict of constructors: round trips, log-dets, shapes, gradients, extremes."""

import numpy as np
import pytest

import graphad as ga
from graphad import flows
from graphad.errors import ShapeError, TraceError

KEY = ga.random.key(3)


def shaken(part, scale=0.3):
    """The part with parameters that are not special."""
    rng = np.random.default_rng(7)
    return part.replace({
        n: (p + scale * rng.normal(size=p.shape)).astype(p.dtype) for n, p in part.params.items()
    })  # fmt: skip


def autoregressive(dtype, **options):
    return flows.MaskedAutoregressive(
        (4,), key=KEY, hidden=(8, 8), activation="tanh", dtype=dtype, **options
    )


def coupling(kind, event, dtype, **options):
    return kind(event, key=KEY, hidden=(8,), activation="tanh", dtype=dtype, **options)


def pressed(x, a, b):
    s = np.tanh(x[0] * a[0] + b)
    return np.stack([x[0] + 0.4 * np.sin(x[0]), x[1] * np.exp(0.3 * s) + a[1] * x[0]])


def turned(x, a):
    u = x[:2] @ np.array([[2.0, 0.5], [-0.3, 1.5]], dtype=x.dtype)
    return np.concatenate([u, x[2:] * np.exp(a * u[:1]) + u * a])


BIJECTORS = {
    "affine": lambda dt: flows.Affine(np.arange(3.0), np.array([0.5, -2.0, 3.0]), dtype=dt),
    "affine of numbers": lambda dt: flows.Affine(1.0, 2.0, event_shape=(3,), dtype=dt),
    "elementwise, closed": lambda dt: flows.Elementwise(np.sinh),
    "elementwise, Newton": lambda dt: flows.Elementwise(lambda v: v + 0.5 * np.tanh(v)),
    "elementwise, parameters": lambda dt: flows.Elementwise(
        lambda v, a: v + np.exp(a) * np.arctan(v), params=[np.array([0.1, 0.5, 1.0], dt)]),
    "permute": lambda dt: flows.Permute([2, 0, 3, 1]),
    "permute an axis": lambda dt: flows.Permute([1, 0], (3, 2, 2), axis=1),
    "lu": lambda dt: flows.LULinear((4,), key=KEY, dtype=dt),
    "householder": lambda dt: flows.Householder(3, (4,), key=KEY, dtype=dt),
    "conv 1x1": lambda dt: flows.Conv1x1((2, 2, 3), key=KEY, dtype=dt),
    "act norm": lambda dt: flows.ActNorm((2, 2, 3), dtype=dt),
    "coupling": lambda dt: coupling(flows.AffineCoupling, (5,), dt),
    "coupling, flipped": lambda dt: coupling(flows.AffineCoupling, (5,), dt, flip=True),
    "coupling by count": lambda dt: coupling(flows.AffineCoupling, (5,), dt, mask=1),
    "coupling by fraction": lambda dt: coupling(flows.AffineCoupling, (5,), dt, mask=0.8),
    "coupling, alternating": lambda dt: coupling(flows.AffineCoupling, (5,), dt, mask="alternating"),
    "coupling, unbounded": lambda dt: coupling(flows.AffineCoupling, (4,), dt, bound=None),
    "coupling of an image": lambda dt: coupling(flows.AffineCoupling, (2, 2, 2), dt),
    "checkerboard": lambda dt: coupling(flows.AffineCoupling, (2, 3, 1), dt, mask="checkerboard"),
    "channel": lambda dt: flows.AffineCoupling(
        (2, 2, 2), flows.ConvNet(KEY, 1, 6, 2, "tanh", dtype=dt), mask="channel"),
    "nice": lambda dt: coupling(flows.AffineCoupling, (5,), dt, volume_preserving=True),
    "spline coupling": lambda dt: coupling(flows.SplineCoupling, (4,), dt, bins=5),
    "maf": lambda dt: autoregressive(dt),
    "maf, splines": lambda dt: autoregressive(dt, spline=True, bins=4),
    "iaf": lambda dt: flows.Invert(autoregressive(dt)),
    "planar": lambda dt: flows.Planar((3,), key=KEY, dtype=dt),
    "radial": lambda dt: flows.Radial((3,), key=KEY, dtype=dt),
    "reshape": lambda dt: flows.Reshape((2, 3), (6,)),
    "squeeze": lambda dt: flows.Squeeze((2, 4, 1)),
    "partial": lambda dt: flows.Partial(flows.Affine(np.ones(2), 2.0, dtype=dt), (4,), 1, 3),
    "chain": lambda dt: flows.Chain([coupling(flows.AffineCoupling, (4,), dt), flows.Permute("reverse", (4,)),
                                     flows.Elementwise(np.sinh), flows.Affine(np.ones(4), 2.0, dtype=dt)]),
    "from forward, diagonal": lambda dt: flows.FromForward(lambda x: x + 0.5 * np.tanh(x), (3,)),
    "from forward, triangular": lambda dt: flows.FromForward(
        pressed, (2, 2), params=[np.ones((2, 2), dt), np.zeros(2, dt)]),
    "from forward, blocks": lambda dt: flows.FromForward(turned, (4,), params=[np.array(0.3, dt)]),
    "invert": lambda dt: flows.Invert(coupling(flows.AffineCoupling, (4,), dt)),
}  # fmt: skip
# The event that a bijector of single numbers is tried on.
SMALL = {"elementwise, closed": (3,), "elementwise, Newton": (3,), "elementwise, parameters": (3,)}


def made(name, dtype="float64"):
    return shaken(BIJECTORS[name](dtype))


def event_of(name, bijector, out=False):
    return SMALL.get(name) or (bijector.event_shape_out if out else bijector.event_shape)


def values(shape, dtype="float64", seed=0):
    return (1.5 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def per_event(log_det, name):
    return log_det.sum(-1) if name in SMALL else log_det


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", BIJECTORS)
def test_round_trips(name, dtype):
    b = made(name, dtype)
    x = values((7, *event_of(name, b)), dtype)
    near = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-4}
    y, log_det = b.forward_and_log_det(x)
    back, opposite = b.inverse_and_log_det(y)
    assert y.dtype == back.dtype == log_det.dtype == x.dtype
    np.testing.assert_allclose(back, x, **near)
    np.testing.assert_allclose(opposite, -log_det, **near)
    np.testing.assert_array_equal(b.forward(x), y)
    np.testing.assert_array_equal(b.inverse(y), back)
    v = values((7, *event_of(name, b, out=True)), dtype, 1)
    np.testing.assert_allclose(b.forward(b.inverse(v)), v, **near)


@pytest.mark.parametrize("name", BIJECTORS)
def test_log_det_is_that_of_the_jacobian(name):
    b = made(name)
    x = values(event_of(name, b))
    y, log_det = b.forward_and_log_det(x)
    jacobian = ga.jacobian(b.forward)(x).reshape(y.size, x.size)
    np.testing.assert_allclose(per_event(log_det, name), np.linalg.slogdet(jacobian)[1], atol=1e-9)
    h = 1e-4  # fourth order differences share no code with the derivative

    def moved(k, by):
        return b.forward((x.reshape(-1) + by * np.eye(x.size)[k]).reshape(x.shape)).reshape(-1)

    columns = [(8 * (moved(k, h) - moved(k, -h)) - (moved(k, 2 * h) - moved(k, -2 * h))) / (12 * h)
               for k in range(x.size)]  # fmt: skip
    np.testing.assert_allclose(np.stack(columns, 1), jacobian, atol=1e-9)


@pytest.mark.parametrize("name", BIJECTORS)
def test_batches(name):
    b = made(name)
    x = values((2, 5, *event_of(name, b)))
    y, log_det = b.forward_and_log_det(x)
    z, opposite = b.inverse_and_log_det(y)
    assert log_det.shape == opposite.shape == ((2, 5, 3) if name in SMALL else (2, 5))
    for at in ((0, 0), (1, 3)):
        one, log_one = b.forward_and_log_det(x[at])
        np.testing.assert_allclose(one, y[at], atol=1e-12)
        np.testing.assert_allclose(log_one, log_det[at], atol=1e-12)
        np.testing.assert_allclose(b.inverse(y[at]), z[at], atol=1e-11)


@pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])
@pytest.mark.parametrize("name", [n for n in BIJECTORS if BIJECTORS[n]("float64").params])
def test_gradients_of_every_parameter(name, direction):
    b = made(name)
    x = values((3, *event_of(name, b, direction[0] == "i")))
    weights = np.cos(np.arange(x.size)).reshape(x.shape)

    def loss(params, x):
        y, log_det = getattr(b.replace(params), direction)(x)
        return (y.reshape(-1) * weights.reshape(-1)).sum() + 0.7 * log_det.sum()

    rng, h = np.random.default_rng(2), 1e-4
    gradient = ga.grad(loss, wrt=(0, 1))(b.params, x)
    whole = {**gradient[0], "x": gradient[1]}
    places = {**b.params, "x": x}
    for place, value in places.items():
        along = rng.normal(size=value.shape)

        def at(t, place=place, value=value, along=along):
            shifted = {**places, place: value + t * along}
            point = shifted.pop("x")
            return loss(shifted, point)

        slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        found = (whole[place] * along).sum()
        assert abs(found - slope) <= 2e-7 * (1 + abs(slope)), (place, found, slope)


NOT_FAR = {
    "coupling, unbounded",
    "from forward, blocks",
    "elementwise, closed",
    "chain",
    "reshape",
    "squeeze",
}
FINITE_FAR = [n for n in BIJECTORS if n not in NOT_FAR]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FINITE_FAR)
def test_far_out_is_finite(name, dtype):
    b = made(name, dtype)
    shape = event_of(name, b)
    for size in (1e-300, 1e3, 1e6) if dtype == "float64" else (1e-38, 1e3):
        for sign in (1.0, -1.0, np.where(np.arange(np.prod(shape)).reshape(shape) % 2, 1.0, -1.0)):
            x = (np.full(shape, size) * sign).astype(dtype)

            def loss(params, x):
                y, log_det = b.replace(params).forward_and_log_det(x)
                z, _ = b.replace(params).inverse_and_log_det(x)
                return np.tanh(y).sum() + log_det.sum() + np.tanh(z).sum()

            value, gradient = ga.value_and_grad(loss, wrt=(0, 1))(b.params, x)
            assert np.isfinite(value)
            assert all(np.isfinite(g).all() for g in (*gradient[0].values(), gradient[1]))


def test_masks_keep_and_move():
    from graphad.flows.masks import mask_of

    assert mask_of((5,), 2).kept == (0, 1)
    assert mask_of((5,), 0.8).moved == (4,)
    assert mask_of((4,), "alternating", True).kept == (1, 3)
    assert mask_of((2, 2, 1), "checkerboard").kept == (0, 3)
    assert mask_of((2, 2, 4), "channel").kept == (0, 1)
    assert mask_of((3,), np.array([False, True, False])).kept == (1,)
    for wrong in (0, 5, 1.0, "quarter", np.zeros(5, bool), [1, 2], True):
        with pytest.raises(ShapeError, match="a coupling keeps some elements"):
            mask_of((5,), wrong)


def test_kept_elements_stay():
    b = made("coupling by count")
    x = values((4, 5))
    y = b.forward(x)
    np.testing.assert_array_equal(y[:, :1], x[:, :1])
    assert (y[:, 1:] != x[:, 1:]).all()
    nice = made("nice")
    assert not nice.forward_and_log_det(x)[1].any()


def test_spline_is_the_identity_outside_and_monotone_inside():
    from graphad.flows.transformers import SplineTransformer

    t = SplineTransformer(6, 3.0)
    rng = np.random.default_rng(0)
    raw = [np.full(2001, r) for r in 2 * rng.normal(size=t.count)]
    x = np.linspace(-6, 6, 2001)
    y, log_slope = t.forward(x, raw)
    outside = np.abs(x) >= 3
    np.testing.assert_array_equal(y[outside], x[outside])
    assert not log_slope[outside].any() and (np.diff(y) > 0).all()
    np.testing.assert_allclose(t.inverse(y, raw)[0], x, atol=1e-12)
    # Fed only what is outside, its parameters have gradients of zero, not nan.
    loss = lambda raw: sum(v.sum() for v in t.forward(np.full(4, 7.0), raw))  # noqa: E731
    assert all((g == 0).all() for g in ga.grad(loss)([r[:4] for r in raw]))


def test_autoregressive_order():
    b = made("maf")
    x = values(4)
    jacobian = ga.jacobian(b.forward)(x)
    assert not np.triu(jacobian, 1).any() and jacobian[np.tril_indices(4)].all()


def test_act_norm_starts_from_data():
    x = values((50, 2, 2, 3)) * np.array([1.0, 20.0, 1e6]) + np.array([5.0, 0.0, -3.0])
    norm, z = flows.ActNorm((2, 2, 3)).initialised(x)
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1)
    again, _ = norm.initialised(x + 1)
    np.testing.assert_array_equal(again.loc, norm.loc)
    constant, z = flows.ActNorm((2,)).initialised(np.full((9, 2), 4.0))
    assert not z.any() and not constant.log_scale.any()


def test_conditional_and_contexts():
    layer = flows.Conditional(flows.Affine(np.zeros(2)), 3, key=KEY, hidden=(8,))
    layer = shaken(layer)
    x, c = values((6, 2)), values((6, 3), seed=4)
    y, log_det = layer.forward_and_log_det(x, context=c)
    back, opposite = layer.inverse_and_log_det(y, context=c)
    np.testing.assert_allclose(back, x)
    np.testing.assert_allclose(opposite, -log_det)
    assert np.abs(y - layer.forward(x, context=c[::-1])).min() > 1e-6
    with pytest.raises(ShapeError, match="needs a context"):
        layer.forward(x)
    for kind in ("coupling", "maf"):
        b = (coupling(flows.AffineCoupling, (4,), "float64", context=3) if kind == "coupling"
             else autoregressive("float64", context=3))  # fmt: skip
        b, x = shaken(b), values((6, 4))
        y = b.forward(x, context=c)
        np.testing.assert_allclose(b.inverse(y, context=c), x)
        assert np.abs(y - b.forward(x, context=c[::-1])).max() > 1e-6


def test_elementwise_says_where_it_is_not_monotone():
    with pytest.raises(TraceError, match=r"not monotone[\s\S]*expected: f' > 0"):
        flows.Elementwise(lambda v: v**2)
    assert flows.Elementwise(lambda v: v**2, domain=(0.0, np.inf)).inverse(9.0) == 3.0
    with pytest.raises(TraceError, match="not monotone"):
        flows.Elementwise(lambda v: v + 1.5 * np.sin(v))


@pytest.mark.parametrize("f, domain, closed", [
    (np.exp, None, True), (np.tanh, None, True), (np.log, (0, np.inf), True), (np.sinh, None, True),
    (np.expm1, None, True), (np.arctan, None, True), (lambda v: 3 - 2 * v, None, True),
    (lambda v: 1 / (1 + np.exp(-v)), None, True), (lambda v: np.log1p(np.exp(v)), None, True),
    (lambda v: v**3 + v, None, False), (lambda v: v + np.exp(v), None, False),
    (lambda v: v + 0.9 * np.sin(v), None, False), (lambda v: -v - v**5, None, False),
])  # fmt: skip
def test_elementwise_round_trip_and_measure(f, domain, closed):
    b = flows.Elementwise(f, **({} if domain is None else {"domain": domain}))
    x = np.linspace(-6, 6, 400) if domain is None else np.geomspace(1e-3, 1e3, 400)
    y, log_det = b.forward_and_log_det(x)
    assert ("Newton" not in b.explain()) == closed
    back = b.inverse(y)
    room = 8e-16 * (1 + np.abs(y)) * np.exp(-log_det) + 1e-14 * (1 + np.abs(x))
    assert (np.abs(back - x) <= room).all()
    # Congruency: monotone, and the lengths of small intervals go as the log-det says.
    assert (np.diff(y) > 0).all() or (np.diff(y) < 0).all()
    h = 1e-5 * np.maximum(np.abs(x), 1)
    lengths = np.log(np.abs(b.forward(x + h) - b.forward(x - h)) / (2 * h))
    np.testing.assert_allclose(log_det, lengths, atol=2e-4)


def test_log_slopes_do_not_overflow():
    far = np.array([-900.0, 900.0])
    assert flows.Elementwise(np.exp).forward_and_log_det(far)[1].tolist() == far.tolist()
    tanh = flows.Elementwise(np.tanh).forward_and_log_det(far)[1]
    np.testing.assert_allclose(tanh, 2 * np.log(2) - 1800)
    sigmoid = flows.Elementwise(lambda v: 1 / (1 + np.exp(-v))).forward_and_log_det(far)[1]
    np.testing.assert_allclose(sigmoid, -900)


def test_implicit_inverse_to_second_order():
    b = flows.Elementwise(lambda v, a: v + a * v**3, params=[np.array(0.5)])
    inverse = lambda y, a: b.replace({"parameters.0": a}).inverse(y)  # noqa: E731
    y, a = np.array(1.3), np.array(0.5)
    x = inverse(y, a)
    slope = 1 / (1 + 3 * a * x**2)
    np.testing.assert_allclose(ga.grad(inverse, wrt=(0, 1))(y, a), [slope, -(x**3) * slope])
    np.testing.assert_allclose(ga.hessian(inverse)(y, a), -6 * a * x * slope**3)


def test_sympy_expression():
    import sympy as sp

    t = sp.Symbol("t")
    b = flows.Elementwise(sp.exp(2 * t) - 1)
    assert np.isclose(b.inverse(b.forward(0.3)), 0.3)
    with pytest.raises(TraceError, match="one symbol"):
        flows.Elementwise(t * sp.Symbol("s"))
