"""Programs whose kernels are of every kind, and those of the table's examples."""

import numpy as np
from test_ops import EXAMPLES, case

import graphad as ga
from graphad.run.image import all_kernels

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 40))
KEY = ga.random.key(5)
PROGRAMS = {
    "chain": (lambda x: np.tanh(x) * np.exp(-x * x) + np.sin(x) ** 3 + np.log(x * x), (X,)),
    "single": (lambda x: (np.log1p(np.exp(x)), x.sum(axis=0), np.floor(x)), (X.astype("f4"),)),
    "sums": (lambda x: (x.sum(), x.max(axis=1), x @ x[0], x.T @ x[:, 0]), (X,)),
    "gather": (lambda x, i: x[i] * 2 + i[:, None], (X, RNG.integers(-300, 300, 400))),
    "integers": (lambda i: (i**3 // 7, i % 5, -i), (RNG.integers(-50, 50, 900),)),
    "random": (lambda key: (ga.random.normal(key, (90,)), ga.random.uniform(key, (70,), "f4")), (KEY,)),
    "draws": (lambda key, x: ga.random.categorical(key, x, 5, replace=False), (KEY, X)),
    "sort": (lambda x: np.sort(x, axis=0), (X,)),
    "small": (lambda x: np.linalg.inv(x[:3, :3]) @ np.arctan2(x[0, :3], 2.0), (X,)),
    "steps": (lambda x: ga.scan(lambda c, r: (np.sin(c) + r, c), x[0], x)[0], (X,)),
    "factors": (lambda x: np.linalg.cholesky(x.T @ x), (X,)),
}  # fmt: skip


def cases():
    """(name, function, arguments) of these programs and of every example in both precisions."""
    for name, (f, args) in PROGRAMS.items():
        yield name, f, args
    for p in EXAMPLES:
        _, run, arrays = case(*p.values)
        yield p.id, run, arrays
        yield f"{p.id} f4", run, [a.astype("f4") if a.dtype.kind == "f" else a for a in arrays]


def sources_of(f, args):
    """The sources of a function's kernels, and of their totals."""
    kernels = all_kernels(ga.function(f).lower(*args).kernels)
    return [k.source for k in kernels] + [t.source for k in kernels for t in k.totals]
