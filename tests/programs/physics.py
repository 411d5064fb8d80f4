"""Simulations, equilibria and equations solved inside the model."""

import numpy as np

_rng = np.random.default_rng(13)
MASSES = np.array([1.0, 0.5, 0.2])
PLACES = np.array([[0.0, 0.0], [1.0, 0.2], [-0.3, 1.4]])
FIELD = _rng.uniform(0.2, 0.8, size=(6, 6))
COSTS = _rng.uniform(size=(5, 4))
LINES = np.array([[0.0, 5.0, 3.0], [5.0, 0.0, 4.0], [3.0, 4.0, 0.0]])
KNOTS = np.linspace(0.0, 1.0, 7)
ASKED = np.array([0.05, 0.31, 0.5, 0.77, 0.93])
LINKS = _rng.uniform(size=(6, 6)) * (_rng.uniform(size=(6, 6)) < 0.6) + 0.01
POINTS = _rng.uniform(-1, 1, size=(9, 3)) + np.array([0.0, 0.0, 4.0])
PIXELS = _rng.normal(size=(9, 2))
A = np.array([[1.0, 0.1], [0.0, 1.0]])


def leapfrog(world, speeds):
    """Three bodies for thirty steps; the energy that is left over and the last places."""

    def force(x):
        d = x[None] - x[:, None]
        return (MASSES[None, :, None] * d / ((d**2).sum(2) + 0.05)[:, :, None] ** 1.5).sum(1)

    def step(carry, _):
        x, v = carry
        v = v + 0.01 * force(x)
        x = x + 0.02 * v
        return (x, v + 0.01 * force(x)), 0.5 * (MASSES[:, None] * v**2).sum()

    (x, _), energy = world.scan(step, (PLACES, speeds), np.zeros(30))
    return (x**2).sum() + energy.mean()


def reaction_diffusion(world, feed, kill):
    """Gray and Scott's equations on a torus."""

    def laplace(u):
        return sum(np.roll(u, s, k) for s in (1, -1) for k in (0, 1)) - 4.0 * u

    def step(i, state):
        u, v = state
        r = u * v**2
        return (u + 0.16 * laplace(u) - r + feed * (1.0 - u),
                v + 0.08 * laplace(v) + r - (feed + kill) * v)  # fmt: skip

    u, v = world.fori_loop(0, 25, step, (FIELD + 0.0, 1.0 - FIELD))
    return (u * v).sum()


def transport(world, costs, temperature):
    """Entropic optimal transport by Sinkhorn's iteration, in logarithms."""
    lse = world.special.logsumexp

    def step(i, g):
        f = -temperature * lse((g[None, :] - costs) / temperature, axis=1) - np.log(5.0)
        return -temperature * lse((f[:, None] - costs) / temperature, axis=0) - np.log(4.0)

    g = world.fori_loop(0, 40, step, np.zeros(4))
    f = -temperature * lse((g[None, :] - costs) / temperature, axis=1) - np.log(5.0)
    return (np.exp((f[:, None] + g[None, :] - costs) / temperature) * costs).sum()


def neural_ode(world, w1, w2):
    def flow(y, t):
        return w2 @ np.tanh(w1 @ y) - 0.1 * y

    return world.odeint(flow, np.array([1.0, -0.5]), np.linspace(0, 2, 5), rtol=1e-11, atol=1e-11)


def kinetics(world, log_rates):
    """A -> B -> C with a way back, by mass action."""
    k = np.exp(log_rates)

    def flow(y, t):
        r1, r2, r3 = k[0] * y[0], k[1] * y[1], k[2] * y[1] * y[2]
        return np.stack([-r1 + r3, r1 - r2 - r3, r2])

    start = np.array([1.0, 0.0, 0.1])
    return world.odeint(flow, start, np.array([0.0, 0.3, 2.0]), rtol=1e-11, atol=1e-11)[1:]


def equilibrium_layer(world, w, x):
    """z = tanh(w z + x), a layer of infinite depth."""
    return world.fixed_point(lambda z: np.tanh(w @ z + x), np.zeros(4))


def power_flow(world, power):
    """Angles of a lossless network of three buses, the first of them the reference."""

    def miss(free):
        angle = np.concatenate([np.zeros(1), free])
        flow = (LINES * np.sin(angle[:, None] - angle[None, :])).sum(1)
        return flow[1:] - power

    return world.root(miss, np.zeros(2))


def implied_volatility(world, price):
    """Black and Scholes's volatility of a call, bracketed."""

    def miss(s):
        d = (np.log(1.05) + 0.5 * s**2) / s
        return 1.05 * world.special.ndtr(d) - world.special.ndtr(d - s) - price

    return world.root(miss, bracket=(1e-3, 3.0))


def regulator(world, q, b):
    """Cost of the optimal regulator: the fixed point of Riccati's recursion."""

    def riccati(p):
        gain = (A.T @ p @ b) / (1.0 + b @ p @ b)
        return q * np.eye(2) + A.T @ p @ A - gain[:, None] * (b @ p @ A)[None, :]

    return world.fixed_point(riccati, np.eye(2))


def markov_generator(world, rates):
    """Probabilities of a continuous-time chain after a while."""
    g = np.exp(rates) * (1.0 - np.eye(3))
    return world.linalg.expm(0.7 * (g - np.diag(g.sum(1))))


def spline(world, values):
    """The natural cubic spline through values, at points that are asked for."""
    h = KNOTS[1] - KNOTS[0]
    band = 4.0 * np.eye(5) + np.eye(5, k=1) + np.eye(5, k=-1)
    inner = np.linalg.solve(band, 6.0 / h**2 * (values[2:] - 2.0 * values[1:-1] + values[:-2]))
    m = np.concatenate([np.zeros(1), inner, np.zeros(1)])
    i = np.searchsorted(KNOTS, ASKED) - 1
    b = (ASKED - KNOTS[i]) / h
    a = 1.0 - b
    bend = (a**3 - a) * m[i] + (b**3 - b) * m[i + 1]
    return a * values[i] + b * values[i + 1] + h**2 / 6.0 * bend


def page_rank(world, damping, links):
    p = links / links.sum(0)
    return world.fixed_point(lambda r: damping * (p @ r) + (1.0 - damping) / 6.0, np.full(6, 1 / 6))


def calibration(world, rotation, focal, distortion):
    """Pixels of a turned camera with radial distortion, against what was seen."""
    theta = np.sqrt((rotation**2).sum())
    axis = rotation / theta
    turned = (POINTS * np.cos(theta) + np.cross(axis, POINTS) * np.sin(theta)
              + (POINTS @ axis)[:, None] * axis * (1.0 - np.cos(theta)))  # fmt: skip
    flat = turned[:, :2] / turned[:, 2:]
    r2 = (flat**2).sum(1, keepdims=True)
    return (focal * flat * (1.0 + distortion * r2 + distortion**2 * r2**2) - PIXELS).ravel()


def kepler(world, eccentricity):
    """Newton's iteration until it stands still."""

    def body(carry):
        e, _ = carry
        step = (e - eccentricity * np.sin(e) - 1.3) / (1.0 - eccentricity * np.cos(e))
        return e - step, abs(step)

    return world.while_loop(lambda c: c[1] > 1e-13, body, (1.3, 1.0), max_steps=30)[0]


def drag(world, reynolds):
    """Each particle by the law of its regime; only that one is run."""

    def one(re):
        return world.cond(
            re < 1.0,
            lambda r: 24.0 / r,
            lambda r: world.cond(
                r < 1000.0,
                lambda r: 24.0 / r * (1.0 + 0.15 * r**0.687),
                lambda r: 0.44 + 0.0 * r,
                r,
            ),
            re,
        )

    return world.vmap(one)(reynolds)


MODELS = [
    ("leapfrog", leapfrog, (0.3 * _rng.normal(size=(3, 2)),)),
    ("reaction_diffusion", reaction_diffusion, (0.035, 0.06)),
    ("transport", transport, (COSTS, 0.3)),
    ("neural_ode", neural_ode, (_rng.normal(size=(3, 2)), _rng.normal(size=(2, 3)))),
    ("kinetics", kinetics, (np.array([0.2, 0.9, -0.5]),)),
    ("equilibrium_layer", equilibrium_layer, (0.2 * _rng.normal(size=(4, 4)), _rng.normal(size=4))),
    ("power_flow", power_flow, (np.array([1.0, -1.5]),)),
    ("implied_volatility", implied_volatility, (0.17,)),
    ("regulator", regulator, (0.7, np.array([0.1, 1.0]))),
    ("markov_generator", markov_generator, (_rng.normal(size=(3, 3)),)),
    ("spline", spline, (np.sin(6 * KNOTS),)),
    ("page_rank", page_rank, (0.85, LINKS)),
    ("calibration", calibration, (np.array([0.2, -0.4, 0.3]), 1.2, 0.1)),
    ("kepler", kepler, (0.6,)),
    ("drag", drag, (np.array([0.1, 0.8, 20.0, 400.0, 5e3]),)),
]
