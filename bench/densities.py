"""`python -m bench.densities`: held-out log-likelihoods beside zuko and flowjax on real data.

The same splits, standardisation, widths, tanh, number of steps, batch, learning rate and gradient
clipping for everybody, three seeds. Data that ship in scikit-learn: its digits (8 x 8 images of 17
grey levels, dequantised by uniform noise, in bits per dimension) and two tables, in nats a row.
Writes `densities.md`.
"""

from __future__ import annotations

import argparse
import pathlib
import time

import numpy as np

import graphad as ga
from bench.peers import module, versions

HERE = pathlib.Path(__file__).parent
SEEDS = (0, 1, 2)
RATE, CLIP, BATCH = 1e-3, 10.0, 128


def digits(rng):
    """Rows of 64 grey levels with uniform noise; nats are turned to bits a dimension."""
    from sklearn.datasets import load_digits

    x = load_digits().data
    return x + rng.uniform(size=x.shape)


def table(name: str):
    """A table of numbers of scikit-learn."""

    def load(rng):
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")().data

    return load


# name: data, layers, hidden widths, steps
DATA = {
    "digits": (digits, 8, (128, 128), 400),
    "diabetes": (table("diabetes"), 5, (64, 64), 200),
    "breast cancer": (table("breast_cancer"), 5, (64, 64), 200),
}
KINDS = ("RealNVP", "MAF")


def split(name: str, seed: int):
    """(training rows, held-out rows, the log-det of the standardisation), in float32."""
    rng = np.random.default_rng(seed)
    x = DATA[name][0](rng)
    x = x[rng.permutation(len(x))]
    train, test = x[: len(x) * 4 // 5], x[len(x) * 4 // 5 :]
    mean, scale = train.mean(0), train.std(0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    log_det = -np.log(scale).sum()
    return *[((a - mean) / scale).astype("f4") for a in (train, test)], log_det


def batches(count: int, steps: int, seed: int):
    """Rows of each step: every row once before any comes again."""
    rng = np.random.default_rng(100 + seed)
    size, left = min(BATCH, count), np.zeros(0, np.int64)
    for _ in range(steps):
        if len(left) < size:
            left = rng.permutation(count)
        rows, left = left[:size], left[size:]
        yield rows


def by_graphad(kind, dims, layers, hidden, train, test, steps, seed):
    """The held-out mean log-likelihood of graphad's flow."""
    make = getattr(ga.flows, kind)
    more = {"mask": "random"} if kind == "RealNVP" else {}
    flow = make((dims,), layers, hidden, "tanh", "float32", ga.random.key(seed), **more)
    flow, _ = flow.fit(train, key=ga.random.key(seed), steps=steps, batch_size=BATCH, clip=CLIP,
                       learning_rate=RATE, progress=False)  # fmt: skip
    return flow.log_prob(test).mean()


def by_zuko(kind, dims, layers, hidden, train, test, steps, seed):
    """The same of zuko's."""
    torch, zuko = module("torch"), module("zuko")
    torch.manual_seed(seed)
    flow = getattr(zuko.flows, kind)(dims, 0, transforms=layers, hidden_features=hidden,
                                       activation=torch.nn.Tanh)  # fmt: skip
    adam = torch.optim.Adam(flow.parameters(), RATE)
    x = torch.tensor(train)
    for rows in batches(len(train), steps, seed):
        adam.zero_grad()
        loss = -flow().log_prob(x[rows]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
        adam.step()
    with torch.no_grad():
        return float(flow().log_prob(torch.tensor(test)).mean())


def by_flowjax(kind, dims, layers, hidden, train, test, steps, seed):
    """The same of flowjax's."""
    jax = module("jax")
    import equinox
    import optax
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    make = masked_autoregressive_flow if kind == "MAF" else coupling_flow
    flow = make(jax.random.key(seed), base_dist=Normal(jax.numpy.zeros(dims)), nn_depth=2,
                flow_layers=layers, nn_width=hidden[0],
                nn_activation=jax.numpy.tanh)  # fmt: skip
    params, static = equinox.partition(flow, equinox.is_inexact_array)
    adam = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(RATE))

    @jax.jit
    def step(params, state, x):
        g = jax.grad(lambda p: -equinox.combine(p, static).log_prob(x).mean())(params)
        updates, state = adam.update(g, state, params)
        return optax.apply_updates(params, updates), state

    state, x = adam.init(params), jax.numpy.asarray(train)
    for rows in batches(len(train), steps, seed):
        params, state = step(params, state, x[rows])
    log_prob = jax.jit(lambda p, x: equinox.combine(p, static).log_prob(x))
    return float(log_prob(params, test).mean())


LIBRARIES = {"graphad": by_graphad, "zuko": by_zuko, "flowjax": by_flowjax}


def main() -> None:
    """Train everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=DATA)
    chosen = parser.parse_args()
    jax = module("jax")
    if jax:
        jax.config.update("jax_enable_x64", False)
    lines = ["| data | flow | graphad | zuko | flowjax | seconds, in this order |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for name, (_, layers, hidden, steps) in DATA.items():
        if chosen.only not in (None, name):
            continue
        for kind in KINDS:
            cells, seconds = [], []
            for library, train_and_test in LIBRARIES.items():
                found, start = [], time.perf_counter()
                for seed in SEEDS if library == "graphad" or module(library) else ():
                    train, test, log_det = split(name, seed)
                    dims = train.shape[1]
                    mean = log_det + train_and_test(
                        kind, dims, layers, hidden, train, test, steps, seed)  # fmt: skip
                    found.append(-mean / (dims * np.log(2.0)) if name == "digits" else mean)
                seconds.append(f"{(time.perf_counter() - start) / len(SEEDS):.1f}")
                cells.append(f"{np.mean(found):.3f} ± {np.std(found):.3f}" if found else "missing")
            unit = "bits/dim, less is better" if name == "digits" else "nats, more is better"
            lines.append(f"| {name} ({unit}) | {kind} | {' | '.join(cells)} | "
                         f"{', '.join(seconds)} |")  # fmt: skip
            print(lines[-1], flush=True)
    if not chosen.only:
        head = f"# Held-out densities\n\n`python -m bench.densities`: {versions()}.\n\n"
        (HERE / "densities.md").write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
