"""Random numbers and draws by weight; peers draw others, so their frequencies are compared."""

from __future__ import annotations

import numpy as np

import graphad as ga
from bench.measure import Row
from bench.peers import module

DRAWS = 1_000_000


def tenths(size):
    """Frequencies of ten groups of neighbouring categories."""

    def summary(drawn):
        drawn = np.ravel(np.asarray(drawn))
        return np.bincount(drawn.astype(np.int64) * 10 // size, minlength=10) / len(drawn)

    return summary


def moments(x):
    """Mean and standard deviation."""
    x = np.asarray(x)
    return np.array([x.mean(dtype=float), x.std(dtype=float)])


def with_replacement() -> list[Row]:
    """10⁶ draws, from weights and from what each peer prepares once."""
    jax, torch = module("jax"), module("torch")
    rng, key = np.random.Generator(np.random.SFC64(1)), ga.random.key(0)
    rows = []
    for size in (10, 1000, 100_000):
        from scipy.stats import sampling

        logits = np.random.default_rng(size).normal(size=size)
        p = np.exp(logits) / np.exp(logits).sum()
        ready = ga.random.Categorical(logits)
        alias = sampling.DiscreteAliasUrn(p, random_state=rng)
        guide = sampling.DiscreteGuideTable(p, random_state=rng)
        given = {
            "graphad": lambda logits=logits: ga.random.categorical(key, logits, DRAWS),
            "numpy": lambda p=p, n=size: rng.choice(n, DRAWS, p=p),
        }
        kept = {
            "graphad": lambda d=ready: d.sample(key, (DRAWS,)),
            "scipy alias": lambda a=alias: a.rvs(DRAWS),
            "scipy guide": lambda g=guide: g.rvs(DRAWS),
        }
        if torch:
            weights = torch.tensor(p)
            given["torch"] = lambda w=weights: torch.multinomial(w, DRAWS, replacement=True)
        if jax:
            own = jax.random.key(0)
            choice = jax.jit(lambda k, q, n=size: jax.random.choice(k, n, (DRAWS,), p=q))
            q = jax.numpy.asarray(p)
            given["jax"] = lambda f=choice, q=q, k=own: f(k, q).block_until_ready()
        name = f"10⁶ draws of {size:,}"
        rows.append(Row(name, given, 0.02, target=0.2, compared=tenths(size)))
        rows.append(Row(f"{name}, prepared", kept, 0.02, target=0.2, compared=tenths(size)))
    return rows


def one_a_row() -> list[Row]:
    """One draw for each row of log-weights."""
    jax, torch = module("jax"), module("torch")
    rng, key = np.random.Generator(np.random.SFC64(1)), ga.random.key(0)
    rows = []
    for count, size in ((100_000, 32), (1000, 5000)):
        for dtype in ("f4", "f8"):
            one = np.random.default_rng(size).normal(size=size)
            logits = np.ascontiguousarray(np.broadcast_to(one, (count, size)).astype(dtype))

            def plain(x=logits, n=count):
                ends = np.exp(x - x.max(1, keepdims=True)).cumsum(1)
                return (ends > rng.random((n, 1)) * ends[:, -1:]).argmax(1)

            jobs = {"graphad": lambda x=logits: ga.random.categorical(key, x), "numpy": plain}
            if torch:
                t = torch.tensor(logits)
                jobs["torch"] = lambda t=t: torch.multinomial(torch.softmax(t, 1), 1)
            if jax:
                own, x = jax.random.key(0), jax.numpy.asarray(logits)
                f = jax.jit(jax.random.categorical)
                jobs["jax"] = lambda f=f, k=own, x=x: f(k, x).block_until_ready()
            name = f"one draw for {count:,} rows of {size:,}, {dtype}"
            rows.append(Row(name, jobs, 0.1, target=0.2, compared=tenths(size)))
    return rows


def without_replacement() -> Row:
    """10³ different of 10⁵."""
    jax, torch = module("jax"), module("torch")
    rng, key = np.random.Generator(np.random.SFC64(1)), ga.random.key(0)
    size, count = 100_000, 1000
    logits = np.random.default_rng(0).normal(size=size)
    p = np.exp(logits) / np.exp(logits).sum()
    jobs = {"graphad": lambda: ga.random.categorical(key, logits, count, replace=False),
            "numpy": lambda: rng.choice(size, count, replace=False, p=p)}  # fmt: skip
    if torch:
        t = torch.tensor(p)
        jobs["torch"] = lambda: torch.multinomial(t, count)
    if jax:
        own, x = jax.random.key(0), jax.numpy.asarray(logits)
        top = jax.jit(lambda k, x: jax.lax.top_k(x + jax.random.gumbel(k, (size,)), count)[1])
        jobs["jax"] = lambda: top(own, x).block_until_ready()
    return Row("10³ of 10⁵ without replacement", jobs, 0.1, target=0.2, compared=tenths(size))


def numbers() -> list[Row]:
    """10⁷ uniforms and normals, into memory that is there where the peer can."""
    jax, torch = module("jax"), module("torch")
    key, n = ga.random.key(0), 10_000_000
    rng = np.random.Generator(np.random.SFC64(1))
    rows = []
    for dtype in ("f4", "f8"):
        for name, target in (("uniform", 0.6), ("normal", 0.4)):
            draw = getattr(ga.random, name)
            f = ga.function(lambda k, draw=draw, dtype=dtype: draw(k, (n,), dtype))
            own, out = np.empty(n, dtype), np.empty(n, dtype)
            theirs = rng.random if name == "uniform" else rng.standard_normal
            jobs = {"graphad": lambda f=f, out=own: f(key, out=out),
                    "numpy": lambda g=theirs, d=dtype, out=out: g(n, d, out=out)}  # fmt: skip
            if torch:
                t = torch.empty(n, dtype=getattr(torch, {"f4": "float32", "f8": "float64"}[dtype]))
                jobs["torch"] = t.uniform_ if name == "uniform" else t.normal_
            if jax:
                g = getattr(jax.random, name)
                made = jax.jit(lambda k, g=g, dtype=dtype: g(k, (n,), dtype))
                first = jax.random.key(0)
                jobs["jax"] = lambda f=made, k=first: f(k).block_until_ready()
            rows.append(Row(f"10⁷ {name}s, {dtype}", jobs, 0.005, target=target, compared=moments))
    return rows


def selection() -> Row:
    """A drawn one of 100 expensive functions, beside that function alone."""
    key, x = ga.random.key(3), np.linspace(0.0, 1.0, 50_000)
    logits = np.zeros(100)

    def option(k):
        return lambda x: np.tanh(np.sin(x * (1.0 + 0.01 * k))).sum()

    options = [option(k) for k in range(100)]
    lazy = ga.function(lambda key, x: ga.random.select(key, logits, options, operands=(x,)))
    drawn = ga.function(options[ga.random.categorical(key, logits)])
    jobs = {"graphad": lambda: lazy(key, x), "the branch": lambda: drawn(x)}
    return Row("one of 100 functions by weight", jobs, target=1.3)


def rows() -> list[Row]:
    """All rows of this file."""
    return [*with_replacement(), *one_a_row(), without_replacement(), *numbers(), selection()]
