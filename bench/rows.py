"""The rows: each a job written as the documentation of each peer would have it."""

from __future__ import annotations

import numpy as np

import graphad as ga
from bench import adbench, flows, models, sampling
from bench.measure import Row
from bench.peers import jax_job, module, products_alone, torch_gradient, torch_tensors, torch_value
from bench.programs import PROGRAMS


def call_overhead() -> list[Row]:
    """A compiled function of two small arrays, and of one number."""
    import numba

    x, y = np.linspace(0, 1, 8), np.linspace(1, 2, 8)

    def two(x, y):
        return x * y + 1.0

    def one(a):
        return a * a + 1.0

    rows = []
    for name, f, args, target in (("call, two arrays of 8", two, (x, y), 3.0),
                                  ("call, one number", one, (2.0,), 3.0)):  # fmt: skip
        compiled, bare = ga.function(f), numba.njit(f)
        jobs = {"graphad": lambda f=compiled, a=args: f(*a), "numba": lambda f=bare, a=args: f(*a)}
        if module("jax"):
            jobs["jax"] = jax_job(f, *args)
        rows.append(Row(name, jobs, target=target))
    return rows


def chain(np_, x):
    """tanh(x) exp(-x²) + log1p(exp(x))."""
    return np_.tanh(x) * np_.exp(-x * x) + np_.log1p(np_.exp(x))


def elementwise() -> list[Row]:
    """An elementwise chain, alone and with the gradient of its sum."""
    jax, torch = module("jax"), module("torch")
    rows = []
    for n in (1_000, 1_000_000, 10_000_000):
        for dtype in ("f8", "f4"):
            x = np.random.default_rng(0).normal(size=n).astype(dtype)
            tolerance = 1e-12 if dtype == "f8" else 1e-5
            f = ga.function(lambda x: chain(np, x))
            g = ga.value_and_grad(lambda x: chain(np, x).sum())
            value = {"graphad": lambda f=f, x=x: f(x), "numpy": lambda x=x: chain(np, x)}
            slope = {"graphad": lambda g=g, x=x: g(x)}
            if jax:
                value["jax"] = jax_job(lambda x: chain(jax.numpy, x), x)
                slope["jax"] = jax_job(
                    jax.value_and_grad(lambda x: chain(jax.numpy, x).sum()), x)  # fmt: skip
            if torch:
                value |= torch_value(lambda x: chain(torch, x), x)
                slope |= torch_gradient(lambda x: chain(torch, x).sum(), x)
            rows.append(Row(f"chain, {n:,} {dtype}", value, tolerance, target=0.5))
            rows.append(Row(f"chain with gradient, {n:,} {dtype}", slope, 1e-4, target=0.5))
    return rows


TRANSCENDENTAL = (
    "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "arcsin", "arccos",
    "arctan", "sinh", "cosh", "tanh", "sqrt", "arctan2", "hypot", "power", "logaddexp",
)  # fmt: skip
TORCH_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
               "power": "pow"}  # fmt: skip


def transcendental() -> list[Row]:
    """Every transcendental of the table alone, 10⁶ elements."""
    jax, torch = module("jax"), module("torch")
    rng = np.random.default_rng(0)
    n = 1_000_000
    rows = []
    for dtype in ("f8", "f4"):
        for name in TRANSCENDENTAL:
            unit = name in ("arcsin", "arccos", "log", "log2", "log10", "power", "log1p", "sqrt")
            x = (rng.uniform(0.01, 0.99, n) if unit else 2 * rng.normal(size=n)).astype(dtype)
            args = [x]
            if name in ("arctan2", "hypot", "power", "logaddexp"):
                args.append(rng.normal(size=n).astype(dtype))
            f = getattr(np, name)
            compiled = ga.function(lambda *a, f=f: f(*a))
            jobs = {"graphad": lambda g=compiled, a=args: g(*a), "numpy": lambda f=f, a=args: f(*a)}
            if jax:
                jobs["jax"] = jax_job(getattr(jax.numpy, name), *args)
            if torch:
                tensors = torch_tensors(*args)
                g = getattr(torch, TORCH_NAMES.get(name, name))
                jobs["torch"] = lambda g=g, t=tensors: g(*t)
            tolerance = 1e-12 if dtype == "f8" else 1e-4
            rows.append(Row(f"{name} {dtype}", jobs, tolerance, target=1.2))
    return rows


def softmax(np_, x):
    """Its squares, summed."""
    e = np_.exp(x - _largest(np_, x))
    return ((e / e.sum(-1, keepdims=True)) ** 2).sum()


def logsumexp(np_, x):
    """Summed over the rows."""
    m = _largest(np_, x)
    return (np_.log(np_.exp(x - m).sum(-1, keepdims=True)) + m).sum()


def layernorm(np_, x):
    """The sum of its sines."""
    m = x.mean(-1, keepdims=True)
    v = ((x - m) ** 2).mean(-1, keepdims=True)
    return np_.sin((x - m) / np_.sqrt(v + 1e-5)).sum()


def row_sums(np_, x):
    """Squares of row sums."""
    return (x.sum(-1) ** 2).sum()


def column_sums(np_, x):
    """Squares of column sums."""
    return (x.sum(0) ** 2).sum()


def variance(np_, x):
    """The sum of the rows' variances."""
    m = x.mean(-1, keepdims=True)
    return ((x - m) ** 2).mean(-1).sum()


def _largest(np_, x):
    return np_.amax(x, -1, keepdims=True)


def reductions() -> list[Row]:
    """Row-wise and column-wise reductions of 10³ x 10³ with gradients."""
    jax, torch = module("jax"), module("torch")
    rows = []
    for f in (softmax, logsumexp, layernorm, row_sums, column_sums, variance):
        for dtype in ("f8", "f4"):
            x = np.random.default_rng(0).normal(size=(1000, 1000)).astype(dtype)
            g = ga.value_and_grad(lambda x, f=f: f(np, x))
            jobs = {"graphad": lambda g=g, x=x: g(x)}
            if jax:
                jobs["jax"] = jax_job(jax.value_and_grad(lambda x, f=f: f(jax.numpy, x)), x)
            if torch:
                jobs |= torch_gradient(lambda x, f=f: f(torch, x), x)
            tolerance = 1e-9 if dtype == "f8" else 2e-3
            rows.append(Row(f"{f.__name__} with gradient, {dtype}", jobs, tolerance, target=0.6))
    return rows


def mlp_loss(np_, params, x, y):
    """Mean squared error of a 64-256-256-10 tanh network."""
    h = np_.tanh(x @ params["W1"] + params["b1"])
    h = np_.tanh(h @ params["W2"] + params["b2"])
    return np_.mean((h @ params["W3"] + params["b3"] - y) ** 2)


def mlp_params(rng, sizes=(64, 256, 256, 10)):
    """Weights scaled to the number of inputs."""
    params = {}
    for k in range(3):
        w = rng.normal(size=(sizes[k], sizes[k + 1])) / np.sqrt(sizes[k])
        params[f"W{k + 1}"] = w.astype("f4")
        params[f"b{k + 1}"] = np.zeros(sizes[k + 1], "f4")
    return params


def mlp() -> list[Row]:
    """Value and gradient of the network, f32, at batch 512 and 1; with Adam's update."""
    jax, torch = module("jax"), module("torch")
    rng = np.random.default_rng(0)
    params = mlp_params(rng)
    names = sorted(params)
    rows = []
    for batch, target in ((512, 0.75), (1, 0.4)):
        x = rng.normal(size=(batch, 64)).astype("f4")
        y = rng.normal(size=(batch, 10)).astype("f4")
        f = ga.value_and_grad(lambda p, x, y: mlp_loss(np, p, x, y))
        jobs = {"graphad": lambda f=f, x=x, y=y: f(params, x, y)}
        if jax:
            g = jax.value_and_grad(lambda p, x, y: mlp_loss(jax.numpy, p, x, y))
            jobs["jax"] = jax_job(g, params, x, y)
        if torch:
            tx, ty = torch_tensors(x, y)

            def loss(*weights, tx=tx, ty=ty):
                return mlp_loss(torch, dict(zip(names, weights, strict=True)), tx, ty)

            jobs |= torch_gradient(loss, *[params[n] for n in names])
        floor = "products alone" if batch > 1 else ""
        if floor:
            jobs[floor] = products_alone(batch, (64, 256, 256, 10))
        rows.append(Row(f"MLP value and gradient, batch {batch}, f4", jobs, 2e-4, target=target,
                        floor=floor))  # fmt: skip
    rows.append(adam_row(params, names, rng))
    return rows


def adam_row(params, names, rng) -> Row:
    """The same at batch 512 with Adam's update in the same program."""
    jax = module("jax")
    x, y = rng.normal(size=(512, 64)).astype("f4"), rng.normal(size=(512, 10)).astype("f4")
    optimiser = ga.optim.adam(1e-3)
    state = optimiser.init(params)

    @ga.function
    def step(params, state):
        value, gradient = ga.value_and_grad(lambda p: mlp_loss(np, p, x, y))(params)
        return value, *optimiser.update(gradient, state, params)

    jobs = {"graphad": lambda: step(params, state)[:2]}
    if jax:
        jnp = jax.numpy

        def jax_step(p, m, v, t):
            value, g = jax.value_and_grad(lambda p: mlp_loss(jnp, p, x, y))(p)
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            a, b = 1 - 0.9**t, 1 - 0.999**t
            update = lambda p, m, v: p - 1e-3 * (m / a) / (jnp.sqrt(v / b) + 1e-8)  # noqa: E731
            return (value, jax.tree.map(update, p, m, v)), m, v, t

        zeros = {n: np.zeros_like(params[n]) for n in names}
        whole = jax_job(jax_step, params, zeros, zeros, np.float32(0))
        jobs["jax"] = lambda: whole()[0]
    jobs["products alone"] = products_alone(512, (64, 256, 256, 10))
    return Row("MLP step with Adam, batch 512, f4", jobs, 1e-3, target=0.6, floor="products alone")


def jacobians() -> list[Row]:
    """The Jacobian of a 2-in, 2-out network with 64 hidden units: one point and 4096."""
    jax, casadi = module("jax"), module("casadi")
    rng = np.random.default_rng(0)
    W, V = rng.normal(size=(64, 2)), rng.normal(size=(2, 64))

    def net(np_, x):
        return V @ np_.tanh(W @ x)

    f = ga.jacobian(lambda x: net(np, x))
    many = ga.vmap(f)
    x, xs = rng.normal(size=2), rng.normal(size=(4096, 2))
    one, all_of_them = {"graphad": lambda: f(x)}, {"graphad": lambda: many(xs)}
    if jax:
        g = jax.jacfwd(lambda x: net(jax.numpy, x))
        one["jax"], all_of_them["jax"] = jax_job(g, x), jax_job(jax.vmap(g), xs)
    if casadi:
        s = casadi.SX.sym("x", 2)
        y = casadi.mtimes(V, casadi.tanh(casadi.mtimes(W, s)))
        h = casadi.Function("h", [s], [casadi.jacobian(y, s)])
        mapped = h.map(4096)
        one["casadi"] = lambda: np.array(h(x))
        columns = np.ascontiguousarray(xs.T)
        all_of_them["casadi"] = lambda: (
            np.array(mapped(columns)).T.reshape(4096, 2, 2).swapaxes(1, 2)
        )
    return [Row("Jacobian of a 2-64-2 network", one, target=0.1),
            Row("the same at 4096 points", all_of_them, target=0.3)]  # fmt: skip


def hessians() -> list[Row]:
    """Of a 10-dim Rosenbrock, and of a 20-weight logistic regression on 500 rows."""
    jax, casadi, autograd = module("jax"), module("casadi"), module("autograd")
    f, args = PROGRAMS["rosenbrock"](np)
    g, data = PROGRAMS["logistic"](np)
    h, k = ga.hessian(f), ga.hessian(g)
    small, large = {"graphad": lambda: h(*args)}, {"graphad": lambda: k(*data)}
    if jax:
        small["jax"] = jax_job(jax.hessian(PROGRAMS["rosenbrock"](jax.numpy)[0]), *args)
        large["jax"] = jax_job(jax.hessian(PROGRAMS["logistic"](jax.numpy)[0]), *data)
    if casadi:
        s = casadi.SX.sym("x", 10)
        a, b = s[:-1], s[1:]
        value = casadi.sum1(100 * (b - a**2) ** 2 + (1 - a) ** 2)
        second = casadi.Function("h", [s], [casadi.hessian(value, s)[0]])
        small["casadi"] = lambda: np.array(second(args[0]))
    if autograd:
        import autograd.numpy as anp

        slow = autograd.hessian(PROGRAMS["rosenbrock"](anp)[0])
        small["autograd"] = lambda: slow(*args)
        slower = autograd.hessian(PROGRAMS["logistic"](anp)[0])
        large["autograd"] = lambda: slower(*data)
    return [Row("Hessian of Rosenbrock, 10 dims", small, target=0.1),
            Row("Hessian of a logistic regression, 500 x 20", large, target=0.5)]  # fmt: skip


def programs() -> list[Row]:
    """Value and gradient of twenty programs, warm."""
    jax = module("jax")
    rows = []
    for name, make in PROGRAMS.items():
        f, args = make(np)
        g = ga.value_and_grad(f)
        jobs = {"graphad": lambda g=g, a=args: g(*a)}
        if jax:
            jobs["jax"] = jax_job(jax.value_and_grad(make(jax.numpy)[0]), *args)
        rows.append(Row(f"program {name}", jobs, 1e-8, target=0.5))
    return rows


GROUPS = (
    {
        "call": call_overhead,
        "elementwise": elementwise,
        "transcendental": transcendental,
        "reductions": reductions,
        "mlp": mlp,
        "jacobian": jacobians,
        "hessian": hessians,
        "adbench": adbench.rows,
        "programs": programs,
        "sampling": sampling.rows,
    }
    | models.GROUPS
    | {"flows": flows.rows}
)  # last: see there
