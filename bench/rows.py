"""The rows: each a job written as the documentation of each peer would have it."""

from __future__ import annotations

import numpy as np

import graphad as ga
from bench.measure import Row


def jax_module():
    """JAX with double precision on, or None."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    return jax


def jax_job(f, *args):
    """A jitted function on device arrays, waited for."""
    jax = jax_module()
    assert jax is not None
    compiled = jax.jit(f)
    on_device = jax.tree.map(jax.numpy.asarray, args)
    return lambda: jax.block_until_ready(compiled(*on_device))


def call_overhead() -> list[Row]:
    """A compiled function of two small arrays, and of one number."""
    import numba

    jax = jax_module()
    x, y = np.linspace(0, 1, 8), np.linspace(1, 2, 8)
    f = ga.function(lambda x, y: x * y + 1.0)
    bare = numba.njit(lambda x, y: x * y + 1.0)
    rows = [Row("call, two arrays of 8", {"graphad": lambda: f(x, y), "numba": lambda: bare(x, y)})]
    g = ga.function(lambda a: a * a + 1.0)
    bare_scalar = numba.njit(lambda a: a * a + 1.0)
    rows.append(
        Row("call, one number", {"graphad": lambda: g(2.0), "numba": lambda: bare_scalar(2.0)})
    )
    if jax:
        rows[0].jobs["jax"] = jax_job(lambda x, y: x * y + 1.0, x, y)
        rows[1].jobs["jax"] = jax_job(lambda a: a * a + 1.0, 2.0)
    return rows


def chain(np_, x):
    """tanh(x) exp(-x²) + log1p(exp(x))."""
    return np_.tanh(x) * np_.exp(-x * x) + np_.log1p(np_.exp(x))


def elementwise() -> list[Row]:
    """An elementwise chain, alone and with the gradient of its sum."""
    jax = jax_module()
    rows = []
    for n in (1_000, 1_000_000):
        for dtype in ("f8", "f4"):
            x = np.random.default_rng(0).normal(size=n).astype(dtype)
            tolerance = 1e-12 if dtype == "f8" else 1e-5
            f = ga.function(lambda x: chain(np, x))
            g = ga.grad(lambda x: chain(np, x).sum())
            value = Row(
                f"chain, {n:,} {dtype}",
                {"graphad": lambda f=f, x=x: f(x), "numpy": lambda x=x: chain(np, x)},
                tolerance,
            )
            slope = Row(
                f"gradient of chain, {n:,} {dtype}", {"graphad": lambda g=g, x=x: g(x)}, 1e-4
            )
            if jax:
                value.jobs["jax"] = jax_job(lambda x: chain(jax.numpy, x), x)
                slope.jobs["jax"] = jax_job(jax.grad(lambda x: chain(jax.numpy, x).sum()), x)
            rows += [value, slope] if jax else [value]
    return rows


def mlp_loss(np_, params, x, y):
    """Mean squared error of a 64-256-256-10 tanh network."""
    h = np_.tanh(x @ params["W1"] + params["b1"])
    h = np_.tanh(h @ params["W2"] + params["b2"])
    return np_.mean((h @ params["W3"] + params["b3"] - y) ** 2)


def mlp() -> list[Row]:
    """Value and gradient of the network, f32, at batch 512 and 1."""
    jax = jax_module()
    if not jax:
        return []
    rng = np.random.default_rng(0)
    sizes = [64, 256, 256, 10]
    params = {}
    for k in range(3):
        w = rng.normal(size=(sizes[k], sizes[k + 1])) / np.sqrt(sizes[k])
        params[f"W{k + 1}"] = w.astype("f4")
        params[f"b{k + 1}"] = np.zeros(sizes[k + 1], "f4")
    rows = []
    for batch in (512, 1):
        x = rng.normal(size=(batch, 64)).astype("f4")
        y = rng.normal(size=(batch, 10)).astype("f4")
        f = ga.value_and_grad(lambda p, x, y: mlp_loss(np, p, x, y))
        jobs = {
            "graphad": lambda f=f, x=x, y=y: f(params, x, y),
            "jax": jax_job(
                jax.value_and_grad(lambda p, x, y: mlp_loss(jax.numpy, p, x, y)), params, x, y
            ),
        }
        rows.append(Row(f"MLP value and gradient, batch {batch}, f4", jobs, 2e-4))
    return rows


def network_jacobian() -> list[Row]:
    """The Jacobian of a 2-in, 2-out network with 64 hidden units: one point and 4096."""
    jax = jax_module()
    if not jax:
        return []
    rng = np.random.default_rng(0)
    W, V = rng.normal(size=(64, 2)), rng.normal(size=(2, 64))

    def net(np_, x):
        return V @ np_.tanh(W @ x)

    f = ga.jacobian(lambda x: net(np, x))
    many = ga.vmap(f)
    x, xs = rng.normal(size=2), rng.normal(size=(4096, 2))
    jax_f = jax.jacfwd(lambda x: net(jax.numpy, x))
    return [
        Row("Jacobian of a 2-64-2 network", {"graphad": lambda: f(x), "jax": jax_job(jax_f, x)}),
        Row("the same at 4096 points",
            {"graphad": lambda: many(xs), "jax": jax_job(jax.vmap(jax_f), xs)}),
    ]  # fmt: skip


GROUPS = {
    "call": call_overhead,
    "elementwise": elementwise,
    "mlp": mlp,
    "jacobian": network_jacobian,
}
