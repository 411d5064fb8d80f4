"""RealNVP and NSF of distrax: its couplings, with an MLP written in JAX for the conditioners.

`SplitCoupling` on halves, the cheapest form there: `MaskedCoupling` computes all elements. Distrax
has no masked autoregressive layer.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from bench.peers import module, optax_step

KINDS = ("RealNVP", "NSF")


class Flow:
    """Parameters, and functions of them: `log_prob`, `sample`, a training `step`."""

    def __init__(self, kind: str, dims: int, layers: int, hidden, batch: int):
        distrax, jax = module("distrax"), module("jax")
        half, count = dims // 2, {"RealNVP": 2, "NSF": 3 * 8 + 1}[kind]
        sizes, rng = (half, *hidden, count * half), np.random.default_rng(0)
        self.params = [
            [(jax.numpy.asarray(rng.normal(size=(m, n)) * 0.4 / m**0.5, "float32"),
              jax.numpy.zeros(n, "float32")) for m, n in itertools.pairwise(sizes)]
            for _ in range(layers)
        ]  # fmt: skip

        def conditioner(weights):
            def f(x):
                for k, (w, b) in enumerate(weights):
                    x = x @ w + b
                    x = jax.nn.relu(x) if k < len(weights) - 1 else x
                return x.reshape(*x.shape[:-1], half, count)

            return f

        def transform(raw):
            if kind == "NSF":
                return distrax.RationalQuadraticSpline(raw, -5.0, 5.0)
            return distrax.ScalarAffine(raw[..., 0], log_scale=raw[..., 1])

        def flow(params):
            couplings = [
                distrax.SplitCoupling(half, 1, conditioner(w), transform, swap=bool(k % 2))
                for k, w in enumerate(params)
            ]
            zeros = jax.numpy.zeros(dims, "float32")
            base = distrax.MultivariateNormalDiag(zeros, zeros + 1)
            return distrax.Transformed(base, distrax.Chain(couplings))

        self.log_prob = jax.jit(lambda p, x: flow(p).log_prob(x))
        self.sample = jax.jit(lambda p, key: flow(p).sample(seed=key, sample_shape=(batch,)))

    def step(self, x) -> Any:
        """A training step: loss, gradient, Adam, in one jitted function."""
        return optax_step(self.log_prob, self.params, x)
