"""Normalizing flows beside zuko, flowjax and distrax: the same layers, widths, batch and precision.

Parametrisations differ (how log-scales are bounded, masks), so of the results only shapes and
finiteness are compared; what is learned is compared in docs/flows.md (`bench/densities.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import numpy as np

import graphad as ga
from bench import flow_distrax
from bench.measure import Row
from bench.peers import module, optax_step, products_alone

DIMS, BATCH, LAYERS, HIDDEN = 8, 4096, 5, (64, 64)
KINDS = ("RealNVP", "NSF", "MAF")


def shapes(result):
    """What is compared: the shape, and that all is finite."""
    a = np.asarray(result.detach() if hasattr(result, "detach") else result)
    return np.array([*a.shape, float(np.isfinite(a).all())])


def ours(kind: str):
    """A flow of graphad."""
    make = getattr(ga.flows, kind)
    return make((DIMS,), LAYERS, HIDDEN, dtype="float32", key=ga.random.key(0))


def of_zuko(kind: str):
    """The same of zuko."""
    zuko, torch = module("zuko"), module("torch")
    torch.manual_seed(0)
    more = {"passes": 2} if kind == "NSF" else {}
    return getattr(zuko.flows, kind)(DIMS, 0, transforms=LAYERS, hidden_features=HIDDEN, **more)


def of_flowjax(kind: str):
    """The same of flowjax."""
    jax = module("jax")
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    base = Normal(jax.numpy.zeros(DIMS, jax.numpy.float32))
    make = masked_autoregressive_flow if kind == "MAF" else coupling_flow
    spline = {"transformer": RationalQuadraticSpline(knots=8, interval=5)}
    flow = make(jax.random.key(0), base_dist=base, flow_layers=LAYERS, nn_width=HIDDEN[0],
                nn_depth=2, **(spline if kind == "NSF" else {}))  # fmt: skip
    single = lambda a: a.astype(jax.numpy.float32) if a.dtype == np.float64 else a  # noqa: E731
    return jax.tree.map(lambda a: single(a) if hasattr(a, "dtype") else a, flow)


def our_step(flow, x):
    """A training step: loss, gradient, Adam, in one program."""
    adam = ga.optim.adam(1e-3)

    @ga.function
    def step(params, state, x):
        loss, g = ga.value_and_grad(lambda p: -flow.replace(p).log_prob(x).mean())(params)
        return (loss, *adam.update(g, state, params))

    kept = [flow.params, adam.init(flow.params)]

    def run():
        loss, *kept[:] = step(*kept, x)
        return loss

    return run


def zuko_step(flow, x):
    """The same by torch."""
    torch = module("torch")
    optimiser = torch.optim.Adam(flow.parameters(), 1e-3)

    def run():
        optimiser.zero_grad()
        loss = -flow().log_prob(x).mean()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


def flowjax_step(flow, x):
    """The same by optax, in one jitted function."""
    import equinox

    params, static = equinox.partition(flow, equinox.is_inexact_array)
    return optax_step(lambda p, x: equinox.combine(p, static).log_prob(x), params, x)


def products(kind: str, backward: bool):
    """The matrix products alone, by NumPy: of one pass forward, or forward and backward."""
    inputs = DIMS if kind == "MAF" else DIMS // 2
    count = {"RealNVP": 2 * (DIMS // 2), "MAF": 2 * DIMS, "NSF": 23 * (DIMS // 2)}[kind]
    return products_alone(BATCH, (inputs, *HIDDEN, count), LAYERS, backward, inputs=True)


def warm(kind: str) -> list[Row]:
    """log_prob, a training step, a sample; log_prob of one point."""
    x = np.random.default_rng(0).normal(size=(BATCH, DIMS)).astype("f4")
    flow, key = ours(kind), ga.random.key(1)
    density = {"graphad": lambda: flow.log_prob(x)}
    one = {"graphad": lambda: flow.log_prob(x[0])}
    draw = {"graphad": lambda: flow.sample(key, (BATCH,))}
    step = {"graphad": our_step(flow, x)}
    torch = module("torch")
    if torch and module("zuko"):
        theirs, given = of_zuko(kind), torch.tensor(x)

        def quietly(f):
            with torch.no_grad():
                return f()

        density["zuko"] = lambda: quietly(lambda: theirs().log_prob(given))
        one["zuko"] = lambda: quietly(lambda: theirs().log_prob(given[0]))
        draw["zuko"] = lambda: quietly(lambda: theirs().sample((BATCH,)))
        step["zuko"] = zuko_step(of_zuko(kind), given)
    jax = module("jax")
    if jax and module("flowjax"):
        import equinox

        other, put = of_flowjax(kind), jax.numpy.asarray(x)
        evaluate = equinox.filter_jit(lambda m, x: m.log_prob(x))
        sample = equinox.filter_jit(lambda m, k: m.sample(k, (BATCH,)))
        first = jax.random.key(1)
        density["flowjax"] = lambda: evaluate(other, put).block_until_ready()
        one["flowjax"] = lambda: evaluate(other, put[0]).block_until_ready()
        draw["flowjax"] = lambda: sample(other, first).block_until_ready()
        step["flowjax"] = flowjax_step(other, put)
    if jax and module("distrax") and kind in flow_distrax.KINDS:
        third, given_too = (
            flow_distrax.Flow(kind, DIMS, LAYERS, HIDDEN, BATCH),
            jax.numpy.asarray(x),
        )
        params, seed = third.params, jax.random.key(1)
        density["distrax"] = lambda: third.log_prob(params, given_too).block_until_ready()
        one["distrax"] = lambda: third.log_prob(params, given_too[0]).block_until_ready()
        draw["distrax"] = lambda: third.sample(params, seed).block_until_ready()
        step["distrax"] = third.step(given_too)
    target = 0.5 if kind == "RealNVP" else 0.6
    floor = "products alone"
    density[floor], step[floor] = products(kind, False), products(kind, True)
    if kind == "RealNVP":
        draw[floor] = density[floor]
    return [
        Row(f"{kind} log_prob", density, target=target, compared=shapes, floor=floor,),
        Row(f"{kind} training step", step, target=target, compared=shapes, floor=floor,),
        Row(f"{kind} sample", draw, target=target, compared=shapes,
            floor=floor if kind == "RealNVP" else "",),
        Row(f"{kind} log_prob of one", one, target=0.1, compared=shapes),
    ]  # fmt: skip


COLD = """
import time, numpy as np
from bench import flows
x = np.random.default_rng(0).normal(size=(flows.BATCH, flows.DIMS)).astype("f4")
{prepare}
begin = time.perf_counter()
{run}
print(time.perf_counter() - begin)
"""
GRAPHAD = ("flow = flows.ours('{kind}'); step = flows.our_step(flow, x)",
           "flow.log_prob(x); step()")  # fmt: skip
FLOWJAX = (
    "import jax, equinox; flow = flows.of_flowjax('{kind}'); x = jax.numpy.asarray(x);"
    "step = flows.flowjax_step(flow, x); f = equinox.filter_jit(lambda m, x: m.log_prob(x))",
    "f(flow, x).block_until_ready(); step()",
)


def cold(kind: str) -> Row:
    """First calls of log_prob and of a training step, in new processes with empty caches."""
    seconds = {}
    for name, (prepare, run) in (("graphad", GRAPHAD), ("flowjax", FLOWJAX)):
        if name == "flowjax" and not module("flowjax"):
            continue
        code = COLD.format(prepare=prepare.format(kind=kind), run=run)
        times = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                      env={**os.environ, "GRAPHAD_CACHE_DIR": folder},
                                      check=True)  # fmt: skip
            times.append(float(done.stdout.split()[-1]))
        seconds[name] = min(times)
    return Row(f"{kind} first log_prob and step, cold", {}, target=1.0, seconds=seconds)


def rows() -> list[Row]:
    """All rows of this file; the last group, since it leaves JAX in single precision."""
    jax = module("jax")
    if jax:  # else flowjax would compute in double precision in between
        jax.config.update("jax_enable_x64", False)
    return [row for kind in KINDS for row in (*warm(kind), cold(kind))]
